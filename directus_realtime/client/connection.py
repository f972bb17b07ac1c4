"""One connection, kept up: attempts, authentication, renewal and state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from http import HTTPStatus
from time import monotonic
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from directus_realtime.client.backoff import endless
from directus_realtime.client.credentials import AccessToken, Credentials
from directus_realtime.client.driver import SocketDriver
from directus_realtime.client.failures import explain
from directus_realtime.client.gateway_rest import GatewayRest, is_gateway, without_websocket
from directus_realtime.client.headers import header_problem
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.proxies import Proxy, find_proxy
from directus_realtime.client.rest import RestClient, ServerInfo
from directus_realtime.client.states import ConnectionState, StateChange, StateStream
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    RequestRefused,
)
from directus_realtime.protocol import session as protocol
from directus_realtime.protocol.session import Session, SessionAction

logger = logging.getLogger("directus_realtime.client")


class _WireLogger(logging.LoggerAdapter[logging.Logger]):
    """Of the library, which at DEBUG prints every frame, and with it the token.

    The level of its logger does not do for that: logging.config sets it back.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        return level >= logging.WARNING and super().isEnabledFor(level)


_wire_logger = _WireLogger(logging.getLogger("directus_realtime.wire"), {})
_wire_logger.setLevel(logging.WARNING)

#: Directus's session cookie, which it also takes with a static token in it.
SESSION_COOKIE = "directus_session_token"
#: Messages over this many times the size limit end the connection.
_HARD_LIMIT = 4


