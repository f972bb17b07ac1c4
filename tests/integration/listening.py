"""A listener in this process, and what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async

from directus_realtime.events import Event, Key
from directus_realtime.listener.listener import Listener
from directus_realtime.models import DirectusSubscription
from directus_realtime.settings import ConnectionSettings
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import POLL_INTERVAL, await_for

TIMEOUT = 20.0  # seconds: a deadline, never a wait
TOKEN = "the-s3cret-token"


class Received:
    """What the receivers of the test got."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.titles: list[Any] = []
        self.states: list[str] = []
        self.gaps: list[dict[str, Any]] = []
        self.refusals: list[tuple[str, str]] = []

    @property
    def changes(self) -> list[tuple[str, Key, Any]]:
        """Action, key and title of each event, in the order of delivery."""
        titles = [(event.data or {}).get("title") for event in self.events]
        return [
            (event.action, event.key, title)
            for event, title in zip(self.events, titles, strict=True)
        ]

    def event(self, event: Event, **kwargs: Any) -> None:
        self.events.append(event)
        self.titles.append((event.data or {}).get("title"))

    def state(self, state: str, **kwargs: Any) -> None:
        self.states.append(state)

    def gap(self, **values: Any) -> None:
        self.gaps.append(values)

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


async def until_subscribed(fake: FakeDirectus, *names: str) -> None:
    """Wait until subscriptions are followed, and the socket rings for them.

    Args:
        fake: What they are followed on.
        *names: The subscriptions; all that are enabled if not given.
    """
    enabled = DirectusSubscription.objects.filter(enabled=True)
    if names:
        enabled = enabled.filter(name__in=names)
    await until(lambda: not enabled.exclude(state="subscribed").exists())
    collections = {each.collection async for each in enabled}
    watched = {(name, action) for name in collections for action in ("create", "update", "delete")}
    await fake.wait_for(
        lambda fake: watched <= {(name, event) for name, event, _ in fake.subscriptions}, TIMEOUT
    )


@asynccontextmanager
async def following(
    fake: FakeDirectus, *, is_subscribed: bool = True, **values: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A listener that polls often.

    Args:
        fake: What it follows.
        is_subscribed: Whether the block begins when every subscription is followed.
        **values: Settings of the connection.
    """
    settings = connection(fake.url, **{"catch_up_interval": 0.05, "poll_interval": 0.05, **values})
    async with listening(settings) as task:
        if is_subscribed:
            await until_subscribed(fake)
        yield task


async def polled(fake: FakeDirectus, path: str = "/activity") -> None:
    """Wait until something was read that was not asked for yet, by default the activity log."""
    fake.requests.clear()
    # The first answer may have been under way already.
    await await_for(lambda: fake.requests.count(f"SEARCH {path}") > 1, TIMEOUT)
