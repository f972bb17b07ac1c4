"""Time and chance, behind one object that a simulation can replace."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime


class SystemClock:
    """The clock of this machine, its way to wait, and its source of randomness."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the present time; aware."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, timeout: float) -> bool:
        """Wait until an event is set, or for some seconds.

        Args:
            event: The event.
            timeout: Seconds; 0 or less only lets other tasks run.

        Returns:
            Whether the event is set.
        """
        if timeout <= 0:
            await asyncio.sleep(0)
            return event.is_set()
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            pass
        return event.is_set()

    def uniform(self, low: float, high: float) -> float:
        """Return a random number between two bounds."""
        return random.uniform(low, high)
