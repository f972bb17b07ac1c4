"""Rows of the inbox, made of events."""

from __future__ import annotations

import logging
from typing import Any

from directus_realtime.events import Event
from directus_realtime.models import InboxEvent

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
            "what": "store-failed",
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
