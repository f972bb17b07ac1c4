from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from directus_realtime.models import InboxEvent
from tests.conftest import free_port
from tests.helpers.process import Process
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import await_for
from tests.integration.gateway.browsers import event

TIMEOUT = 30.0  # seconds: a deadline, never a wait
MAX_UNREAD = 1024 * 1024
EVENTS, SIZE = 60, 100_000

ARGUMENTS = {
    "daphne": ("tests.gateway_asgi:application", "-b", "127.0.0.1", "-p"),
    "uvicorn": ("tests.gateway_asgi:application", "--host", "127.0.0.1", "--port"),
}


@pytest.fixture(params=sorted(ARGUMENTS))
async def url(request: Any, make_site: Callable[..., Site]) -> AsyncIterator[str]:
    """The gateway of a real server, with an offer of articles."""
    site = await sync_to_async(make_site)(
        {"GATEWAY_LIMITS": json.dumps({"max_unread": MAX_UNREAD})}
    )
    await sync_to_async(site.subscribe)("articles", browser_access="public", fields=["id", "title"])
    port = free_port()
    server = site.start(*ARGUMENTS[request.param], str(port), module=request.param)
    await await_for(lambda: is_listening(port, server), TIMEOUT, "the server to listen")
    yield f"ws://127.0.0.1:{port}/directus/"
    await sync_to_async(forget_connection)()


def forget_connection() -> None:
    """The thread outlives the site."""
    connections[ALIAS].close()
    del connections[ALIAS]


def is_listening(port: int, server: Process) -> bool:
    assert not server.has_ended, server.output
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def subscribe(browser: ClientConnection) -> None:
    await browser.send(json.dumps({"type": "subscribe", "collection": "articles"}))
    assert json.loads(await browser.recv())["event"] == "init"


def deliver(number: int) -> None:
    """Put an event into the site's inbox, from where the channel layer takes it."""
    row = InboxEvent.from_event(event(number, data={"id": number, "title": "x" * SIZE}))
    row.sent_at = row.done_at = timezone.now()
    row.state = "done"
    row.save(using=ALIAS)


async def next_key(browser: ClientConnection) -> int:
    """The key of the next event; pings are answered meanwhile."""
    while True:
        message = json.loads(await asyncio.wait_for(browser.recv(), TIMEOUT))
        if message["type"] == "ping":
            await browser.send(json.dumps({"type": "pong"}))
        elif message["type"] == "subscription":
            return int(message["data"][0]["id"])


async def test_a_browser_that_stops_reading_is_dropped_and_the_others_are_not(url: str) -> None:
    async with connect(url) as reading, connect(url, max_queue=1) as deaf:
        await subscribe(reading)
        await subscribe(deaf)
        deaf.transport.pause_reading()
        for number in range(EVENTS):
            await sync_to_async(deliver)(number)
            assert await next_key(reading) == number
        deaf.transport.resume_reading()
        received = await read_to_the_end(deaf)
    # What was on its way already arrives; what came after it was never kept.
    assert received < EVENTS * SIZE - MAX_UNREAD


async def read_to_the_end(browser: ClientConnection) -> int:
    """How many characters come until the server ends the connection."""
    received = 0
    while True:
        try:
            received += len(await asyncio.wait_for(browser.recv(), TIMEOUT))
        except ConnectionClosed:
            return received
