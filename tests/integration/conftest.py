"""The fake Directus, a stub for what it cannot do, and clients that wait for nothing long."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Self

import pytest
from aiohttp import web

from directus_realtime.client import ClientOptions, DirectusClient, doorbells
from directus_realtime.listener.follower import followed_subscription, parked_changes
from directus_realtime.listener.standby import candidate as candidate_module
from directus_realtime.signals import (
    directus_connection_changed,
    directus_event,
    directus_gap_detected,
    directus_subscription_failed,
)
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from tests.helpers.leaks import _imported_once, own_leaks  # noqa: F401 - fixtures
from tests.integration.listening import TOKEN, Received

TIMEOUT = 20.0  # seconds: a deadline, never a wait
PASSWORD = "the-p4ssword"


def options(**values: Any) -> ClientOptions:
    """Short times, and hardly any delay between attempts."""
    given = {"connect_timeout": 2.0, "delays": lambda: itertools.repeat(0.01)}
    return ClientOptions(**{**given, **values})


@pytest.fixture
async def fake() -> AsyncIterator[FakeDirectus]:
    collections = [
        FakeCollection(
            "articles", fields={"title": "string", "status": "string", "token": "string"}
        ),
        FakeCollection("notes", key_type="uuid", fields={"title": "string"}),
    ]
    users = [FakeUser("editor@example.com", PASSWORD, name="Editor")]
    async with FakeDirectus(collections, TOKEN, users) as fake:
        yield fake


MakeClient = Callable[..., DirectusClient]


@pytest.fixture
async def make_client(fake: FakeDirectus) -> AsyncIterator[MakeClient]:
    """Makes clients, not connected yet; of the fake where no URL is given."""
    async with AsyncExitStack() as stack:

        def make(
            url: str = "", *, on_error: Any = None, on_socket: Any = None, **values: Any
        ) -> DirectusClient:
            who = {
                name: values.pop(name) for name in ("token", "email", "password") if name in values
            }
            client = DirectusClient(
                url or fake.url,
                **(who or {"token": TOKEN}),
                options=options(**values),
                on_error=on_error,
                on_socket=on_socket,
            )
            stack.push_async_callback(client.disconnect)
            return client

        yield make


@pytest.fixture
async def client(make_client: MakeClient) -> DirectusClient:
    """Connected to the fake."""
    client = make_client()
    await asyncio.wait_for(client.connect(), TIMEOUT)
    return client


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """Each test must end what it began."""
    before = asyncio.all_tasks()
    yield
    left = [task for task in asyncio.all_tasks() - before if task.get_name().startswith("directus")]
    for task in left:
        task.cancel()
    assert not left


SocketHandler = Callable[[web.WebSocketResponse], Awaitable[None]]


class Stub:
    """As much of Directus as connecting takes; the rest is up to the test.

    Attributes:
        upgrades: How many WebSockets were asked for.
        requests: The paths of all requests.
        statuses: Answers other than the usual ones, by path.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.upgrades = 0
        self.requests: list[str] = []
        self.statuses: dict[str, web.Response | Callable[[], web.Response]] = {}
        self.on_socket: SocketHandler = self.authenticate
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def authenticate(self, socket: web.WebSocketResponse) -> None:
        """Let the client in."""
        await socket.receive()
        await socket.send_json({"type": "auth", "status": "ok"})

    async def answer(self, socket: web.WebSocketResponse) -> None:
        """Let the client in and confirm what it subscribes, until it leaves."""
        await self.authenticate(socket)
        async for message in socket:
            content = message.json()
            if content["type"] == "subscribe":
                init = {"type": "subscription", "event": "init", "uid": content["uid"]}
                await socket.send_json(init)
            elif content["type"] == "ping":
                await socket.send_json({"type": "pong"})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.requests.append(path)
        if given := self.statuses.get(path):
            return given() if callable(given) else given
        if path == "/websocket":
            self.upgrades += 1
            socket = web.WebSocketResponse(autoping=False, compress=False)
            await socket.prepare(request)
            await self.on_socket(socket)
            await socket.close()
            return socket
        return web.json_response({"data": self._data(path)})

    def _data(self, path: str) -> Any:
        if path == "/server/info":
            rest = {"authentication": "handshake", "path": "/websocket"}
            return {"project": {}, "version": "11.17.4", "websocket": {"rest": rest}}
        if path.startswith("/fields/"):
            key = {"is_primary_key": True}
            return [{"field": "id", "type": "integer", "schema": key}]
        return {"id": "1", "email": "stub@example.com"} if path == "/users/me" else []


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with Stub() as stub:
        yield stub


@pytest.fixture
async def received() -> AsyncIterator[Received]:
    received = Received()
    connected = [
        (directus_event, received.event),
        (directus_connection_changed, received.state),
        (directus_gap_detected, received.gap),
        (directus_subscription_failed, received.refusal),
    ]
    for signal, receiver in connected:
        signal.connect(receiver)
    yield received
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def quick_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring waits for its row of the activity log for a moment only."""
    monkeypatch.setattr(doorbells, "PATIENCE", 0.3)
    monkeypatch.setattr(doorbells, "LONG_PATIENCE", 0.4)
    monkeypatch.setattr(doorbells, "_COLLECT", 0.1)


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that was refused is checked again after a second."""
    monkeypatch.setattr(followed_subscription, "_RETRY_BASE", 0.01)
    monkeypatch.setattr(followed_subscription, "_RETRY_CEILING", 0.01)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that were not found are read again at each poll."""
    monkeypatch.setattr(parked_changes, "_RETRY", 0.0)


@pytest.fixture
def fast_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost lease is noticed, and taken again, at once."""
    monkeypatch.setattr(candidate_module, "RENEW_INTERVAL", 0.05)
    monkeypatch.setattr(candidate_module, "POLL_INTERVAL", 0.05)
