"""Feeds of a client, and the reads that their change messages need."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import Any, TypeVar

from directus_realtime.client.connection import Connection
from directus_realtime.client.feed import CHANGED, Feed, FeedState
from directus_realtime.client.items import CurrentItems, ItemsRead, read_by_keys, read_current
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.rest import RestClient
from directus_realtime.client.rest_messages import ASK_LATER, UNREADABLE
from directus_realtime.client.system_collections import known_gap
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import (
    ConnectionFailed,
    DirectusRealtimeError,
    EventFailed,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.filters import to_plain
from directus_realtime.protocol import session as protocol
from directus_realtime.protocol.queries import Query
from directus_realtime.protocol.session import SessionAction
from directus_realtime.utils.backoff import full_jitter
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained

logger = EventLogger("directus_realtime.client")

#: Seconds in which changed keys are collected before one read of those that may have left.
WINDOW = 0.2
#: Items of one read, so that few rows are in memory.
_AT_A_TIME = 1000
#: Reads of an item that keeps changing until a row is delivered in between.
_READS = 3

T = TypeVar("T", ItemsRead, CurrentItems)
Follow = Callable[[Feed], Coroutine[Any, Any, None]]
Reading = Callable[[RestClient, Query, PrimaryKey, Sequence[Key]], Awaitable[T]]


class ChangeReader:
    """Processes the change messages of feeds.

    Reads run in the background while other messages are processed. Each read records the keys
    that change in the meantime: rows of those items may be stale, and are not used.

    Args:
        connection: Connection to read with.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._busy: set[tuple[Follow, Feed]] = set()

    def take(self, feed: Feed, wire_uid: str, action: Action, data: list[Any]) -> None:
        """Process a message of one of the feed's wire subscriptions."""
        if wire_uid == f"{feed.uid}.{CHANGED}":
            feed.receive_changed(data)
        elif action == "update" and feed.reads_updates:
            feed.updated.extend(_slices([key for key, _ in feed.keyed(action, data)]))
        else:
            feed.receive(action, data)
        self.go_on(feed)

    def go_on(self, feed: Feed) -> None:
        """Start the pending reads, those that a lost connection interrupted included."""
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
        """Run work on a feed unless the same work is running."""
        if (work, feed) in self._busy:
            return
        self._busy.add((work, feed))
        try:
            await work(feed)
        finally:
            self._busy.discard((work, feed))

    # Late messages

    async def _check_late(self, feed: Feed) -> None:
        """Deliver late messages of items that exist, and drop those of others."""
        reads: Counter[Key] = Counter()
        while feed.subscriptions and (keys := list(islice(feed.late, _AT_A_TIME))):
            with feed.announced.record() as changed:
                read = await self._read(feed, read_by_keys, keys)
            rows = read.rows if read else None
            reads.update(keys)
            for key in keys:
                row = rows.get(key) if rows else None
                if key not in changed or rows is None:
                    _settle_late(feed, key, row)
                elif row is not None and reads[key] >= _READS and (action := feed.late.get(key)):
                    # It keeps changing. This row may be older than the last message, which
                    # is not delivered itself, so it is read once more.
                    feed.receive_current(action, key, row)
                    feed.late[key] = "update"

    # Items that leave the filter

    async def _find_left(self, feed: Feed) -> None:
        """Deliver that items changed and are no longer in the filter."""
        while feed.subscriptions and not feed.leaving.is_idle:
            await self._connection.clock.sleep(WINDOW)
            feed.leaving.end_window()
            suspects = feed.leaving.suspects
            for key in [key for key in suspects if not feed.may_lose(key)]:
                del suspects[key]
            if keys := list(islice(suspects, _AT_A_TIME)):
                await self._read_suspects(feed, keys)

    async def _read_suspects(self, feed: Feed, keys: list[Key]) -> None:
        with feed.announced.record() as changed:
            items = await self._read(feed, read_current, keys)
        for key in keys:
            # An item that changed in the meantime is read again in the next window.
            if key not in feed.leaving.suspects or (items and key in changed):
                continue
            del feed.leaving.suspects[key]
            if items and key not in items.matching and key not in items.unreadable:
                feed.receive_left(key, items.others.get(key))

    # Updates that come without the query

    async def _read_updated(self, feed: Feed) -> None:
        """Deliver the items of updates as the query sees them, in the order of arrival."""
        while feed.subscriptions and feed.updated:
            await self._deliver_updated(feed, feed.updated[0])
            feed.updated.popleft()  # not before: a lost connection ends this anywhere

    async def _deliver_updated(self, feed: Feed, keys: list[Key]) -> None:
        # An item that was delivered during the read has a newer state already.
        with feed.delivered.record() as delivered:
            read = await self._read(feed, read_by_keys, keys)
        if read is None:
            return
        for key, row in read.rows.items():
            if key not in delivered:
                feed.receive_current("update", key, row)
        if feed.query.reports_leaving:
            absent = [key for key in keys if key not in read.rows and key not in read.unreadable]
            await self._deliver_outside(feed, [key for key in absent if feed.may_lose(key)])

    async def _deliver_outside(self, feed: Feed, keys: list[Key]) -> None:
        with feed.delivered.record() as delivered:
            others = await self._read(feed, _read_unfiltered, keys)
        for key in keys:
            if others is not None and key not in delivered and key not in others.unreadable:
                feed.receive_left(key, others.rows.get(key))

    async def _read(self, feed: Feed, read: Reading[T], keys: list[Key]) -> T | None:
        """Read items, and retry while the server is unavailable; ``None`` if it refuses."""
        delays = full_jitter(clock=self._connection.clock)
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
            await self._connection.clock.sleep(next(delays))


