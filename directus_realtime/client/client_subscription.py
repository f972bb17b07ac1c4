"""A subscription of the client: its state, its events and its debounce."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Literal, Self

from directus_realtime.client.feed import Feed, FeedState
from directus_realtime.events import Action, Event, Key, Origin
from directus_realtime.exceptions import DirectusRealtimeError, SubscriptionRefused
from directus_realtime.protocol.queries import Query
from directus_realtime.utils.logs import Repetitions


class SeenItems:
    """The keys of the items in the filter, as far as a subscription was told of them.

    Directus sends the deletes of every item and, asked without the filter, the updates of
    every item; this says which of them concern an item that was in the filter.

    Args:
        is_filtered: Whether there is a filter at all. Where there is none nothing can leave
            it, and keys are kept from the beginning of a load only.
    """

    def __init__(self, *, is_filtered: bool) -> None:
        self._keys: set[Key] = set()
        self._is_kept = is_filtered
        self._is_loading = False
        self._is_complete = False

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def load_begins(self) -> None:
        """All items in the filter are about to be told."""
        self._is_kept = self._is_loading = True

    def load_ends(self) -> None:
        """All items in the filter were told; what is not known now was never in it."""
        self._is_complete |= self._is_loading
        self._is_loading = False

    def gap(self) -> None:
        """Changes may be missed from now on, so that items may be in the filter unseen."""
        self._is_loading = self._is_complete = False

    def takes(self, action: Action, key: Key) -> bool:
        """Take note of a change, and say whether it concerns an item of the filter."""
        if action == "delete":
            return self.removes(key) or not self._is_complete
        if self._is_kept:
            self._keys.add(key)
        return True

    def removes(self, key: Key) -> bool:
        """Take note that an item is no longer in the filter, and say whether it was seen in it."""
        if key not in self._keys:
            return False
        self._keys.remove(key)
        return True


DebounceBy = Literal["item", "subscription"]


class Debouncer:
    """Hands on the last state of each item once per window.

    Args:
        seconds: Length of a window; it begins with the first change in it.
        by: Whether each item has windows of its own, or all share one.
        hand_on: Called with each event that is left.
    """

    def __init__(self, seconds: float, by: DebounceBy, hand_on: Callable[[Event], None]) -> None:
        self._seconds = seconds
        self._by = by
        self._hand_on = hand_on
        self._windows: dict[Hashable, dict[Key, Event]] = {}
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}

    def put(self, event: Event) -> None:
        """Take an event."""
        window = event.key if self._by == "item" else None
        waiting = self._windows.setdefault(window, {})
        earlier = waiting.pop(event.key, None)
        if earlier is not None and earlier.action == "create" and _is_plain_update(event):
            event = replace(event, action="create")
        waiting[event.key] = event
        if window not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[window] = loop.call_later(self._seconds, self._end, window)

    def close(self) -> None:
        """Forget what waits."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._windows.clear()

    def _end(self, window: Hashable) -> None:
        del self._timers[window]
        for event in self._windows.pop(window).values():
            self._hand_on(event)


def _is_plain_update(event: Event) -> bool:
    """Whether an event after a create leaves the item a new one."""
    return event.action == "update" and not event.left_filter


logger = logging.getLogger("directus_realtime.client")

EventCallback = Callable[[Event], None]
ErrorCallback = Callable[[DirectusRealtimeError], None]
StateCallback = Callable[[], None]

#: A callback that asks for the result of a cancelled task has failed; nobody has cancelled us.
CALLBACK_FAILURES = (Exception, asyncio.CancelledError)


def refuse_async(**callbacks: Callable[..., object] | None) -> None:
    """Refuse callbacks that are ``async def``: nobody would await what they return.

    Raises:
        TypeError: One of them is.
    """
    for name, callback in callbacks.items():
        if inspect.iscoroutinefunction(callback):
            raise TypeError(
                f"{name} must not be async: it is called, not awaited. To await something for "
                "each event, leave on_event out and write: async for event in subscription."
            )


