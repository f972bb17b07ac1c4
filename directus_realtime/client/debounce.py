"""Debounce for the client alone; the listener does it in its inbox, where nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Literal

from directus_realtime.events import Event, Key

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
