"""A listener in this process, and what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async

from directus_realtime.events import Event
from directus_realtime.listener.listener import Listener
from directus_realtime.models import DirectusSubscription
from directus_realtime.settings import ConnectionSettings
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import POLL_INTERVAL

TIMEOUT = 20.0  # seconds: a deadline, never a wait
TOKEN = "the-s3cret-token"


class Received:
    """What the receivers of the test got."""

    def __init__(self) -> None:
        self.titles: list[Any] = []
        self.states: list[str] = []
        self.gaps: list[dict[str, Any]] = []
        self.refusals: list[tuple[str, str]] = []

    def event(self, event: Event, **kwargs: Any) -> None:
        self.titles.append((event.data or {}).get("title"))

    def state(self, state: str, **kwargs: Any) -> None:
        self.states.append(state)

    def gap(self, since: Any, until: Any, recovered: bool, **kwargs: Any) -> None:
        self.gaps.append({"since": since, "until": until, "recovered": recovered})

    def refusal(self, sender: str, subscription: str, error: str, **kwargs: Any) -> None:
        self.refusals.append((subscription, error))


def connection(url: str, **values: Any) -> ConnectionSettings:
    return ConnectionSettings(**{"alias": "default", "url": url, "token": TOKEN, **values})


@asynccontextmanager
async def listening(*connections: ConnectionSettings) -> AsyncIterator[asyncio.Task[None]]:
    stopping = asyncio.Event()
    task = asyncio.create_task(Listener(connections).run(stopping))
    try:
        yield task
    finally:
        stopping.set()
        await asyncio.wait_for(task, TIMEOUT)


async def subscribe(name: str = "all", **values: Any) -> DirectusSubscription:
    return await DirectusSubscription.objects.acreate(
        **{"name": name, "collection": "articles", **values}
    )


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until a condition about the database is true."""
    async with asyncio.timeout(TIMEOUT):
        # The database tells nobody of a change.
        while not await sync_to_async(condition)():  # noqa: ASYNC110
            await asyncio.sleep(POLL_INTERVAL)


def state_is(name: str, state: str) -> Callable[[], bool]:
    return lambda: DirectusSubscription.objects.filter(name=name, state=state).exists()


async def create(fake: FakeDirectus, title: str) -> None:
    await fake.create("articles", {"title": title})


async def until_subscribed(fake: FakeDirectus, count: int = 3) -> None:
    await fake.wait_for(lambda fake: len(fake.subscriptions) == count, TIMEOUT)
