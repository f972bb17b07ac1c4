from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser

TIMEOUT = 20.0  # seconds: a deadline, never a wait


class Client:
    """A WebSocket client that knows nothing but JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: Any) -> None:
        raw = message if isinstance(message, str | bytes) else json.dumps(message)
        await self.socket.send(raw)

    async def receive(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), TIMEOUT))

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.receive()

    async def subscribe(self, collection: str = "articles", **more: Any) -> Any:
        return await self.ask({"type": "subscribe", "collection": collection, **more})

    async def until_pong(self) -> list[Any]:
        """Return everything that was on its way: the server answers in order."""
        await self.send({"type": "ping", "uid": "mark"})
        found = []
        while (message := await self.receive()) != {"type": "pong", "uid": "mark"}:
            found.append(message)
        return found

    async def close_code(self) -> int | None:
        """Wait until the server ends the connection, and return the code."""
        try:
            while True:
                await asyncio.wait_for(self.socket.recv(), TIMEOUT)
        except ConnectionClosed:
            return self.socket.close_code


Open = Callable[..., Awaitable[Client]]


@pytest.fixture
def collections() -> list[FakeCollection]:
    return [
        FakeCollection("authors", fields={"name": "string"}, items=[{"name": "Annie"}]),
        FakeCollection(
            "articles",
            fields={
                "title": "string",
                "status": "string",
                "author": ("m2o", "authors"),
                "date_updated": "date-updated",
            },
            items=[
                {"title": "one", "status": "draft", "author": 1},
                {"title": "two", "status": "published"},
            ],
        ),
        FakeCollection("notes", key_type="uuid", fields={"text": "string"}),
    ]


@pytest.fixture
def limited() -> FakeUser:
    rule = {"articles": {"status": {"_eq": "published"}}}
    return FakeUser("reader@example.com", "secret", token="limited", readable=rule)


@pytest.fixture
def options() -> dict[str, Any]:
    """What a test wants different; override with parametrize."""
    return {}


@pytest.fixture
async def fake(
    collections: list[FakeCollection], limited: FakeUser, options: dict[str, Any]
) -> AsyncIterator[FakeDirectus]:
    editor = FakeUser("editor@example.com", "secret", name="Editor")
    async with FakeDirectus(collections, "admin", [limited, editor], **options) as fake:
        yield fake


@pytest.fixture
async def open_socket(fake: FakeDirectus) -> AsyncIterator[Open]:
    """Open sockets; with a token they are authenticated."""
    async with AsyncExitStack() as stack:

        async def open_socket(token: str | None = "admin", query: str = "") -> Client:
            socket = await stack.enter_async_context(
                connect(fake.websocket_url + query, ping_interval=None, close_timeout=1)
            )
            client = Client(socket)
            if token is not None:
                answer = await client.ask({"type": "auth", "access_token": token})
                assert answer == {"type": "auth", "status": "ok"}
            return client

        yield open_socket


@pytest.fixture
async def client(open_socket: Open) -> Client:
    return await open_socket()


@pytest.fixture
async def rest(fake: FakeDirectus) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer admin"}
    async with httpx.AsyncClient(base_url=fake.url, headers=headers, timeout=TIMEOUT) as rest:
        yield rest
