"""Change messages: handed over, or read over REST where they do not tell enough."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any, TypeVar

from directus_realtime.client.backoff import full_jitter
from directus_realtime.client.connection import Connection
from directus_realtime.client.feed import CHANGED, Feed
from directus_realtime.client.items import CurrentItems, ItemsRead, read_by_keys, read_current
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.responses import ASK_LATER, UNREADABLE
from directus_realtime.client.rest import RestClient
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import ConnectionFailed, EventFailed, RequestRefused
from directus_realtime.protocol.queries import Query

logger = logging.getLogger("directus_realtime.client")

#: How long changed keys are gathered before one read of those that may have left, in seconds.
WINDOW = 0.2
#: Items read at a time, so that few rows are in memory.
_AT_A_TIME = 1000
#: How often an item that goes on changing is read anew before a row is handed over in between.
_READS = 3

T = TypeVar("T", ItemsRead, CurrentItems)
Follow = Callable[[Feed], Coroutine[Any, Any, None]]
Reading = Callable[[RestClient, Query, PrimaryKey, Sequence[Key]], Awaitable[T]]


class ChangeReader:
    """Takes the change messages of feeds.

    Reads run in the background while other messages flow on. Each read notes what changes
    meanwhile: what it found of those items may be old, and is not used.

    Args:
        connection: To read with.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._busy: set[tuple[Follow, Feed]] = set()

    def take(self, feed: Feed, wire_uid: str, action: Action, data: list[Any]) -> None:
        """Take a message of one of the feed's wire subscriptions."""
        if wire_uid == f"{feed.uid}.{CHANGED}":
            feed.receive_changed(data)
        elif action == "update" and feed.reads_updates:
            feed.updated.extend(_slices([key for key, _ in feed.keyed(action, data)]))
        else:
            feed.receive(action, data)
        self.go_on(feed)

    def go_on(self, feed: Feed) -> None:
        """Read what has to be read, also what a lost connection has interrupted."""
        if feed.updated:
            self._follow(self._read_updated, feed)
        if feed.late:
            self._follow(self._check_late, feed)
        if not feed.leaving.is_idle:
            self._follow(self._find_left, feed)

    def _follow(self, work: Follow, feed: Feed) -> None:
        if (work, feed) not in self._busy:
            self._connection.do(self._once(work, feed))

    async def _once(self, work: Follow, feed: Feed) -> None:
        """Do some work on a feed unless the same is being done."""
        if (work, feed) in self._busy:
            return
        self._busy.add((work, feed))
        try:
            await work(feed)
        finally:
            self._busy.discard((work, feed))

    # Late messages

    async def _check_late(self, feed: Feed) -> None:
        """Hand over what came late of an item that is there, and drop what came of others."""
        reads: Counter[Key] = Counter()
        while feed.subscriptions and (keys := list(islice(feed.late, _AT_A_TIME))):
            with feed.news.taken() as changed:
                read = await self._read(feed, read_by_keys, keys)
            rows = read.rows if read else None
            reads.update(keys)
            for key in keys:
                row = rows.get(key) if rows else None
                if key not in changed or rows is None:
                    _settle_late(feed, key, row)
                elif row is not None and reads[key] >= _READS and (action := feed.late.get(key)):
                    # It goes on changing. This row may be older than the last message, which
                    # is not handed over itself, so it is read once more.
                    feed.receive_current(action, key, row)
                    feed.late[key] = "update"

    # Items that leave the filter

    async def _find_left(self, feed: Feed) -> None:
        """Tell of items that changed and are not in the filter any more."""
        while feed.subscriptions and not feed.leaving.is_idle:
            await asyncio.sleep(WINDOW)
            feed.leaving.end_window()
            suspects = feed.leaving.suspects
            for key in [key for key in suspects if not feed.may_lose(key)]:
                del suspects[key]
            if keys := list(islice(suspects, _AT_A_TIME)):
                await self._read_suspects(feed, keys)

    async def _read_suspects(self, feed: Feed, keys: list[Key]) -> None:
        with feed.news.taken() as changed:
            items = await self._read(feed, read_current, keys)
        for key in keys:
            # What changed meanwhile is read again in the next window.
            if key not in feed.leaving.suspects or (items and key in changed):
                continue
            del feed.leaving.suspects[key]
            if items and key not in items.matching and key not in items.unreadable:
                feed.receive_left(key, items.others.get(key))

    # Updates that come without the query

    async def _read_updated(self, feed: Feed) -> None:
        """Hand over the items of updates as the query sees them, in the order they came."""
        while feed.subscriptions and feed.updated:
            await self._hand_over_updated(feed, feed.updated[0])
            feed.updated.popleft()  # not before: a lost connection ends this anywhere

    async def _hand_over_updated(self, feed: Feed, keys: list[Key]) -> None:
        # What was handed over while it was read has told its newer state already.
        with feed.told.taken() as told:
            read = await self._read(feed, read_by_keys, keys)
        if read is None:
            return
        for key, row in read.rows.items():
            if key not in told:
                feed.receive_current("update", key, row)
        if feed.query.tells_leaving:
            absent = [key for key in keys if key not in read.rows and key not in read.unreadable]
            await self._tell_outside(feed, [key for key in absent if feed.may_lose(key)])

    async def _tell_outside(self, feed: Feed, keys: list[Key]) -> None:
        with feed.told.taken() as told:
            others = await self._read(feed, _read_unfiltered, keys)
        for key in keys:
            if others is not None and key not in told and key not in others.unreadable:
                feed.receive_left(key, others.rows.get(key))

    async def _read(self, feed: Feed, read: Reading[T], keys: list[Key]) -> T | None:
        """Read items; ``None`` where Directus refuses, a server that is away is waited for."""
        delays = full_jitter()
        while True:
            try:
                found = await read(
                    self._connection.rest, feed.query, feed.primary_key or PrimaryKey(), keys
                )
            except RequestRefused as error:
                feed.report(EventFailed(error.code, error.message))
                if (
                    error.status < HTTPStatus.INTERNAL_SERVER_ERROR
                    and error.status not in ASK_LATER
                ):
                    return None
            except ConnectionFailed as error:
                feed.report(EventFailed("UNREACHABLE", str(error)))
            else:
                for sentence in found.unreadable.values():
                    feed.report(EventFailed(UNREADABLE, sentence))
                return found
            await asyncio.sleep(next(delays))


def _slices(keys: list[Key]) -> list[list[Key]]:
    return [keys[start : start + _AT_A_TIME] for start in range(0, len(keys), _AT_A_TIME)]


def _settle_late(feed: Feed, key: Key, row: dict[str, Any] | None) -> None:
    action = feed.late.pop(key, None)
    if action is None:
        return  # deleted while it was read
    if row is not None:
        feed.receive_current(action, key, row)
    else:
        logger.debug(
            "A late %s of %s %s is left out.",
            action,
            feed.query.collection,
            key,
            extra={
                "what": "late-message",
                "collection": feed.query.collection,
                "action": action,
                "key": key,
            },
        )


async def _read_unfiltered(
    rest: RestClient, query: Query, primary_key: PrimaryKey, keys: Sequence[Key]
) -> ItemsRead:
    return await read_by_keys(rest, query.without_condition(), primary_key, keys)
