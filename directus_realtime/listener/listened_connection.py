"""One Directus server in the listener: its client, its follower, and the subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from directus_realtime.client import ConnectionState
from directus_realtime.client.connection import StateChange
from directus_realtime.client.feed import FeedState
from directus_realtime.database import DatabaseThread
from directus_realtime.exceptions import BadFrame, DirectusRealtimeError, EventFailed
from directus_realtime.listener.debounce import end_windows
from directus_realtime.listener.desired_subscriptions import (
    DesiredSubscription,
    desired_subscriptions,
    forget_disabled,
)
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.follower.follower import Follower
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.listener.metrics.counts import CLIENT, EVENT, FRAME, counts
from directus_realtime.listener.snapshot import SnapshotLoader
from directus_realtime.listener.status import ConnectionLog, StatusReport
from directus_realtime.settings import ConnectionSettings
from directus_realtime.signals import directus_connection_changed, directus_subscription_failed
from directus_realtime.utils.aio import Wakeup
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.redaction import storable
from directus_realtime.utils.system_clock import SystemClock

#: Seconds between two comparisons of the desired subscriptions with the followed ones.
RECONCILE_INTERVAL = 1.0


class ListenedConnection:
    """Reconciles the followed subscriptions of one connection with the desired ones.

    Args:
        settings: Settings of the connection.
        database: The thread to read the desired subscriptions in.
        inbox: Stores the events.
        lifecycle_signals: Sends the signals.
        on_state: Called with each change of state.
        clock: Gives the time.

    Attributes:
        errors: Errors of the client since the start.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        database: DatabaseThread,
        inbox: Inbox,
        lifecycle_signals: LifecycleSignals,
        on_state: Callable[[str, StateChange], None],
        clock: SystemClock,
    ) -> None:
        self.alias = settings.alias
        self.client = settings.make_client(
            self._count_error, socket="optional", on_socket=self._socket_changed, clock=clock
        )
        self.errors = 0
        self._clock = clock
        self._log = EventLogger("directus_realtime.listener", clock=clock, connection=self.alias)
        self._changed = Wakeup(clock)
        self._is_reconciled = asyncio.Event()
        self._database = database
        self._inbox = inbox
        self._lifecycle_signals = lifecycle_signals
        self._poll_interval = settings.poll_interval
        self._follower = Follower(
            self.client, settings, inbox, lifecycle_signals, self._changed.set, clock
        )
        self.client.doorbell.on_ring = self._follower.ring
        self._snapshot_loader = SnapshotLoader(
            self.client, database, inbox, self._follower, lifecycle_signals, clock
        )
        self._on_state = on_state
        self._connection_log = ConnectionLog(self.client, clock)
        self._active: dict[str, FollowedSubscription] = {}
        self._reported: dict[str, FeedState] = {}
        self._refusals: dict[str, str] = {}

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            ConnectionImpossible: The connection cannot be made.
        """
        watching = asyncio.create_task(self._watch_states())
        reconciling = asyncio.create_task(self._reconcile_forever())
        following = asyncio.create_task(self._follow())
        tasks = {self.client.start(), watching, reconciling, following}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            reconciling.cancel()
            following.cancel()
            await self._snapshot_loader.aclose()
            await self.client.disconnect()
            # The last change is published by disconnect(); the stream ends by itself.
            await asyncio.gather(watching, reconciling, following, return_exceptions=True)

    def report(self) -> StatusReport:
        """Return the present status, as plain values for the database thread."""
        client, until = self.client, self._follower.complete_until
        columns = {
            "state": client.state.value,
            "reason": storable(client.reason),
            "changed_at": client.changed_at,
            "url": storable(client.url, 500),
            "version": storable(client.server.version if client.server else "", 40),
            "identity": storable(client.identity, 255),
            "errors": self.errors,
            "socket_problem": storable(client.socket_problem),
            "door_problem": storable(self._follower.door_problem),
            **({"complete_until": until} if until else {}),
        }
        states = {
            (uid, each.desired.name): (each.state.value, each.note)
            for uid, each in self._active.items()
        }
        return StatusReport(self.alias, columns, states)

    def knock(self, knocks: int, collection: str) -> None:
        """Handle knocks at the door.

        Args:
            knocks: Number of knocks.
            collection: Collection that the last one named.
        """
        counts.door_knocks.add((self.alias,), knocks)
        self._follower.knock(knocks, collection)

    async def _follow(self) -> None:
        """Follow the log; rows read before the subscriptions are known are lost for them."""
        await self._is_reconciled.wait()
        await self._follower.run()

    async def _reconcile_forever(self) -> None:
        is_first = True
        while True:
            desired = await self._database.run_with_retry(desired_subscriptions, self.alias)
            is_changed = desired.keys() != self._active.keys()
            has_removed = self._reconcile(desired)
            self._is_reconciled.set()
            if is_changed:
                await self._end_windows()
            if has_removed or is_first:
                await self._inbox.run_in_order(partial(forget_disabled, self.alias))
            is_first = False
            self._report_subscriptions()
            self._connection_log.remind()
            await self._changed.wait(RECONCILE_INTERVAL)

    def _reconcile(self, desired: dict[str, DesiredSubscription]) -> bool:
        """Follow the desired subscriptions; return whether one was removed."""
        known = self._active.keys() & desired.keys()
        # The new ones first: one that was changed continues at its place.
        for uid in sorted(desired.keys() - known):
            self._active[uid] = self._follower.follow(desired[uid])
        for uid in known:
            subscription = self._active[uid]
            subscription.desired = desired[uid]
            if subscription.is_subscribed:
                self._snapshot_loader.start(subscription)
        removed = self._active.keys() - desired.keys()
        for uid in removed:
            self._remove(uid)
        return bool(removed)

    def _remove(self, uid: str) -> None:
        old = self._active.pop(uid).desired
        self._snapshot_loader.stop(uid)
        self._follower.unfollow(old)
        self._reported.pop(uid, None)
        self._refusals.pop(uid, None)
        self._log.info(
            "unsubscribed",
            "%s  unsubscribed %s",
            self.alias,
            old.name,
            subscription=old.name,
            collection=old.query.collection,
        )

    async def _end_windows(self) -> None:
        """End the windows of subscriptions without debounce, before new events are stored."""
        debounced = [each.desired.name for each in self._active.values() if each.desired.debounce]
        await self._inbox.run_in_order(
            partial(end_windows, self.alias, debounced, self._clock.now())
        )

    def _count_error(self, error: DirectusRealtimeError) -> None:
        """Count an error; the same one is logged once a minute, not each time."""
        self.errors += 1
        kind = _kind_of(error)
        counts.errors.add((self.alias, kind))
        self._log.repeated(
            str(error),
            f"{kind}-error",
            "%s  %s",
            self.alias,
            error,
            subscription="",
            error=str(error),
        )

    def _report_subscriptions(self) -> None:
        for uid, subscription in self._active.items():
            if self._reported.get(uid) is not subscription.state:
                self._reported[uid] = subscription.state
                self._report(uid, subscription)

    def _report(self, uid: str, subscription: FollowedSubscription) -> None:
        name, collection = subscription.desired.name, subscription.collection
        if subscription.state is FeedState.SUBSCRIBED:
            self._refusals.pop(uid, None)
            self._log.info(
                "subscribed",
                "%s  subscribed %s: %s (%s)",
                self.alias,
                name,
                collection,
                ", ".join(subscription.desired.query.events),
                subscription=name,
                collection=collection,
            )
        elif subscription.state is FeedState.REFUSED:
            error = subscription.error
            if self._refusals.get(uid) == error:
                return  # checked again, with the same answer
            self._refusals[uid] = error
            self._log.error(
                "subscription-refused",
                "%s  refused %s: %s",
                self.alias,
                name,
                error,
                subscription=name,
                collection=collection,
                error=error,
            )
            self._lifecycle_signals.put(
                directus_subscription_failed, collection, subscription=name, error=error
            )

    async def _watch_states(self) -> None:
        before = self.client.changed_at
        async for change in self.client.states():
            if change.at != before:  # the stream begins with the initial state
                self._state_changed(change)

    def _state_changed(self, change: StateChange) -> None:
        self._connection_log.state_changed(change)
        is_connected = change.state is ConnectionState.CONNECTED
        if is_connected:
            counts.connects.add((self.alias,))
            self._follower.connected()
        else:
            if change.state is ConnectionState.RECONNECTING and counts.connected.get(self.alias):
                counts.losses.add((self.alias,))
            self._follower.lost_connection(change.reason)
            self._reported.clear()  # log each subscription again, however soon it is confirmed
        counts.connected[self.alias] = is_connected
        self._lifecycle_signals.put(
            directus_connection_changed,
            self.alias,
            connection=self.alias,
            state=change.state.value,
            reason=change.reason,
        )
        self._on_state(self.alias, change)

    def _socket_changed(self) -> None:
        self._follower.socket_changed()
        if self.client.is_connected:
            self._connection_log.socket_changed(self._poll_interval, self._follower.log_problem)


def _kind_of(error: DirectusRealtimeError) -> str:
    match error:
        case BadFrame():
            return FRAME
        case EventFailed():
            return EVENT
    return CLIENT
