"""Items that the socket announced and that no row of the activity log explains."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from functools import partial

from cachetools import FIFOCache

from directus_realtime.client.activity_log import Change
from directus_realtime.client.doorbells import RingBook
from directus_realtime.events import Action, Key
from directus_realtime.listener.follower.event_builder import Built, EventBuilder
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.follower.log_access import LogAccess
from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import InboxEvent
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Remembered items; the oldest is dropped first.
_MOST = 20_000
#: Successive changes of a collection without a row that cause a warning.
_SUSPICIOUS = 10


class LastStates:
    """Last state of each item and subscription, to tell a change from a repetition."""

    def __init__(self, alias: str, inbox: Inbox) -> None:
        self._alias = alias
        self._inbox = inbox
        self._is_loaded = False
        self._digests: FIFOCache[tuple[str, str], int] = FIFOCache(_MOST)

    async def load(self) -> None:
        """Read the events of previous listeners, once."""
        if self._is_loaded:
            return
        # The inbox has no index by key: the newest events take one pass, for all items.
        stored = await self._inbox.run_in_order(partial(_stored_digests, self._alias))
        newer, self._digests = self._digests, FIFOCache(_MOST)
        self._digests.update(stored)
        self._digests.update(newer)
        self._is_loaded = True

    def note(self, rows: Iterable[InboxEvent]) -> None:
        """Note the events of subscriptions."""
        for row in rows:
            self._digests[row.subscription, row.key_json] = _digest(row)

    def is_new(self, row: InboxEvent) -> bool:
        """Return whether an event differs from the last one of its item."""
        return self._digests.get((row.subscription, row.key_json)) != _digest(row)


def _digest(row: InboxEvent) -> int:
    if row.action == "delete":
        return 0
    return hash((row.data_json, row.left_filter))


def _stored_digests(alias: str) -> dict[tuple[str, str], int]:
    """Return the digests of the newest events of a connection, the oldest first."""
    rows = InboxEvent.objects.filter(connection=alias).order_by("-id")
    columns = rows.only("subscription", "key_json", "action", "data_json", "left_filter")
    found: dict[tuple[str, str], int] = {}
    for row in columns[:_MOST].iterator():
        found.setdefault((row.subscription, row.key_json), _digest(row))
    return dict(reversed(found.items()))


class RungItems:
    """Rings that wait for their rows, and the events of those without a row."""

    def __init__(
        self, alias: str, builder: EventBuilder, last_states: LastStates, clock: SystemClock
    ) -> None:
        self._alias = alias
        self._log = logger.bind(connection=alias)
        self._builder = builder
        self._last_states = last_states
        self._book = RingBook(clock)
        self._unread: list[Change] = []
        self._without_row: dict[str, int] = {}
        self.has_young_holes = False

    def add(
        self,
        collection: str,
        action: Action | None,
        keys: Iterable[Key],
        *,
        is_socket_only: bool,
    ) -> None:
        """Note a ring.

        Args:
            collection: Name of the collection.
            action: The action; ``None`` where the socket did not report it.
            keys: Canonical keys of the items.
            is_socket_only: Whether the log may have nothing of the collection.
        """
        self._book.poll_soon()
        if action is None:
            return
        for key in keys:
            self._book.add(collection, key, action)
            if is_socket_only:
                self._unread.append(Change(collection, action, key))

    def knock(self) -> None:
        """Note a knock at the door: a change of an unknown item."""
        self._book.knock()

    def polled(self, began_at: float) -> None:
        """Note that the log was polled.

        Args:
            began_at: When the poll began, by the monotonic clock.
        """
        self._book.polled(began_at)

    def wait(self) -> float | None:
        """Return the seconds until a ring is due; ``None`` where none is open."""
        return 0.0 if self._unread else self._book.wait()

    def answer(
        self, items: Iterable[tuple[str, Key]], read_from: float, collections: Iterable[str]
    ) -> None:
        """Note that items were read for rows of the log.

        Args:
            items: Collections and canonical keys.
            read_from: When the read began, by the monotonic clock.
            collections: Of the rows.
        """
        self._book.answer(items, read_from)
        for collection in collections:
            self._without_row.pop(collection, None)

    async def build(
        self, subscriptions: Iterable[FollowedSubscription], access: LogAccess
    ) -> AsyncIterator[Built]:
        """Make events of the rings that are due."""
        subscribed = [each for each in subscriptions if each.is_subscribed]
        if self._unread:
            socket_only = [each for each in subscribed if each.is_socket_only]
            count = len(self._unread)
            built = await self._builder.build(self._unread, socket_only, lambda change: "live")
            del self._unread[:count]
            yield built
        self._book.has_young_holes = self.has_young_holes
        if due := self._book.take_due():
            able = [each for each in subscribed if each.is_current or each.is_socket_only]
            try:
                await self._last_states.load()
                built = await self._builder.build_unlogged(due, able)
            except BaseException:
                for ring in due:
                    self._book.add(ring.collection, ring.key, ring.action)
                raise
            entries = [each for each in built.entries if self._last_states.is_new(each.row)]
            built.entries = entries
            self._count({e.row.collection for e in entries if access.is_logged(e.row.collection)})
            yield built

    def _count(self, collections: Collection[str]) -> None:
        """Count changes without a row: many of them indicate rows hidden from the token."""
        for collection in collections:
            count = self._without_row[collection] = self._without_row.get(collection, 0) + 1
            if count == _SUSPICIOUS:
                self._log.warning(
                    "log-hidden",
                    "%s  changes of %s keep coming without a row in the activity log: Directus "
                    "does not log them, or hides their rows from the token. Such changes are lost "
                    "where the socket does not bring them.",
                    self._alias,
                    collection,
                    collection=collection,
                )
