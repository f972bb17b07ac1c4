"""What a Channels consumer needs to hand Directus events to a browser."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from directus_realtime.gateway.limits import REJOIN_AFTER
from directus_realtime.gateway.state_broadcast import public_reason
from directus_realtime.groups import connection_group_name, connection_message
from directus_realtime.models import ConnectionStatus

__all__ = ["DirectusConsumer", "DirectusConsumerMixin"]

logger = logging.getLogger("directus_realtime.gateway")


class DirectusConsumerMixin:
    """Joins groups and passes their messages to the browser as JSON.

    Mix it into an ``AsyncJsonWebsocketConsumer``; decide in ``connect`` who may join, since
    everybody may where you do not::

        class ArticlesConsumer(DirectusConsumerMixin, AsyncJsonWebsocketConsumer):
            directus_groups = [group_name("articles")]

    Attributes:
        directus_groups: Group names of events.
        directus_connections: Aliases whose state the browser is told.
    """

    directus_groups: Iterable[str] = ()
    directus_connections: Iterable[str] = ("default",)

    _directus_rejoining: asyncio.Task[None] | None = None

    async def connect(self: Any) -> None:
        """Join the groups, accept, and tell the connections' states."""
        # First, so that the browser misses nothing from the moment on that it is connected.
        await self._directus_join()
        await self.accept()
        self._directus_rejoining = asyncio.create_task(
            _rejoin(weakref.ref(self)), name="directus-consumer-rejoining"
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
            # Channels does not call disconnect() then, and any browser can send what is no JSON:
            # for a day, each event would be sent to all that did.
            with suppress(Exception):
                await self._directus_leave()
            raise

    async def directus_event(self: Any, message: dict[str, Any]) -> None:
        """Handle the group message of an event."""
        await self.send_json(message)

    async def directus_connection(self: Any, message: dict[str, Any]) -> None:
        """Handle the group message of a connection's state; the browser is told no addresses."""
        await self.send_json({**message, "reason": public_reason(message["state"])})

    async def _directus_join(self: Any) -> None:
        for group in self._directus_groups():
            await self.channel_layer.group_add(group, self.channel_name)

    async def _directus_leave(self: Any) -> None:
        if self._directus_rejoining is not None:
            self._directus_rejoining.cancel()
        for group in self._directus_groups():
            await self.channel_layer.group_discard(group, self.channel_name)

    def _directus_groups(self) -> list[str]:
        states = [connection_group_name(alias) for alias in self.directus_connections]
        return [*self.directus_groups, *states]


class DirectusConsumer(DirectusConsumerMixin, AsyncJsonWebsocketConsumer):
    """The mixin on Channels' JSON consumer; set ``directus_groups`` in a subclass."""


async def _rejoin(reference: weakref.ref[Any]) -> None:
    """Join the groups again and again, for as long as the consumer lives."""
    # By a weak reference: nothing tells a consumer that its server has cancelled it.
    while True:
        await asyncio.sleep(REJOIN_AFTER)
        consumer = reference()
        if consumer is None:
            return
        try:
            await consumer._directus_join()
        except Exception as error:
            logger.warning(
                "The groups of a consumer could not be joined anew: %s: %s",
                type(error).__name__,
                error,
                extra={"event": "consumer-not-rejoined"},
            )
        del consumer


@database_sync_to_async
def _connection_state(alias: str) -> dict[str, Any]:
    status = ConnectionStatus.objects.filter(alias=alias).first()
    if status is None:
        return connection_message(alias, "disconnected", "No listener has been started yet.")
    return connection_message(alias, status.current_state, status.current_reason)
