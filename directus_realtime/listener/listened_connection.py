"""One Directus server in the listener: its client, its follower, and the subscriptions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from directus_realtime.client import ConnectionState
from directus_realtime.client.connection import StateChange
from directus_realtime.client.feed import FeedState
from directus_realtime.database import DatabaseThread
from directus_realtime.exceptions import BadFrame, DirectusRealtimeError, EventFailed
from directus_realtime.listener.connection_log import ConnectionLog
from directus_realtime.listener.debounce import end_windows
from directus_realtime.listener.desired_subscriptions import (
    DesiredSubscription,
    desired_subscriptions,
    forget_disabled,
)
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.follower.follower import Follower, Pace
from directus_realtime.listener.follower.gaps import GapKeeper
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.listener.metrics.counts import CLIENT, EVENT, FRAME, counts
from directus_realtime.listener.snapshot import SnapshotLoader
from directus_realtime.settings import ConnectionSettings
from directus_realtime.signals import directus_connection_changed, directus_subscription_failed
from directus_realtime.utils.logs import Repetitions
from directus_realtime.utils.system_clock import SystemClock

logger = logging.getLogger("directus_realtime.listener")

#: Seconds between two comparisons of the wanted subscriptions with the followed ones.
RECONCILE_INTERVAL = 1.0


class ListenedConnection:
    """Keeps the subscriptions of one connection equal to the wanted ones.

    Args:
        settings: Of the connection.
        database: The thread to read the wanted subscriptions in.
        inbox: Takes the events.
        notices: Sends the signals.
        on_state: Called with each change of state.
        clock: Gives the time.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        database: DatabaseThread,
        inbox: Inbox,
        notices: LifecycleSignals,
        on_state: Callable[[str, StateChange], None],
        clock: SystemClock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.alias = settings.alias
        self._changed = asyncio.Event()
        self._is_reconciled = asyncio.Event()
        self.client = settings.make_client(
            self._count_error, socket="optional", on_socket=self._socket_changed
        )
        self._database = database
        self._inbox = inbox
        self._notices = notices
        self.follower = Follower(
            self.client,
            inbox,
            GapKeeper(self.alias, inbox, notices, clock),
            Pace(settings.poll_interval, settings.catch_up_interval, settings.hole_age),
            self._changed.set,
            clock,
        )
        self.client.doorbell.on_ring = self.follower.ring
        self._loader = SnapshotLoader(self.client, database, inbox, self.follower)
        self._on_state = on_state
        self._story = ConnectionLog(self.alias, self.client)
        self._active: dict[str, tuple[DesiredSubscription, FollowedSubscription]] = {}
        self._reported: dict[str, FeedState] = {}
        self._refusals: dict[str, str] = {}
        self._repetitions = Repetitions()
        self.errors = 0

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ConnectionImpossible: The connection cannot be made.
        """
        watching = asyncio.create_task(self._watch_states())
        reconciling = asyncio.create_task(self._reconcile_for_ever())
        following = asyncio.create_task(self._follow())
        tasks = {self.client.start(), watching, reconciling, following}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            reconciling.cancel()
            following.cancel()
            await self._loader.aclose()
            await self.client.disconnect()
            # The last change is published by disconnect(); the stream ends by itself.
            await asyncio.gather(watching, reconciling, following, return_exceptions=True)

    def subscription_states(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return state and error of each subscription, by uid and name."""
        return {
            (wanted.uid, wanted.name): (subscription.state.value, subscription.note)
            for wanted, subscription in self._active.values()
        }

    @property
    def complete_until(self) -> datetime | None:
        """Up to when everything that was logged is stored; ``None`` for never."""
        return self.follower.complete_until

    # Wanted and followed

    async def _follow(self) -> None:
        """Follow the log; what is read before the subscriptions are known is lost for them."""
        await self._is_reconciled.wait()
        await self.follower.run()

    async def _reconcile_for_ever(self) -> None:
        is_first = True
        while True:
            wanted = await self._database.run_with_retry(desired_subscriptions, self.alias)
            is_changed = wanted.keys() != self._active.keys()
            has_gone = self._reconcile(wanted)
            self._is_reconciled.set()
            if is_changed:
                await self._end_windows()
            if has_gone or is_first:
                await self._inbox.run_in_order(partial(forget_disabled, self.alias))
            is_first = False
            self._report_subscriptions()
            self._story.remind()
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait for the next comparison; what the server accepts or refuses is said at once."""
        self._changed.clear()
        try:
            async with asyncio.timeout(RECONCILE_INTERVAL):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _reconcile(self, wanted: dict[str, DesiredSubscription]) -> bool:
        """Follow what is wanted; return whether something is no longer wanted."""
        # The new ones first: one that was changed goes on where it was.
        for uid in sorted(wanted.keys() - self._active.keys()):
            self._active[uid] = wanted[uid], self.follower.follow(wanted[uid])
        for uid in self._active.keys() & wanted.keys():
            _, subscription = self._active[uid]
            self._active[uid] = wanted[uid], subscription
            self.follower.update(wanted[uid])
            if subscription.is_subscribed:
                self._loader.start(wanted[uid], subscription)
        gone = self._active.keys() - wanted.keys()
        for uid in gone:
            old, _ = self._active.pop(uid)
            self._loader.stop(uid)
            self.follower.unfollow(old)
            self._reported.pop(uid, None)
            self._refusals.pop(uid, None)
            logger.info(
                "%s  unsubscribed %s",
                self.alias,
                old.name,
                extra={
                    "event": "unsubscribed",
                    "connection": self.alias,
                    "subscription": old.name,
                    "collection": old.query.collection,
                },
            )
        return bool(gone)

    async def _end_windows(self) -> None:
        """Release what is gathered for no subscription any more, before what comes in now."""
        debounced = [wanted.name for wanted, _ in self._active.values() if wanted.debounce]
        await self._inbox.run_in_order(partial(end_windows, self.alias, debounced))

    def _count_error(self, error: DirectusRealtimeError) -> None:
        """Count an error; the same one is logged once a minute, not each time."""
        self.errors += 1
        kind = _kind_of(error)
        counts.errors.add((self.alias, kind))
        logger.log(
            logging.WARNING if self._repetitions.first_within(str(error)) else logging.DEBUG,
            "%s  %s",
            self.alias,
            error,
            extra={
                "event": f"{kind}-error",
                "connection": self.alias,
                "subscription": "",
                "error": str(error),
            },
        )

    # What is said

    def _report_subscriptions(self) -> None:
        for uid, (wanted, subscription) in self._active.items():
            if self._reported.get(uid) is not subscription.state:
                self._reported[uid] = subscription.state
                self._report(wanted, subscription)

    def _report(self, wanted: DesiredSubscription, subscription: FollowedSubscription) -> None:
        if subscription.state is FeedState.SUBSCRIBED:
            self._refusals.pop(wanted.uid, None)
            events = ", ".join(wanted.query.events)
            logger.info(
                "%s  subscribed %s: %s (%s)",
                self.alias,
                wanted.name,
                wanted.query.collection,
                events,
                extra={
                    "event": "subscribed",
                    "connection": self.alias,
                    "subscription": wanted.name,
                    "collection": wanted.query.collection,
                },
            )
        elif subscription.state is FeedState.REFUSED:
            if self._refusals.get(wanted.uid) == subscription.error:
                return  # checked again, with the same answer
            self._refusals[wanted.uid] = subscription.error
            logger.error(
                "%s  refused %s: %s",
                self.alias,
                wanted.name,
                subscription.error,
                extra={
                    "event": "subscription-refused",
                    "connection": self.alias,
                    "subscription": wanted.name,
                    "collection": wanted.query.collection,
                    "error": subscription.error,
                },
            )
            self._notices.put(
                directus_subscription_failed,
                wanted.query.collection,
                subscription=wanted.name,
                error=subscription.error,
            )

    async def _watch_states(self) -> None:
        before = self.client.changed_at
        async for change in self.client.states():
            if change.at != before:  # the stream begins with the state as it was
                self._tell(change)

    def _tell(self, change: StateChange) -> None:
        self._story.tell(change)
        is_connected = change.state is ConnectionState.CONNECTED
        if is_connected:
            counts.connects.add((self.alias,))
            self.follower.connected()
        else:
            if change.state is ConnectionState.RECONNECTING and counts.connected.get(self.alias):
                counts.losses.add((self.alias,))
            self.follower.lost_connection(change.reason)
            self._reported.clear()  # however soon a subscription is confirmed again, it is said
        counts.connected[self.alias] = is_connected
        self._notices.put(
            directus_connection_changed,
            self.alias,
            connection=self.alias,
            state=change.state.value,
            reason=change.reason,
        )
        self._on_state(self.alias, change)

    def _socket_changed(self) -> None:
        """Log whether the socket announces changes, and how soon they are found without it."""
        self.follower.socket_changed()
        if self.client.is_connected:
            self._story.tell_socket(self.follower.poll_interval, self.follower.log_problem)


def _kind_of(error: DirectusRealtimeError) -> str:
    match error:
        case BadFrame():
            return FRAME
        case EventFailed():
            return EVENT
    return CLIENT
