"""What the tests of the client do again and again."""

from __future__ import annotations

import asyncio
from typing import Any

from directus_realtime.client import ClientSubscription, ConnectionState, DirectusClient
from directus_realtime.events import Event
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.conftest import TIMEOUT

CONNECTED, RECONNECTING = ConnectionState.CONNECTED, ConnectionState.RECONNECTING
DISCONNECTED = ConnectionState.DISCONNECTED


async def within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, TIMEOUT)


async def take(subscription: ClientSubscription, count: int) -> list[Event]:
    """The next events of a subscription."""
    events: list[Event] = []
    async with asyncio.timeout(TIMEOUT):
        async for event in subscription:
            events.append(event)
            if len(events) == count:
                break
    return events


async def titles(subscription: ClientSubscription, count: int) -> list[Any]:
    return [(event.data or {}).get("title") for event in await take(subscription, count)]


async def create(fake: FakeDirectus, title: str, **values: Any) -> None:
    await fake.create("articles", {"title": title, **values})


async def until_reconnected(client: DirectusClient, fake: FakeDirectus, count: int = 3) -> None:
    await await_for(lambda: client.is_connected and len(fake.subscriptions) == count)
