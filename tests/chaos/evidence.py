"""What is known at the end of a run: what Directus did, and what the site made of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.directus import FILES, Logged, Version
from tests.chaos.ledger import Entry

#: Collection and status of each subscription; None for all.
SUBSCRIPTIONS: dict[str, tuple[str, str | None]] = {
    "articles-all": ("articles", None),
    "articles-published": ("articles", "published"),
    "notes-all": ("notes", None),
    "labels-all": ("labels", None),
    "orders-all": ("orders", None),
    "files-all": (FILES, None),
}
#: Receivers that write a log, which may name an event more than once.
LOGS = ("log", "flaky", "async")


@dataclass(frozen=True)
class Effect:
    """One committed run of the receiver that writes to the database.

    Attributes:
        digest: Equal where all of the event's data is equal.
    """

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
    size: int | None = None
    digest: str = ""
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
    activity_id: int | None = None
    received_at: float = 0.0


@dataclass(frozen=True)
class Claim:
    """Something that the product said of its completeness.

    Attributes:
        said_at: When, in seconds since 1970.
        until: Up to which moment nothing is missing, by what was said.
        words: What was said, and where.
    """

    said_at: float
    until: float
    words: str


@dataclass
class Evidence:
    """All of it.

    Attributes:
        entries: The ledger of the writers.
        activity: The activity log since the listener was first subscribed, in its order.
        history: Every state of every row, in the order of the commits of each row.
        rows: Version, status and title of each row of Directus now.
        files: Title and size of each file of Directus now.
        first_seen: By when each row of the activity log was visible, in seconds since 1970.
        claims: What the product said of its completeness during the run.
        gaps: Lines for the spans of which the product said that changes were lost.
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
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    first_seen: dict[int, float] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
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
            "files": ([key, *state] for key, state in self.files.items()),
            "claims": map(asdict, self.claims),
            "entries": map(asdict, self.entries),
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


def read_gaps(folder: Path) -> tuple[list[Claim], list[str]]:
    """The gaps that were announced: as claims where recovered, else as lines."""
    path = folder / "gaps.jsonl"
    claims, lost = [], []
    for line in path.read_text().splitlines() if path.exists() else []:
        gap = json.loads(line)
        if gap["recovered"]:
            until = datetime.fromisoformat(gap["until"]).timestamp()
            claims.append(Claim(gap["at"], until, f"gap since {gap['since']} recovered"))
        else:
            lost.append(f"gap from {gap['since']} to {gap['until']}: {gap['collections']}")
    return claims, lost
