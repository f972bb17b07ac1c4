"""Connection to one server: its states, attempts, authentication and renewal."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException

from directus_realtime.client.connection_errors import explain
from directus_realtime.client.credentials import AccessToken, Credentials
from directus_realtime.client.options import ClientOptions, Proxy, find_proxy, header_problem
from directus_realtime.client.rest import RestClient, ServerInfo
from directus_realtime.client.socket_driver import SocketDriver, SocketOpener
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    RequestRefused,
)
from directus_realtime.protocol import session as protocol
from directus_realtime.protocol.session import Session, SessionAction
from directus_realtime.utils.aio import ClosableQueue, Wakeup, cancel_all, run_until_first
from directus_realtime.utils.backoff import Backoff, endless, full_jitter
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.client")

#: Errors that end a connection and need no traceback.
_EXPECTED = (
    ConnectionFailed,
    RequestRefused,
    WebSocketException,
    OSError,
)
_NOT_CONNECTED = "The client is not connected."


class ConnectionState(StrEnum):
    """States of a connection."""

    #: Authenticated; the subscriptions are confirmed or on their way.
    CONNECTED = "connected"
    #: Lost or not yet made; the next attempt comes by itself.
    RECONNECTING = "reconnecting"
    #: Not requested, or given up.
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of state.

    Attributes:
        state: The new state.
        reason: Reason as a sentence, or empty.
        at: Time of the change; aware.
    """

    state: ConnectionState
    reason: str
    at: datetime


