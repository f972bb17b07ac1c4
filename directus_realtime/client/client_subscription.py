"""A subscription of the client: its state, its events and its debounce."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Literal, Self

from directus_realtime.client.feed import Feed, FeedState
from directus_realtime.events import Action, Event, Key, Origin
from directus_realtime.exceptions import DirectusRealtimeError, SubscriptionRefused
from directus_realtime.protocol.queries import Query
from directus_realtime.utils.aio import ClosableQueue
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained


class SeenItems:
    """Keys of the items in the filter, as far as a subscription has seen them.

    Directus sends the deletes of every item and, asked without the filter, the updates of
    every item; this selects those of items that were in the filter.

    Args:
        is_filtered: Whether there is a filter. Without one nothing can leave it, and keys are
            kept from the beginning of a load only.
    """

    def __init__(self, *, is_filtered: bool) -> None:
        self._keys: set[Key] = set()
        self._is_kept = is_filtered
        self._is_loading = False
        self._is_complete = False

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def load_begins(self) -> None:
        """Note that all items in the filter follow."""
        self._is_kept = self._is_loading = True

    def load_ends(self) -> None:
        """Note that all items in the filter came: unknown keys were never in it."""
        self._is_complete |= self._is_loading
        self._is_loading = False

    def gap(self) -> None:
        """Note that changes may be missed, so that items may be in the filter unseen."""
        self._is_loading = self._is_complete = False

    def takes(self, action: Action, key: Key) -> bool:
        """Record a change, and return whether it concerns an item of the filter."""
        if action == "delete":
            return self.removes(key) or not self._is_complete
        if self._is_kept:
            self._keys.add(key)
        return True

    def removes(self, key: Key) -> bool:
        """Record that an item left the filter, and return whether it was seen in it."""
        if key not in self._keys:
            return False
        self._keys.remove(key)
        return True


DebounceBy = Literal["item", "subscription"]


class Debouncer:
    """Delivers the last state of each item once per window.

    Args:
        seconds: Length of a window; it begins with its first change.
        by: Whether each item has windows of its own, or all share one.
        deliver: Called with each remaining event.
    """

    def __init__(self, seconds: float, by: DebounceBy, deliver: Callable[[Event], None]) -> None:
        self._seconds = seconds
        self._by = by
        self._deliver = deliver
        self._windows: dict[Hashable, dict[Key, Event]] = {}
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}

    def put(self, event: Event) -> None:
        """Add an event."""
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
        """Drop the waiting events."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._windows.clear()

    def _end(self, window: Hashable) -> None:
        del self._timers[window]
        for event in self._windows.pop(window).values():
            self._deliver(event)


def _is_plain_update(event: Event) -> bool:
    # After one, an item that was created within the window is still a new item.
    return event.action == "update" and not event.left_filter


logger = EventLogger("directus_realtime.client")

EventCallback = Callable[[Event], None]
ErrorCallback = Callable[[DirectusRealtimeError], None]
StateCallback = Callable[[], None]


def refuse_async(**callbacks: Callable[..., object] | None) -> None:
    """Refuse callbacks that are ``async def``: their coroutines would never be awaited.

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

    Events wait in memory until they are read, so a consumer that stays slower than the changes
    needs a store of its own.

    Args:
        uid: Unique in its client.
        feed: The query on the wire.
        name: Value of each event's ``subscription``.
        connection: Value of each event's ``connection``.
        on_event: Called with each event.
        debounce: Seconds; of the changes within them, only the last state of each item is
            delivered.
        debounce_by: ``item``, or ``subscription`` for one window for all items.
        on_error: Called with each error.
        on_state: Called after each change of state.

    Attributes:
        is_ended: Whether it was unsubscribed; nothing is delivered any more.
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
    ) -> None:
        self.uid = uid
        self.name = name
        self.feed = feed
        self._connection = connection
        self._queue: ClosableQueue[Event] = ClosableQueue()
        self._on_event = on_event or self._queue.put
        self._debouncer = Debouncer(debounce, debounce_by, self._deliver) if debounce > 0 else None
        self._on_error = on_error
        self._on_state = on_state
        self.is_ended = False
        self._log = logger.bind(connection=connection, subscription=name)
        self._was_confirmed = self.state is FeedState.SUBSCRIBED
        self._seen = SeenItems(is_filtered=self.query.has_condition)

    def __repr__(self) -> str:
        return f"<ClientSubscription {self.name!r} of {self.query.collection}: {self.state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._queue)

    @property
    def query(self) -> Query:
        """The query."""
        return self.feed.query

    @property
    def state(self) -> FeedState:
        """Current state."""
        return self.feed.state

    @property
    def error(self) -> SubscriptionRefused | None:
        """The refusal; else ``None``."""
        return self.feed.error

    # Called by the feed and the client

    def receive(
        self, action: Action, key: Key, data: dict[str, Any] | None, origin: Origin = "live"
    ) -> None:
        """Deliver a change of one item."""
        if self._seen.takes(action, key):
            self._put(action, key, data, origin)

    def receive_left(self, key: Key, data: dict[str, Any]) -> None:
        """Deliver that an item is not in the filter, if it was seen there."""
        if self._seen.removes(key):
            self._put("update", key, data, left_filter=True)

    def may_lose(self, key: Key) -> bool:
        """Return whether the item was seen in the filter."""
        return key in self._seen

    def gap(self) -> None:
        """Note that changes may be missed from now on."""
        self._seen.gap()

    def load_begins(self) -> None:
        """Note that all matching items follow."""
        self._seen.load_begins()

    def load_ends(self) -> None:
        """Note that all matching items were delivered."""
        self._seen.load_ends()

    def refused(self, error: SubscriptionRefused) -> None:
        """Report a refusal; without ``on_error``, the first one is raised by ``subscribe``."""
        if self._on_error is not None or self._was_confirmed:
            self.report(error)

    def report(self, error: DirectusRealtimeError) -> None:
        """Pass an error to ``on_error``; log it where there is none."""
        if self._on_error is None:
            text = str(error)
            self._log.repeated(
                text, "subscription-error", "Subscription %s: %s", self.name, error, error=text
            )
            return
        try:
            with contained():
                self._on_error(error)
        except Exception as failure:
            self._callback_failed("on_error", failure)

    def state_changed(self) -> None:
        """Call ``on_state``."""
        self._was_confirmed |= self.state is FeedState.SUBSCRIBED
        if self._on_state is None:
            return
        try:
            with contained():
                self._on_state()
        except Exception as failure:
            self._callback_failed("on_state", failure)

    def close(self) -> None:
        """End the iteration; nothing is delivered from now on."""
        self.is_ended = True
        if self._debouncer is not None:
            self._debouncer.close()
        self._queue.close()

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
            self._deliver(event)

    def _deliver(self, event: Event) -> None:
        if self.is_ended:  # by on_event of the event before
            return
        try:
            with contained():
                self._on_event(event)
        except Exception as failure:
            self._callback_failed("on_event", failure, event.id)

    def _callback_failed(self, callback: str, failure: Exception, event_id: str = "") -> None:
        self._log.error(
            "callback-failed",
            "%s of the subscription %s failed.",
            callback,
            self.name,
            exc_info=failure,
            event_id=event_id,
            callback=callback,
        )
