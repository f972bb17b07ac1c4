"""First loads: the newest items of an offer, read once for all browsers that subscribe."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Any

from cachetools import TTLCache
from django.core.exceptions import ImproperlyConfigured

from directus_realtime.client import DirectusClient
from directus_realtime.client.items import Newest
from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.topics import Row, Topic, TopicChange
from directus_realtime.protocol.queries import Query
from directus_realtime.settings import connection_settings
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.gateway")

#: Seconds for which a first load, updated by events, serves browsers.
KEPT = 10.0
#: Seconds in which Directus must answer.
TIMEOUT = 10.0
#: Seconds after a failure in which Directus is not asked again.
PAUSE = 1.0


class CannotLoad(Exception):
    """The items could not be read; the sentence is for the log, not for browsers."""


class FirstLoad:
    """The newest items of an offer, updated by events.

    Args:
        newest: The items as they were read.
        limit: Number of items to send.
        read_at: Monotonic seconds.
    """

    def __init__(self, newest: Newest, limit: int, read_at: float) -> None:
        self.is_all = newest.is_all
        self.primary_key = newest.primary_key
        self.read_at = read_at
        self._limit = limit
        self._rows: OrderedDict[str, Row] = OrderedDict((str(key), row) for key, row in newest.rows)

    @property
    def rows(self) -> list[Row]:
        """The items, the newest first."""
        return list(islice(self._rows.values(), self._limit))

    def follow(self, changes: Iterable[TopicChange]) -> None:
        """Apply changes."""
        for change in changes:
            name = str(change.key)
            if change.row is None:
                self._rows.pop(name, None)
            elif name in self._rows:
                self._rows[name] = change.row
            else:
                self._add(name, change.row)

    def _add(self, name: str, row: Row) -> None:
        """Put an item first. Twice the limit is kept, to replace deleted items."""
        self._rows[name] = row
        self._rows.move_to_end(name, last=False)
        self.is_all = self.is_all and len(self._rows) <= self._limit
        if len(self._rows) > 2 * self._limit:
            self._rows.popitem()


class FirstLoads:
    """Reader of first loads; reads each at most once at a time.

    Args:
        clock: Clock of the hub.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._clients: dict[str, DirectusClient] = {}
        self._loads: dict[Topic, FirstLoad] = {}
        self._reading: dict[Topic, asyncio.Task[FirstLoad]] = {}
        self._failed: TTLCache[Topic, None] = TTLCache(1000, PAUSE, timer=clock.monotonic)

    async def get(self, topic: Topic) -> FirstLoad:
        """Return the current first load of an offer.

        One that is older than :data:`KEPT` has missed no event and still serves while
        Directus cannot be read.

        Raises:
            CannotLoad: Directus cannot be read.
        """
        load = self._loads.get(topic)
        if load is not None and self._clock.monotonic() - load.read_at < KEPT:
            return load
        if topic not in self._failed:
            try:
                return await asyncio.shield(self._read_once(topic))
            except CannotLoad as error:
                self._failed[topic] = None
                if load is None:
                    raise
                logger.warning(
                    "first-load-unreadable",
                    "%s; browsers are given what was read before.",
                    error,
                    collection=topic.offer.collection,
                )
        if load is None:
            raise CannotLoad("Directus could not be read a moment ago")
        return load

    def current(self, topic: Topic) -> FirstLoad | None:
        """Return the first load of an offer, if it was read."""
        return self._loads.get(topic)

    def follow(self, topic: Topic, change: TopicChange) -> None:
        """Apply a change to the first load of an offer, if it was read."""
        if load := self._loads.get(topic):
            load.follow([change])

    def forget(self, topic: Topic) -> None:
        """Forget the first load of a topic that is closed."""
        self._loads.pop(topic, None)
        self._failed.pop(topic, None)

    async def aclose(self) -> None:
        """Cancel the reads, and close the clients."""
        await cancel_all(self._reading.values())
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.disconnect()

    def _read_once(self, topic: Topic) -> asyncio.Task[FirstLoad]:
        task = self._reading.get(topic)
        if task is None:
            task = asyncio.create_task(self._read(topic), name="directus-gateway-first-load")
            self._reading[topic] = task
            task.add_done_callback(lambda _: self._reading.pop(topic, None))
        return task

    async def _read(self, topic: Topic) -> FirstLoad:
        last, offer = topic.last, topic.offer
        try:
            async with asyncio.timeout(TIMEOUT):
                client = self._client(offer.connection)
                newest = await client.read_newest(_query(offer), offer.first_load)
        except (DirectusRealtimeError, ImproperlyConfigured, OSError, ValueError) as error:
            # OSError is also a time-out, and a CA_FILE that does not exist.
            problem = str(error).rstrip(".") or f"it did not answer within {TIMEOUT:g} s"
            message = f"The first load of {offer.name} cannot be read from Directus: {problem}"
            raise CannotLoad(message) from error
        for key, row in newest.rows:
            topic.rows.learn(key, row)
        load = FirstLoad(newest, offer.first_load, self._clock.monotonic())
        load.follow(topic.after(last))
        self._loads[topic] = load
        return load

    def _client(self, alias: str) -> DirectusClient:
        if alias not in self._clients:
            self._clients[alias] = connection_settings(alias).make_client()
        return self._clients[alias]


def _query(offer: Offer) -> Query:
    item: Any = offer.item or None
    return Query(offer.collection, filter=offer.filter, fields=tuple(offer.fields), item=item)
