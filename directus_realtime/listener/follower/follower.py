"""The follower reads the activity log of one connection, and makes events of its rows.

The log is the source of truth; the socket and the clock only trigger a poll (*rings*). One path
serves live changes, outages and restarts. Methods of this package that read from Directus raise
``RequestRefused`` where it is not ready to answer, and ``ConnectionFailed`` where it cannot be
reached; the loop of the follower retries.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
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
from directus_realtime.client.doorbells import LONG_PATIENCE, DoorWatch, Ring
from directus_realtime.client.feed import FeedState, KeyRecorder
from directus_realtime.client.log_position import MOST_ASKED
from directus_realtime.client.poll_pace import PollPace
from directus_realtime.database import chunks
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
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.aio import Wakeup
from directus_realtime.utils.backoff import full_jitter
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

#: Maximum number of events of one batch of rows.
_EVENTS = 2000
#: Rows of these collections may change what the token may read, or how.
_SCHEMA = frozenset(
    f"directus_{name}"
    for name in ("access", "collections", "fields", "permissions", "policies", "relations", "roles")
)


class Follower:
    """Reader of the activity log of one connection, for all of its subscriptions.

    Args:
        client: Reads from Directus.
        settings: Settings of the connection.
        inbox: Stores the events, and the position in the log with them.
        lifecycle_signals: Announces possibly lost changes.
        on_change: Called where the state of a subscription changed.
        clock: Gives the time.
    """

    def __init__(
        self,
        client: DirectusClient,
        settings: ConnectionSettings,
        inbox: Inbox,
        lifecycle_signals: LifecycleSignals,
        on_change: Callable[[], None],
        clock: SystemClock,
    ) -> None:
        self._client = client
        self._alias = client.name
        self._inbox = inbox
        self._poll_interval = settings.poll_interval
        self._ring_interval = settings.catch_up_interval
        self._clock = clock
        self._gaps = keeper = GapKeeper(self._alias, inbox, lifecycle_signals, clock)
        self._log = EventLogger("directus_realtime.listener", clock=clock, connection=client.name)
        self._access = LogAccess(client)
        self._subscriptions = SubscriptionRegistry(client, self._access, keeper, on_change, clock)
        self._cursor = LogCursor(client, inbox, keeper, settings.hole_age, clock)
        self._builder = EventBuilder(client, self._inside, clock)
        self._poll_pace = PollPace(clock)
        self._door = DoorWatch(clock) if settings.door_secret else None
        self._last_states = LastStates(self._alias, inbox)
        self._rung = RungItems(self._alias, self._builder, self._last_states, clock)
        self._parked = ParkedChanges(self._alias, inbox, clock, settings.hole_age)
        self._notes: dict[str, KeyRecorder] = {}
        self._activity_log: ActivityLog | None = None
        self._must_learn = True
        self._learnt_at = 0.0
        self._socket_lost_at: datetime | None = None
        self._wakeup = Wakeup(clock)
        self._polled_at = -self._ring_interval

    @property
    def complete_until(self) -> datetime | None:
        """Time up to which all logged changes are stored; ``None`` for never."""
        return self._cursor.complete_until

    @property
    def log_problem(self) -> str:
        """Why the log cannot be read, as a sentence without a full stop; empty where it can."""
        return self._access.problem

    # Called by the connection

    def follow(self, desired: DesiredSubscription) -> FollowedSubscription:
        """Follow the log for a subscription, from its previous place."""
        subscription = self._subscriptions.add(desired)
        self._wakeup.set()
        return subscription

    def unfollow(self, desired: DesiredSubscription) -> None:
        """Remove a subscription."""
        self._subscriptions.remove(desired)

    def connected(self) -> None:
        """Discard what is known of the server: it may be another one."""
        self._must_learn = self._cursor.must_resume = True
        self._wakeup.set()

    def lost_connection(self, reason: str) -> None:
        """Note that Directus is unavailable."""
        self._gaps.begin(self._cursor.read_at, reason)
        for each in self._subscriptions:
            each.wait()

    def socket_changed(self) -> None:
        """Note that the socket was opened or lost."""
        if self._client.has_socket:
            lost_at, self._socket_lost_at = self._socket_lost_at, None
            socket_only = {each.collection for each in self._subscriptions if each.is_socket_only}
            if lost_at is not None and socket_only:
                outage = Outage(lost_at, "the socket was lost", doubts=[gaps.SOCKET_ONLY])
                self._gaps.announce(outage, sorted(socket_only), self._clock.now())
        elif self._socket_lost_at is None:
            self._socket_lost_at = self._clock.now()
        self._subscriptions.stand_by_socket()
        self._wakeup.set()

    def ring(self, ring: Ring) -> None:
        """Handle a ring of the socket."""
        subscriptions = self._subscriptions.of_collection(ring.collection)
        primary_key = self._subscriptions.primary_key(ring.collection)
        keys = [primary_key.canonical(written) for written in ring.keys] if subscriptions else []
        for key in keys:
            self._note_changed(ring.collection, key)
        is_socket_only = any(each.is_socket_only for each in subscriptions)
        self._rung.add(ring.collection, ring.action, keys, is_socket_only=is_socket_only)
        self._poll_pace.rang()
        self._wakeup.set()

    @property
    def door_problem(self) -> str:
        """Why the door does not announce changes; empty where it does, or where there is none."""
        return self._door.problem() if self._door is not None else ""

    def knock(self, knocks: int, collection: str) -> None:
        """Handle knocks at the door.

        Args:
            knocks: Number of knocks.
            collection: Collection that the last one named.
        """
        if self._door is None:
            return
        self._door.knocked(collection)
        if not self._client.has_socket:  # else its rings name the items
            self._rung.knock()
        self._poll_pace.rang(knocks)
        self._wakeup.set()

    @contextlib.contextmanager
    def noting_changes(self, collection: str) -> Iterator[set[Key]]:
        """Collect the keys of the items that change during a block."""
        notes = self._notes.setdefault(collection, KeyRecorder())
        with notes.record() as changed:
            yield changed

    def _note_changed(self, collection: str, key: Key) -> None:
        if (notes := self._notes.get(collection)) is not None:
            notes.add(key)

    async def _inside(self, memory: Memory, keys: list[Key]) -> set[Key]:
        return await self._inbox.run_in_order(partial(matched_items.inside, memory, keys))

    # The loop

    async def run(self) -> None:
        """Follow the log until cancelled."""
        delays = full_jitter(clock=self._clock)
        while True:
            await self._wait()
            if not self._client.is_connected:
                continue
            try:
                await self._step()
            except DirectusRealtimeError as error:
                self._failed(error)
            except Exception:
                # A defect must not end the other connections.
                self._log.exception(
                    "follow-failed",
                    "%s  following the activity log failed; it is tried again.",
                    self._alias,
                )
                self._cursor.must_resume = True
            else:
                delays = full_jitter(clock=self._clock)
                continue
            await self._clock.sleep(next(delays))
            self._wakeup.set()

    async def _wait(self) -> None:
        """Wait until something is due, at least for the distance between polls."""
        await self._wakeup.wait(self._seconds_to_wait())
        delay = self._poll_pace.delay()
        if delay > 0:
            await self._clock.sleep(delay)

    def _seconds_to_wait(self) -> float:
        if not self._client.is_connected:
            return self._ring_interval
        now = self._clock.monotonic()
        interval = self._ring_interval
        has_door = self._door is not None and not self._door.problem()
        if not self._client.has_socket and not has_door:
            interval = min(self._poll_interval, interval)
        times = [self._polled_at + interval - now]
        refused = [each for each in self._subscriptions if each.state is FeedState.REFUSED]
        times += [each.retry_at - now for each in refused]
        if (wait := self._rung.wait()) is not None:
            times.append(wait)
        # Where the log cannot be read, a hole that is due stays due.
        due = None if self._access.problem else self._cursor.position.next_due()
        if due is not None:
            times.append(due - self._cursor.wall())
        return max(min(times), 0.0)

    def _failed(self, error: DirectusRealtimeError) -> None:
        self._log.repeated(
            str(error),
            "log-again",
            "%s  the activity log is read again: %s",
            self._alias,
            error,
            error=str(error),
        )
        self._gaps.begin(self._cursor.read_at, str(error))
        self._cursor.must_resume = True
        status = error.status if isinstance(error, RequestRefused) else 0
        self._must_learn = self._must_learn or bool(status)
        # A busy server refuses nothing: to reconnect would only add to its load.
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._client.recheck()

    async def _step(self) -> None:
        self._polled_at = now = self._clock.monotonic()
        # Without the log, no row announces that the token may read it now.
        is_blind = bool(self._access.problem) and now - self._learnt_at >= self._ring_interval
        if self._must_learn or is_blind:
            await self._learn()
        log = self._activity_log or self._client.activity
        await self._cursor.load()
        await self._parked.load()
        if not self._access.problem and self._cursor.must_resume:
            await self._cursor.resume(log, self._subscriptions)
        await self._subscriptions.check(self._cursor.position.unread())
        if self._access.problem:
            self._rung.polled(now)
            self._put(values=self._cursor.note_socket())
        else:
            await self._follow_log(log)
        await self._answer_rings()
        await self._end_outage()

    async def _learn(self) -> None:
        """Read again everything that the server may have changed."""
        before = self._access.problem
        self._must_learn, self._learnt_at = False, self._clock.monotonic()
        try:
            await self._access.learn()
        except BaseException:
            self._must_learn = True
            raise
        self._activity_log = self._client.activity
        if (problem := self._access.problem) != before:
            self._cursor.must_resume = True  # the rows that were read may be deleted by now
            if problem:
                self._gaps.begin(self._cursor.read_at, problem)
        self._inbox.put([], partial(position_store.write_problem, self._alias, problem))
        for each in self._subscriptions:
            each.ask_again()

    # The log

    async def _follow_log(self, log: ActivityLog) -> None:
        position, began_at = self._cursor.position, self._clock.now()
        await self._read_new(log)
        if self._subscriptions.begin(position.top):
            # With the position: without it, the next listener would begin at another end.
            self._put(values=self._cursor.values())
        for each in self._subscriptions:
            if each.is_catching_up:
                await self._catch_up(each, log)
        await self._retry_parked(log)
        if values := self._cursor.drop_holes():
            self._put(values=values)
        await self._cursor.verify(log)
        if values := self._cursor.note_read(began_at):
            self._put(values=values)
            self._inbox.put([], partial(self._cursor.note_stored, values["read_at"]))

    async def _read_new(self, log: ActivityLog) -> None:
        """Read every row that is visible and was not read yet."""
        position, now = self._cursor.position, self._cursor.wall()
        self._rung.has_young_holes = position.has_young_hole(now, LONG_PATIENCE)
        self._poll_pace.polled()
        began_at = self._clock.monotonic()
        # One answer has the rows of one moment: a row that became visible late comes before a
        # later change of its item.
        young = position.youngest()
        old = [ids for ids in position.due(now) if ids not in young]
        for ranges in [*chunks(old, MOST_ASKED), [*young, IdRange(position.top + 1)]]:
            await self._read_ranges(log, ranges)
        position.record_query([*old, *young], now)
        self._rung.polled(began_at)

    async def _read_ranges(self, log: ActivityLog, ranges: Sequence[IdRange]) -> None:
        asked, asked_at = set(ranges), self._cursor.wall()
        async for page in log.pages(ranges):
            if not self._client.is_connected:
                raise ConnectionFailed(self._client.reason)
            late = await self._late_rows(log, page, asked)
            await self._process_page(page, asked_at)
            self._cursor.position.record_query(late, asked_at)
            await self._inbox.has_room()
            asked, asked_at = set(), self._cursor.wall()  # of the next page

    async def _late_rows(
        self, log: ActivityLog, page: LogPage, asked: Container[IdRange]
    ) -> Sequence[IdRange]:
        """Add the rows of holes below a page, so that the events of an item have their order.

        A row that became visible late is followed by a later change of its item only after that.
        So a query that begins when that later change was seen finds the late row.

        Args:
            log: The log.
            page: The page; gets the rows.
            asked: Holes that were queried together with it.

        Returns:
            The holes that were queried.
        """
        position = self._cursor.position
        if not any(map(position.is_new, page.ids)):
            return []
        last = page.ids[-1]
        holes = [ids for ids in position.youngest() if ids.first < last and ids not in asked]
        if holes:
            async for late in log.pages(holes):
                page.add(late)
        return holes

    async def _process_page(self, page: LogPage, asked_at: float) -> None:
        """Make events of a page, batch by batch.

        Args:
            page: The page.
            asked_at: When it was queried: its holes may be filled since.
        """
        position = self._cursor.position
        self._report_unreadable(page)
        rows = [row for row in page.rows if position.is_new(row.id)]
        self._poll_pace.found(len(rows))
        ids = page.ids
        for batch in self._batches(rows):
            read = [number for number in ids if number <= batch[-1].id]
            ids = ids[len(read) :]
            await self._process(batch, read, asked_at)
        if ids:
            self._subscriptions.leave_out(position.unread())
            position.take(ids, (), asked_at)
            self._put(values=self._cursor.values())
        if any(row.collection in _SCHEMA for row in rows):
            self._must_learn = True
            self._wakeup.set()

    def _batches(self, rows: Sequence[ActivityRow]) -> list[Sequence[ActivityRow]]:
        """Split rows into batches with a bounded number of events."""
        concerned = Counter(each.collection for each in self._subscriptions)
        batches: list[Sequence[ActivityRow]] = []
        start = size = 0
        for place, row in enumerate(rows):
            size += concerned[row.collection] + concerned[ACTIVITY]
            if size >= _EVENTS:
                batches.append(rows[start : place + 1])
                start, size = place + 1, 0
        return [*batches, rows[start:]] if start < len(rows) else batches

    async def _process(
        self, rows: Sequence[ActivityRow], ids: Sequence[int], asked_at: float
    ) -> None:
        position = self._cursor.position
        primary_keys = self._subscriptions.primary_keys()
        changes = changes_of(rows, primary_keys)
        keys = [primary_keys[change.collection].canonical(change.item) for change in changes]
        for change, key in zip(changes, keys, strict=True):
            self._note_changed(change.collection, key)
        if self._door is not None:
            self._door.found({change.collection for change in changes})
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
        position.take(ids, rows, asked_at)
        self._cursor.progress.add(len(ids), len(built.entries))
        if self._gaps.outage is not None:
            self._gaps.outage.events += len(built.entries)
        self._put(built, self._cursor.values())

    def _refuse(self, built: Built) -> None:
        """Refuse the subscriptions whose items Directus refuses."""
        unread = self._cursor.position.unread()
        for subscription, error in built.refused.items():
            self._subscriptions.refuse(subscription, error, unread)

    def _origin_of(self, change: Change) -> Origin:
        is_old = change.row is not None and change.row.id <= self._cursor.boundary
        return "catch-up" if is_old else "live"

    def _put(self, built: Built | None = None, values: Mapping[str, object] | None = None) -> None:
        """Store events, and the position in the log with them."""
        built = built or Built()
        self._last_states.note(entry.row for entry in built.entries)
        found, deleted = self._parked.resolve(built)
        self._parked.add(built.parked)
        places = self._subscriptions.changed_places()
        progress = Progress(self._alias, values or {}, places, built.parked, found, deleted)
        self._inbox.put(built.entries, progress.write)

    def _report_unreadable(self, page: LogPage) -> None:
        """Report invalid rows, which are skipped: they would be the same at each retry."""
        followed = set(self._subscriptions.collections)
        for row in page.unreadable:
            self._gaps.doubt(
                gaps.ROW_UNREADABLE, followed & {row.collection} if row.collection else followed
            )
            self._log.warning(
                "log-row-unreadable",
                "%s  %s of the activity log cannot be read and is left out: its change may be "
                "lost.",
                self._alias,
                row.place,
                collection=row.collection,
                row=row.place,
            )

    async def _catch_up(self, subscription: FollowedSubscription, log: ActivityLog) -> None:
        """Read a page of the unread ranges of a subscription that is readable again."""
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
            self._wakeup.set()

    async def _check_left_out(self, subscription: FollowedSubscription, log: ActivityLog) -> None:
        """Note a possible loss where the log was pruned within the unread ranges."""
        if subscription.is_left_out_checked:
            return
        before = subscription.place.unread[0].first - 1
        is_whole = before <= 0 or await log.find([before]) or await log.has_change_up_to(before)
        if not is_whole:
            self._gaps.doubt(gaps.PRUNED, {subscription.collection})
        subscription.is_left_out_checked = True

    async def _retry_parked(self, log: ActivityLog) -> None:
        """Read parked items again, and give up old ones."""
        for subscription in self._subscriptions:
            number = subscription.desired.subscription_id
            changes = self._parked.due(number) if subscription.is_current else []
            if changes:
                built = await self._builder.build(changes, [subscription], self._origin_of)
                built.parked = []
                self._refuse(built)
                self._put(built)
        await self._parked.give_up_old(log)

    async def _answer_rings(self) -> None:
        """Make events of rings without a row."""
        async for built in self._rung.build(self._subscriptions, self._access):
            self._refuse(built)
            self._put(built)

    async def _end_outage(self) -> None:
        """Announce the end of an outage, once everything readable is stored."""
        if not self._has_ended_outage():
            return
        until = self._clock.now() if self._access.problem else self._cursor.read_at
        # Until then, events are in memory only, and the log grows in the meantime.
        await self._inbox.run_in_order(lambda: None)
        if self._has_ended_outage():
            self._gaps.end(self._subscriptions.uncertain(), until or self._clock.now())

    def _has_ended_outage(self) -> bool:
        is_asked = self._client.is_connected and not self._must_learn
        return self._gaps.outage is not None and is_asked and self._subscriptions.is_settled
