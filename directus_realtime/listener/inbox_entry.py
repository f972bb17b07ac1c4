"""Entries of the inbox before they are stored, and the rows made of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from directus_realtime.events import Event
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
class InboxEntry:
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


logger = logging.getLogger("directus_realtime.listener")

#: Dicts and lists inside of each other that an event may carry. Python reads some 900, and fewer
#: the more calls it is in: what was read must not be what delivery, a task or a page of the
#: admin cannot read again.
MAX_DEPTH = 800


def make_row(event: Event, group: str = "") -> InboxEvent | None:
    """A row, not stored yet; ``None`` for an event that cannot be one, which is reported.

    Args:
        event: The event.
        group: Own group of its subscription, or ``""``.
    """
    try:
        row = InboxEvent.from_event(event, group)
    except RecursionError:
        row = None
    if row is not None and not _is_too_deep(row.data_json, event.data):
        return row
    problem = f"its data are nested deeper than {MAX_DEPTH} levels"
    logger.error(
        "The event %s of %s %s %s cannot be stored: %s",
        event.id,
        event.collection,
        event.key,
        event.action,
        problem,
        extra={
            "event": "store-failed",
            "connection": event.connection,
            "subscription": event.subscription,
            "collection": event.collection,
            "event_id": event.id,
            "error": problem,
        },
    )
    return None


def _is_too_deep(text: str, value: Any) -> bool:
    # Counted first: nearly no event has so many at all.
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [entry for each in level for entry in _entries(each)]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _entries(value: Any) -> list[Any]:
    """What is in a dict or a list, of what may have something in it."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
