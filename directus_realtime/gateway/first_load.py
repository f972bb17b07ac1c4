"""What a browser is given when it subscribes: read once, for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from time import monotonic
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.client import DirectusClient
from directus_realtime.client.items import Newest
from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.topics import Row, Topic, TopicChange
from directus_realtime.protocol.queries import Query
from directus_realtime.settings import connection_settings

logger = logging.getLogger("directus_realtime.gateway")

#: Seconds for which a first load, kept up to date by events, serves browsers that come.
KEPT = 10.0
#: Seconds that Directus may take for one.
TIMEOUT = 10.0
#: Seconds after a failure in which Directus is not asked again.
PAUSE = 1.0


class CannotLoad(Exception):
    """The items could not be read; the sentence is for the log, not for browsers."""


class FirstLoad:
    """The newest items of an offer, and what has happened to them since.

    Args:
        newest: What was read.
        limit: How many items are wanted.
    """

    def __init__(self, newest: Newest, limit: int) -> None:
        self.is_all = newest.is_all
        self.primary_key = newest.primary_key
        self.read_at = monotonic()
        self._limit = limit
        self._rows: OrderedDict[str, Row] = OrderedDict((str(key), row) for key, row in newest.rows)

    @property
    def rows(self) -> list[Row]:
        """The items, the newest first."""
        return list(islice(self._rows.values(), self._limit))

    @property
    def is_fresh(self) -> bool:
        """Whether it serves without being read again."""
        return monotonic() - self.read_at < KEPT

    def follow(self, changes: Iterable[TopicChange]) -> None:
        """Bring it up to date."""
        for change in changes:
            name = str(change.key)
            if change.row is None:
                self._rows.pop(name, None)
            elif name in self._rows:
                self._rows[name] = change.row
            else:
                self._add(name, change.row)

    def _add(self, name: str, row: Row) -> None:
        """Put an item first. As many again as are wanted are kept, for when some are deleted."""
        self._rows[name] = row
        self._rows.move_to_end(name, last=False)
        self.is_all = self.is_all and len(self._rows) <= self._limit
        if len(self._rows) > 2 * self._limit:
            self._rows.popitem()


class FirstLoads:
    """Reads first loads, each at most once at a time."""

    def __init__(self) -> None:
        self._clients: dict[str, DirectusClient] = {}
        self._loads: dict[Topic, FirstLoad] = {}
        self._reading: dict[Topic, asyncio.Task[FirstLoad]] = {}
        self._failed_at: dict[Topic, float] = {}

    async def get(self, stream: Topic) -> FirstLoad:
        """The first load of an offer as of now.

        One that is older than :data:`KEPT` has missed no event and still serves while
        Directus cannot be read.

        Raises:
            CannotLoad: Directus cannot be read.
        """
        load = self._loads.get(stream)
        if load is not None and load.is_fresh:
            return load
        if monotonic() - self._failed_at.get(stream, -PAUSE) >= PAUSE:
            try:
                return await asyncio.shield(self._read_once(stream))
            except CannotLoad as error:
                self._failed_at[stream] = monotonic()
                if load is None:
                    raise
                logger.warning(
                    "%s; browsers are given what was read before.",
                    error,
                    extra={"event": "first-load-unreadable", "collection": stream.offer.collection},
                )
        if load is None:
            raise CannotLoad("Directus could not be read a moment ago")
        return load

    def current(self, stream: Topic) -> FirstLoad | None:
        """What is there without waiting."""
        return self._loads.get(stream)

    def follow(self, stream: Topic, change: TopicChange) -> None:
        """Keep the first load of an offer up to date."""
        if load := self._loads.get(stream):
            load.follow([change])

    def forget(self, stream: Topic) -> None:
        """Nobody subscribes to it any more."""
        self._loads.pop(stream, None)
        self._failed_at.pop(stream, None)

    async def aclose(self) -> None:
        """Give up what is being read, and close the connections."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.disconnect()

    def _read_once(self, stream: Topic) -> asyncio.Task[FirstLoad]:
        task = self._reading.get(stream)
        if task is None:
            task = asyncio.create_task(self._read(stream), name="directus-gateway-first-load")
            self._reading[stream] = task
            task.add_done_callback(lambda _: self._reading.pop(stream, None))
        return task

    async def _read(self, stream: Topic) -> FirstLoad:
        begun_at = stream.last
        offer = stream.offer
        try:
            async with asyncio.timeout(TIMEOUT):
                client = self._client(offer.connection)
                newest = await client.read_newest(_query(offer), offer.first_load)
        except (DirectusRealtimeError, ImproperlyConfigured, OSError, ValueError) as error:
            # OSError is also a time that ran out, and a CA_FILE that is not there.
            problem = str(error).rstrip(".") or f"it did not answer within {TIMEOUT:g} s"
            message = f"The first load of {offer.name} cannot be read from Directus: {problem}"
            raise CannotLoad(message) from error
        for key, row in newest.rows:
            stream.rows.learn(key, row)
        load = FirstLoad(newest, offer.first_load)
        load.follow(stream.after(begun_at))
        self._loads[stream] = load
        return load

    def _client(self, alias: str) -> DirectusClient:
        if alias not in self._clients:
            self._clients[alias] = connection_settings(alias).make_client()
        return self._clients[alias]


def _query(offer: Offer) -> Query:
    item: Any = offer.item or None
    return Query(offer.collection, filter=offer.filter, fields=tuple(offer.fields), item=item)
