"""What happens in a simulation, as data: drawn from a seed, and easy to shorten."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One thing that happens from outside.

    Attributes:
        at: True seconds since the beginning.
        kind: ``write`` for a change in Directus; else the name of a fault, or of what an
            operator does.
        values: Details.
    """

    at: float
    kind: str
    values: Values = field(default_factory=dict)

    @property
    def is_change(self) -> bool:
        """Whether it is a change in Directus, and neither a fault nor an operator."""
        return self.kind == "write"

    def __str__(self) -> str:
        details = ", ".join(f"{name} {value}" for name, value in self.values.items())
        return f"{self.at:8.2f} s  {self.kind:16} {details}"


@dataclass(frozen=True)
class Plan:
    """A whole simulation.

    Attributes:
        seed: Where it comes from; also the source of every delay.
        seconds: How long changes and faults go on; after that everything is repaired.
        settings: Of the connection, of the machines and of Directus.
        steps: In the order of time.
    """

    seed: int
    seconds: float
    settings: Values
    steps: Sequence[Step]

    def with_steps(self, steps: Sequence[Step]) -> Plan:
        """Return the same with other steps."""
        return replace(self, steps=tuple(steps))

    @property
    def faults(self) -> int:
        """How many steps are no changes."""
        return sum(not step.is_change for step in self.steps)

    @property
    def changes(self) -> int:
        """How many changes of items there are."""
        return sum(len(step.values["changes"]) for step in self.steps if step.is_change)


Chance = random.Random


def _seconds(chance: Chance, typical: float, most: float) -> float:
    return round(min(chance.expovariate(1 / typical), most), 3)


def _settings(chance: Chance) -> dict[str, Any]:
    is_skewed = chance.random() < 0.4
    return {
        "listeners": chance.choice([1, 2, 2]),
        "same_host": chance.random() < 0.4,
        "aheads": [round(chance.gauss(0, 30), 1) if is_skewed else 0.0 for _ in range(2)],
        "rates": [1 + chance.gauss(0, 0.0005) if is_skewed else 1.0 for _ in range(2)],
        "directus_ahead": round(chance.gauss(0, 20), 1) if is_skewed else 0.0,
        "has_cache": chance.random() < 0.5,
        "has_socket": chance.random() < 0.5,
        "poll_interval": chance.choice([1.0, 1.0, 2.0, 5.0]),
        "hole_age": 150.0,
    }


def _write(chance: Chance) -> Values:
    count = chance.choice([1, 1, 1, 1, 2, 3, 8])
    changes = [
        (
            chance.choice(["create", "update", "update", "update", "delete"]),
            chance.choice(["articles", "articles", "notes"]),
            chance.randrange(1_000),
            chance.choice(["published", "draft"]),
        )
        for _ in range(count)
    ]
    takes = _seconds(chance, 0.02, 1) if chance.random() < 0.7 else _seconds(chance, 8, 60)
    return {
        "changes": changes,
        "takes": takes,
        "is_rolled_back": chance.random() < 0.12,
        "way": chance.choice(["", "", "", "", "silent", "early", "early", "unlogged"]),
    }


def _listener(chance: Chance) -> int:
    return chance.randrange(2)


