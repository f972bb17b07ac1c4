"""The gateway: an ASGI application that serves Directus's WebSocket to browsers.

It is no ``AsyncConsumer``: Channels makes a thread hop for each message of one, and each
would be a member of the channel layer. The scope is Channels' own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Self

from channels.db import database_sync_to_async

from directus_realtime.gateway import frames
from directus_realtime.gateway.access_recheck import recheck
from directus_realtime.gateway.browser_connections import Send, SocketConnection
from directus_realtime.gateway.conversation import (
    Action,
    Ask,
    Authenticate,
    Close,
    Conversation,
    End,
    PongReceived,
    Say,
)
from directus_realtime.gateway.frames import with_uid
from directus_realtime.gateway.hub import Hub, current_hub
from directus_realtime.gateway.limits import (
    FLOODING,
    NOT_AUTHENTICATED,
    SERVER_ERROR,
    BrowserLimits,
)
from directus_realtime.gateway.subscription_requests import subscribe

logger = logging.getLogger("directus_realtime.gateway")

Receive = Callable[[], Awaitable[dict[str, Any]]]
#: Called with a token and the scope; returns a user, or ``None`` to refuse.
AuthenticateFunction = Callable[[str, dict[str, Any]], Any]

#: In the scope: the server's own ``send``, past the middleware that wraps it for each frame.
SERVER_SEND = "directus_realtime.send"
#: Seconds that a browser has to take the frame that closes its connection.
_CLOSE_TIMEOUT = 5.0
#: Seconds for which a subscribe may keep others waiting before its browser pauses, and how many
#: times as long it does then.
_NOTICEABLE, _LEISURE = 0.005, 2
#: Between two messages of a browser that cost much.
_pause = asyncio.sleep


class DirectusGateway:
    """Speaks Directus's WebSocket protocol with browsers.

    For routers of your own; else use :func:`~directus_realtime.gateway.directus_gateway`::

        path("directus/", DirectusGateway.as_asgi())

    Args:
        authenticate: Called with the token of an ``auth`` message and the scope; returns a
            user, or ``None`` to refuse. ``def`` (in a thread, with the ORM) or ``async def``.
            Without it the session alone says who a browser is, and ``auth`` means nothing.
        limits: Of each browser, by name; see :class:`~directus_realtime.gateway.limits.Limits`.

    Raises:
        ValueError: A limit is not a number above 0.
    """

    def __init__(
        self, *, authenticate: AuthenticateFunction | None = None, **limits: float
    ) -> None:
        self._authenticate = authenticate
        self._limits = BrowserLimits(**limits)  # type: ignore[arg-type]

    @classmethod
    def as_asgi(cls, **options: Any) -> Self:
        """The application, as consumers of Channels offer it."""
        return cls(**options)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one browser until it goes."""
        if scope["type"] != "websocket":
            raise ValueError(f"The gateway serves websocket connections, not {scope['type']}.")
        send = scope.get(SERVER_SEND, send)
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        await Browser(scope, receive, send, self._authenticate, self._limits).run()


