"""Browsers of the gateway, in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.gateway import DirectusGateway
from directus_realtime.groups import event_groups, event_message
from directus_realtime.listener.delivery.group_sender import send_all
from directus_realtime.models import DirectusSubscription, InboxEvent
from tests import settings as defaults

TIMEOUT = 5.0  # seconds: a deadline, never a wait

Json = dict[str, Any]


class Browser:
    """One browser, as a test uses it."""

    def __init__(self, communicator: WebsocketCommunicator) -> None:
        self._communicator = communicator
        self.uids = 0

    async def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self._communicator.send_to(text_data=text)

    async def send_bytes(self, content: bytes) -> None:
        await self._communicator.send_to(bytes_data=content)

    async def next(self) -> Json:
        """The next message, other than pings and those about the connection."""
        while True:
            message: Json = await self._communicator.receive_json_from(TIMEOUT)
            if message["type"] not in {"ping", "connection"}:
                return message

    async def raw(self) -> Any:
        """The next message of the server, whatever it is."""
        return await self._communicator.receive_output(TIMEOUT)

    async def closed(self) -> tuple[int, str]:
        """Wait for the end; its code and reason."""
        while True:
            message = await self.raw()
            if message["type"] == "websocket.close":
                return message["code"], message.get("reason", "")

    async def subscribe(self, collection: str = "articles", **values: Any) -> Json:
        """Subscribe, and give the answer."""
        await self.send({"type": "subscribe", "collection": collection, **values})
        return await self.next()

    async def is_silent(self) -> bool:
        """Whether nothing more comes: a ping is answered before anything else is."""
        await self.send({"type": "ping", "uid": "silence"})
        return await self.next() == {"type": "pong", "uid": "silence"}


@asynccontextmanager
async def browsing(
    gateway: Any = None,
    *,
    user: Any = None,
    session: Any = None,
    path: str = "/directus/",
    headers: Any = (),
) -> AsyncIterator[Browser]:
    """A browser on a gateway; one without options where none is given."""
    application = gateway or DirectusGateway.as_asgi()
    communicator = WebsocketCommunicator(application, path, headers=list(headers))
    if user is not None:
        communicator.scope["user"] = user
    if session is not None:
        communicator.scope["session"] = session
    connected, _ = await communicator.connect(timeout=TIMEOUT)
    assert connected
    try:
        yield Browser(communicator)
    finally:
        await communicator.disconnect(timeout=TIMEOUT)


async def offer(name: str = "articles", **values: Any) -> DirectusSubscription:
    """A subscription that every browser may have, unless said otherwise."""
    given = {"collection": "articles", "browser_access": "public", "fields": ["id", "title"]}
    return await DirectusSubscription.objects.acreate(name=name, **{**given, **values})


def event(key: int = 1, action: str = "create", name: str = "articles", **values: Any) -> Event:
    """An event of an offer."""
    data = None if action == "delete" else {"id": key, "title": f"article {key}"}
    given = {"connection": "default", "subscription": name, "collection": "articles"}
    return Event(**{**given, "action": action, "key": key, "data": data, **values})


async def deliver(*events: Event, sent: bool = True) -> None:
    """Put events into the inbox as delivered; the inbox's channel layer hands them on.

    Redis, where the tests run with it, is told of them as the listener would do it; a layer that
    a test has chosen is not.
    """
    now = timezone.now()
    rows = [InboxEvent.from_event(event) for event in events]
    for row in rows:
        if sent:
            row.sent_at, row.done_at, row.state = now, now, "done"
    await sync_to_async(InboxEvent.objects.bulk_create)(rows)
    layer = get_channel_layer()
    if settings.CHANNEL_LAYERS is defaults.CHANNEL_LAYERS and not isinstance(
        layer, InMemoryChannelLayer
    ):
        await send_all(layer, [(event_groups(each, ""), event_message(each)) for each in events])


async def close_layer(layer: Any) -> None:
    """Give up what a channel layer holds in this loop."""
    if isinstance(layer, InMemoryChannelLayer):
        await layer.close()
    elif layer is not None:
        await layer.flush()
