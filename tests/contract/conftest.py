"""One suite, many servers: ``fake`` and 11.17.4, and those that CONTRACT_VERSIONS names."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from directus_realtime.client import DirectusClient
from directus_realtime.client.options import ClientOptions
from directus_realtime.protocol import messages
from example_project.real_directus import DirectusUnavailable
from tests.conftest import missing
from tests.contract.servers import (
    FAKE,
    NO_WEBSOCKETS,
    PLAIN,
    PUBLIC,
    QUIET,
    RATE_LIMITED,
    TUNED,
    Profile,
    Server,
    run_fake,
    run_real,
)
from tests.contract.wire import Wire, open_wire
from tests.helpers.leaks import _imported_once, own_leaks  # noqa: F401 - fixtures

REFERENCE = "11.17.4"
VERSIONS = list(
    dict.fromkeys(
        [
            FAKE,
            REFERENCE,
            *filter(None, map(str.strip, os.environ.get("CONTRACT_VERSIONS", "").split(","))),
        ]
    )
)
RECONNECT_DELAY = 0.05  # seconds
CLOSE_TIMEOUT = 60.0  # seconds: a deadline for the clients of a test

MakeClient = Callable[..., Awaitable[DirectusClient]]
OpenWire = Callable[..., Awaitable[Wire]]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(version, marks=() if version == FAKE else pytest.mark.e2e)
        for version in VERSIONS
    ],
)
def version(request: pytest.FixtureRequest) -> str:
    """``fake`` or the version of a real Directus."""
    return str(request.param)


@contextmanager
def _running(version: str, profile: Profile) -> Iterator[Server]:
    try:
        with run_fake(profile) if version == FAKE else run_real(version, profile) as server:
            yield server
    except DirectusUnavailable as error:
        missing(str(error))


@pytest.fixture(scope="session")
def server(version: str) -> Iterator[Server]:
    """A server with Directus's own defaults."""
    with _running(version, PLAIN) as server:
        yield server


@pytest.fixture(scope="session")
def tuned_server(version: str) -> Iterator[Server]:
    """Short heartbeat, short token life, QUERY_LIMIT_MAX, another WebSocket path."""
    with _running(version, TUNED) as server:
        yield server


@pytest.fixture(scope="session")
def rate_limited_server(version: str) -> Iterator[Server]:
    """20 points in 2 seconds for each socket and each REST client; strict mode."""
    with _running(version, RATE_LIMITED) as server:
        yield server


@pytest.fixture(scope="session")
def quiet_server(version: str) -> Iterator[Server]:
    """Answers of GET from a cache, and no heartbeat."""
    with _running(version, QUIET) as server:
        yield server


@pytest.fixture(scope="session")
def rest_only_server(version: str) -> Iterator[Server]:
    """No WebSockets."""
    with _running(version, NO_WEBSOCKETS) as server:
        yield server


@pytest.fixture(scope="session")
def public_server(version: str) -> Iterator[Server]:
    """Public mode."""
    with _running(version, PUBLIC) as server:
        yield server


#: A real server counts REST requests by the address of the client, so each test has its own.
_addresses = (f"10.0.0.{number}" for number in itertools.count(1))


@pytest.fixture
def address() -> dict[str, str]:
    """Headers as a proxy in front of the server would set them."""
    return {"X-Forwarded-For": next(_addresses)}


@asynccontextmanager
async def _closed_in_time() -> AsyncIterator[AsyncExitStack]:
    stack = AsyncExitStack()
    try:
        yield stack
    finally:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await stack.aclose()


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """Makes connected clients, the administrator's where nothing else is said."""
    async with _closed_in_time() as stack:

        async def make(server: Server, **more: Any) -> DirectusClient:
            names = ClientOptions.__dataclass_fields__.keys() & more.keys()
            options = {name: more.pop(name) for name in names}
            options.setdefault("delays", _delays)
            if not more.keys() & {"token", "email"}:
                more["token"] = server.token
            client = DirectusClient(server.url, options=ClientOptions(**options), **more)
            return await stack.enter_async_context(client)

        yield make


def _delays() -> Iterator[float]:
    while True:
        yield RECONNECT_DELAY


@pytest.fixture
async def wire_to() -> AsyncIterator[OpenWire]:
    """Opens bare sockets."""
    async with _closed_in_time() as stack:

        async def opened(server: Server, token: str | None = None) -> Wire:
            return await stack.enter_async_context(open_wire(server, token))

        yield opened


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every message that our clients send in this test, in order."""
    spoken: list[dict[str, Any]] = []
    encode = messages.encode

    def listening(message: dict[str, Any]) -> str:
        spoken.append(message)
        return encode(message)

    monkeypatch.setattr(messages, "encode", listening)
    return spoken


@pytest.fixture
def opened_sockets(monkeypatch: pytest.MonkeyPatch) -> list[ClientConnection]:
    """Every WebSocket that is opened in this test, by our clients or a bare one."""
    opened: list[ClientConnection] = []
    start = ClientConnection.start_keepalive

    def noticed(self: ClientConnection) -> None:
        opened.append(self)
        start(self)

    monkeypatch.setattr(ClientConnection, "start_keepalive", noticed)
    return opened


#: Seconds; servers start, and are installed, outside of it.
DEADLINE = 180


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the fake cannot do, and what only the fake can be told to do.

    Each test gets a deadline: a server that never answers, or a client that waits for ever,
    is a failure and not a hanging run.
    """
    for item in items:
        if "contract" in item.path.parts:
            item.add_marker(pytest.mark.timeout(DEADLINE, func_only=True))
    wrong = {"real_only": True, "fake_only": False}
    left_out = [
        item
        for item in items
        for marker, on_fake in wrong.items()
        if item.get_closest_marker(marker) and ("[fake" in item.name) is on_fake
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
