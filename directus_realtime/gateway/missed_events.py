"""Missed events, read from the inbox.

After a restart all browsers reconnect at the same time, and those of a quiet subscription have
the same last event: its missed events are read once for all of them.

Channels delivers a group message at most once: while Redis is unavailable, or a channel is over
its capacity (the inbox's own layer as well), messages are lost. They are read from the inbox, too.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Max, Q, QuerySet

from directus_realtime.database import DatabaseThread
from directus_realtime.gateway.frames import Json
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.topics import LastRows, Missed, Topic, TopicChange
from directus_realtime.groups import event_message
from directus_realtime.inbox_tail import read_back
from directus_realtime.models import InboxEvent, key_as_json
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.gateway")

#: Missed events that are sent to a browser; after more it has to load the items again.
MOST = 1000
#: Rows before a browser's last event among which some may have been sent after it.
_OVERLAP = 200
#: Ids of the inbox, of all subscriptions, that are searched for later events: no index
#: leads to those of one subscription, and all browsers wait in the meantime.
FAR = 100_000
#: Rows that are searched for the last state of items.
_BACK = 10_000
#: Rows of one query for lost messages.
_BATCH = 1000


def missed(offer: Offer, event_id: str) -> list[Json] | None:
    """Return the group messages of the events after one, in order.

    Delivery does not send rows exactly in the order of their ids, so a few that the browser
    has received may be among them; it recognises them by their ids.

    Args:
        offer: Offer of the subscription. Events of another collection, or connection, which
            its subscription once had, are left out.
        event_id: Id of the last event that the browser received.

    Returns:
        ``None`` if the event is unknown, or too much has happened since.
    """
    last = _find(offer, event_id)
    if last is None or last.sent_at is None or _is_far(last):
        return None
    rows = _of(offer).filter(sent_at__isnull=False)
    was_sent_later = Q(id__gt=last.pk - _OVERLAP, sent_at__gt=last.sent_at)
    later = rows.filter(Q(id__gt=last.pk) | was_sent_later).exclude(pk=last.pk)
    found = list(
        later.filter(id__gt=last.pk - _OVERLAP).exclude(state="merged").order_by("id")[: MOST + 1]
    )
    return None if len(found) > MOST else messages(found)


def lost(
    rows: Iterable[InboxEvent], subscriptions: set[str], is_received: Callable[[str], bool]
) -> list[Json]:
    """Return the group messages of sent rows that were not received, in order.

    An event of an item is left out if a later one was received: that one has the newer state.

    Args:
        rows: Rows that were sent, in order for each connection.
        subscriptions: Names of the subscriptions in use.
        is_received: Returns whether the event with an id was received.
    """
    rows = list(rows)
    newest: dict[tuple[str, str], int] = {}
    for row in rows:
        if is_received(str(row.event_id)):
            newest[row.subscription, row.key_json] = row.pk
    pks = [
        row.pk
        for row in rows
        if row.subscription in subscriptions
        and row.pk > newest.get((row.subscription, row.key_json), 0)
        and not is_received(str(row.event_id))
    ]
    found: list[Json] = []
    for start in range(0, len(pks), _BATCH):
        batch = InboxEvent.objects.filter(pk__in=pks[start : start + _BATCH])
        found += messages(batch.order_by("id"))
    return found


def rows_before(offer: Offer, event_id: str, keys: set[Any]) -> list[tuple[Any, Json]]:
    """Return keys and rows: the last state of items at the time of an event, if stored."""
    last = _find(offer, event_id)
    if last is None or not keys:
        return []
    rows = _of(offer).filter(
        id__gt=last.pk - _BACK,
        id__lte=last.pk,
        key_json__in=[key_as_json(key) for key in keys],
    )
    newest = rows.order_by().values("key_json").annotate(newest=Max("id"))
    pks = list(newest.values_list("newest", flat=True))
    return [
        (message["key"], message["data"])
        for message in messages(InboxEvent.objects.filter(pk__in=pks))
        if message["data"] is not None and not message["left_filter"]
    ]


def messages(rows: Iterable[InboxEvent]) -> list[Json]:
    """Return the group messages of rows, without those that cannot be decoded."""
    found = []
    for row in rows:
        event = read_back(row)
        if event is not None:
            found.append(event_message(event))
            continue
        event_id = str(row.event_id)
        logger.warning(
            "missed-event-unreadable",
            "The event %s cannot be read back.",
            event_id,
            event_id=event_id,
        )
    return found


def _is_far(row: InboxEvent) -> bool:
    newest = InboxEvent.objects.aggregate(newest=Max("id"))["newest"] or 0
    return bool(newest - row.pk > FAR)


def _of(offer: Offer) -> QuerySet[InboxEvent]:
    return InboxEvent.objects.filter(
        connection=offer.connection, subscription=offer.name, collection=offer.collection
    )


def _find(offer: Offer, event_id: str) -> InboxEvent | None:
    try:
        return _of(offer).filter(event_id=uuid.UUID(event_id)).first()
    except ValueError:
        return None


class MissedEvents:
    """Reader of missed events; reads those after one event at most once at a time.

    Args:
        database: Thread of the queries.
    """

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._reading: dict[tuple[Topic, str], asyncio.Task[Missed | None]] = {}

    async def get(self, topic: Topic, event_id: str) -> Missed | None:
        """Return the events after one; ``None`` if it is unknown, or there are too many."""
        found = topic.missed.get(event_id)
        if found is None or not found.reaches(topic):
            found = await asyncio.shield(self._read_once(topic, event_id))
        return found if found is not None and found.reaches(topic) else None

    async def aclose(self) -> None:
        """Cancel the reads."""
        await cancel_all(self._reading.values())

    def _read_once(self, topic: Topic, event_id: str) -> asyncio.Task[Missed | None]:
        key = topic, event_id
        task = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(self._read(topic, event_id), name="directus-gateway-missed")
            self._reading[key] = task
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        return task

    async def _read(self, topic: Topic, event_id: str) -> Missed | None:
        number = topic.last
        changes = await self._database.run(_missed_changes, topic.offer, event_id)
        if changes is None:
            return None
        topic.missed[event_id] = found = Missed(number, changes)
        return found


def _missed_changes(offer: Offer, event_id: str) -> list[TopicChange] | None:
    found = missed(offer, event_id)
    if found is None:
        return None
    rows = LastRows(MOST)
    for key, row in rows_before(offer, event_id, {message["key"] for message in found}):
        rows.replace(key, row)
    return [TopicChange.from_message(0, message, rows) for message in found]