class ClientSubscription:
    """A subscription; iterate it for its events, or give ``on_event`` for a callback.

    Events that nobody has taken yet wait in memory, so a consumer that is slower than
    the changes for good needs a store of its own.

    Args:
        uid: Unique in its client.
        feed: What the server knows of.
        name: In each event's ``subscription``.
        connection: In each event's ``connection``.
        on_event: Called with each event.
        debounce: Seconds; of the changes within them, only the last state of each item is
            handed over.
        debounce_by: ``item``, or ``subscription`` for one window for all of its items.
        remembers_items: Whether to remember which items were seen in the filter, and to hand
            over what concerns them; else every delete and every item that is found outside
            the filter is handed over.
        on_error: Called with each error.
        on_state: Called after each change of state.

    Attributes:
        is_ended: Whether it was unsubscribed; nothing is handed over any more.
    """

    def __init__(
        self,
        uid: str,
        feed: Feed,
        *,
        name: str,
        connection: str,
        on_event: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_state: StateCallback | None = None,
        debounce: float = 0,
        debounce_by: DebounceBy = "item",
        remembers_items: bool = True,
    ) -> None:
        self.uid = uid
        self.name = name
        self.feed = feed
        self._connection = connection
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._on_event = on_event or self._queue.put_nowait
        self._debouncer = (
            Debouncer(debounce, debounce_by, self._hand_over) if debounce > 0 else None
        )
        self._on_error = on_error
        self._on_state = on_state
        self.is_ended = False
        self._repetitions = Repetitions()
        self._was_confirmed = self.state is FeedState.SUBSCRIBED
        self._seen = SeenItems(is_filtered=self.query.has_condition) if remembers_items else None

    def __repr__(self) -> str:
        return f"<ClientSubscription {self.name!r} of {self.query.collection}: {self.state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            self._queue.put_nowait(None)  # for whoever asks again
            raise StopAsyncIteration
        return event

    @property
    def query(self) -> Query:
        """What is asked for."""
        return self.feed.query

    @property
    def state(self) -> FeedState:
        """Where it stands."""
        return self.feed.state

    @property
    def error(self) -> SubscriptionRefused | None:
        """Why it was refused; else ``None``."""
        return self.feed.error

    # What the feed calls

    def receive(
        self, action: Action, key: Key, data: dict[str, Any] | None, origin: Origin = "live"
    ) -> None:
        """Take a change of one item."""
        if self._seen is None or self._seen.takes(action, key):
            self._put(action, key, data, origin)

    def receive_left(self, key: Key, data: dict[str, Any]) -> None:
        """Take note that an item is not in the filter, and hand over that it left."""
        if self._seen is None or self._seen.removes(key):
            self._put("update", key, data, left_filter=True)

    def may_lose(self, key: Key) -> bool:
        """Whether it would be told that this item is not in the filter."""
        return self._seen is None or key in self._seen

    def gap(self) -> None:
        """Changes may be missed from now on."""
        if self._seen is not None:
            self._seen.gap()

    def load_begins(self) -> None:
        """All items that match are about to come."""
        if self._seen is not None:
            self._seen.load_begins()

    def load_ends(self) -> None:
        """All items that match were handed over."""
        if self._seen is not None:
            self._seen.load_ends()

    def refused(self, error: SubscriptionRefused) -> None:
        """Tell ``on_error``; where there is none, whoever waits for the answer is told."""
        if self._on_error is not None or self._was_confirmed:
            self.report(error)

    def report(self, error: DirectusRealtimeError) -> None:
        """Hand an error to ``on_error``; a log line where there is none."""
        if self._on_error is None:
            logger.log(
                logging.WARNING if self._repetitions.first_within(str(error)) else logging.DEBUG,
                "Subscription %s: %s",
                self.name,
                error,
                extra={
                    "event": "subscription-error",
                    "connection": self._connection,
                    "subscription": self.name,
                    "error": str(error),
                },
            )
            return
        try:
            self._on_error(error)
        except CALLBACK_FAILURES as failure:
            self._callback_failed("on_error", failure)

    def state_changed(self) -> None:
        """Tell ``on_state``."""
        self._was_confirmed |= self.state is FeedState.SUBSCRIBED
        if self._on_state is None:
            return
        try:
            self._on_state()
        except CALLBACK_FAILURES as failure:
            self._callback_failed("on_state", failure)

    def close(self) -> None:
        """End the iteration; what was not handed over by now never is."""
        self.is_ended = True
        if self._debouncer is not None:
            self._debouncer.close()
        self._queue.put_nowait(None)

    def _put(
        self,
        action: Action,
        key: Key,
        data: dict[str, Any] | None,
        origin: Origin = "live",
        *,
        left_filter: bool = False,
    ) -> None:
        if self.is_ended:
            return
        event = Event(
            connection=self._connection,
            subscription=self.name,
            collection=self.query.collection,
            action=action,
            key=key,
            data=data,
            origin=origin,
            left_filter=left_filter,
        )
        if self._debouncer is not None:
            self._debouncer.put(event)
        else:
            self._hand_over(event)

    def _hand_over(self, event: Event) -> None:
        if self.is_ended:  # by what on_event did with the event before
            return
        try:
            self._on_event(event)
        except CALLBACK_FAILURES as failure:
            self._callback_failed("on_event", failure, event.id)

    def _callback_failed(self, callback: str, failure: BaseException, event_id: str = "") -> None:
        logger.error(
            "%s of the subscription %s failed.",
            callback,
            self.name,
            exc_info=failure,
            extra={
                "event": "callback-failed",
                "connection": self._connection,
                "subscription": self.name,
                "event_id": event_id,
                "callback": callback,
            },
        )
