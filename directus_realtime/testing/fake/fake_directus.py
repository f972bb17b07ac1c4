"""The fake Directus."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar

from aiohttp import web

from directus_realtime.testing.fake.accounts import Accounts, FakeUser
from directus_realtime.testing.fake.fake_collection import (
    USERS,
    FakeCollection,
    Item,
    Schema,
    default_collections,
)
from directus_realtime.testing.fake.fault_control import FaultControl, LogControl
from directus_realtime.testing.fake.rest import RestApi
from directus_realtime.testing.fake.server_state import Faults, ServerOptions
from directus_realtime.testing.fake.socket_server import SocketServer
from directus_realtime.testing.fake.socket_subscriptions import SocketSubscriptions
from directus_realtime.testing.fake.store import Store, Write
from directus_realtime.testing.fake.writes import FakeTransaction, ItemWriter

T = TypeVar("T")

AuthMode = Literal["handshake", "public", "strict"]

DEFAULT_TOKEN = "fake-directus-token"  # noqa: S105 - opens nothing but this fake
RECEIVED_LIMIT = 1000  # messages kept for inspection
TURNS_TO_CONNECT = 3  # of the event loop, from accept() to connection_made()
SHUTDOWN_TIMEOUT = 0.05  # seconds; the requests of a test need not finish


class FakeDirectus(ItemWriter, FaultControl, LogControl):
    """A Directus 11.17.4 for tests, in this process, on a real socket.

    It answers over REST and WebSocket as the real one was measured to do, quirks included, and
    has methods that cause faults. Use it as an asynchronous context manager, or call
    :meth:`start` and :meth:`stop`.

    Args:
        collections: The collections; articles if not given.
        token: The static token of the administrator.
        users: Further users.
        host: The address to listen on.
        port: The port; 0 for a free one.
        heartbeat_period: Seconds between the server's pings; 0 sends none and answers none, as
            with ``WEBSOCKETS_HEARTBEAT_ENABLED=false``.
        websockets: Directus's ``WEBSOCKETS_ENABLED``.
        cache: Directus's ``CACHE_ENABLED``: GET repeats its first answer until
            :meth:`forget_cache`; SEARCH is never cached.
        auth_timeout: Seconds until a socket must be authenticated.
        auth_mode: Directus's ``WEBSOCKETS_REST_AUTH``.
        access_token_ttl: Lifetime of an access token in seconds.
        websocket_path: Directus's ``WEBSOCKETS_REST_PATH``.
        query_limit_max: Directus's ``QUERY_LIMIT_MAX``.
        version: The version that the server reports; it behaves like 11.17.4 all the same.
        system_items: The first items of system collections, for example of
            ``directus_notifications``.

    Attributes:
        received: The last messages received on any socket, secrets masked.
        requests: The last REST requests, such as ``GET /server/info``.
    """

    def __init__(
        self,
        collections: Sequence[FakeCollection] | None = None,
        token: str = DEFAULT_TOKEN,
        users: Sequence[FakeUser] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        heartbeat_period: float = 30.0,
        auth_timeout: float = 10.0,
        auth_mode: AuthMode = "handshake",
        access_token_ttl: float = 900.0,
        websocket_path: str = "/websocket",
        query_limit_max: int | None = None,
        version: str = "11.17.4",
        system_items: Mapping[str, Sequence[Item]] | None = None,
        websockets: bool = True,
        cache: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.websocket_path = websocket_path
        self.received: deque[Any] = deque(maxlen=RECEIVED_LIMIT)
        self.requests: deque[str] = deque(maxlen=RECEIVED_LIMIT)
        self.faults = Faults()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._tick = asyncio.Event()

        self._admin = FakeUser("admin@example.com", password="", name="Admin", token=token)
        self._accounts = Accounts([self._admin, *users], access_token_ttl)
        schema = Schema(default_collections() if collections is None else collections)
        # Late: subscriptions need the store.
        self._store = Store(
            schema, lambda changes: self._subscriptions.dispatch(changes), query_limit_max
        )
        for user in self._accounts.users:
            self._store.add_silently(USERS, user.as_item())
        for name, items in (system_items or {}).items():
            for item in items:
                self._store.add_silently(name, item)
        self._options = ServerOptions(
            version,
            websockets,
            websocket_path,
            auth_mode,
            auth_timeout,
            heartbeat_period,
            query_limit_max,
            cache,
        )
        self._subscriptions = SocketSubscriptions(self._store, self.faults)
        self._sockets = SocketServer(
            self._accounts, self._subscriptions, self._options, self._notice
        )
        self._rest = RestApi(self._accounts, self._store, self.faults, self._options, self.requests)

    def __repr__(self) -> str:
        return f"<FakeDirectus {self.url}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    # Running

    @property
    def token(self) -> str:
        """The static token of the administrator."""
        return self._admin.token or ""

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """The address of the WebSocket."""
        return f"ws://{self.host}:{self.port}{self.websocket_path}"

    async def start(self) -> None:
        """Listen."""
        application = web.Application(middlewares=[self._rest.guard])
        application.add_routes(self._rest.routes())
        if self._options.websockets:
            application.router.add_get(self.websocket_path, self._sockets.handle)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT
        )
        await self._runner.setup()
        await self.resume_listening()

    async def stop(self) -> None:
        """Stop at once. The items stay; :meth:`start` may be called again."""
        if self._runner is None:
            return
        await self.stop_listening()  # first: a client that is cut off reconnects at once
        await self._sockets.stop()
        await self._runner.cleanup()
        self._runner = None

    # Items

    def items(self, collection: str) -> list[Item]:
        """Return copies of all items, in the order of their keys."""
        return [dict(row) for row in self._store.rows(collection)]

    def transaction(self) -> FakeTransaction:
        """Return a transaction, for ``async with``: its changes become visible at the end."""
        return FakeTransaction(self._store)

    def _execute(self, writes: Sequence[Write]) -> None:
        self._store.commit(writes)

    # Inspection

    @property
    def connections(self) -> int:
        """The number of open sockets, authenticated or not."""
        return len(self._sockets.connections)

    @property
    def clients(self) -> int:
        """The number of authenticated sockets."""
        return len(self._sockets.clients)

    @property
    def subscriptions(self) -> list[tuple[str, str | None, str | None]]:
        """The active subscriptions: collection, event or None for all, and uid."""
        return [(each.collection, each.event, each.uid) for each in self._subscriptions.active]

    async def wait_for(self, predicate: Callable[[Self], T], timeout: float = 5.0) -> T:
        """Wait until the predicate, called with this fake, returns a true value.

        It is called again after each message received and each socket opened or closed.

        Args:
            predicate: For example ``lambda fake: len(fake.subscriptions) == 3``.
            timeout: Seconds.

        Raises:
            TimeoutError: It was not true in time.
        """
        async with asyncio.timeout(timeout):
            while not (value := predicate(self)):
                await self._tick.wait()
        return value

    # The network

    async def stop_listening(self) -> None:
        """Refuse new connections and abort the open ones, like a stopped server."""
        if self._runner is None or self._runner.server is None or self._server is None:
            return
        server, self._server = self._server, None
        # asyncio leaves a connection open that was accepted just before its server is closed.
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        for _ in range(TURNS_TO_CONNECT):
            await asyncio.sleep(0)
        server.close()
        for handler in self._runner.server.connections:
            if handler.transport is not None:
                handler.transport.abort()

    async def resume_listening(self) -> None:
        """Listen again on the same port."""
        if self._runner is None or self._runner.server is None or self._server is not None:
            return
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server, self.host, self.port, reuse_address=True
        )
        self.port = int(self._server.sockets[0].getsockname()[1])

    def _notice(self, message: Any) -> None:
        if message is not None:
            self.received.append(message)
        # Each wait_for() checks its predicate again, and then waits for a new event.
        self._tick.set()
        self._tick = asyncio.Event()
