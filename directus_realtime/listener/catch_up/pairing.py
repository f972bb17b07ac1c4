"""Which rows of the activity log are in the inbox already.

A live event does not say which row of the log it belongs to. Both name the item and the
action, and for each there is one row, so they are paired in order: what is left of the log
is what the socket did not bring.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from directus_realtime.client.activity import ActivityRow
from directus_realtime.database import own_alias
from directus_realtime.events import Origin
from directus_realtime.models import InboxEvent
from directus_realtime.protocol.queries import Query

#: How much earlier than the time in the log an event may seem to have come in: clocks are
#: compared to the second.
_SLACK = timedelta(seconds=3)
#: Rows of one statement.
_CHUNK = 200

_LIVE: Origin = "live"
_REPLAY: Origin = "replay"


@dataclass(frozen=True)
class Interest:
    """What a subscription wants of the log.

    Attributes:
        name: Of the subscription.
        query: What it asks for.
        after: Rows up to this one are none of its business.
    """

    name: str
    query: Query
    after: int

    def wants(self, row: ActivityRow) -> bool:
        """Whether a row is about a change that the subscription wants."""
        query = self.query
        return (
            row.id > self.after
            and row.collection == query.collection
            and row.action in query.events
            and (query.item is None or str(query.item) == row.item)
        )


@dataclass(frozen=True)
class Owed:
    """A row of the log for which a subscription has no event."""

    subscription: str
    row: ActivityRow


def pair(
    alias: str, rows: Sequence[ActivityRow], interests: Iterable[Interest], clock_ahead: timedelta
) -> list[Owed]:
    """Note at the live events of the inbox to which rows they belong.

    Args:
        alias: Of the connection.
        rows: Of the log, in the order of ids.
        interests: Of the subscriptions.
        clock_ahead: How much the server's clock is ahead of ours.

    Returns:
        What has no event, in the order of the log.
    """
    owed = [Owed(each.name, row) for row in rows for each in interests if each.wants(row)]
    if not owed:
        return []
    earliest = min(entry.row.timestamp for entry in owed) - clock_ahead - _SLACK
    with transaction.atomic(own_alias()):
        covered = _covered(alias, owed, earliest)
        owed = [entry for entry in owed if (entry.subscription, entry.row.id) not in covered]
        live = _unpaired(alias, owed, earliest)
        pairs: dict[int, int] = {}
        missing: list[Owed] = []
        for entry in owed:
            if (event := live.take(entry, clock_ahead)) is None:
                missing.append(entry)
            else:
                pairs[event] = entry.row.id
        _note(pairs)
    return missing


class LiveEvents:
    """Live events that belong to no row yet, oldest first for each kind of change."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str, str, str], deque[tuple[int, datetime]]] = {}

    def add(self, row: InboxEvent) -> None:
        """Take an event in."""
        kind = row.subscription, row.collection, row.action, str(row.key)
        self._queues.setdefault(kind, deque()).append((row.pk, row.received_at))

    def take(self, owed: Owed, clock_ahead: timedelta) -> int | None:
        """Give away the event that a row of the log belongs to, if there is one."""
        row = owed.row
        queue = self._queues.get((owed.subscription, row.collection, str(row.action), row.item))
        made_at = row.timestamp - clock_ahead - _SLACK
        while queue:
            event, received_at = queue.popleft()
            if received_at >= made_at:
                return event
        return None


def _covered(alias: str, owed: Sequence[Owed], earliest: datetime) -> set[tuple[str, int]]:
    ids = [entry.row.id for entry in owed]
    known = InboxEvent.objects.filter(
        connection=alias, activity_id__range=(min(ids), max(ids)), received_at__gte=earliest
    ).exclude(origin=_REPLAY)
    found = known.values_list("subscription", "activity_id")
    return {(name, number or 0) for name, number in found}


def _unpaired(alias: str, owed: Sequence[Owed], earliest: datetime) -> LiveEvents:
    found = LiveEvents()
    rows = InboxEvent.objects.filter(
        connection=alias,
        activity_id=None,
        received_at__gte=earliest,
        origin=_LIVE,
        collection__in={entry.row.collection for entry in owed},
    )
    columns = "subscription", "collection", "action", "key_json", "received_at"
    for row in rows.order_by("id").only(*columns).iterator():
        found.add(row)
    return found


def _note(pairs: dict[int, int]) -> None:
    rows = [InboxEvent(pk=event, activity_id=row) for event, row in pairs.items()]
    InboxEvent.objects.bulk_update(rows, ["activity_id"], batch_size=_CHUNK)
