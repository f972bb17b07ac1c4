"""What is on its way into the inbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from directus_realtime.models import DebounceBy, InboxEvent


@dataclass(frozen=True)
class Debounce:
    """How the changes of a subscription are gathered.

    Attributes:
        seconds: Length of a window; it begins with the first change in it.
        by: Whether each item has windows of its own, or the subscription as a whole.
    """

    seconds: float
    by: str = DebounceBy.ITEM


@dataclass(frozen=True)
class Memory:
    """Of a subscription with a filter: where its matched items are remembered.

    Attributes:
        subscription_id: Primary key of the row.
        matched_of: Names the filter that the items must match.
    """

    subscription_id: int
    matched_of: str

    @property
    def incomplete(self) -> str:
        """Names the filter where some of its items may be missing, and none is wrong."""
        return f"+{self.matched_of[:63]}"


@dataclass(frozen=True)
class Incoming:
    """A row, not stored yet.

    Attributes:
        row: The row.
        debounce: How it is gathered with others; ``None`` for not at all.
        memory: Judges whether the event is one for its subscription; ``None`` for always.
        overtakes: Whether an earlier event of its item may wait for the end of a window,
            though this one is not gathered itself.
    """

    row: InboxEvent
    debounce: Debounce | None = None
    memory: Memory | None = None
    overtakes: bool = False


@dataclass
class Tally:
    """What came in for one subscription since it was last written down."""

    events: int = 0
    last_event_at: datetime | None = None
