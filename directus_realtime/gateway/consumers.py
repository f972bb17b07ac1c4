"""What a Channels consumer needs to hand Directus events to a browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from directus_realtime.groups import connection_group_name, connection_message
from directus_realtime.models import ConnectionStatus

__all__ = ["DirectusConsumer", "DirectusConsumerMixin"]


class DirectusConsumerMixin:
    """Joins groups and passes their messages to the browser as JSON.

    Mix it into an ``AsyncJsonWebsocketConsumer``; decide in ``connect`` who may join::

        class ArticlesConsumer(DirectusConsumerMixin, AsyncJsonWebsocketConsumer):
            directus_groups = [group_name("articles")]

    Attributes:
        directus_groups: Group names of events.
        directus_connections: Aliases whose state the browser is told.
    """

    directus_groups: Iterable[str] = ()
    directus_connections: Iterable[str] = ("default",)

    async def connect(self: Any) -> None:
        """Accept, join the groups, and tell the connections' states."""
        await self.accept()
        for group in self._directus_groups():
            await self.channel_layer.group_add(group, self.channel_name)
        for alias in self.directus_connections:
            await self.send_json(await _connection_state(alias))

    async def disconnect(self: Any, code: int) -> None:
        """Leave the groups."""
        for group in self._directus_groups():
            await self.channel_layer.group_discard(group, self.channel_name)

    async def directus_event(self: Any, message: dict[str, Any]) -> None:
        """Handle the group message of an event."""
        await self.send_json(message)

    async def directus_connection(self: Any, message: dict[str, Any]) -> None:
        """Handle the group message of a connection's state."""
        await self.send_json(message)

    def _directus_groups(self) -> list[str]:
        states = [connection_group_name(alias) for alias in self.directus_connections]
        return [*self.directus_groups, *states]


class DirectusConsumer(DirectusConsumerMixin, AsyncJsonWebsocketConsumer):
    """The mixin on Channels' JSON consumer; set ``directus_groups`` in a subclass."""


@database_sync_to_async
def _connection_state(alias: str) -> dict[str, Any]:
    status = ConnectionStatus.objects.filter(alias=alias).first()
    if status is None:
        return connection_message(alias, "disconnected", "No listener has been started yet.")
    return connection_message(alias, status.current_state, status.current_reason)
