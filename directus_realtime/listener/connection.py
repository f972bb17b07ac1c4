"""One Directus server in the listener: its client, and the subscriptions on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from time import monotonic

from django.utils import timezone

from directus_realtime.client import ConnectionState
from directus_realtime.client.backoff import full_jitter
from directus_realtime.client.feed import SubscriptionState
from directus_realtime.client.repetitions import Repetitions
from directus_realtime.client.states import StateChange
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.database import DatabaseThread
from directus_realtime.events import Event
from directus_realtime.exceptions import (
    BadFrame,
    DirectusRealtimeError,
    EventFailed,
    SubscriptionRefused,
)
from directus_realtime.listener.catch_up.catch_up import CatchUp
from directus_realtime.listener.catch_up.gaps import GapKeeper
from directus_realtime.listener.debounce import end_windows
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.loading import Loader
from directus_realtime.listener.metrics.counts import CLIENT, EVENT, FRAME, counts
from directus_realtime.listener.notices import Notices
from directus_realtime.listener.story import Story
from directus_realtime.listener.wanted import Wanted, forget_disabled, wanted_subscriptions
from directus_realtime.settings import ConnectionSettings
from directus_realtime.signals import directus_connection_changed, directus_subscription_failed

logger = logging.getLogger("directus_realtime.listener")
event_logger = logging.getLogger("directus_realtime.listener.events")

#: Seconds between two comparisons of wanted and active.
RECONCILE_INTERVAL = 1.0
#: Seconds; ceilings of the first and the last delay until a refused one is asked for again.
_RETRY_BASE, _RETRY_CEILING = 10.0, 300.0


class ListenedConnection:
    """Keeps the subscriptions of one connection equal to the wanted ones.

    Args:
        settings: Of the connection.
        database: The thread to read the wanted subscriptions in.
        inbox: Takes the events.
        notices: Sends the signals.
        on_state: Called with each change of state.
        complete_until: From when on the listener before this one may have missed something.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        database: DatabaseThread,
        inbox: Inbox,
        notices: Notices,
        on_state: Callable[[str, StateChange], None],
        complete_until: datetime | None,
    ) -> None:
        self.alias = settings.alias
        self.client = settings.make_client(self._count_error)
        self._database = database
        self._inbox = inbox
        self._notices = notices
        self._loader = Loader(self.client, database, inbox)
        self._gaps = GapKeeper(self.alias, inbox, notices, complete_until)
        self._catch_up = CatchUp(
            self.alias, self.client, inbox, self._gaps, settings.catch_up_interval
        )
        self._on_state = on_state
        self._story = Story(self.alias, self.client)
        self._active: dict[str, tuple[Wanted, ClientSubscription]] = {}
        self._reported: dict[str, SubscriptionState] = {}
        self._refusals: dict[str, str] = {}
        self._retries: dict[str, tuple[float, Iterator[float]]] = {}
        self._changed = asyncio.Event()
        self._repetitions = Repetitions()
        self.errors = 0

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ConnectionImpossible: The connection cannot be had.
        """
        watching = asyncio.create_task(self._watch_states())
        reconciling = asyncio.create_task(self._reconcile_for_ever())
        catching_up = asyncio.create_task(self._catch_up.run())
        tasks = {self.client.start(), watching, reconciling, catching_up}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            reconciling.cancel()
            catching_up.cancel()
            await self._loader.aclose()
            await self.client.disconnect()
            # The last change is published by disconnect(); the stream ends by itself.
            await asyncio.gather(watching, reconciling, catching_up, return_exceptions=True)

    def subscription_states(self) -> dict[tuple[str, str], tuple[str, str]]:
        """State and error of each active subscription, by uid and name."""
        return {
            (wanted.uid, wanted.name): (
                subscription.state.value,
                str(subscription.error or self._catch_up.refusal_of(wanted)),
            )
            for wanted, subscription in self._active.values()
        }

    @property
    def complete_until(self) -> datetime | None:
        """Up to when everything is stored, or was announced as a gap; ``None`` where this
        listener never heard Directus."""
        heard_at, unstored_since = self.client.last_heard_at, self._inbox.unstored_since
        if self._gaps.open_since or heard_at is None or unstored_since is None:
            return self._gaps.open_since or heard_at
        return min(heard_at, unstored_since)

    # Wanted and active

    async def _reconcile_for_ever(self) -> None:
        is_first = True
        while True:
            wanted = await self._database.run_surely(wanted_subscriptions, self.alias)
            is_changed = wanted.keys() != self._active.keys()
            has_gone = self._reconcile(wanted)
            if is_changed:
                await self._end_windows()
            if has_gone or is_first:
                await self._inbox.run_in_order(partial(forget_disabled, self.alias))
            is_first = False
            self._report_subscriptions()
            self._retry_refused()
            self._catch_up.look()
            self._story.remind()
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait for the next look; what the server confirms or refuses is told at once."""
        self._changed.clear()
        try:
            async with asyncio.timeout(RECONCILE_INTERVAL):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _reconcile(self, wanted: dict[str, Wanted]) -> bool:
        """Do what is wanted; say whether something is not wanted any more."""
        # The new ones first: where only the group or the debounce changed, the feed goes on.
        for uid in sorted(wanted.keys() - self._active.keys()):
            self._active[uid] = wanted[uid], self._subscribe(wanted[uid])
            self._catch_up.follow(*self._active[uid])
        for uid in self._active.keys() & wanted.keys():
            _, subscription = self._active[uid]
            self._active[uid] = wanted[uid], subscription
            self._catch_up.update(wanted[uid])
            if subscription.state is SubscriptionState.SUBSCRIBED:
                self._loader.start(wanted[uid], subscription)
        gone = self._active.keys() - wanted.keys()
        for uid in gone:
            old, subscription = self._active.pop(uid)
            self._loader.stop(uid)
            self._catch_up.unfollow(old)
            self.client.unsubscribe(subscription)
            self._reported.pop(uid, None)
            self._retries.pop(uid, None)
            self._refusals.pop(uid, None)
            logger.info(
                "%s  unsubscribed %s",
                self.alias,
                old.name,
                extra={
                    "what": "unsubscribed",
                    "connection": self.alias,
                    "subscription": old.name,
                    "collection": old.query.collection,
                },
            )
        return bool(gone)

    async def _end_windows(self) -> None:
        """Let go what is gathered for no subscription any more, before what comes in now."""
        debounced = [wanted.name for wanted, _ in self._active.values() if wanted.debounce]
        await self._inbox.run_in_order(partial(end_windows, self.alias, debounced))

    def _subscribe(self, wanted: Wanted) -> ClientSubscription:
        def on_event(event: Event) -> None:
            event_logger.debug(
                "%s  %s %s %s (%s)",
                event.connection,
                event.action,
                event.collection,
                event.key,
                event.subscription,
                extra={
                    "what": "event",
                    "connection": event.connection,
                    "subscription": event.subscription,
                    "collection": event.collection,
                    "action": event.action,
                    "key": event.key,
                    "event_id": event.id,
                    "origin": event.origin,
                },
            )
            current, _ = self._active.get(wanted.uid, (wanted, None))
            self._take(current, event)

        def on_error(error: DirectusRealtimeError) -> None:
            if not isinstance(error, SubscriptionRefused):  # that one is its state
                self._count_error(error, wanted.name)

        def on_state() -> None:
            self._catch_up.state_changed(wanted.uid)
            self._changed.set()

        return self.client.add(
            wanted.query,
            uid=wanted.uid,
            name=wanted.name,
            on_event=on_event,
            on_error=on_error,
            on_state=on_state,
            remembers_items=wanted.memory is None,
        )

    def _take(self, wanted: Wanted, event: Event) -> None:
        if event.origin == "live" and self._inbox.is_full and self._is_safe_in_the_log(wanted):
            # In memory it would be lost in a crash, and fill it.
            self._gaps.begin(timezone.now(), "more came in than could be stored")
            self._catch_up.lost_events()
        elif event.origin == "live":
            is_held = self._catch_up.holds(wanted, event)
            self._inbox.put(event, wanted.group, wanted.debounce, wanted.memory, is_held=is_held)
        else:
            self._inbox.put(event, wanted.group, None, wanted.memory)

    def _is_safe_in_the_log(self, wanted: Wanted) -> bool:
        return self._gaps.can_recover(wanted) and self._catch_up.has_place(wanted)

    def _count_error(self, error: DirectusRealtimeError, subscription: str = "") -> None:
        """Count something that came to grief; the same is said once a minute, not each time."""
        self.errors += 1
        kind = _kind_of(error)
        counts.errors.add((self.alias, kind))
        text = f"{subscription}: {error}" if subscription else str(error)
        logger.log(
            logging.WARNING if self._repetitions.is_news(text) else logging.DEBUG,
            "%s  %s",
            self.alias,
            text,
            extra={
                "what": f"{kind}-error",
                "connection": self.alias,
                "subscription": subscription,
                "error": str(error),
            },
        )

    # What is told

    def _report_subscriptions(self) -> None:
        for uid, (wanted, subscription) in self._active.items():
            if self._reported.get(uid) is not subscription.state:
                self._reported[uid] = subscription.state
                self._report(wanted, subscription)

    def _report(self, wanted: Wanted, subscription: ClientSubscription) -> None:
        if subscription.state is SubscriptionState.SUBSCRIBED:
            self._retries.pop(wanted.uid, None)
            self._refusals.pop(wanted.uid, None)
            events = ", ".join(wanted.query.events)
            logger.info(
                "%s  subscribed %s: %s (%s)",
                self.alias,
                wanted.name,
                wanted.query.collection,
                events,
                extra={
                    "what": "subscribed",
                    "connection": self.alias,
                    "subscription": wanted.name,
                    "collection": wanted.query.collection,
                },
            )
        elif subscription.state is SubscriptionState.REFUSED:
            self._schedule_retry(wanted.uid)
            if self._refusals.get(wanted.uid) == str(subscription.error):
                return  # tried again, with the same answer
            self._refusals[wanted.uid] = str(subscription.error)
            logger.error(
                "%s  refused %s: %s",
                self.alias,
                wanted.name,
                subscription.error,
                extra={
                    "what": "subscription-refused",
                    "connection": self.alias,
                    "subscription": wanted.name,
                    "collection": wanted.query.collection,
                    "error": str(subscription.error),
                },
            )
            self._notices.put(
                directus_subscription_failed,
                wanted.query.collection,
                subscription=wanted.name,
                error=str(subscription.error),
            )

    def _schedule_retry(self, uid: str) -> None:
        _, delays = self._retries.get(uid) or (0.0, full_jitter(_RETRY_BASE, 2, _RETRY_CEILING))
        self._retries[uid] = monotonic() + 1 + next(delays), delays

    def _retry_refused(self) -> None:
        for uid, (when, _) in self._retries.items():
            _, subscription = self._active[uid]
            if subscription.state is SubscriptionState.REFUSED and monotonic() >= when:
                self.client.retry(subscription)
                self._reported[uid] = SubscriptionState.WAITING

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
            self._gaps.connected()
            self._catch_up.connected()
        else:
            if change.state is ConnectionState.RECONNECTING and counts.connected.get(self.alias):
                counts.losses.add((self.alias,))
            self._gaps.begin(self.client.last_heard_at, change.reason)
            self._catch_up.lost_connection()
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


def _kind_of(error: DirectusRealtimeError) -> str:
    match error:
        case BadFrame():
            return FRAME
        case EventFailed():
            return EVENT
    return CLIENT
