"""The fake Directus itself: put together, started, changed and disturbed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from aiohttp import web

from directus_realtime.testing.fake.accounts import Accounts, FakeUser
from directus_realtime.testing.fake.errors import ApiError
from directus_realtime.testing.fake.faults import Faults, RateLimit
from directus_realtime.testing.fake.gateway import Gateway, GatewayOptions
from directus_realtime.testing.fake.reader import Reader
from directus_realtime.testing.fake.rest import RestApi, ServerInfo
from directus_realtime.testing.fake.schema import (
    USERS,
    FakeCollection,
    Item,
    Key,
    Schema,
    default_collections,
)
from directus_realtime.testing.fake.store import Store
from directus_realtime.testing.fake.subscriptions import Subscriptions

T = TypeVar("T")

AuthMode = Literal["handshake", "public", "strict"]

DEFAULT_TOKEN = "fake-directus-token"  # noqa: S105 - opens nothing but this fake
RECEIVED_LIMIT = 1000  # messages kept for inspection
TURNS_TO_CONNECT = 3  # of the event loop, from accept() to connection_made()
SHUTDOWN_TIMEOUT = 0.05  # seconds; nobody waits for a fake to finish


class FakeDirectus:
    """A Directus 11.17.4 for tests, in this process, on a real socket.

    It answers over REST and WebSocket as the real one was measured to do, the traps included,
    and can be told to misbehave. Use it as an asynchronous context manager, or call
    :meth:`start` and :meth:`stop`.

    Args:
        collections: The collections; articles if not given.
        token: The static token of the administrator.
        users: Who else there is.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        heartbeat_period: Seconds between the server's pings; 0 sends none.
        auth_timeout: Seconds a socket has to authenticate.
        auth_mode: Directus's ``WEBSOCKETS_REST_AUTH``.
        access_token_ttl: Seconds an access token lasts.
        websocket_path: Directus's ``WEBSOCKETS_REST_PATH``.
        query_limit_max: Directus's ``QUERY_LIMIT_MAX``.
        version: What the server says it is; it behaves like 11.17.4 all the same.
        system_items: What is there from the start in system collections, such as
            ``directus_notifications``.

    Attributes:
        received: The last messages that came in on any socket, secrets masked.
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
        # The listener is looked up late: subscriptions need the reader, and that the store.
        self._store = Store(schema, lambda changes: self._subscriptions.dispatch(changes))
        for user in self._accounts.users:
            self._store.add_unnoticed(USERS, user.as_item())
        for name, items in (system_items or {}).items():
            for item in items:
                self._store.add_unnoticed(name, item)
        self._reader = Reader(self._store, query_limit_max)
        self._subscriptions = Subscriptions(self._reader, self.faults)
        options = GatewayOptions(auth_mode, auth_timeout, heartbeat_period)
        self._gateway = Gateway(
            self._accounts, self._reader, self._subscriptions, self.faults, options, self._notice
        )
        period = int(heartbeat_period) if heartbeat_period == int(heartbeat_period) else None
        info = ServerInfo(
            version, auth_mode, websocket_path, period or heartbeat_period, query_limit_max
        )
        self._rest = RestApi(self._accounts, self._reader, self.faults, info, self.requests.append)

    def __repr__(self) -> str:
        return f"<FakeDirectus {self.url}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        application.router.add_get(self.websocket_path, self._gateway.handle)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT
        )
        await self._runner.setup()
        await self.resume_listening()

    async def stop(self) -> None:
        """End everything at once. The items stay; :meth:`start` may be called again."""
        if self._runner is None:
            return
        await self.stop_listening()  # first: a client that is cut off comes back at once
        await self._gateway.stop()
        await self._runner.cleanup()
        self._runner = None

    # Items

    def items(self, collection: str) -> list[Item]:
        """Return copies of all items, in the order of their keys."""
        return [dict(row) for row in self._store.rows(collection)]

    @overload
    async def create(self, collection: str, data: Item, *, emit: bool = True) -> Item: ...

    @overload
    async def create(
        self, collection: str, data: list[Item], *, emit: bool = True
    ) -> list[Item]: ...

    async def create(
        self, collection: str, data: Item | list[Item], *, emit: bool = True
    ) -> Item | list[Item]:
        """Add one item or a list of them, like a POST, and return them as stored.

        Args:
            collection: The collection.
            data: One item or several.
            emit: False, here and below, acts like a Flow without "emit events": the change is
                in the activity log, but no socket hears of it.

        Raises:
            ValueError: Directus would refuse this.
        """
        given = data if isinstance(data, list) else [data]
        try:
            keys = self._store.create(collection, given, emit=emit)
        except ApiError as refusal:
            raise ValueError(refusal.message) from refusal
        made = [dict(self._store.row(collection, key) or {}) for key in keys]
        return made if isinstance(data, list) else made[0]

    async def update(
        self, collection: str, keys: Key | Sequence[Key], data: Item, *, emit: bool = True
    ) -> None:
        """Change one item, like a PATCH to its address, or several, like a PATCH of keys."""
        self._store.update(collection, [(_wire_keys(keys), data)], emit=emit)

    async def delete(
        self, collection: str, keys: Key | Sequence[Key], *, emit: bool = True
    ) -> None:
        """Remove one item, like a DELETE to its address, or several, like a DELETE of keys.

        The event of a single key carries it as a string, as with Directus.
        """
        self._store.delete(collection, _wire_keys(keys), emit=emit)

    # Looking in

    @property
    def connections(self) -> int:
        """How many sockets are open, authenticated or not."""
        return len(self._gateway.connections)

    @property
    def clients(self) -> int:
        """How many sockets are open and let in."""
        return len(self._gateway.clients)

    @property
    def subscriptions(self) -> list[tuple[str, str | None, str | None]]:
        """The active subscriptions: collection, event or None for all, and uid."""
        return [(each.collection, each.event, each.uid) for each in self._subscriptions.active]

    async def wait_for(self, predicate: Callable[[Self], T], timeout: float = 5.0) -> T:
        """Wait until the predicate, called with this fake, returns something true.

        It is called again whenever a message came in or a socket came or went.

        Args:
            predicate: For example ``lambda fake: len(fake.subscriptions) == 3``.
            timeout: Seconds.

        Raises:
            TimeoutError: It did not become true in time.
        """
        async with asyncio.timeout(timeout):
            while not (value := predicate(self)):
                await self._tick.wait()
        return value

    # Faults

    async def cut(self, *, mid_frame: bool = False) -> None:
        """Abort every socket without a close frame; the client sees 1006.

        Args:
            mid_frame: Send the beginning of a text message first.
        """
        for connection in list(self._gateway.connections):
            connection.cut(mid_frame)

    def freeze(self) -> None:
        """Answer nothing any more, on REST and sockets, but keep all connections open."""
        self.faults.thawed.clear()

    def thaw(self) -> None:
        """End :meth:`freeze`; what came in meanwhile is answered now."""
        self.faults.thawed.set()

    def refuse_tokens(self, refused: bool = True) -> None:
        """Refuse every token and password from now on; open sockets stay as they are."""
        self._accounts.refusing = refused

    def change_token(self, token: str) -> None:
        """Give the administrator another static token; open sockets stay as they are."""
        self._admin.token = token

    async def expire_tokens(self) -> None:
        """End every access token now, and tell every socket that its token expired.

        Static tokens are good for authenticating again.
        """
        self._accounts.expire()
        for connection in list(self._gateway.clients):
            connection.expire()

    async def send_raw(self, content: str | bytes) -> None:
        """Send a text or binary message to every socket that was let in."""
        for connection in list(self._gateway.clients):
            connection.send(content)

    def delay_replies(self, seconds: float) -> None:
        """Hold back every REST answer and every message for so many seconds; 0 ends it."""
        self.faults.reply_delay = seconds

    def drop_next_subscribe_reply(self, count: int = 1) -> None:
        """Make the next subscriptions without telling the client."""
        self.faults.lost_subscribe_replies += count

    def hold_changes(self) -> None:
        """Hold back the messages of creates and updates, with the rows of now; deletes pass.

        On a busy Directus a delete overtakes them too: it needs no read of the database.
        """
        if self.faults.held_changes is None:
            self.faults.held_changes = []

    def release_changes(self) -> None:
        """End :meth:`hold_changes`, and send what was held back, in order."""
        held, self.faults.held_changes = self.faults.held_changes or [], None
        for send in held:
            send()

    def reject_upgrades(self, status: int | None = 503) -> None:
        """Answer the opening of a WebSocket with this HTTP status; None ends it."""
        self.faults.upgrade_status = status

    def rate_limit(self, points: int | None, seconds: float = 1.0) -> None:
        """Let each socket send only so many messages in so many seconds; None ends it."""
        self.faults.rate_limit = None if points is None else RateLimit(points, seconds)

    async def stop_listening(self) -> None:
        """Refuse new connections and abort those that are open, like a server that is down."""
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
        # Whoever waits looks again; the next to wait needs a new event.
        self._tick.set()
        self._tick = asyncio.Event()


def _wire_keys(keys: Key | Sequence[Key]) -> list[Key]:
    """Return keys as an event has them: strings come from addresses, numbers from bodies."""
    return [str(keys)] if isinstance(keys, int | str) else list(keys)
