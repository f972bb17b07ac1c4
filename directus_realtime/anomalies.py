"""Changes and ids of the activity log that need an explanation: what a person may look into.

*Unlogged* changes have no row in the log. *Parked* ones have a row, but their item was not found;
they are *unexplained* once no delete appeared in time. *Dropped* ids never became visible.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from directus_realtime.health_facts import parked_changes
from directus_realtime.models import InboxEvent, LogPosition, ParkedState

#: Newest ids of the inbox that are searched for unlogged changes: they have no index.
SEARCHED = 20_000
#: Rows of each kind, by default.
LISTED = 100


def find_anomalies(alias: str, limit: int = LISTED) -> dict[str, list[dict[str, Any]]]:
    """Return the unlogged, parked and unexplained changes and the dropped ids of a connection.

    Args:
        alias: Alias of the connection.
        limit: Most entries of each kind; the newest unlogged changes and dropped ids, the oldest
            parked and unexplained changes.
    """
    return {
        "unlogged": unlogged_changes(alias, limit),
        "parked": parked_changes(alias, limit, ParkedState.PARKED),
        "unexplained": parked_changes(alias, limit, ParkedState.UNEXPLAINED),
        "dropped": dropped_ids(alias, limit),
    }


def unlogged_changes(alias: str, limit: int = LISTED) -> list[dict[str, Any]]:
    """Return the newest changes without a row in the log, of the last :data:`SEARCHED` ids."""
    newest = InboxEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    rows = InboxEvent.objects.filter(pk__gt=newest - SEARCHED, connection=alias)
    found = rows.filter(activity_id=None, origin="live").order_by("-pk").defer("data_json")
    return [
        {
            "event_id": str(row.event_id),
            "subscription": row.subscription,
            "collection": row.collection,
            "key": row.key,
            "action": row.action,
            "received_at": row.received_at,
        }
        for row in found[:limit]
    ]


def dropped_ids(alias: str, limit: int = LISTED) -> list[dict[str, Any]]:
    """Return the last ranges of ids that were given up, the newest first."""
    row = LogPosition.objects.filter(alias=alias).first()
    ranges = row.dropped_ranges if row is not None else []
    return [
        {"first": first, "last": last, "dropped_at": datetime.fromtimestamp(at, UTC)}
        for first, last, at in reversed(ranges[-limit:])
    ]
