"""The follower: reads the activity log of one connection, and makes events of its rows.

The log is the truth; the socket and the clock only say that it is time to look (*rings*).
One path serves live changes, outages and restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import (
    ACTIVITY,
    ActivityLog,
    ActivityRow,
    Change,
    IdRange,
    LogPage,
    changes_of,
)
from directus_realtime.client.doorbells import LONG_PATIENCE, PollPace, Ring
from directus_realtime.client.feed import KeyRecorder
from directus_realtime.client.log_position import MOST_ASKED
from directus_realtime.events import Key, Origin
from directus_realtime.exceptions import (
    ConnectionFailed,
    DirectusRealtimeError,
    RequestRefused,
)
from directus_realtime.listener import matched_items
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.follower import gaps, position_store
from directus_realtime.listener.follower.event_builder import Built, EventBuilder
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.follower.gaps import GapKeeper, Outage
from directus_realtime.listener.follower.log_access import LogAccess
from directus_realtime.listener.follower.log_cursor import LogCursor
from directus_realtime.listener.follower.parked_changes import ParkedChanges
from directus_realtime.listener.follower.position_store import Progress
from directus_realtime.listener.follower.rung_items import LastStates, RungItems
from directus_realtime.listener.follower.subscription_registry import SubscriptionRegistry
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.inbox_entry import Memory
from directus_realtime.utils.backoff import full_jitter
from directus_realtime.utils.logs import Repetitions
from directus_realtime.utils.system_clock import SystemClock

logger = logging.getLogger("directus_realtime.listener")

#: Events that are made of rows at a time.
_EVENTS = 2000
#: Rows of these collections may change what the token may read, or how.
_SCHEMA = frozenset(
    f"directus_{name}"
    for name in ("access", "collections", "fields", "permissions", "policies", "relations", "roles")
)


@dataclass(frozen=True)
class Pace:
    """How often the log is looked at.

    Attributes:
        poll_interval: Seconds between two looks while no socket rings.
        ring_interval: Seconds between two looks while the socket rings.
        hole_age: Seconds after which an id that never became visible is given up.
    """

    poll_interval: float = 1.0
    ring_interval: float = 30.0
    hole_age: float = 3600.0


class Follower:
    """Follows the activity log of one connection for all of its subscriptions.

    Args:
        client: To read with.
        inbox: Takes the events, and how far the log is read with them.
        gaps: Announces what may be lost.
        pace: How often the log is looked at.
        on_change: Called where a subscription stands otherwise than before.
        clock: Gives the time.
    """

    def __init__(
        self,
        client: DirectusClient,
        inbox: Inbox,
        gaps: GapKeeper,
        pace: Pace,
        on_change: Callable[[], None] = lambda: None,
        clock: SystemClock | None = None,
    ) -> None:
        self._client = client
        self._alias = client.name
        self._inbox = inbox
        self._gaps = gaps
        self._pace = pace
        self._clock = clock = clock or SystemClock()
        self._access = LogAccess(client)
        self._subscriptions = SubscriptionRegistry(client, self._access, gaps, on_change, clock)
        self._cursor = LogCursor(client, inbox, gaps, pace.hole_age, clock)
        self._builder = EventBuilder(client, self._inside, clock)
        self._poll_pace = PollPace(clock)
        self._last_states = LastStates(self._alias, inbox)
        self._rung = RungItems(self._alias, self._builder, self._last_states, clock)
        self._parked = ParkedChanges(self._alias, inbox, clock, pace.hole_age)
        self._repetitions = Repetitions()
        self._notes: dict[str, KeyRecorder] = {}
        self._log: ActivityLog | None = None
        self._must_learn = True
        self._learnt_at = 0.0
        self._socket_lost_at: datetime | None = None
        self._wake = asyncio.Event()
        self._looked_at = -pace.ring_interval

    @property
    def read_at(self) -> datetime | None:
        """When the log was last read to its end, by our clock; ``None`` for never."""
        return self._cursor.read_at

    @property
    def complete_until(self) -> datetime | None:
        """Up to when everything that was logged is stored; ``None`` for never."""
        return self._cursor.complete_until

    @property
    def log_problem(self) -> str:
        """Why the log cannot be read, as a sentence without a full stop; empty where it can."""
        return self._access.problem

    @property
    def poll_interval(self) -> float:
        """Seconds between two looks at the log while no socket rings."""
        return self._pace.poll_interval

    # What the connection says

    def follow(self, wanted: DesiredSubscription) -> FollowedSubscription:
        """Follow the log for a subscription, from where it was left."""
        subscription = self._subscriptions.add(wanted)
        self.wake()
        return subscription

    def update(self, wanted: DesiredSubscription) -> None:
        """Take note of what became of a subscription in the database."""
        self._subscriptions.update(wanted)

    def unfollow(self, wanted: DesiredSubscription) -> None:
        """Leave a subscription."""
        self._subscriptions.remove(wanted)

    def connected(self) -> None:
        """Believe nothing that was learnt before: the server may be another one."""
        self._must_learn = self._cursor.must_resume = True
        self.wake()

    def lost_connection(self, reason: str) -> None:
        """Note that Directus cannot be asked."""
        self._gaps.begin(self.read_at, reason)
        self._subscriptions.wait()

    def wake(self) -> None:
        """Look at the log soon."""
        self._wake.set()

    def socket_changed(self) -> None:
        """Note that the socket began or ceased to ring."""
        if self._client.has_socket:
            lost_at, self._socket_lost_at = self._socket_lost_at, None
            socket_only = {each.collection for each in self._subscriptions if each.is_socket_only}
            if lost_at is not None and socket_only:
                outage = Outage(lost_at, "the socket was lost", doubts=[gaps.SOCKET_ONLY])
                self._gaps.announce(outage, sorted(socket_only), self._clock.now())
        elif self._socket_lost_at is None:
            self._socket_lost_at = self._clock.now()
        self._subscriptions.stand_by_socket()
        self.wake()

    def ring(self, ring: Ring) -> None:
        """Take a ring of the socket."""
        subscriptions = self._subscriptions.of_collection(ring.collection)
        primary_key = self._subscriptions.primary_key(ring.collection)
        keys = [primary_key.canonical(written) for written in ring.keys] if subscriptions else []
        for key in keys:
            self._note_changed(ring.collection, key)
        is_socket_only = any(each.is_socket_only for each in subscriptions)
        self._rung.add(ring.collection, ring.action, keys, is_socket_only=is_socket_only)
        self._poll_pace.rang()
        self.wake()

    @contextlib.contextmanager
    def noting_changes(self, collection: str) -> Iterator[set[Key]]:
        """The keys of the items whose changes are seen while the block runs."""
        notes = self._notes.setdefault(collection, KeyRecorder())
        with notes.record() as changed:
            yield changed

    def _note_changed(self, collection: str, key: Key) -> None:
        if (notes := self._notes.get(collection)) is not None:
            notes.add(key)

    async def _inside(self, memory: Memory, keys: list[Key]) -> set[Key]:
        return await self._inbox.run_in_order(partial(matched_items.inside, memory, keys))

    # The work

    async def run(self) -> None:
        """Work until cancelled."""
        delays = full_jitter()
        while True:
            await self._wait()
            if not self._client.is_connected:
                continue
            try:
                await self._step()
            except DirectusRealtimeError as error:
                self._failed(error)
            except Exception:
                # Whatever it is, it must not end the other connections.
                logger.exception(
                    "%s  following the activity log failed; it is tried again.",
                    self._alias,
                    extra={"event": "follow-failed", "connection": self._alias},
                )
                self._cursor.must_resume = True
            else:
                delays = full_jitter()
                continue
            await self._clock.sleep(next(delays))
            self.wake()

    async def _wait(self) -> None:
        """Wait until something is due, and keep the distance between polls."""
        await self._clock.wait(self._wake, self._seconds_to_wait())
        self._wake.clear()
        delay = self._poll_pace.delay()
        if delay > 0:
            await self._clock.sleep(delay)

    def _seconds_to_wait(self) -> float:
        if not self._client.is_connected:
            return self._pace.ring_interval
        now = self._clock.monotonic()
        interval = self._pace.ring_interval
        if not self._client.has_socket:
            interval = min(self._pace.poll_interval, interval)
        times = [self._looked_at + interval - now]
        times += [moment - now for moment in self._subscriptions.retry_at()]
        if (wait := self._rung.wait()) is not None:
            times.append(wait)
        if (due := self._cursor.position.next_due()) is not None:
            times.append(due - self._cursor.wall())
        return max(min(times), 0.0)

    def _failed(self, error: DirectusRealtimeError) -> None:
        logger.log(
            logging.WARNING if self._repetitions.first_within(str(error)) else logging.DEBUG,
            "%s  the activity log is read again: %s",
            self._alias,
            error,
            extra={"event": "log-again", "connection": self._alias, "error": str(error)},
        )
        self._gaps.begin(self.read_at, str(error))
        self._cursor.must_resume = True
        status = error.status if isinstance(error, RequestRefused) else 0
        self._must_learn = self._must_learn or bool(status)
        # A server that is busy refuses nothing: to connect again would be more work for it.
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._client.recheck()

    async def _step(self) -> None:
        self._looked_at = now = self._clock.monotonic()
        # Without the log, no row announces that the token may read it now.
        is_blind = bool(self._access.problem) and now - self._learnt_at >= self._pace.ring_interval
        if self._must_learn or is_blind:
            await self._learn()
        log = self._log or self._client.activity
        await self._cursor.load()
        await self._parked.load()
        if not self._access.problem and self._cursor.must_resume:
            await self._cursor.resume(log, self._subscriptions)
        await self._subscriptions.check(self._cursor.position.unread())
        if self._access.problem:
            self._rung.polled()
            self._put(Built(), self._cursor.note_socket())
        else:
            await self._follow_log(log)
        await self._answer_rings()
        await self._end_outage()

    async def _learn(self) -> None:
        """Ask again for everything that the server may have changed."""
        before = self._access.problem
        self._must_learn, self._learnt_at = False, self._clock.monotonic()
        try:
            await self._access.learn()
        except BaseException:
            self._must_learn = True
            raise
        self._log = self._client.activity
        if (problem := self._access.problem) != before:
            self._cursor.must_resume = True  # what was read before may be deleted by now
            if problem:
                self._gaps.begin(self.read_at, problem)
        self._inbox.put([], partial(position_store.write_problem, self._alias, problem))
        self._subscriptions.ask_again()

    # The log

    async def _follow_log(self, log: ActivityLog) -> None:
        position, began_at = self._cursor.position, self._clock.now()
        await self._read_new(log)
        if self._subscriptions.begin(position.top):
            # With the position: without it, the next listener would begin at another end.
            self._put(Built(), self._cursor.values())
        for each in self._subscriptions:
            if each.is_catching_up:
                await self._catch_up(each, log)
        await self._retry_parked(log)
        if self._cursor.drop_holes():
            self._put(Built(), self._cursor.values())
        await self._cursor.verify(log)
        if values := self._cursor.note_read(began_at):
            self._put(Built(), values)
            self._inbox.put([], partial(self._cursor.note_stored, values["read_at"]))

    async def _read_new(self, log: ActivityLog) -> None:
        """Read every row that is visible and was not read yet."""
        position, now = self._cursor.position, self._cursor.wall()
        self._rung.has_young_holes = position.has_young_hole(now, LONG_PATIENCE)
        self._poll_pace.polled()
        due = position.due(now, all_of_them=self._rung.waits_for_rows)
        ranges = [*due, IdRange(position.top + 1)]
        for start in range(0, len(ranges), MOST_ASKED):
            async for page in log.pages(ranges[start : start + MOST_ASKED]):
                if not self._client.is_connected:
                    raise ConnectionFailed(self._client.reason)
                await self._take(page)
                await self._inbox.has_room()
        self._rung.polled()

    async def _take(self, page: LogPage) -> None:
        """Make events of a page, some rows at a time."""
        position = self._cursor.position
        self._leave_out(page)
        rows = [row for row in page.rows if position.is_new(row.id)]
        self._poll_pace.found(len(rows))
        ids = page.ids
        for chunk in self._chunks(rows):
            taken = [number for number in ids if number <= chunk[-1].id]
            ids = ids[len(taken) :]
            await self._take_rows(chunk, taken)
        if ids:
            self._subscriptions.leave_out(position.unread())
            position.take(ids, (), self._cursor.wall())
            self._put(Built(), self._cursor.values())
        if any(row.collection in _SCHEMA for row in rows):
            self._must_learn = True
            self.wake()

    def _chunks(self, rows: Sequence[ActivityRow]) -> list[Sequence[ActivityRow]]:
        """Rows in runs that make a bounded number of events."""
        interested: dict[str, int] = {}
        for each in self._subscriptions:
            interested[each.collection] = interested.get(each.collection, 0) + 1
        chunks: list[Sequence[ActivityRow]] = []
        start = size = 0
        for place, row in enumerate(rows):
            size += interested.get(row.collection, 0) + interested.get(ACTIVITY, 0)
            if size >= _EVENTS:
                chunks.append(rows[start : place + 1])
                start, size = place + 1, 0
        return [*chunks, rows[start:]] if start < len(rows) else chunks

    async def _take_rows(self, rows: Sequence[ActivityRow], ids: Sequence[int]) -> None:
        position = self._cursor.position
        primary_keys = self._subscriptions.primary_keys()
        changes = changes_of(rows, primary_keys)
        keys = [primary_keys[change.collection].canonical(change.item) for change in changes]
        for change, key in zip(changes, keys, strict=True):
            self._note_changed(change.collection, key)
        read_from = self._clock.monotonic()
        current = [each for each in self._subscriptions if each.is_current]
        built = await self._builder.build(changes, current, self._origin_of, position.top)
        self._refuse(built)
        self._subscriptions.leave_out(position.unread(), but=current)
        deleted = {
            (change.collection, key)
            for change, key in zip(changes, keys, strict=True)
            if change.action == "delete"
        }
        self._rung.answer(built.read | deleted, read_from, {row.collection for row in rows})
        position.take(ids, rows, self._cursor.wall())
        self._cursor.progress.add(len(ids), len(built.entries))
        if self._gaps.outage is not None:
            self._gaps.outage.events += len(built.entries)
        self._put(built, self._cursor.values())

    def _refuse(self, built: Built) -> None:
        """Refuse the subscriptions whose items Directus refuses to read."""
        unread = self._cursor.position.unread()
        for subscription, error in built.refused.items():
            self._subscriptions.refuse(subscription, error, unread)

    def _origin_of(self, change: Change) -> Origin:
        is_old = change.row is not None and change.row.id <= self._cursor.boundary
        return "catch-up" if is_old else "live"

    def _put(self, built: Built, values: Mapping[str, object] | None = None) -> None:
        """Store events, and with them how far the log is read."""
        self._last_states.note(entry.row for entry in built.entries)
        found, deleted = self._parked.resolve(built)
        self._parked.add(built.parked)
        places = self._subscriptions.changed_places()
        progress = Progress(self._alias, values or {}, places, built.parked, found, deleted)
        self._inbox.put(built.entries, progress.write)

    def _leave_out(self, page: LogPage) -> None:
        """Go on without rows that make no sense: they would be the same at each new try."""
        followed = set(self._subscriptions.collections)
        for row in page.unreadable:
            self._gaps.doubt(
                gaps.ROW_UNREADABLE, followed & {row.collection} if row.collection else followed
            )
            logger.warning(
                "%s  %s of the activity log cannot be read and is left out: its change may be "
                "lost.",
                self._alias,
                row.place,
                extra={
                    "event": "log-row-unreadable",
                    "connection": self._alias,
                    "collection": row.collection,
                    "row": row.place,
                },
            )

    async def _catch_up(self, subscription: FollowedSubscription, log: ActivityLog) -> None:
        """Read a page of what was left out for a subscription that can be read again."""
        place, top = subscription.place, self._cursor.position.top
        await self._check_left_out(subscription, log)
        ranges = [
            IdRange(each.first, min(each.last or top, top))
            for each in place.unread
            if each.first <= top
        ]
        collections = () if subscription.collection == ACTIVITY else (subscription.collection,)
        page = await anext(log.pages(ranges, collections), LogPage()) if ranges else LogPage()
        changes = changes_of(page.rows, {subscription.collection})
        built = await self._builder.build(changes, [subscription], lambda change: "catch-up", top)
        self._refuse(built)
        if not built.refused:
            if page.size < log.page_size:
                subscription.caught_up()
            else:
                place.catch_up(page.ids[-1], self._cursor.position.holes)
            self._put(built)
            self.wake()

    async def _check_left_out(self, subscription: FollowedSubscription, log: ActivityLog) -> None:
        """Doubt what was left out where the log was pruned meanwhile."""
        if subscription.is_left_out_checked:
            return
        before = subscription.place.unread[0].first - 1
        is_whole = before <= 0 or await log.find([before]) or await log.has_change_up_to(before)
        if not is_whole:
            self._gaps.doubt(gaps.PRUNED, {subscription.collection})
        subscription.is_left_out_checked = True

    async def _retry_parked(self, log: ActivityLog) -> None:
        """Read items again that were not found, and give up those of long ago."""
        for subscription in self._subscriptions:
            number = subscription.wanted.subscription_id
            changes = self._parked.due(number) if subscription.is_current else []
            if changes:
                built = await self._builder.build(changes, [subscription], self._origin_of)
                built.parked = []
                self._refuse(built)
                self._put(built)
        await self._parked.give_up_old(log)

    async def _answer_rings(self) -> None:
        """Make events of rings that no row answers."""
        async for built in self._rung.build(self._subscriptions, self._access):
            self._refuse(built)
            self._put(built)

    async def _end_outage(self) -> None:
        """Announce what became of an outage, once everything is stored that can be read."""
        if not self._has_ended_outage():
            return
        until = self._clock.now() if self._access.problem else self.read_at
        # What was read is in memory alone until then, and the log goes on meanwhile.
        await self._inbox.run_in_order(lambda: None)
        if self._has_ended_outage():
            self._gaps.end(self._subscriptions.uncertain(), until or self._clock.now())

    def _has_ended_outage(self) -> bool:
        is_asked = self._client.is_connected and not self._must_learn
        return self._gaps.outage is not None and is_asked and self._subscriptions.is_settled