#: Kinds of faults, each with what draws its details.
FAULTS: dict[str, Callable[[Chance], Values]] = {
    "kill": lambda c: {"listener": _listener(c), "down": _seconds(c, 3, 40)},
    "stop": lambda c: {"listener": _listener(c), "down": _seconds(c, 3, 40)},
    "freeze": lambda c: {"listener": _listener(c), "seconds": _seconds(c, 8, 60)},
    "clock": lambda c: {"listener": _listener(c), "seconds": round(c.gauss(0, 60), 1)},
    "directus-down": lambda c: {"seconds": _seconds(c, 10, 90)},
    "directus-frozen": lambda c: {"seconds": _seconds(c, 10, 60)},
    "directus-slow": lambda c: {"seconds": _seconds(c, 10, 60)},
    "answers": lambda c: {
        "statuses": [c.choice([500, 502, 503, 503, 429]) for _ in range(c.randint(1, 12))]
    },
    "garbled": lambda c: {"answers": c.randint(1, 5)},
    "network": lambda c: {"listener": _listener(c), "seconds": _seconds(c, 10, 60)},
    "rings": lambda c: {
        "way": c.choice(["late", "lost", "doubled"]),
        "seconds": _seconds(c, 15, 60),
    },
    "sockets-cut": lambda c: {},
    "cache-forgets": lambda c: {},
    "database": lambda c: {
        "fault": c.choice(["statement", "commit", "answer", "answer"]),
        "thread": c.choice(["inbox", "inbox", "delivery", "delivery", "lease", ""]),
        "after": c.choice([0, 0, 0, 1, 2, 5]),
        "times": c.choice([1, 1, 2, 6]),
    },
    "crash": lambda c: {
        "thread": c.choice(["inbox", "inbox", "delivery", "delivery", "lease"]),
        "after": c.choice([0, 1, 2, 3, 5, 8, 12]),
    },
    "database-away": lambda c: {
        "listener": c.choice([0, 1, None]),
        "seconds": _seconds(c, 6, 45),
    },
    "database-slow": lambda c: {"seconds": _seconds(c, 6, 30)},
    "hang": lambda c: {
        "thread": c.choice(["delivery", "delivery", "inbox", "lease"]),
        "seconds": _seconds(c, 8, 45),
    },
    "receiver": lambda c: {
        "name": c.choice(["record", "flaky", "flaky", "outside"]),
        "way": c.choice(["raise", "base", "write", "hide"]),
        "times": c.choice([1, 1, 3, 10]),
    },
    "token-refused": lambda c: {"seconds": _seconds(c, 6, 40)},
    "rights-lost": lambda c: {
        "collection": c.choice(["articles", "notes", "directus_activity"]),
        "seconds": _seconds(c, 10, 60),
    },
    "unreadable": lambda c: {
        "collection": c.choice(["articles", "notes"]),
        "pick": c.randrange(1_000),
        "seconds": _seconds(c, 10, 60),
    },
    "log-pruned": lambda c: {"older": c.choice([10.0, 20.0, 40.0])},
    "log-noise": lambda c: {
        "action": c.choice(["login", "run", "update"]),
        "collection": c.choice(["directus_users", "directus_fields", "directus_permissions"]),
    },
    # What an operator does.
    "retry": lambda c: {},
    "replay": lambda c: {
        "collection": c.choice(["articles", "notes"]),
        "back": _seconds(c, 30, 120),
    },
    "disable": lambda c: {
        "subscription": c.randrange(4),
        "seconds": _seconds(c, 5, 30),
    },
    "rename": lambda c: {"subscription": c.randrange(4)},
    "reload": lambda c: {"subscription": c.randrange(4)},
}


def draw(seed: int, seconds: float = 120.0, prefers: Sequence[str] = (), pace: float = 0.0) -> Plan:
    """Return the plan of a seed.

    Args:
        seed: The seed.
        seconds: How long changes and faults go on.
        prefers: Kinds of faults of which there is one at least.
        pace: Seconds between two transactions, on average; 0 draws it.
    """
    chance = random.Random(f"{seed}/plan")
    settings = _settings(chance)
    steps = []
    at = 2.0
    pace = pace or chance.choice([1.5, 4.0, 10.0])
    while at < seconds:
        steps.append(Step(round(at, 3), "write", _write(chance)))
        at += chance.expovariate(1 / pace)
    kinds = chance.sample(sorted(FAULTS), chance.randint(1, 7))
    for number in range(chance.randint(3, 18)):
        kind = chance.choice(kinds)
        if prefers and number % 2 == 0:
            kind = chance.choice(prefers)
        at = round(chance.uniform(3, seconds), 3)
        steps.append(Step(at, kind, FAULTS[kind](chance)))
    return Plan(seed, seconds, settings, tuple(sorted(steps, key=lambda step: step.at)))
