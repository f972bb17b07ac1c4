"""Channels consumers that pass Directus events to a browser."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from directus_realtime.gateway import group_subscriber
from directus_realtime.gateway.frames import public_reason
from directus_realtime.gateway.group_subscriber import GroupMembership
from directus_realtime.groups import connection_group_name, connection_message
from directus_realtime.models import ConnectionStatus
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

__all__ = ["DirectusConsumer", "DirectusConsumerMixin"]

logger = EventLogger("directus_realtime.gateway")


class DirectusConsumerMixin:
    """Joins groups and passes their messages to the browser as JSON.

    Mix it into an ``AsyncJsonWebsocketConsumer``; decide in ``connect`` who may join, since
    everybody may where you do not::

        class ArticlesConsumer(DirectusConsumerMixin, AsyncJsonWebsocketConsumer):
            directus_groups = [group_name("articles")]

    Attributes:
        directus_groups: Group names of events.
        directus_connections: Aliases of the connections whose state is sent to the browser.
    """

    directus_groups: Iterable[str] = ()
    directus_connections: Iterable[str] = ("default",)

    _directus_clock = SystemClock()
    _directus_membership: GroupMembership | None = None
    _directus_rejoining: asyncio.Task[None] | None = None

    async def connect(self: Any) -> None:
        """Join the groups, accept, and send the connections' states."""
        # First, so that the browser misses nothing once it is connected.
        await self._directus_join()
        await self.accept()
        self._directus_rejoining = asyncio.create_task(
            _rejoin(weakref.ref(self), self._directus_clock), name="directus-consumer-rejoining"
        )
        for alias in self.directus_connections:
            await self.directus_connection(await _connection_state(alias))

    async def disconnect(self: Any, code: int) -> None:
        """Leave the groups."""
        await self._directus_leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle a message; a consumer that fails leaves the groups."""
        try:
            await super().dispatch(message)  # type: ignore[misc]
        except StopConsumer:
            raise
        except Exception:
            # Channels does not call disconnect() then, and any browser can send invalid JSON:
            # for a day, each event would be sent to all that did.
            with suppress(Exception):
                await self._directus_leave()
            raise

    async def directus_event(self: Any, message: dict[str, Any]) -> None:
        """Handle the group message of an event."""
        await self.send_json(message)

    async def directus_connection(self: Any, message: dict[str, Any]) -> None:
        """Handle the group message of a connection's state; send it without addresses."""
        await self.send_json({**message, "reason": public_reason(message["state"])})

    async def _directus_join(self: Any) -> None:
        if self._directus_membership is None:
            self._directus_membership = GroupMembership(
                self.channel_layer, self.channel_name, self._directus_clock
            )
        states = [connection_group_name(alias) for alias in self.directus_connections]
        await self._directus_membership.sync([*self.directus_groups, *states])

    async def _directus_leave(self: Any) -> None:
        if self._directus_rejoining is not None:
            self._directus_rejoining.cancel()
        if self._directus_membership is not None:
            await self._directus_membership.sync(())


class DirectusConsumer(DirectusConsumerMixin, AsyncJsonWebsocketConsumer):
    """The mixin on Channels' JSON consumer; set ``directus_groups`` in a subclass."""


async def _rejoin(reference: weakref.ref[Any], clock: SystemClock) -> None:
    """Join the groups again regularly, while the consumer exists."""
    # By a weak reference: a consumer gets no notice when its server cancels it.
    while True:
        await clock.sleep(group_subscriber.REJOIN_AFTER)
        consumer = reference()
        if consumer is None:
            return
        try:
            await consumer._directus_join()
        except Exception as error:
            logger.warning(
                "consumer-not-rejoined",
                "The groups of a consumer could not be joined anew: %s: %s",
                type(error).__name__,
                error,
            )
        del consumer


@database_sync_to_async
def _connection_state(alias: str) -> dict[str, Any]:
    status = ConnectionStatus.objects.filter(alias=alias).first()
    return connection_message(alias, status.current_state if status else "disconnected", "")
