"""Sends the signals that are about the listener itself, apart from the events' way."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from directus_realtime.database import AsyncConnections, DatabaseThread
from directus_realtime.listener.delivery.receiver_calls import calls_of
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.signals import DirectusSignal

logger = logging.getLogger("directus_realtime.receivers")


class LifecycleSignals:
    """Sends signals one after another; a slow receiver delays later notices, nothing else.

    Args:
        database: The thread in which ``def`` receivers run.
    """

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._async_connections = AsyncConnections()
        self._queue: asyncio.Queue[tuple[DirectusSignal, str, dict[str, Any]]] = asyncio.Queue()

    def put(self, signal: DirectusSignal, sender: str, **kwargs: Any) -> None:
        """Have a signal sent."""
        self._queue.put_nowait((signal, sender, kwargs))

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            signal, sender, kwargs = await self._queue.get()
            try:
                await self._send(signal, sender, kwargs)
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait until everything is sent."""
        await self._queue.join()

    async def _send(self, signal: DirectusSignal, sender: str, kwargs: dict[str, Any]) -> None:
        calls = calls_of([signal], sender, kwargs)
        if any(call.is_async for call in calls):
            await self._async_connections.look()
        for call in calls:
            failure = await (call.arun() if call.is_async else self._database.run(call.run))
            if failure is not None:
                counts.receiver_failures.add((failure.receiver,))
                logger.error(
                    "The receiver %s failed: %s\n%s",
                    failure.receiver,
                    failure.error,
                    failure.traceback,
                    extra={
                        "event": "notice-failed",
                        "sender": sender,
                        "receiver": failure.receiver,
                        "error": failure.error,
                    },
                )
