"""Events as the live page lists them: short, and without their payload."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from directus_realtime.admin.inbox_list import LOOKED_THROUGH
from directus_realtime.models import InboxEvent

#: Events of the first look, and of one that asks what is new.
FIRST, MOST = 50, 200
#: Rows can be committed in another order than that of their ids: so far is looked back, for
#: those that came in within so many seconds.
_OVERLAP, _LATE = 500, 15


def summary_of_row(row: InboxEvent) -> dict[str, Any]:
    """What the page shows of a row."""
    return {
        "id": str(row.event_id),
        "time": _time(row.received_at),
        "subscription": row.subscription,
        "collection": row.collection,
        "action": row.action,
        "key": _key(row.key_json),
        "origin": row.origin,
    }


def summary_of_message(message: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a group message."""
    return {
        "id": message["id"],
        "time": _time(datetime.fromisoformat(message["received_at"])),
        "subscription": message["subscription"],
        "collection": message["collection"],
        "action": message["action"],
        "key": str(message["key"]),
        "origin": message["origin"],
    }


def newest_events(after: int | None, collection: str) -> dict[str, Any]:
    """What is new, the oldest first.

    Args:
        after: Id of the newest row that the page has; ``None`` for the first look.
        collection: Of this one only; empty for all.

    Returns:
        ``events``; ``after`` for the next look; ``left_out``, whether there were more.
    """
    rows = InboxEvent.objects.defer("data_json", "failures", "delivered").order_by("-pk")
    newest = rows.values_list("pk", flat=True).first() or 0
    if after is None:
        new, most = rows.filter(pk__gt=newest - LOOKED_THROUGH), FIRST
    else:
        late = Q(pk__gt=after - _OVERLAP, received_at__gt=timezone.now() - timedelta(seconds=_LATE))
        new, most = rows.filter(Q(pk__gt=max(after, newest - LOOKED_THROUGH)) | late), MOST
    if collection:
        new = new.filter(collection=collection)
    found = list(new[: most + 1])
    shown = found[:most][::-1]
    return {
        "events": [summary_of_row(row) for row in shown],
        "after": max(newest, found[0].pk if found else 0),
        "left_out": after is not None and len(found) > most,
    }


def _time(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%H:%M:%S}"


def _key(key_json: str) -> str:
    try:
        return str(json.loads(key_json))
    except ValueError:
        return key_json
