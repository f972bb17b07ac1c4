"""The WebSocket of a fake Directus: upgrade, authentication, heartbeat, messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from directus_realtime.testing.fake import messages
from directus_realtime.testing.fake.accounts import PUBLIC, Access, Accounts, Tokens
from directus_realtime.testing.fake.activity_log import Origin
from directus_realtime.testing.fake.connection import Connection, decode
from directus_realtime.testing.fake.errors import UNKNOWN_COLLECTION, ApiError
from directus_realtime.testing.fake.faults import Faults
from directus_realtime.testing.fake.items import Items
from directus_realtime.testing.fake.messages import Message
from directus_realtime.testing.fake.query import Query
from directus_realtime.testing.fake.reader import Reader
from directus_realtime.testing.fake.subscriptions import Subscriptions

HANDSHAKE_FAILED = messages.error("auth", "AUTH_FAILED", "Authentication handshake failed.")
UNPARSABLE = messages.error("server", "INVALID_PAYLOAD", "Unable to parse the incoming message.")

SESSION_COOKIE = "directus_session_token"  # Directus's default name


@dataclass(frozen=True)
class GatewayOptions:
    """The settings of Directus that concern its WebSocket; times are in seconds."""

    auth_mode: str
    auth_timeout: float
    heartbeat_period: float


class Gateway:
    """All sockets of a fake Directus.

    Args:
        accounts: Who may come in.
        reader: What to read with.
        subscriptions: Where subscriptions are kept.
        faults: The switches of the server.
        options: See :class:`GatewayOptions`.
        notice: Called with every message that came in, secrets masked, and with None when
            a socket came or went.
    """

    def __init__(
        self,
        accounts: Accounts,
        reader: Reader,
        subscriptions: Subscriptions,
        faults: Faults,
        options: GatewayOptions,
        notice: Callable[[Any], None],
    ) -> None:
        self.connections: set[Connection] = set()  # open, authenticated or not
        self.clients: set[Connection] = set()  # let in: these take part in the heartbeat
        self._accounts = accounts
        self._reader = reader
        self._subscriptions = subscriptions
        self._faults = faults
        self._options = options
        self._notice = notice
        self._heartbeat: asyncio.Task[None] | None = None
        self._handlers: Mapping[str, Callable[[Connection, Message], None]] = {
            # Without a heartbeat Directus has nobody who answers a ping.
            **({"ping": _pong} if options.heartbeat_period > 0 else {}),
            "subscribe": subscriptions.subscribe,
            "unsubscribe": subscriptions.unsubscribe,
            "items": self._items,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket from its upgrade to its end."""
        if self._faults.upgrade_status is not None:
            return web.Response(status=self._faults.upgrade_status)
        access = self._url_access(request)
        if access is None:
            return web.Response(status=401)
        socket = web.WebSocketResponse(
            autoclose=False, autoping=False, heartbeat=None, compress=False
        )
        try:
            await socket.prepare(request)
            connection = self._connect(request, socket)
        except ConnectionError:  # gone before it was answered; nobody gets this
            return web.Response()
        try:
            await self._serve(connection, access)
        finally:
            await self._disconnect(connection)
        return socket

    async def stop(self) -> None:
        """End the heartbeat and every socket, without a close frame as Directus does."""
        self._stop_heartbeat()
        for connection in list(self.connections):
            connection.cut()

    def _url_access(self, request: web.Request) -> Access | None:
        """Return who the address says it is, or None to refuse the upgrade."""
        token = request.query.get("access_token")
        if token is None and self._options.auth_mode == "strict":
            token = request.cookies.get(SESSION_COOKIE)
        if token is None:
            return None if self._options.auth_mode == "strict" else PUBLIC
        try:
            return self._accounts.access(token)
        except ApiError:
            return None

    def _connect(self, request: web.Request, socket: web.WebSocketResponse) -> Connection:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        connection = Connection(
            socket,
            transport,
            self._faults,
            self._options.auth_timeout,
            closes_on_auth_failure=self._options.auth_mode != "public",
        )
        self.connections.add(connection)
        self._notice(None)
        return connection

    async def _serve(self, connection: Connection, access: Access) -> None:
        if access is PUBLIC and self._options.auth_mode == "handshake":
            await self._handshake(connection)
        else:
            self._let_in(connection, access)
        await self._listen(connection)

    async def _disconnect(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.clients.discard(connection)
        self._subscriptions.forget(connection)
        if not self.clients:
            self._stop_heartbeat()
        await connection.finish()
        self._notice(None)

    async def _handshake(self, connection: Connection) -> None:
        """Let the socket in if its first message authenticates it in time."""
        message: Any = None
        with contextlib.suppress(TimeoutError, ValueError):
            async with asyncio.timeout(self._options.auth_timeout):
                message = decode(await self._first_content(connection))
        self._notice(messages.masked(message))
        await self._faults.thawed.wait()
        try:
            access, tokens = self._authenticate(message)
        except ApiError:
            connection.send(HANDSHAKE_FAILED)
            connection.close()
            return
        connection.send(_auth_ok(message, tokens))
        self._let_in(connection, access)

    async def _first_content(self, connection: Connection) -> Any:
        while True:
            frame = await connection.socket.receive()
            if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                return frame.data
            if frame.type not in (WSMsgType.PING, WSMsgType.PONG):
                return ""

    def _let_in(self, connection: Connection, access: Access) -> None:
        connection.let_in(access)
        self.clients.add(connection)
        if self._heartbeat is None and self._options.heartbeat_period > 0:
            self._heartbeat = asyncio.create_task(self._beat())
        self._notice(None)

    def _authenticate(self, message: Any) -> tuple[Access, Tokens | None]:
        """Return who an auth message says it is, with new tokens if it was a login."""
        if not messages.auth_is_well_formed(message):
            raise ApiError(401, "AUTH_FAILED", "")
        tokens = None
        if "email" in message and "password" in message:
            tokens = self._accounts.login(message["email"], message["password"])
        if "refresh_token" in message:
            tokens = self._accounts.refresh(message["refresh_token"])
        token = message.get("access_token", tokens.access_token if tokens else None)
        return self._accounts.access(token), tokens

    async def _listen(self, connection: Connection) -> None:
        while True:
            frame: WSMessage = await connection.socket.receive()
            if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._faults.thawed.wait()
                self._receive(connection, frame.data)
            # Protocol pings get no answer: Directus switches that off.
            elif frame.type not in (WSMsgType.PING, WSMsgType.PONG):
                return

    def _receive(self, connection: Connection, content: str | bytes) -> None:
        if connection not in self.clients:  # refused, and about to be closed
            return
        if self._is_over_limit(connection):
            return
        try:
            message = decode(content)
        except ValueError:
            self._notice(content)
            connection.send(UNPARSABLE)
            return
        self._notice(messages.masked(message))
        if isinstance(message, dict) and message.get("type") == "auth":
            self._authenticate_again(connection, message)
            return
        reason = messages.problem(message)
        if reason is not None:
            connection.send(messages.error("server", "INVALID_PAYLOAD", reason))
            return
        connection.is_silent = False
        handler = self._handlers.get(message["type"])
        if handler is not None:
            handler(connection, message)

    def _is_over_limit(self, connection: Connection) -> bool:
        limit = self._faults.rate_limit
        wait = connection.retry_after(limit) if limit else 0
        if wait:
            text = f"Too many messages, retry after {wait}ms."
            connection.send(messages.error("server", "REQUESTS_EXCEEDED", text))
        return wait > 0

    def _authenticate_again(self, connection: Connection, message: Message) -> None:
        if not messages.auth_is_well_formed(message):
            return  # Directus drops it without a word
        try:
            access, tokens = self._authenticate(message)
        except ApiError:
            connection.auth_failed(message)
            return
        connection.let_in(access)
        connection.send(_auth_ok(message, tokens))

    def _items(self, connection: Connection, message: Message) -> None:
        reason = messages.items_problem(message)
        if reason is not None:
            connection.send(messages.error("items", "INVALID_PAYLOAD", reason))
            return
        name = message["collection"]
        if name not in self._reader.store.schema or name.startswith("directus_"):
            uid = message.get("uid", messages.MISSING)
            refusal = messages.error("items", "INVALID_COLLECTION", UNKNOWN_COLLECTION, uid)
            connection.send(refusal)
            return
        user = connection.access.user
        items = Items(self._reader, name, connection.access, Origin(user.id if user else None))
        try:
            data = _act(items, self._reader.query(message.get("query") or {}), message)
        except ApiError as refused:
            connection.send(messages.error("items", refused.code, refused.message))
            return
        connection.send(messages.with_uid({"type": "items", "data": data}, message))

    async def _beat(self) -> None:
        """Ping everybody, and close who said nothing since the last ping."""
        while True:
            await asyncio.sleep(self._options.heartbeat_period)
            await self._faults.thawed.wait()
            for connection in list(self.clients):
                if connection.is_silent:
                    connection.close()
                connection.is_silent = True
                connection.send({"type": "ping"})

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None


def _pong(connection: Connection, message: Message) -> None:
    connection.send(messages.with_uid({"type": "pong"}, message))


def _auth_ok(message: Message, tokens: Tokens | None) -> Message:
    answer = messages.with_uid({"type": "auth", "status": "ok"}, message)
    return {**answer, "refresh_token": tokens.refresh_token} if tokens else answer


def _act(items: Items, query: Query, message: Message) -> Any:
    """Do what an items message says and return the data of its answer."""
    keys = [message["id"]] if "id" in message else message.get("ids")
    action = message["action"]
    if action == "create":
        return items.create(message.get("data", {}), query)
    if action == "read" and keys is None:
        return items.read(query)
    if action == "update" and keys is None:
        raise ApiError(400, "INVALID_PAYLOAD", "Invalid payload.")
    if action == "delete":
        items.delete(keys or [])
        return message.get("id", keys)
    if action == "read":
        found = items.read_many(keys or [], query)
    else:
        found = items.update(keys or [], message.get("data", {}), query)
    return found[0] if "id" in message and found else found
