"""A clock that only a test moves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from directus_realtime.utils.system_clock import SystemClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock(SystemClock):
    """Stands still until :meth:`advance` is called; waiting moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    async def wait(self, event: asyncio.Event, timeout: float) -> bool:
        if not event.is_set():
            self.advance(max(timeout, 0))
            await asyncio.sleep(0)
        return event.is_set()

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2
