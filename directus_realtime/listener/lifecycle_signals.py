"""Signals about the listener itself, apart from those of events."""

from __future__ import annotations

import asyncio
from typing import Any

from directus_realtime.database import AsyncConnections, DatabaseThread
from directus_realtime.listener.delivery.receiver_calls import calls_of
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.signals import DirectusSignal
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.receivers")


class LifecycleSignals:
    """Queue of signals, sent one after another; a slow receiver delays the later ones only."""

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._async_connections = AsyncConnections()
        self._queue: asyncio.Queue[tuple[DirectusSignal, str, dict[str, Any]]] = asyncio.Queue()

    def put(self, signal: DirectusSignal, sender: str, **kwargs: Any) -> None:
        """Queue a signal."""
        self._queue.put_nowait((signal, sender, kwargs))

    async def run(self) -> None:
        """Send signals until cancelled."""
        while True:
            signal, sender, kwargs = await self._queue.get()
            try:
                await self._send(signal, sender, kwargs)
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait until all queued signals are sent."""
        await self._queue.join()

    async def _send(self, signal: DirectusSignal, sender: str, kwargs: dict[str, Any]) -> None:
        calls = calls_of([signal], sender, kwargs)
        if any(call.is_async for call in calls):
            await self._async_connections.check()
        for call in calls:
            failure = await (call.arun() if call.is_async else self._database.run(call.run))
            if failure is not None:
                counts.receiver_failures.add((failure.receiver,))
                logger.error(
                    "notice-failed",
                    "The receiver %s failed: %s\n%s",
                    failure.receiver,
                    failure.error,
                    failure.traceback,
                    sender=sender,
                    receiver=failure.receiver,
                    error=failure.error,
                )
