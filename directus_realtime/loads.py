"""Loads of all items on request: a remedy where changes may have been lost.

For the admin, for ``directus_load``, and for code that knows when receivers need every item::

    from directus_realtime.loads import request_load
    from directus_realtime.models import DirectusSubscription

    request_load(DirectusSubscription.objects.filter(collection="articles"))

The active listener loads them; :data:`~directus_realtime.signals.directus_load_finished` is sent
for each subscription when it is complete.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from directus_realtime.database import chunks
from directus_realtime.models import (
    LOAD_AGAIN,
    ConnectionStatus,
    DirectusSubscription,
    SubscriptionState,
)

__all__ = ["LoadProgress", "load_progress", "request_load"]


@dataclass(frozen=True)
class LoadProgress:
    """Progress of the last load of a subscription.

    Attributes:
        subscription: Name of the subscription.
        connection: Alias of its connection.
        done: Number of items that were read.
        total: Number of all items; 0 until the listener has begun.
        deleted: Number of known items that are gone, which were reported as deleted.
        is_finished: Whether all of its events are in the inbox.
        problem: Why it does not continue, as a sentence; empty where it does.
    """

    subscription: str
    connection: str
    done: int
    total: int
    deleted: int
    is_finished: bool
    problem: str = ""


def request_load(rows: QuerySet[DirectusSubscription]) -> int:
    """Request that all items are delivered again, with the origin ``snapshot``.

    Items that were known and are gone are delivered as deletes. A load that is running begins
    again. Disabled subscriptions are left out.

    Args:
        rows: The subscriptions.

    Returns:
        Number of subscriptions whose load was requested.
    """
    request = f"{LOAD_AGAIN}{uuid.uuid4().hex}"
    pks = list(rows.filter(enabled=True, orphaned_at=None).values_list("pk", flat=True))
    return sum(
        DirectusSubscription.objects.filter(pk__in=chunk).update(
            snapshot_of=request, snapshot_done=0, snapshot_total=0, snapshot_deleted=0
        )
        for chunk in chunks(pks)
    )


def load_progress(names: Sequence[str]) -> list[LoadProgress]:
    """Return the progress of the loads of subscriptions, by name.

    Args:
        names: Names of the subscriptions; those that do not exist are left out.
    """
    listened = {row.alias for row in ConnectionStatus.objects.all() if row.has_listener}
    found = [
        row
        for chunk in chunks(names)
        for row in DirectusSubscription.objects.filter(name__in=chunk)
    ]
    return [_progress(row, listened) for row in sorted(found, key=lambda row: row.name)]


def _progress(row: DirectusSubscription, listened: set[str]) -> LoadProgress:
    is_finished = not row.snapshot_of.startswith(LOAD_AGAIN)
    return LoadProgress(
        row.name,
        row.connection,
        row.snapshot_done,
        row.snapshot_total,
        row.snapshot_deleted,
        is_finished,
        "" if is_finished else _problem(row, listened),
    )


def _problem(row: DirectusSubscription, listened: set[str]) -> str:
    if not row.enabled:
        return "The subscription is disabled. Enable it, and the load begins."
    if row.connection not in listened:
        return (
            f"No listener of {row.connection!r} is running. Start it, and the load begins: "
            "python manage.py directus_listen"
        )
    if row.state == SubscriptionState.REFUSED:
        return f"The subscription is refused: {row.last_error}"
    return ""
