"""The WebSocket of a fake Directus: upgrade, authentication, heartbeat, messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from directus_realtime.testing.fake import socket_messages as messages
from directus_realtime.testing.fake.accounts import PUBLIC, Access, Accounts, Tokens
from directus_realtime.testing.fake.items_service import ItemsService
from directus_realtime.testing.fake.query import Query
from directus_realtime.testing.fake.refusals import ApiError
from directus_realtime.testing.fake.server_state import ServerOptions
from directus_realtime.testing.fake.socket_connection import SocketConnection
from directus_realtime.testing.fake.socket_messages import Message
from directus_realtime.testing.fake.socket_subscriptions import SocketSubscriptions
from directus_realtime.testing.fake.store import Origin

HANDSHAKE_FAILED = messages.error("auth", "AUTH_FAILED", "Authentication handshake failed.")
UNPARSABLE = messages.error("server", "INVALID_PAYLOAD", "Unable to parse the incoming message.")

SESSION_COOKIE = "directus_session_token"  # Directus's default name


class SocketServer:
    """All sockets of a fake Directus.

    Args:
        accounts: The users and tokens.
        subscriptions: The subscriptions of all sockets.
        options: The settings.
        notice: Called with every received message, secrets masked, and with None when a socket
            was opened, authenticated or closed.
    """

    def __init__(
        self,
        accounts: Accounts,
        subscriptions: SocketSubscriptions,
        options: ServerOptions,
        notice: Callable[[Any], None],
    ) -> None:
        self.connections: set[SocketConnection] = set()  # open, authenticated or not
        self.clients: set[SocketConnection] = set()  # authenticated
        self._accounts = accounts
        self._store = subscriptions.store
        self._subscriptions = subscriptions
        self._faults = subscriptions.faults
        self._options = options
        self._notice = notice
        self._heartbeat: asyncio.Task[None] | None = None
        self._handlers: Mapping[str, Callable[[SocketConnection, Message], None]] = {
            # Without a heartbeat Directus does not answer pings.
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
        except ConnectionError:  # closed by the client, which does not get this
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
        """Return the rights of the address's token, or None to refuse the upgrade."""
        is_strict = self._options.auth_mode == "strict"
        token = request.query.get("access_token")
        if token is None and is_strict:
            token = request.cookies.get(SESSION_COOKIE)
        if token is None:
            return None if is_strict else PUBLIC
        try:
            return self._accounts.access(token)
        except ApiError:
            return None

    def _connect(self, request: web.Request, socket: web.WebSocketResponse) -> SocketConnection:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        connection = SocketConnection(socket, transport, self._faults, self._options)
        self.connections.add(connection)
        self._notice(None)
        return connection

    async def _serve(self, connection: SocketConnection, access: Access) -> None:
        if access is PUBLIC and self._options.auth_mode == "handshake":
            await self._handshake(connection)
        else:
            self._admit(connection, access)
        await self._listen(connection)

    async def _disconnect(self, connection: SocketConnection) -> None:
        self.connections.discard(connection)
        self.clients.discard(connection)
        self._subscriptions.remove(connection)
        if not self.clients:
            self._stop_heartbeat()
        await connection.finish()
        self._notice(None)

    async def _handshake(self, connection: SocketConnection) -> None:
        """Admit the socket if its first message authenticates it in time."""
        message: Any = None
        with contextlib.suppress(TimeoutError, ValueError):
            async with asyncio.timeout(self._options.auth_timeout):
                message = json.loads(await self._content(connection) or "")
        self._notice(messages.masked(message))
        await self._faults.thawed.wait()
        try:
            access, tokens = self._authenticate(message)
        except ApiError:
            connection.send(HANDSHAKE_FAILED)
            connection.close()
            return
        connection.send(_auth_ok(message, tokens))
        self._admit(connection, access)

    async def _content(self, connection: SocketConnection) -> Any:
        """Return the next text or binary content, or None at the end of the connection."""
        while True:
            frame: WSMessage = await connection.socket.receive()
            if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                return frame.data
            # Protocol pings get no answer: Directus switches that off.
            if frame.type not in (WSMsgType.PING, WSMsgType.PONG):
                return None

    def _admit(self, connection: SocketConnection, access: Access) -> None:
        connection.authenticate(access)
        self.clients.add(connection)
        if self._heartbeat is None and self._options.heartbeat_period > 0:
            self._heartbeat = asyncio.create_task(self._beat())
        self._notice(None)

    def _authenticate(self, message: Any) -> tuple[Access, Tokens | None]:
        """Return the rights of an auth message, with new tokens if it was a login."""
        if not messages.auth_is_well_formed(message):
            raise ApiError(401, "AUTH_FAILED", "")
        tokens = None
        if "email" in message and "password" in message:
            tokens = self._accounts.login(message["email"], message["password"])
        if "refresh_token" in message:
            tokens = self._accounts.refresh(message["refresh_token"])
        token = message.get("access_token", tokens.access_token if tokens else None)
        return self._accounts.access(token), tokens

    async def _listen(self, connection: SocketConnection) -> None:
        while (content := await self._content(connection)) is not None:
            await self._faults.thawed.wait()
            self._receive(connection, content)

    def _receive(self, connection: SocketConnection, content: str | bytes) -> None:
        # A refused socket is about to be closed.
        if connection not in self.clients or self._is_over_limit(connection):
            return
        try:
            message = json.loads(content)
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

    def _is_over_limit(self, connection: SocketConnection) -> bool:
        limit = self._faults.rate_limit
        wait = connection.retry_after(limit) if limit else 0
        if wait:
            text = f"Too many messages, retry after {wait}ms."
            connection.send(messages.error("server", "REQUESTS_EXCEEDED", text))
        return wait > 0

    def _authenticate_again(self, connection: SocketConnection, message: Message) -> None:
        if not messages.auth_is_well_formed(message):
            return  # dropped without an answer, as in Directus
        try:
            access, tokens = self._authenticate(message)
        except ApiError:
            connection.auth_failed(message)
            return
        connection.authenticate(access)
        connection.send(_auth_ok(message, tokens))

    def _items(self, connection: SocketConnection, message: Message) -> None:
        reason = messages.items_problem(message)
        if reason is not None:
            connection.send(messages.error("items", "INVALID_PAYLOAD", reason))
            return
        name, access = message["collection"], connection.access
        if name not in self._store.schema or name.startswith("directus_"):
            connection.send(messages.unknown_collection("items", message))
            return
        origin = Origin(access.user.id if access.user else None)
        items = ItemsService(self._store, name, access, origin)
        try:
            query = Query.from_values(message.get("query") or {}, self._store.clock)
            data = _act(items, query, message)
        except ApiError as refused:
            connection.send(messages.error("items", refused.code, refused.message))
            return
        connection.send(messages.with_uid({"type": "items", "data": data}, message))

    async def _beat(self) -> None:
        """Ping the clients, and close those that were silent since the last ping."""
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


def _pong(connection: SocketConnection, message: Message) -> None:
    connection.send(messages.with_uid({"type": "pong"}, message))


def _auth_ok(message: Message, tokens: Tokens | None) -> Message:
    answer = messages.with_uid({"type": "auth", "status": "ok"}, message)
    return {**answer, "refresh_token": tokens.refresh_token} if tokens else answer


def _act(items: ItemsService, query: Query, message: Message) -> Any:
    """Execute an items message, and return the data of its answer."""
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
