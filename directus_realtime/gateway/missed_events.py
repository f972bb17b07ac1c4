"""Events that a returning browser missed, read from the inbox once for all with the same last id.

After a restart all browsers return at the same time, and those of a quiet subscription share
their last event.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, Q, QuerySet

from directus_realtime.database import DatabaseThread
from directus_realtime.gateway.frames import Json
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.topics import RING, LastRows, Topic, TopicChange
from directus_realtime.groups import event_message
from directus_realtime.models import InboxEvent, key_as_json

logger = logging.getLogger("directus_realtime.gateway")

#: Events that are sent again to a browser that comes back; after more it reads anew.
MOST = 1000
#: Rows before the one a browser saw last, among which later ones may have been sent after it.
_OVERLAP = 200
#: Ids of the inbox, of all subscriptions, through which is looked for later events: no index
#: leads to those of one subscription, and all browsers wait meanwhile.
FAR = 100_000
#: Rows in which the items' last state is looked for.
_BACK = 10_000


def missed(offer: Offer, event_id: str) -> list[Json] | None:
    """The group messages of the events after one, in order.

    Delivery does not send rows exactly in the order of their ids, so a few that the browser
    has seen may be among them; it knows them by their ids.

    Args:
        offer: What the browser follows. Events of another collection, or connection, which its
            subscription once had, are none of it.
        event_id: Of the last event that the browser saw.

    Returns:
        ``None`` where that is not known any more, or too much has happened since.
    """
    seen = _find(offer, event_id)
    if seen is None or seen.sent_at is None or _is_far(seen):
        return None
    rows = _of(offer).filter(sent_at__isnull=False)
    was_sent_later = Q(id__gt=seen.pk - _OVERLAP, sent_at__gt=seen.sent_at)
    later = rows.filter(Q(id__gt=seen.pk) | was_sent_later).exclude(pk=seen.pk)
    found = list(
        later.filter(id__gt=seen.pk - _OVERLAP).exclude(state="merged").order_by("id")[: MOST + 1]
    )
    return None if len(found) > MOST else messages(found)


def rows_before(offer: Offer, event_id: str, keys: set[Any]) -> list[tuple[Any, Json]]:
    """The last state of some items at the time of an event, as far as the inbox holds it.

    Returns:
        Keys and rows.
    """
    seen = _find(offer, event_id)
    if seen is None or not keys:
        return []
    rows = _of(offer).filter(
        id__gt=seen.pk - _BACK,
        id__lte=seen.pk,
        key_json__in=[key_as_json(key) for key in keys],
    )
    newest = rows.order_by().values("key_json").annotate(newest=Max("id"))
    pks = list(newest.values_list("newest", flat=True))
    return [
        (message["key"], message["data"])
        for message in messages(InboxEvent.objects.filter(pk__in=pks))
        if message["data"] is not None and not message["left_filter"]
    ]


def messages(rows: QuerySet[InboxEvent] | list[InboxEvent]) -> list[Json]:
    """The group messages of rows, without those that cannot be read back."""
    found = []
    for row in rows:
        try:
            found.append(event_message(row.to_event()))
        except (ValueError, RecursionError):
            logger.warning(
                "The event %s cannot be read back.",
                row.event_id,
                extra={"event": "missed-event-unreadable", "event_id": str(row.event_id)},
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
        wanted = uuid.UUID(event_id)
    except ValueError:
        return None
    return _of(offer).filter(event_id=wanted).first()


#: Of an offer, the events last seen for which it is remembered what came after them.
KEPT = 5


@dataclass(frozen=True, slots=True)
class Missed:
    """What came after an event that browsers saw last.

    Attributes:
        number: Of the event of the stream up to which it was looked for; what came after that
            one the stream remembers.
        changes: What was found.
    """

    number: int
    changes: list[TopicChange]

    def reaches(self, stream: Topic) -> bool:
        """Whether the stream remembers everything that came after it."""
        return stream.last - self.number <= RING


class MissedEvents:
    """Looks up what was missed, each at most once at a time.

    Args:
        database: The thread to look in.
    """

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._looking: dict[tuple[Topic, str], asyncio.Task[Missed | None]] = {}

    async def get(self, stream: Topic, event_id: str) -> Missed | None:
        """What a browser has missed; ``None`` where that is not known any more, or too much."""
        found = stream.missed.get(event_id)
        if found is None or not found.reaches(stream):
            found = await asyncio.shield(self._look_once(stream, event_id))
        return found if found is not None and found.reaches(stream) else None

    async def aclose(self) -> None:
        """Give up what is being looked for."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_once(self, stream: Topic, event_id: str) -> asyncio.Task[Missed | None]:
        wanted = stream, event_id
        task = self._looking.get(wanted)
        if task is None:
            task = asyncio.create_task(self._look(stream, event_id), name="directus-gateway-look")
            self._looking[wanted] = task
            task.add_done_callback(lambda _: self._looking.pop(wanted, None))
        return task

    async def _look(self, stream: Topic, event_id: str) -> Missed | None:
        number = stream.last
        changes = await self._database.run(_missed, stream.offer, event_id)
        if changes is None:
            return None
        found = Missed(number, changes)
        stream.missed.pop(event_id, None)
        stream.missed[event_id] = found
        if len(stream.missed) > KEPT:
            stream.missed.popitem(last=False)
        return found


def _missed(offer: Offer, event_id: str) -> list[TopicChange] | None:
    """What came after an event, from the inbox; uses the database."""
    messages = missed(offer, event_id)
    if messages is None:
        return None
    rows = LastRows(MOST)
    keys = {message["key"] for message in messages}
    for key, row in rows_before(offer, event_id, keys):
        rows.replace(key, row)
    return [TopicChange.from_message(0, message, rows) for message in messages]
