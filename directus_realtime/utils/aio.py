"""Tasks: run together, repeated, woken and cancelled; and a queue that can be closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic, Self, TypeVar

from directus_realtime.utils.system_clock import SystemClock

T = TypeVar("T")


async def run_until_first(*works: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run coroutines side by side until the first one ends, then cancel the others.

    Args:
        works: Functions that make the coroutines; their names become those of the tasks.

    Raises:
        Exception: The error of the coroutine that ended.
    """
    tasks = [
        asyncio.create_task(work(), name=f"directus-{work.__name__.strip('_')}") for work in works
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel_all(tasks)


async def cancel_all(tasks: Iterable[asyncio.Future[Any] | None]) -> None:
    """Cancel tasks, and wait until each has ended; their errors are dropped.

    Args:
        tasks: The tasks; ``None`` stands for one that was never started.
    """
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)


async def every(interval: float, work: Callable[[], Awaitable[None]], clock: SystemClock) -> None:
    """Repeat a piece of work until this is cancelled; the first time after one interval.

    Args:
        interval: Seconds from the end of one run to the start of the next.
        work: The work; an error of it ends the repetition.
        clock: The clock that measures the interval.
    """
    while True:
        await clock.sleep(interval)
        await work()


class Wakeup:
    """A flag that one task waits for and other tasks set; each wait consumes it.

    Args:
        clock: The clock that measures time-outs.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether the next wait returns at once."""
        return self._event.is_set()

    def set(self) -> None:
        """Wake the task that waits, or the next one that does."""
        self._event.set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set, then clear it.

        Args:
            timeout: Seconds after which the wait ends without it; ``None`` for no limit.

        Returns:
            Whether the flag was set.
        """
        if timeout is None:
            await self._event.wait()
        else:
            await self._clock.wait(self._event, timeout)
        was_set = self._event.is_set()
        self._event.clear()
        return was_set


class ClosableQueue(Generic[T]):
    """An unbounded queue that is iterated until it is closed."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()

    def put(self, entry: T) -> None:
        """Add an entry."""
        self._queue.put_nowait(entry)

    def close(self) -> None:
        """End the iteration after the entries that were added."""
        self._queue.put_nowait(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        entry = await self._queue.get()
        if entry is None:
            self.close()  # for further calls
            raise StopAsyncIteration
        return entry
