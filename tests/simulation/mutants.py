"""Mistakes put into the product on purpose: the oracle must find each of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.plan import Plan, draw
from tests.simulation.world import Outcome, simulate


@dataclass(frozen=True)
class Mutant:
    """A mistake.

    Attributes:
        name: What is wrong, in a few words.
        lines: Lines of the oracle of which one finds it.
        install: Puts it in for the time of a block.
        prefers: Kinds of faults without which it does not show; each seed gets one of them.
        pace: Seconds between two transactions, where it shows among few of them only.
    """

    name: str
    lines: frozenset[str]
    install: Callable[[], contextlib.AbstractContextManager[None]]
    prefers: tuple[str, ...] = ()
    pace: float = 0.0


@dataclass(frozen=True)
class Found:
    """How a mutant was found.

    Attributes:
        mutant: The mutant.
        outcome: Of the seed that found it; ``None`` where none did.
        seeds: How many seeds were run.
        seconds: Seconds of CPU that they took.
    """

    mutant: Mutant
    outcome: Outcome | None
    seeds: int
    seconds: float

    def __str__(self) -> str:
        if self.outcome is None:
            return f"{self.mutant.name:52} NOT FOUND in {self.seeds} seeds, {self.seconds:.0f} s"
        lines = ", ".join(sorted(self.outcome.lines))
        seed = self.outcome.plan.seed
        words = f"{self.seeds} seeds, {self.seconds:6.1f} s"
        return f"{self.mutant.name:52} {words}  seed {seed}: {lines}"


def hunt(mutant: Mutant, first: int, most: int, seconds: float) -> Found:
    """Run seeds until one finds a mutant.

    Args:
        mutant: The mutant.
        first: The first seed.
        most: How many seeds at most.
        seconds: Simulated seconds of each.
    """
    started = time.process_time()
    with mutant.install():
        for number in range(most):
            outcome = simulate(_plan(mutant, first + number, seconds))
            if outcome.violations:
                return Found(mutant, outcome, number + 1, time.process_time() - started)
    return Found(mutant, None, most, time.process_time() - started)


def _plan(mutant: Mutant, seed: int, seconds: float) -> Plan:
    return draw(seed, seconds, mutant.prefers, mutant.pace)


def hunt_number(number: int, first: int, most: int, seconds: float) -> tuple[str, bool]:
    """Hunt one mutant; return what came of it, and whether it was found."""
    from tests.simulation.mutations import MUTANTS

    found = hunt(MUTANTS[number], first, most, seconds)
    return str(found), found.outcome is not None


def numbers(part: str) -> list[int]:
    """Return the numbers of the mutants with a part in their name."""
    from tests.simulation.mutations import MUTANTS

    return [number for number, mutant in enumerate(MUTANTS) if part in mutant.name]
