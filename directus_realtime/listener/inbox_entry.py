"""Entries of the inbox before they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from directus_realtime.events import Event
from directus_realtime.models import DebounceBy, InboxEvent
from directus_realtime.utils.logs import EventLogger


@dataclass(frozen=True)
class Debounce:
    """Debounce settings of a subscription.

    Attributes:
        seconds: Length of a window; it begins with the first change in it.
        by: Whether each item has windows of its own, or the subscription as a whole.
    """

    seconds: float
    by: str = DebounceBy.ITEM


@dataclass(frozen=True)
class Memory:
    """Reference to the matched items of a subscription with a filter.

    Attributes:
        subscription_id: Primary key of the row.
        matched_of: Digest of the filter that the items must match.
    """

    subscription_id: int
    matched_of: str

    @property
    def incomplete(self) -> str:
        """Digest while some matched items may be missing, and none is wrong."""
        return f"+{self.matched_of[:63]}"


@dataclass(frozen=True)
class InboxEntry:
    """A row that is not stored yet.

    Attributes:
        row: The row.
        debounce: How it is debounced; ``None`` for not at all.
        memory: Decides whether the event concerns its subscription; ``None`` for always.
        overtakes: Whether an earlier event of its item may wait for the end of a window,
            though this one is not debounced itself.
    """

    row: InboxEvent
    debounce: Debounce | None = None
    memory: Memory | None = None
    overtakes: bool = False


@dataclass
class Tally:
    """Events of one subscription since the last write."""

    events: int = 0
    last_event_at: datetime | None = None


logger = EventLogger("directus_realtime.listener")

#: Nesting depth of an event's data. Python parses some 900 levels, and fewer inside of many calls:
#: delivery, a task or a page of the admin must be able to parse the data again.
MAX_DEPTH = 800


def make_row(event: Event, group: str = "") -> InboxEvent | None:
    """Return an unsaved row; log an event that cannot be stored, and return ``None``.

    Args:
        event: The event.
        group: Channels group of its subscription, or ``""``.
    """
    try:
        row = InboxEvent.from_event(event, group)
    except RecursionError:
        row = None
    if row is not None and not _is_too_deep(row.data_json, event.data):
        return row
    problem = f"its data are nested deeper than {MAX_DEPTH} levels"
    logger.error(
        "store-failed",
        "The event %s of %s %s %s cannot be stored: %s",
        event.id,
        event.collection,
        event.key,
        event.action,
        problem,
        connection=event.connection,
        subscription=event.subscription,
        collection=event.collection,
        event_id=event.id,
        error=problem,
    )
    return None


def _is_too_deep(text: str, value: Any) -> bool:
    # A quick upper bound first: almost no event exceeds it.
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
