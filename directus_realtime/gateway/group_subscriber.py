"""The hub's place in the channel layer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from channels.layers import get_channel_layer

from directus_realtime.gateway.frames import Json
from directus_realtime.gateway.limits import REJOIN_AFTER

logger = logging.getLogger("directus_realtime.gateway")

#: Seconds that joining a group may take before what waits for it goes on without.
_PATIENCE = 2.0
#: Seconds between two looks at whether every group is joined.
_INTERVAL = 2.0


class GroupSubscriber:
    """Joins groups, and hands over what comes. A layer that is away is waited for.

    Args:
        on_message: Called with each group message, one after another.
    """

    def __init__(self, on_message: Callable[[Json], Awaitable[None]]) -> None:
        self._on_message = on_message
        self._layer: Any = get_channel_layer()
        self._channel = ""
        self._wanted: set[str] = set()
        self._joined: set[str] = set()
        self._joined_at = monotonic()
        self._lock = asyncio.Lock()
        self._is_away = False
        self._receiver: asyncio.Task[None] | None = None

    async def join(self, group: str) -> None:
        """Join a group; where the layer is away, that is made up for later."""
        self._wanted.add(group)
        if group not in self._joined:
            await self._settle_or_note()

    def leave(self, group: str) -> None:
        """Leave a group soon."""
        self._wanted.discard(group)

    async def tend(self) -> None:
        """Keep the groups joined, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            if monotonic() - self._joined_at > REJOIN_AFTER:
                self._joined.clear()
            if self._joined != self._wanted:
                await self._settle_or_note()

    async def aclose(self) -> None:
        """Leave all groups."""
        self._wanted.clear()
        await self._settle_or_note()
        if self._receiver is not None:
            self._receiver.cancel()
            await asyncio.gather(self._receiver, return_exceptions=True)

    async def _settle_or_note(self) -> None:
        if self._layer is None:
            return
        try:
            async with asyncio.timeout(_PATIENCE), self._lock:
                await self._settle()
        except Exception as error:
            if not self._is_away:
                logger.warning(
                    "The channel layer is away (%s: %s); events are read from the inbox.",
                    type(error).__name__,
                    error,
                    extra={"event": "gateway-layer-away"},
                )
            self._is_away = True
        else:
            if self._is_away:
                logger.info("The channel layer is back.", extra={"event": "gateway-layer-back"})
            self._is_away = False

    async def _settle(self) -> None:
        if self._wanted and not self._channel:
            self._channel = await self._layer.new_channel()
            self._receiver = asyncio.create_task(self._receive(), name="directus-gateway-receiver")
        for group in self._wanted - self._joined:
            await self._layer.group_add(group, self._channel)
            self._joined.add(group)
            self._joined_at = monotonic()
        for group in self._joined - self._wanted:
            self._joined.discard(group)
            await self._layer.group_discard(group, self._channel)

    async def _receive(self) -> None:
        while True:
            try:
                message = await self._layer.receive(self._channel)
            except Exception as error:
                logger.warning(
                    "Group messages cannot be received: %s",
                    type(error).__name__,
                    extra={"event": "gateway-layer-away"},
                )
                self._joined.clear()
                await asyncio.sleep(_INTERVAL)
            else:
                await self._on_message(message)
                # Others get a turn also while messages come without a pause.
                await asyncio.sleep(0)