class Connection:
    """Keeps one authenticated socket, for ever.

    Args:
        url: The server's URL, without a slash at the end; a gateway's begins with ``ws``.
        credentials: Who we are.
        options: Timeouts, size limits, headers.
        on_action: Called with what the session says about subscriptions.
        on_change: Called after each change of :attr:`change`.

    Attributes:
        is_gateway: Whether the other side is a gateway of Django, which has no REST.
        server: What the server said of itself, once it was reached.
        identity: Who the token is, once that was asked.
        change: The state, its reason, and since when.
        changes: The stream of changes.
        driver: The socket of now; ``None`` while there is none.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        options: ClientOptions,
        on_action: Callable[[SessionAction], None],
        on_change: Callable[[], None],
    ) -> None:
        self.is_gateway = is_gateway(url)
        self.url = without_websocket(url)
        self.server: ServerInfo | None = None
        self.identity = ""
        self.change = StateChange(ConnectionState.DISCONNECTED, "", datetime.now(UTC))
        self.changes = StateStream()
        self.driver: SocketDriver | None = None
        self._options = options
        self._credentials = credentials
        self._on_action = on_action
        self._on_change = on_change
        self._rest: RestClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxy: Proxy | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._last_heard_at: datetime | None = None
        self._connected_once = False
        self._warned_of_url = False
        self._authenticated_at: float | None = None

    @property
    def is_authenticated(self) -> bool:
        """Whether the connection is up."""
        return self.change.state is ConnectionState.CONNECTED

    @property
    def last_heard_at(self) -> datetime | None:
        """When the server was last heard while connected; ``None`` where it never was."""
        return (self.driver and self.driver.heard_at) or self._last_heard_at

    @property
    def rest(self) -> RestClient:
        """REST with the same credentials."""
        self.belong_here()
        if self._rest is None:
            if problem := header_problem(self._options.headers):
                raise ConnectionImpossible(f"The headers are wrong. {problem} Check HEADERS.")
            self._proxy = find_proxy(self._options.proxy, self.url)
            kind = GatewayRest if self.is_gateway else RestClient
            self._rest = kind(self.url, self._credentials, self._options, self._proxy)
        return self._rest

    @property
    def proxy_address(self) -> str:
        """Address of the proxy in between, for people; empty where there is none."""
        return self._proxy.address if self._proxy else ""

    def belong_here(self) -> None:
        """Belong to the event loop that comes first: no other can use its sockets.

        Raises:
            RuntimeError: It belongs to another loop.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # from outside nothing is sent
        if self._loop not in {None, loop}:
            raise RuntimeError(
                "This DirectusClient belongs to another event loop. Make one for each "
                "asyncio.run() or async_to_sync(), best by async with; or disconnect() it there."
            )
        self._loop = loop

    def explain(self, error: Exception) -> ConnectionFailed:
        """An error of REST or of the socket, as one of ours."""
        return explain(error, self.url, self.proxy_address, is_gateway=self.is_gateway)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background for as long as the socket of now lives."""
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_done)

    async def aclose(self) -> None:
        """Say that the connection is no longer wanted, and close what REST has open."""
        if self.change.state is not ConnectionState.DISCONNECTED:
            self._set_state(ConnectionState.DISCONNECTED)
        self.changes.close()
        rest, self._rest, self._loop = self._rest, None, None
        if rest is not None:
            await rest.aclose()

    async def run(self) -> None:
        """Connect, and connect again after each loss, until cancelled.

        Raises:
            ConnectionImpossible: It has never worked and will not by itself.
        """
        delays = endless(self._options.delays())
        while True:
            failure = await self._one_connection()
            if self._was_stable():
                delays = endless(self._options.delays())
            self._set_state(ConnectionState.RECONNECTING, str(failure))
            await asyncio.sleep(next(delays))

    async def _one_connection(self) -> ConnectionFailed:
        """Connect and work until the connection ends; the reason is returned.

        Raises:
            ConnectionImpossible: It has never worked and will not by itself. Once it
                has worked, the same error may heal (a renewed certificate, a token
                that is given back), so it is tried again like any other.
        """
        self._authenticated_at = None
        try:
            await self._connect_and_run()
        except (ConnectionFailed, RequestRefused, WebSocketException, OSError) as error:
            failure = self.explain(error)
        except Exception as error:
            failure = self._unexpected(error)
        finally:
            await self._stop_chores()
        if isinstance(failure, ConnectionImpossible) and not self._connected_once:
            self._set_state(ConnectionState.DISCONNECTED, str(failure))
            raise failure
        return failure

    def _unexpected(self, error: Exception) -> ConnectionFailed:
        """An error that nobody thought of, as the end of one connection.

        Raises:
            Exception: The same, where the connection has never worked.
        """
        kind = type(error).__name__
        if not self._connected_once:
            self._set_state(ConnectionState.DISCONNECTED, f"An unexpected error ({kind}).")
            raise error
        self._log_unexpected(error)
        return ConnectionFailed(f"An unexpected error ended the connection ({kind}).")

    async def _connect_and_run(self) -> None:
        if not urlsplit(self.url).hostname:
            raise ConnectionImpossible(
                f"{self.url!r} is not a URL such as https://cms.example.com."
            )
        self._credentials.begin()
        rest = self.rest
        self.server = await rest.server_info()
        self.identity = await rest.identity()
        token = await rest.access_token()
        async with self._open_socket(self.server, token) as socket:
            session = Session(
                ping_interval=self._options.ping_interval,
                pong_timeout=self._options.pong_timeout,
                reply_timeout=self._options.reply_timeout,
                authenticated=self.server.auth_mode == "strict",
                now=monotonic(),
            )
            driver = SocketDriver(socket, session, self._act, self._options.max_message_size)
            self.driver = driver
            try:
                if session.authenticated:
                    self._act(protocol.Authenticated())
                else:
                    driver.authenticate({"access_token": token.value})
                self.do(self._renew_token(driver, token))
                await driver.run()
            finally:
                self._last_heard_at = self.last_heard_at
                self.driver = None

    @contextlib.asynccontextmanager
    async def _open_socket(
        self, server: ServerInfo, token: AccessToken
    ) -> AsyncIterator[ClientConnection]:
        if server.websocket_path is None:
            raise ConnectionImpossible(
                f"Directus at {self.url} has WebSockets switched off. "
                "Set WEBSOCKETS_ENABLED=true on the server and restart it."
            )
        socket = await self._connect(server.websocket_path, server.auth_mode, token)
        try:
            yield socket
        finally:
            try:
                await socket.close()
            finally:  # a disconnect() may come while the server is waited for
                socket.transport.abort()

    async def _connect(self, path: str, auth_mode: str, token: AccessToken) -> ClientConnection:
        """Open the WebSocket; strict mode wants the token with the handshake.

        A header leaks less than a URL, so the session cookie carries it; a server that
        names its cookie differently answers 401 and gets the URL.
        """
        if auth_mode != "strict":
            return await self._handshake(path)
        try:
            return await self._handshake(path, cookie=f"{SESSION_COOKIE}={token.value}")
        except InvalidStatus as error:
            if error.response.status_code != HTTPStatus.UNAUTHORIZED:
                raise
        self._warn_of_url()
        return await self._handshake(path, query={"access_token": token.value})

    def _warn_of_url(self) -> None:
        if self._warned_of_url:
            return
        self._warned_of_url = True
        logger.warning(
            "%s does not take the cookie %s, so the token is sent in the URL of the WebSocket, "
            "where a proxy may log it. Leave SESSION_COOKIE_NAME of Directus as it is, or set its "
            "WEBSOCKETS_REST_AUTH to handshake.",
            self.url,
            SESSION_COOKIE,
            extra={"what": "token-in-url", "url": self.url},
        )

    async def _handshake(
        self, path: str, *, query: dict[str, str] | None = None, cookie: str = ""
    ) -> ClientConnection:
        headers = dict(self._options.headers)
        if cookie:
            own = [value for name, value in headers.items() if name.lower() == "cookie"]
            headers = {name: v for name, v in headers.items() if name.lower() != "cookie"}
            headers["Cookie"] = "; ".join([*own, cookie])
        proxy = self._proxy
        to_proxy: dict[str, Any] = {}
        if proxy is not None and proxy.is_encrypted:
            to_proxy["proxy_ssl"] = self._options.ssl or True
        return await connect(
            websocket_url(self.url, path, query or {}),
            proxy=proxy.url if proxy else None,
            **to_proxy,
            additional_headers=headers,
            ssl=self._options.ssl if self.url.startswith("https:") else None,
            open_timeout=self._options.connect_timeout,
            close_timeout=1,
            # The server never answers protocol pings; the session sends its own.
            ping_interval=None,
            compression=None,
            max_size=self._options.max_message_size * _HARD_LIMIT,
            logger=_wire_logger,
        )

    async def _renew_token(self, driver: SocketDriver, token: AccessToken) -> None:
        """Authenticate anew on the same socket before the token runs out."""
        while token.renew_at is not None:
            await asyncio.sleep(max(token.renew_at - monotonic(), 0))
            token = await self._fresh_token(driver)

    async def _fresh_token(self, driver: SocketDriver) -> AccessToken:
        delays = endless(self._options.delays())
        while True:
            try:
                token = await self.rest.access_token()
            except (RequestRefused, ConnectionFailed) as error:
                reason = self.explain(error)
                logger.warning(
                    "The token could not be renewed: %s",
                    reason,
                    extra={"what": "token-again", "url": self.url, "reason": str(reason)},
                )
                await asyncio.sleep(next(delays))
            else:
                driver.authenticate({"access_token": token.value})
                return token

    def _was_stable(self) -> bool:
        since = self._authenticated_at
        return since is not None and monotonic() - since >= self._options.stable_after

    def _set_state(self, state: ConnectionState, reason: str = "") -> None:
        if (state, reason) != (self.change.state, self.change.reason):
            self.change = StateChange(state, reason, datetime.now(UTC))
            self.changes.publish(self.change)
            self._on_change()

    def _act(self, action: SessionAction) -> None:
        match action:
            case protocol.Authenticated():
                self._authenticated()
            case protocol.CredentialsExpired():
                self.rest.forget_token()
                self._set_state(ConnectionState.RECONNECTING, "The access token has ended.")
                if self.driver is not None:
                    self.do(self._reauthenticate(self.driver))
            case protocol.AuthenticationFailed(code, message):
                raise ConnectionFailed(
                    f"Directus at {self.url} refused the authentication on the WebSocket "
                    f"({code}: {message.rstrip('.')}), though the credentials are good for REST."
                )
            case _:
                self._on_action(action)

    def _authenticated(self) -> None:
        if not self.is_authenticated:  # else a renewal on the same socket
            self._authenticated_at = monotonic()
            self._connected_once = True
            self._set_state(ConnectionState.CONNECTED)

    async def _reauthenticate(self, driver: SocketDriver) -> None:
        await self._fresh_token(driver)

    def _chore_done(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._log_unexpected(error)

    def _log_unexpected(self, error: BaseException) -> None:
        logger.error(
            "An unexpected error in the client.",
            exc_info=error,
            extra={"what": "unexpected", "url": self.url},
        )

    async def _stop_chores(self) -> None:
        chores = list(self._chores)
        for task in chores:
            task.cancel()
        await asyncio.gather(*chores, return_exceptions=True)


def websocket_url(url: str, path: str, query: dict[str, str]) -> str:
    """The WebSocket's URL from the server's; a sub-path of the server is kept."""
    scheme, host, base, _, _ = urlsplit(url)
    scheme = "wss" if scheme == "https" else "ws"
    return urlunsplit((scheme, host, f"{base.rstrip('/')}{path}", urlencode(query), ""))
