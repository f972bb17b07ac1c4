"""Membership in groups of the channel layer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from channels.layers import get_channel_layer

from directus_realtime.gateway.frames import Json
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.gateway")

#: Seconds after which groups are joined again: channel layers forget members after a day.
REJOIN_AFTER = 3600.0
#: Seconds that joining groups may take before the caller goes on without.
_TIMEOUT = 2.0
#: Seconds between two checks that every group is joined.
INTERVAL = 2.0


class GroupMembership:
    """The groups that one channel has joined.

    Args:
        layer: The channel layer.
        channel: Name of the channel.
        clock: Clock of :data:`REJOIN_AFTER`.
    """

    def __init__(self, layer: Any, channel: str, clock: SystemClock) -> None:
        self._layer = layer
        self._channel = channel
        self._clock = clock
        self._joined_at: dict[str, float] = {}

    def changes(self, groups: Collection[str]) -> tuple[set[str], set[str]]:
        """Return the groups to join, also those joined long ago, and the groups to leave."""
        oldest = self._clock.monotonic() - REJOIN_AFTER
        current = {group for group, at in self._joined_at.items() if at > oldest}
        return set(groups) - current, self._joined_at.keys() - set(groups)

    async def sync(self, groups: Collection[str]) -> None:
        """Join and leave groups until these are joined; errors of the layer are raised."""
        to_join, to_leave = self.changes(groups)
        for group in to_join:
            await self._layer.group_add(group, self._channel)
            self._joined_at[group] = self._clock.monotonic()
        for group in to_leave:
            del self._joined_at[group]
            await self._layer.group_discard(group, self._channel)

    def forget(self) -> None:
        """Forget all groups, so that they are joined again."""
        self._joined_at.clear()


class GroupSubscriber:
    """Subscriber to groups that waits for a layer that is unavailable.

    Args:
        on_message: Called with each group message, one after another.
        clock: Clock of the hub.
    """

    def __init__(self, on_message: Callable[[Json], Awaitable[None]], clock: SystemClock) -> None:
        self._on_message = on_message
        self._clock = clock
        self._layer: Any = get_channel_layer()
        self._membership: GroupMembership | None = None
        self._groups: set[str] = set()
        self._lock = asyncio.Lock()
        self._is_unavailable = False
        self._receiver: asyncio.Task[None] | None = None

    async def join(self, group: str) -> None:
        """Join a group; if the layer is unavailable, it is joined later."""
        self._groups.add(group)
        if self._membership is None or group in self._membership.changes([group])[0]:
            await self._try_sync()

    def leave(self, group: str) -> None:
        """Leave a group at the next :meth:`sync`."""
        self._groups.discard(group)

    async def aclose(self) -> None:
        """Leave all groups."""
        self._groups.clear()
        await self._try_sync()
        await cancel_all([self._receiver])

    async def sync(self) -> None:
        """Join and leave groups if necessary; after a failure, a later call does it."""
        membership = self._membership
        if self._groups if membership is None else any(membership.changes(self._groups)):
            await self._try_sync()

    async def _try_sync(self) -> None:
        if self._layer is None:
            return
        try:
            async with asyncio.timeout(_TIMEOUT), self._lock:
                await self._sync()
        except Exception as error:
            if not self._is_unavailable:
                logger.warning(
                    "gateway-layer-away",
                    "The channel layer is away (%s: %s); events are read from the inbox.",
                    type(error).__name__,
                    error,
                )
            self._is_unavailable = True
        else:
            if self._is_unavailable:
                logger.info("gateway-layer-back", "The channel layer is back.")
            self._is_unavailable = False

    async def _sync(self) -> None:
        if self._membership is None:
            if not self._groups:
                return
            channel = await self._layer.new_channel()
            self._membership = GroupMembership(self._layer, channel, self._clock)
            self._receiver = asyncio.create_task(
                self._receive(channel, self._membership), name="directus-gateway-receiver"
            )
        await self._membership.sync(self._groups)

    async def _receive(self, channel: str, membership: GroupMembership) -> None:
        while True:
            try:
                message = await self._layer.receive(channel)
            except Exception as error:
                logger.warning(
                    "gateway-layer-away",
                    "Group messages cannot be received: %s",
                    type(error).__name__,
                )
                membership.forget()
                await self._clock.sleep(INTERVAL)
            else:
                await self._on_message(message)
                # Other tasks run also while messages come without a pause.
                await self._clock.sleep(0)
