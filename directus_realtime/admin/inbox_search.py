"""The search of the inbox: by the key of an item, or by the id of an event."""

from __future__ import annotations

import json
import uuid

from django.db.models import QuerySet

from directus_realtime.models import InboxEvent


def is_event_id(term: str) -> bool:
    """Whether a search can be for an event's id."""
    try:
        uuid.UUID(term.strip())
    except ValueError:
        return False
    return True


def search(rows: QuerySet[InboxEvent], term: str) -> QuerySet[InboxEvent]:
    """The events with an id, or of the items with a key, whatever the type of the key is.

    Args:
        rows: Where to look.
        term: An id; ``42``, which is found as a number and as a text; ``"42"``, which is a
            text only.
    """
    term = term.strip()
    if is_event_id(term):
        event = rows.filter(event_id=uuid.UUID(term))
        # Else it may be the key of an item.
        if event.exists():
            return event
    return rows.filter(key_json__in=_keys(term)) if term else rows


def _keys(term: str) -> set[str]:
    """What a search may mean, as it is stored."""
    found = {json.dumps(term)}
    try:
        value = json.loads(term)
    except (ValueError, RecursionError):
        return found
    if isinstance(value, str):
        return {json.dumps(value)}
    return found | {term} if isinstance(value, int) else found
