"""Sends the signals that are about the listener itself, apart from the events' way."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from directus_realtime.listener.receivers import receiver_name
from directus_realtime.signals import DirectusSignal

logger = logging.getLogger("directus_realtime.receivers")


class Notices:
    """Sends signals one after another; a slow receiver delays later notices, nothing else."""

    def __init__(self) -> None:
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
            except Exception:
                # Django's own logging of a failure can fail (a partial has no name).
                logger.exception("A receiver failed.")
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait until everything is sent."""
        await self._queue.join()

    @staticmethod
    async def _send(signal: DirectusSignal, sender: str, kwargs: dict[str, Any]) -> None:
        for receiver, result in await signal.asend_robust(sender, **kwargs):
            if isinstance(result, Exception):
                logger.error("The receiver %s failed.", receiver_name(receiver), exc_info=result)