def _slices(keys: list[Key]) -> list[list[Key]]:
    return [keys[start : start + _AT_A_TIME] for start in range(0, len(keys), _AT_A_TIME)]


def _settle_late(feed: Feed, key: Key, row: dict[str, Any] | None) -> None:
    action = feed.late.pop(key, None)
    if action is None:
        return  # deleted while it was read
    if row is not None:
        feed.receive_current(action, key, row)
    else:
        collection = feed.query.collection
        logger.debug(
            "late-message",
            "A late %s of %s %s is left out.",
            action,
            collection,
            key,
            action=action,
            collection=collection,
            key=key,
        )


async def _read_unfiltered(
    rest: RestClient, query: Query, primary_key: PrimaryKey, keys: Sequence[Key]
) -> ItemsRead:
    return await read_by_keys(rest, query.without_condition(), primary_key, keys)


#: Concurrent checks over REST.
_CHECKS = 4


class Feeds:
    """Keeps the subscriptions on the server in sync with the local feeds.

    Args:
        connection: Connection of the feeds.
        on_error: Called with errors that belong to no feed.
    """

    def __init__(
        self, connection: Connection, on_error: Callable[[DirectusRealtimeError], None]
    ) -> None:
        self._connection = connection
        self._on_error = on_error
        self._by_query: dict[str, Feed] = {}
        self._by_uid: dict[str, Feed] = {}
        self._primary_keys: dict[str, PrimaryKey] = {}
        self._checks = asyncio.Semaphore(_CHECKS)
        self._changes = ChangeReader(connection)

    def get(self, uid: str, query: Query) -> Feed:
        """Return the feed of a query; create it where there is none.

        A feed can outlive the subscription that it is named after, so its uid may be taken; a
        uid is never used for two queries at a time. The query is copied.

        Raises:
            ValueError: Something in the query cannot be sent.
        """
        query = _plain_copy(query)
        fingerprint = query.fingerprint()
        if feed := self._by_query.get(fingerprint):
            self.retry(feed)
            return feed
        free = next(name for name in _names(uid) if name not in self._by_uid)
        feed = Feed(free, query, self._connection.clock)
        self._by_uid[free] = self._by_query[fingerprint] = feed
        if self._connection.has_socket:
            self._activate(feed)
        return feed

    def release(self, feed: Feed) -> None:
        """End a feed without subscriptions."""
        if not feed.subscriptions:
            del self._by_uid[feed.uid]
            del self._by_query[feed.query.fingerprint()]
            self._unsubscribe(feed)
            if feed.state is FeedState.WAITING:
                feed.refuse(SubscriptionRefused("UNSUBSCRIBED", "The subscription was ended."))

    def retry(self, feed: Feed) -> None:
        """Request a feed again that was refused."""
        if feed.state is FeedState.REFUSED:
            feed.wait_again()
            feed.primary_key = None
            self._primary_keys.pop(feed.query.collection, None)
            if self._connection.has_socket:
                self._activate(feed)

    def activate(self) -> None:
        """Request every waiting feed; a new socket is authenticated."""
        self._checks = asyncio.Semaphore(_CHECKS)  # the event loop may be another one by now
        for feed in list(self._by_uid.values()):
            if feed.state is FeedState.WAITING:
                self._activate(feed)

    def wait_again(self) -> None:
        """Mark every feed as waiting: the socket is lost, and every subscription with it.

        Primary keys are forgotten too: a collection may have another one by the next socket.
        """
        self._primary_keys.clear()
        for feed in self._by_uid.values():
            if feed.state is not FeedState.WAITING:
                feed.wait_again()

    def handle(self, action: SessionAction) -> None:
        """Process a message of the session."""
        match action:
            case protocol.ItemsChanged(uid, event, data):
                if feed := self._owner(uid):
                    self._changes.take(feed, uid, event, data)
            case protocol.Confirmed(uid):
                if feed := self._owner(uid):
                    feed.confirm(uid)
                    self._changes.go_on(feed)
            case protocol.SubscribeRefused(uid, code, message):
                if feed := self._owner(uid):
                    self._unsubscribe(feed)  # its other wire subscriptions
                    feed.refuse(SubscriptionRefused(code, message))
            case protocol.SubscriptionError(uid, code, message):
                self._report(EventFailed(code, message), self._owner(uid) if uid else None)
            case protocol.Ignored(error):
                self._report(error, None)
            case _:
                pass

    def _owner(self, wire_uid: str) -> Feed | None:
        return self._by_uid.get(wire_uid.rpartition(".")[0])

    def _report(self, error: DirectusRealtimeError, feed: Feed | None) -> None:
        if feed is not None:
            feed.report(error)
            return
        try:
            with contained():
                self._on_error(error)
        except Exception:
            logger.exception(
                "callback-failed", "on_error of the client failed.", callback="on_error"
            )

    def _activate(self, feed: Feed) -> None:
        self._connection.do(self._check_and_subscribe(feed))

    async def _check_and_subscribe(self, feed: Feed) -> None:
        """Check a query over REST, because a subscribe is not checked, then subscribe."""
        delays = full_jitter(clock=self._connection.clock)
        while self._is_kept(feed):
            try:
                async with self._checks:
                    feed.primary_key = await self._check(feed.query)
            except (RequestRefused, ConnectionFailed) as error:
                self._log_again(feed, error)
                await self._connection.clock.sleep(next(delays))
            except Exception as error:
                feed.refuse(_refusal(error))
                if isinstance(error, SubscriptionRefused):
                    return
                raise  # a bug; settled() must not wait for ever
            else:
                self._warn_of_gaps(feed.query.collection)
                self._subscribe(feed)
                return

    def _log_again(self, feed: Feed, error: Exception) -> None:
        reason = self._connection.explain(error)
        collection = feed.query.collection
        logger.warning(
            "subscribe-again",
            "%s is asked for again: %s",
            collection,
            reason,
            url=self._connection.url,
            collection=collection,
            reason=str(reason),
        )

    async def _check(self, query: Query) -> PrimaryKey:
        """Check a query, and return the primary key of its collection."""
        rest = self._connection.rest
        primary_key = self._primary_keys.get(query.collection)
        if primary_key is None:
            primary_key = await rest.primary_key(query.collection)
            self._primary_keys[query.collection] = primary_key
        await rest.check_query(query, primary_key)
        return primary_key

    def _warn_of_gaps(self, collection: str) -> None:
        server = self._connection.server
        if server is not None and (gap := known_gap(collection, server.version)):
            logger.warning(
                "directus-sends-less",
                "%s: %s",
                collection,
                gap,
                url=self._connection.url,
                collection=collection,
                reason=gap,
            )

    def _subscribe(self, feed: Feed) -> None:
        driver, server = self._connection.driver, self._connection.server
        feed.reads_updates = server is not None and server.query_limit > 0
        if driver is not None and self._is_kept(feed):
            for wire in feed.wire_subscriptions():
                driver.subscribe(wire)

    def _is_kept(self, feed: Feed) -> bool:
        return self._by_uid.get(feed.uid) is feed

    def _unsubscribe(self, feed: Feed) -> None:
        if self._connection.driver is not None:
            for uid in feed.wire_uids():
                self._connection.driver.unsubscribe(uid)


def _refusal(error: Exception) -> SubscriptionRefused:
    if isinstance(error, SubscriptionRefused):
        return error
    return SubscriptionRefused("UNEXPECTED", f"An unexpected error ({type(error).__name__}).")


def _plain_copy(query: Query) -> Query:
    return replace(
        query,
        filter=to_plain(query.filter),
        item=to_plain(query.item),
        deep=to_plain(query.deep),
        alias=to_plain(query.alias),
    )


def _names(uid: str) -> Iterator[str]:
    yield uid
    for number in itertools.count(2):
        yield f"{uid}-{number}"
