"""The feeds of a client: found, subscribed, told what the session says, and ended."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from directus_realtime.client.backoff import full_jitter
from directus_realtime.client.changes import ChangeReader
from directus_realtime.client.connection import Connection
from directus_realtime.client.feed import Feed, SubscriptionState
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.subscription import CALLBACK_FAILURES
from directus_realtime.client.system import known_gap
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

logger = logging.getLogger("directus_realtime.client")

#: Checks over REST at a time.
_CHECKS = 4


class FeedKeeper:
    """Keeps what the server knows of equal to the feeds that have subscriptions.

    Args:
        connection: The connection they live on.
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
        """The feed of a query; a new one, named after its first subscription, where none is.

        A feed can outlive that subscription, so its uid may be taken; a uid is never used
        for two queries at a time. The query is kept as it is now, whatever its caller does
        with the dicts in it.

        Raises:
            ValueError: Something in the query cannot be sent.
        """
        query = _copied(query)
        fingerprint = query.fingerprint()
        if feed := self._by_query.get(fingerprint):
            self.retry(feed)
            return feed
        free = next(name for name in _names(uid) if name not in self._by_uid)
        feed = Feed(free, query, is_final=self._connection.is_gateway)
        self._by_uid[free] = self._by_query[fingerprint] = feed
        if self._connection.has_socket:
            self._activate(feed)
        return feed

    def release(self, feed: Feed) -> None:
        """End a feed that has no subscription left."""
        if not feed.subscriptions:
            del self._by_uid[feed.uid]
            del self._by_query[feed.query.fingerprint()]
            self._unsubscribe(feed)
            if feed.state is SubscriptionState.WAITING:
                feed.refuse(SubscriptionRefused("UNSUBSCRIBED", "The subscription was ended."))

    def retry(self, feed: Feed) -> None:
        """Ask again for a feed that was refused."""
        if feed.state is SubscriptionState.REFUSED:
            feed.wait_again()
            feed.primary_key = None
            self._primary_keys.pop(feed.query.collection, None)
            if self._connection.has_socket:
                self._activate(feed)

    def activate(self) -> None:
        """Ask for every feed that waits; a new socket is authenticated."""
        self._checks = asyncio.Semaphore(_CHECKS)  # the event loop may be another one by now
        for feed in list(self._by_uid.values()):
            if feed.state is SubscriptionState.WAITING:
                self._activate(feed)

    def wait_again(self) -> None:
        """Mark every feed as waiting: the socket is lost, and every subscription with it.

        Primary keys are forgotten too: a collection may have another one by the next socket.
        """
        self._primary_keys.clear()
        for feed in self._by_uid.values():
            if feed.state is not SubscriptionState.WAITING:
                feed.wait_again()

    def handle(self, action: SessionAction) -> None:
        """Take what the session says."""
        match action:
            case protocol.ItemsChanged(uid, event, data):
                if feed := self._owner(uid):
                    self._changes.take(feed, uid, event, data)
            case protocol.Confirmed(uid):
                if feed := self._owner(uid):
                    feed.confirm(uid)
                    self._changes.go_on(feed)
            case protocol.Refused(uid, code, message):
                if feed := self._owner(uid):
                    self._unsubscribe(feed)  # it is had whole or not at all
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
            self._on_error(error)
        except CALLBACK_FAILURES:
            logger.exception(
                "on_error of the client failed.",
                extra={"what": "callback-failed", "callback": "on_error"},
            )

    def _activate(self, feed: Feed) -> None:
        self._connection.do(self._check_and_subscribe(feed))

    async def _check_and_subscribe(self, feed: Feed) -> None:
        """Ask over REST what the socket would not tell, then subscribe."""
        delays = full_jitter()
        while self._is_kept(feed):
            try:
                async with self._checks:
                    feed.primary_key = await self._check(feed.query)
            except (RequestRefused, ConnectionFailed) as error:
                self._log_again(feed, error)
                await asyncio.sleep(next(delays))
            except Exception as error:
                feed.refuse(_refusal(error))
                if isinstance(error, SubscriptionRefused):
                    return
                raise  # a bug of ours; but nobody waits for ever
            else:
                self._warn_of_gaps(feed.query.collection)
                self._subscribe(feed)
                return

    def _log_again(self, feed: Feed, error: Exception) -> None:
        reason = self._connection.explain(error)
        logger.warning(
            "%s is asked for again: %s",
            feed.query.collection,
            reason,
            extra={
                "what": "subscribe-again",
                "url": self._connection.url,
                "collection": feed.query.collection,
                "reason": str(reason),
            },
        )

    async def _check(self, query: Query) -> PrimaryKey:
        """Check a query, and give the primary key of its collection."""
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
                "%s: %s",
                collection,
                gap,
                extra={
                    "what": "directus-sends-less",
                    "url": self._connection.url,
                    "collection": collection,
                    "reason": gap,
                },
            )

    def _subscribe(self, feed: Feed) -> None:
        driver, server = self._connection.driver, self._connection.server
        feed.reads_updates = server is not None and server.query_limit > 0
        if driver is not None and self._is_kept(feed):
            for wire in feed.wire_subscriptions():
                driver.subscribe(wire)

    def _is_kept(self, feed: Feed) -> bool:
        """Whether anybody still wants it."""
        return self._by_uid.get(feed.uid) is feed

    def _unsubscribe(self, feed: Feed) -> None:
        if self._connection.driver is not None:
            for uid in feed.wire_uids():
                self._connection.driver.unsubscribe(uid)


def _refusal(error: Exception) -> SubscriptionRefused:
    if isinstance(error, SubscriptionRefused):
        return error
    return SubscriptionRefused("UNEXPECTED", f"An unexpected error ({type(error).__name__}).")


def _copied(query: Query) -> Query:
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
