"""What is known at the end of a run: what Directus did, and what the site made of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.directus import Logged, Version
from tests.chaos.writers import Entry

#: Collection and status of each subscription; None for all.
SUBSCRIPTIONS: dict[str, tuple[str, str | None]] = {
    "articles-all": ("articles", None),
    "articles-published": ("articles", "published"),
    "notes-all": ("notes", None),
}
#: Receivers that write a log, which may name an event more than once.
LOGS = ("log", "flaky", "async")


@dataclass(frozen=True)
class Effect:
    """One committed run of the receiver that writes to the database."""

    id: int
    event_id: str
    subscription: str
    key: str
    action: str
    version: int | None
    status: str
    title: str
    left_filter: bool = False
    origin: str = "live"
    activity_id: int | None = None
    pid: int = 0


@dataclass(frozen=True)
class Stored:
    """A row of the inbox."""

    event_id: str
    subscription: str
    key: str
    action: str
    state: str
    failures: Any = None


@dataclass
class Evidence:
    """All of it.

    Attributes:
        entries: The ledger of the writers.
        activity: The activity log since the listener was first subscribed, in its order.
        history: Every state of every row, in the order of the commits of each row.
        rows: Version, status and title of each row of Directus now.
        effects: In the order in which they were made.
        tallies: Effects of each subscription and key, counted by the receiver itself.
        inbox: Every event that came in.
        received: How often each logging receiver had each event.
        troubles: What went wrong beside: a listener that ended by itself, and such.
    """

    entries: list[Entry] = field(default_factory=list)
    activity: list[Logged] = field(default_factory=list)
    history: list[Version] = field(default_factory=list)
    rows: dict[tuple[str, str], tuple[int, str, str]] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    tallies: dict[tuple[str, str], int] = field(default_factory=dict)
    inbox: list[Stored] = field(default_factory=list)
    received: dict[str, Counter[str]] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write it down, a file for each part, for whoever looks for the cause."""
        parts: dict[str, Iterable[Any]] = {
            "activity": map(asdict, self.activity),
            "history": map(asdict, self.history),
            "effects": map(asdict, self.effects),
            "inbox": map(asdict, self.inbox),
            "rows": ([*item, *state] for item, state in self.rows.items()),
        }
        for name, lines in parts.items():
            text = "\n".join(json.dumps(line, default=str) for line in lines)
            (folder / f"evidence-{name}.jsonl").write_text(text + "\n")


def read_receivers(folder: Path) -> dict[str, Counter[str]]:
    """How often each logging receiver had each event."""
    received: dict[str, Counter[str]] = {}
    for name in LOGS:
        path = folder / f"{name}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        received[name] = Counter(json.loads(line)["id"] for line in lines)
    return received