class Browser:
    """One connection.

    Args:
        scope: Of ASGI, with Channels' ``user`` and ``session`` where there are any.
        receive: The server's.
        send: The server's.
        authenticate: See :class:`DirectusGateway`.
        limits: What it may do.
    """

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        authenticate: AuthenticateFunction | None,
        limits: BrowserLimits,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._authenticate = authenticate
        self._conversation = Conversation(limits, monotonic())
        self._member = SocketConnection(
            scope.get("user"), scope.get("session"), limits, send, self._stop
        )
        self._hub: Hub = current_hub()
        self._hub.join(self._member)
        self._listening: asyncio.Task[Any] | None = None
        # What must be done in order, and takes a while.
        self._work: deque[Action] = deque()
        self._working: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve it until it goes, or is let go."""
        self._listening = asyncio.current_task()
        try:
            await self._listen()
        except asyncio.CancelledError:
            if self._member.closing is None or self._listening is None:
                raise
            self._listening.uncancel()
        finally:
            self._listening = None
            closing = self._member.closing
            self._member.left()
            await self._give_up()
        if closing is not None:
            await self._close(*closing)

    async def _listen(self) -> None:
        while self._member.closing is None:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            content = message.get("text")
            action = self._conversation.receive(
                (message.get("bytes") or b"") if content is None else content, monotonic()
            )
            if action is not None:
                self._take(action)

    def _take(self, action: Action) -> None:
        match action:
            case PongReceived():
                self._member.pong()
            case Say(message):
                self._member.say(message)
            case Close(code, reason):
                self._member.drop(code, reason)
            case End() if self._working is None:
                self._end(action)
            case _:
                self._put(action)

    def _put(self, action: Action) -> None:
        if len(self._work) > self._member.limits.burst:
            self._member.drop(FLOODING, "The browser asks for too much at once.")
            return
        self._work.append(action)
        if self._working is None:
            self._working = asyncio.create_task(self._work_off(), name="directus-gateway-browser")

    async def _work_off(self) -> None:
        try:
            while self._work and self._member.closing is None:
                await self._do(self._work.popleft())
        except Exception:  # what is left undone may be that a right is gone
            logger.exception(
                "What a browser asked for failed; it is let go.", extra={"event": "browser-failed"}
            )
            self._member.drop(SERVER_ERROR, "The server failed; come back.")
        finally:
            self._working = None

    async def _do(self, action: Action) -> None:
        match action:
            case Ask(asked):
                spent = await subscribe(self._hub, self._member, asked)
                if spent > _NOTICEABLE:
                    # A thousand missed events through a long filter, again and again, would
                    # be all that the process does.
                    await _pause(spent * _LEISURE)
            case Authenticate():
                await self._check_token(action)
            case End():
                self._end(action)

    def _end(self, action: End) -> None:
        subscriptions = self._member.subscriptions
        names = list(subscriptions) if action.uid is None else [action.uid]
        for name in names:
            if name in subscriptions:
                subscriptions[name].end()
        self._member.say(with_uid(frames.stopped(), action.own_uid))

    async def _check_token(self, action: Authenticate) -> None:
        if self._authenticate is not None:
            token = action.credentials.get("access_token")
            user = await self._find_user(token) if isinstance(token, str) else None
            if user is None:
                self._member.say(with_uid(frames.NOT_AUTHENTICATED, action.uid))
                self._member.drop(NOT_AUTHENTICATED, "The token is not accepted.")
                return
            self._member.user = user
            self._member.authenticated = True
            if self._member.subscriptions:
                await recheck(self._hub, [self._member])
        self._member.say(with_uid(frames.AUTHENTICATED, action.uid))

    async def _find_user(self, token: str) -> Any:
        authenticate: Any = self._authenticate
        if not inspect.iscoroutinefunction(authenticate):
            authenticate = database_sync_to_async(authenticate)
        try:
            user = await authenticate(token, self._scope)
        except Exception as error:  # its text may hold the token
            logger.error(
                "The function authenticate failed: %s",
                type(error).__name__,
                extra={"event": "authenticate-failed", "error": type(error).__name__},
            )
            return None
        return user if getattr(user, "is_active", True) else None

    def _stop(self) -> None:
        # When it was let go for what it said, nothing is waited for now.
        listening = self._listening
        if listening is not None and listening is not asyncio.current_task():
            listening.cancel()

    async def _give_up(self) -> None:
        """End everything that is done for it."""
        self._member.stop_writing()
        try:
            if self._working is not None:
                self._working.cancel()
                await asyncio.gather(self._working, return_exceptions=True)
        finally:
            await self._hub.leave(self._member)

    async def _close(self, code: int, reason: str) -> None:
        # A server that pushes back takes no frame while the browser does not read; it then
        # closes the connection when this application returns.
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (TimeoutError, OSError):
            logger.debug(
                "A browser could not be told why it is let go.", extra={"event": "close-untold"}
            )