class Connection:
    """Keeps one connection authenticated, and connects again after each loss.

    Where the socket is required, it is the connection. Where it is optional, REST is, and
    the socket is kept open beside it.

    Args:
        url: The server's URL, without a slash at the end.
        credentials: Source of access tokens.
        options: Timeouts, size limits, headers.
        on_action: Called with the session's messages about subscriptions.
        on_change: Called after each change of :attr:`change`.
        on_socket: Called after each change of :attr:`socket_problem`.
        clock: Clock of the client.

    Attributes:
        server: Description of the server; ``None`` until it was reached.
        identity: User of the token; empty until it was read.
        change: Current state with its reason and time.
        driver: Driver of the current socket; ``None`` without one.
        socket_problem: Reason why no socket is open and authenticated, as a sentence; empty
            where one is.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        options: ClientOptions,
        on_action: Callable[[SessionAction], None],
        on_change: Callable[[], None],
        on_socket: Callable[[], None],
        clock: SystemClock,
    ) -> None:
        self.url = url
        self.clock = clock
        self.server: ServerInfo | None = None
        self.identity = ""
        self.change = StateChange(ConnectionState.DISCONNECTED, "", clock.now())
        # Weak: streams that are no longer iterated are forgotten.
        self._streams: weakref.WeakSet[ClosableQueue[StateChange]] = weakref.WeakSet()
        self.driver: SocketDriver | None = None
        self.socket_problem = _NOT_CONNECTED
        self._options = options
        self._delays = options.delays
        if options.delays is full_jitter:
            self._delays = partial(full_jitter, clock=clock)
        self._credentials = credentials
        self._on_action = on_action
        self._on_change = on_change
        self._on_socket = on_socket
        self._needs_socket = options.socket == "required"
        self._recheck_requested = Wakeup(clock)
        self._rest: RestClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxy: Proxy | None = None
        self._opener: SocketOpener | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._last_heard_at: datetime | None = None
        self._connected_once = False
        self._connected_at: float | None = None
        self._socket_at: float | None = None

    @property
    def is_authenticated(self) -> bool:
        """Whether the connection is up."""
        return self.change.state is ConnectionState.CONNECTED

    @property
    def has_socket(self) -> bool:
        """Whether a socket is open and authenticated."""
        return not self.socket_problem

    @property
    def last_heard_at(self) -> datetime | None:
        """Time of the server's last message while connected; ``None`` where none came."""
        return (self.driver and self.driver.heard_at) or self._last_heard_at

    @property
    def rest(self) -> RestClient:
        """REST with the same credentials."""
        self.bind_to_loop()
        if self._rest is None:
            parts = urlsplit(self.url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ConnectionImpossible(
                    f"{self.url!r} is not a URL such as https://cms.example.com."
                )
            if problem := header_problem(self._options.headers):
                raise ConnectionImpossible(f"The headers are wrong. {problem} Check HEADERS.")
            self._proxy = find_proxy(self._options.proxy, self.url)
            self._rest = RestClient(
                self.url, self._credentials, self._options, self._proxy, self.clock
            )
        return self._rest

    @property
    def proxy_address(self) -> str:
        """Address of the proxy without its password; empty where there is none."""
        return self._proxy.address if self._proxy else ""

    def bind_to_loop(self) -> None:
        """Bind the connection to the first event loop that uses it, like its sockets.

        Raises:
            RuntimeError: It belongs to another loop.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # outside of a loop nothing is sent
        if self._loop not in {None, loop}:
            raise RuntimeError(
                "This DirectusClient belongs to another event loop. Make one for each "
                "asyncio.run() or async_to_sync(), best by async with; or disconnect() it there."
            )
        self._loop = loop

    def states(self) -> AsyncIterator[StateChange]:
        """Return the current state and each change from now on, however late it is read."""
        stream: ClosableQueue[StateChange] = ClosableQueue()
        stream.put(self.change)
        self._streams.add(stream)
        return stream

    def explain(self, error: Exception) -> ConnectionFailed:
        """Return an error of REST or of the socket as one of ours."""
        return explain(error, self.url, self.proxy_address)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work in the background until the current socket ends."""
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_done)

    async def aclose(self) -> None:
        """Set the state to *disconnected*, and close REST's connections."""
        if self.change.state is not ConnectionState.DISCONNECTED:
            self._set_state(ConnectionState.DISCONNECTED)
        for stream in list(self._streams):
            stream.close()
        rest, self._rest, self._loop = self._rest, None, None
        if rest is not None:
            await rest.aclose()

    async def log_in(self) -> str:
        """Verify the credentials over REST, and return the identity.

        Raises:
            ConnectionFailed: Directus could not be reached, or refused the credentials.
        """
        self._credentials.begin()
        try:
            self.server = await self.rest.server_info()
            self.identity = await self.rest.identity()
        except (ConnectionFailed, RequestRefused, OSError) as error:
            raise self.explain(error) from None
        return self.identity

    async def run(self) -> None:
        """Connect, and connect again after each loss, until cancelled.

        Raises:
            ConnectionImpossible: It has never worked and will not by itself.
        """
        backoff = Backoff(self._delays, self._options.stable_after, self.clock)
        while True:
            failure = await self._one_connection()
            self._set_state(ConnectionState.RECONNECTING, str(failure))
            await self.clock.sleep(backoff.next_delay(self._connected_at))

    def recheck(self) -> None:
        """Verify over REST, soon, that the server still accepts the credentials.

        If it does not, the connection is made again: its state becomes *reconnecting*, with
        the reason. Does nothing while the client is not connected.
        """
        self._recheck_requested.set()

    async def _one_connection(self) -> ConnectionFailed:
        """Connect, run until the connection ends, and return the reason.

        Raises:
            ConnectionImpossible: It has never worked and will not by itself. Once it
                has worked, the same error may be temporary (an expired certificate, a
                revoked token), so it is retried like any other.
            Exception: An unexpected error of a connection that has never worked.
        """
        self._connected_at = None
        try:
            await self._connect_and_run()
        except Exception as error:
            if not isinstance(error, _EXPECTED) and not self._connected_once:
                kind = type(error).__name__
                self._set_state(ConnectionState.DISCONNECTED, f"An unexpected error ({kind}).")
                raise
            failure = self._failure(error)
        finally:
            await self._stop_chores()
        if isinstance(failure, ConnectionImpossible) and not self._connected_once:
            self._set_state(ConnectionState.DISCONNECTED, str(failure))
            raise failure
        return failure

    def _failure(self, error: Exception) -> ConnectionFailed:
        """Return the error that ended a connection as one of ours; log an unexpected one."""
        if isinstance(error, _EXPECTED):
            return self.explain(error)
        self._log_unexpected(error)
        return ConnectionFailed(
            f"An unexpected error ended the connection ({type(error).__name__})."
        )

    async def _connect_and_run(self) -> None:
        self._credentials.begin()
        self._recheck_requested = Wakeup(self.clock)  # the event loop may be another one by now
        await self._verify()
        if self._needs_socket:
            await run_until_first(self._run_socket, self._recheck_on_request)
        else:
            self._connected()
            await run_until_first(self._keep_socket, self._recheck_on_request)

    async def _verify(self) -> ServerInfo:
        """Read the server's description and the user of the token over REST."""
        rest = self.rest
        self.server = await rest.server_info()
        self.identity = await rest.identity()
        if not self._needs_socket:
            self._last_heard_at = self.clock.now()
        return self.server

    async def _recheck_on_request(self) -> None:
        while True:
            await self._recheck_requested.wait()
            await self._verify()

    async def _keep_socket(self) -> None:
        """Keep a socket open beside REST, and reopen it after any error, until REST fails."""
        backoff = Backoff(self._delays, self._options.stable_after, self.clock)
        while True:
            self._set_socket_problem(await self._socket_until_lost())
            if self.server is not None and self.server.websocket_path is None:
                await self.clock.sleep(self._options.socket_recheck_interval)
            # At once after a loss: the server may be down, or have suspended the user.
            await self._verify()
            await self.clock.sleep(backoff.next_delay(self._socket_at))

    async def _socket_until_lost(self) -> str:
        """Run one socket until it ends, and return the reason."""
        try:
            await self._run_socket()
        except Exception as error:
            failure = self._failure(error)
        finally:
            await self._stop_chores()
        return str(failure)

    async def _run_socket(self) -> None:
        """Open a socket and run it until it ends.

        Raises:
            ConnectionFailed: The server is silent, or refuses the authentication.
            websockets.exceptions.WebSocketException: The socket was refused or closed.
        """
        self._socket_at = None
        server = self.server or await self._verify()
        token = await self.rest.access_token()
        opener = self._opener = self._opener or SocketOpener(self.url, self._options, self._proxy)
        async with opener.open(server, token) as socket:
            session = self._session(server)
            limit = self._options.max_message_size
            driver = SocketDriver(socket, session, self._act, limit, self.clock)
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

    def _session(self, server: ServerInfo) -> Session:
        return Session(
            ping_interval=self._options.ping_interval,
            pong_timeout=self._options.pong_timeout,
            reply_timeout=self._options.reply_timeout,
            authenticated=server.auth_mode == "strict",
            # Directus ignores pings where its heartbeat is switched off.
            keepalive="ping" if server.heartbeat > 0 else "unsubscribe",
            now=self.clock.monotonic(),
        )

    async def _renew_token(self, driver: SocketDriver, token: AccessToken) -> None:
        """Authenticate again on the same socket before the token expires."""
        while token.renew_at is not None:
            await self.clock.sleep(max(token.renew_at - self.clock.monotonic(), 0))
            token = await self._fresh_token(driver)

    async def _fresh_token(self, driver: SocketDriver) -> AccessToken:
        delays = endless(self._delays())
        while True:
            try:
                token = await self.rest.access_token()
            except (RequestRefused, ConnectionFailed) as error:
                reason = self.explain(error)
                logger.warning(
                    "token-again",
                    "The token could not be renewed: %s",
                    reason,
                    url=self.url,
                    reason=str(reason),
                )
                await self.clock.sleep(next(delays))
            else:
                driver.authenticate({"access_token": token.value})
                return token

    def _set_state(self, state: ConnectionState, reason: str = "") -> None:
        if (state, reason) != (self.change.state, self.change.reason):
            self.change = StateChange(state, reason, self.clock.now())
            for stream in list(self._streams):
                stream.put(self.change)
            self._on_change()
            if state is not ConnectionState.CONNECTED:
                self._set_socket_problem(reason or _NOT_CONNECTED)

    def _set_socket_problem(self, problem: str) -> None:
        if problem != self.socket_problem:
            self.socket_problem = problem
            self._on_socket()

    def _act(self, action: SessionAction) -> None:
        match action:
            case protocol.Authenticated():
                self._authenticated()
            case protocol.CredentialsExpired():
                self.rest.forget_token()
                self._token_ended("The access token has ended.")
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
        if not self.has_socket:  # else a renewal on the same socket
            self._socket_at = self.clock.monotonic()
            if self._needs_socket:
                self._connected()
            self._set_socket_problem("")

    def _connected(self) -> None:
        self._connected_at = self.clock.monotonic()
        self._connected_once = True
        self._set_state(ConnectionState.CONNECTED)

    def _token_ended(self, reason: str) -> None:
        if self._needs_socket:
            self._set_state(ConnectionState.RECONNECTING, reason)
        else:
            self._set_socket_problem(reason)

    async def _reauthenticate(self, driver: SocketDriver) -> None:
        await self._fresh_token(driver)

    def _chore_done(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._log_unexpected(error)

    def _log_unexpected(self, error: BaseException) -> None:
        logger.error(
            "unexpected", "An unexpected error in the client.", exc_info=error, url=self.url
        )

    async def _stop_chores(self) -> None:
        await cancel_all(list(self._chores))
