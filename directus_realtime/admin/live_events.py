"""Events as the live page lists them: short, and without their payload."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from directus_realtime.admin.inbox_list import LOOKED_THROUGH
from directus_realtime.gateway.live_feed import summary
from directus_realtime.models import InboxEvent

#: Events of the first look, and of one that asks what is new.
FIRST, MOST = 50, 200
#: Rows can be committed in another order than that of their ids: so far is looked back, for
#: those that came in within so many seconds.
_OVERLAP, _LATE = 500, 15


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
        after = max(after, newest - LOOKED_THROUGH)
        is_late = Q(received_at__gt=timezone.now() - timedelta(seconds=_LATE))
        # The first bound is for the database, which else looks through the whole table.
        new = rows.filter(pk__gt=after - _OVERLAP).filter(Q(pk__gt=after) | is_late)
        most = MOST
    if collection:
        new = new.filter(collection=collection)
    found = list(new[: most + 1])
    shown = found[:most][::-1]
    return {
        "events": [_summary(row) for row in shown],
        "after": max(newest, found[0].pk if found else 0),
        "left_out": after is not None and len(found) > most,
    }


def _summary(row: InboxEvent) -> dict[str, Any]:
    try:
        key = row.key
    except ValueError:
        key = row.key_json
    return summary(
        id=str(row.event_id),
        received_at=row.received_at,
        subscription=row.subscription,
        collection=row.collection,
        action=row.action,
        key=key,
        origin=row.origin,
    )
