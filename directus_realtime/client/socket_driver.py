"""Opens a WebSocket, and runs a :class:`~directus_realtime.protocol.session.Session` on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from directus_realtime.client.credentials import AccessToken
from directus_realtime.client.options import ClientOptions, Proxy
from directus_realtime.client.rest import ServerInfo
from directus_realtime.exceptions import BadFrame, ConnectionFailed, ConnectionImpossible
from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.session import Ignored, PeerSilent, Session, SessionAction
from directus_realtime.utils.aio import Wakeup, run_until_first
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.redaction import excerpt
from directus_realtime.utils.system_clock import SystemClock


class SocketDriver:
    """Moves frames between a socket and a session, and lets time pass there.

    Reading never blocks: frames are sent by a task of their own, and actions are passed by a
    plain call.

    Args:
        socket: An open WebSocket.
        session: State of the protocol.
        handle: Called with each action, in order; must not block.
        max_message_size: Bytes; a larger message is reported and left out.
        clock: Clock of the session.

    Attributes:
        heard_at: Arrival of the last frame while authenticated, aware; ``None`` before.
    """

    def __init__(
        self,
        socket: ClientConnection,
        session: Session,
        handle: Callable[[SessionAction], None],
        max_message_size: int,
        clock: SystemClock,
    ) -> None:
        self._socket = socket
        self._session = session
        self._handle = handle
        self._max_message_size = max_message_size
        self._clock = clock
        self.heard_at = clock.now() if session.authenticated else None
        self._to_send: asyncio.Queue[str] = asyncio.Queue()
        self._deadline_changed = Wakeup(clock)

    async def run(self) -> None:
        """Run until the connection ends.

        Raises:
            ConnectionFailed: The server is silent.
            websockets.exceptions.ConnectionClosed: The connection ended.
        """
        self._flush()
        await run_until_first(self._read, self._write, self._watch_clock)

    def authenticate(self, credentials: dict[str, str]) -> None:
        """Send credentials, also on a socket that is authenticated already."""
        self._session.authenticate(credentials, self._clock.monotonic())
        self._flush()

    def subscribe(self, subscription: WireSubscription) -> None:
        """Ask for a subscription."""
        self._session.subscribe(subscription, self._clock.monotonic())
        self._flush()

    def unsubscribe(self, uid: str) -> None:
        """End a subscription."""
        self._session.unsubscribe(uid, self._clock.monotonic())
        self._flush()

    async def _read(self) -> None:
        while True:
            frame = await self._socket.recv()
            arrived_at = self._clock.now()
            if (size := self._size(frame)) > self._max_message_size:
                problem = f"A message of {size} bytes is over MAX_MESSAGE_SIZE"
                self._handle(Ignored(BadFrame(problem, excerpt(frame))))
                continue
            self._session.receive(frame, self._clock.monotonic())
            if self._session.authenticated:
                self.heard_at = arrived_at
            self._flush()

    def _size(self, frame: str | bytes) -> int:
        """Bytes of a frame; a text is only measured where it may be too long."""
        if isinstance(frame, str) and len(frame) * 4 > self._max_message_size:
            return len(frame.encode("utf-8", "surrogatepass"))
        return len(frame)

    async def _write(self) -> None:
        while True:
            await self._socket.send(await self._to_send.get())

    async def _watch_clock(self) -> None:
        while True:
            wait = self._session.next_deadline() - self._clock.monotonic()
            await self._deadline_changed.wait(max(wait, 0))
            if self._session.next_deadline() <= (now := self._clock.monotonic()):
                self._session.tick(now)
                self._flush()

    def _flush(self) -> None:
        """Send the session's frames, and pass on its actions."""
        for frame in self._session.take_frames():
            self._to_send.put_nowait(frame)
        for action in self._session.take_actions():
            if isinstance(action, PeerSilent):
                raise ConnectionFailed(
                    f"Directus did not answer a ping within {action.seconds:g} s."
                )
            self._handle(action)
        self._deadline_changed.set()


logger = EventLogger("directus_realtime.client")


class _WireLogger(logging.LoggerAdapter[logging.Logger]):
    """Logger of the websockets library without DEBUG, where frames and tokens are printed.

    Setting the level of its logger is not enough: logging.config resets it.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        return level >= logging.WARNING and super().isEnabledFor(level)


_wire_logger = _WireLogger(logging.getLogger("directus_realtime.wire"), {})
_wire_logger.setLevel(logging.WARNING)

#: Directus's session cookie, which it also takes with a static token in it.
SESSION_COOKIE = "directus_session_token"
#: Messages over this many times the size limit end the connection.
_HARD_LIMIT = 4


class SocketOpener:
    """Opens WebSockets to one server.

    Args:
        url: The server's URL, without a slash at the end.
        options: Timeouts, size limits, headers.
        proxy: The proxy to go through.
    """

    def __init__(self, url: str, options: ClientOptions, proxy: Proxy | None) -> None:
        self._url = url
        self._options = options
        self._proxy = proxy
        self._warned_of_url = False

    @contextlib.asynccontextmanager
    async def open(self, server: ServerInfo, token: AccessToken) -> AsyncIterator[ClientConnection]:
        """Keep a WebSocket open while the block runs.

        Raises:
            ConnectionImpossible: The server has WebSockets switched off.
            websockets.exceptions.WebSocketException: The handshake was refused.
            OSError: The server cannot be reached, or does not answer the handshake in time.
        """
        if server.websocket_path is None:
            raise ConnectionImpossible(
                f"Directus at {self._url} has WebSockets switched off. "
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
            "token-in-url",
            "%s does not take the cookie %s, so the token is sent in the URL of the WebSocket, "
            "where a proxy may log it. Leave SESSION_COOKIE_NAME of Directus as it is, or set its "
            "WEBSOCKETS_REST_AUTH to handshake.",
            self._url,
            SESSION_COOKIE,
            url=self._url,
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
            websocket_url(self._url, path, query or {}),
            proxy=proxy.url if proxy else None,
            **to_proxy,
            additional_headers=headers,
            ssl=self._options.ssl if self._url.startswith("https:") else None,
            open_timeout=self._options.connect_timeout,
            close_timeout=1,
            # The server never answers protocol pings; the session sends its own.
            ping_interval=None,
            compression=None,
            max_size=self._options.max_message_size * _HARD_LIMIT,
            logger=_wire_logger,
        )


def websocket_url(url: str, path: str, query: dict[str, str]) -> str:
    """The WebSocket's URL from the server's; a sub-path of the server is kept."""
    scheme, host, base, _, _ = urlsplit(url)
    scheme = "wss" if scheme == "https" else "ws"
    return urlunsplit((scheme, host, f"{base.rstrip('/')}{path}", urlencode(query), ""))
