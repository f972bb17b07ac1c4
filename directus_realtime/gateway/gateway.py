"""The gateway: an ASGI application that serves Directus's WebSocket to browsers.

It is no ``AsyncConsumer``: Channels makes a thread hop for each message of one, and each
would be a member of the channel layer. The scope is Channels' own.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Self

from channels.db import database_sync_to_async

from directus_realtime.gateway import frames
from directus_realtime.gateway.access_recheck import recheck
from directus_realtime.gateway.browser_connections import (
    FLOODING,
    NOT_AUTHENTICATED,
    SERVER_ERROR,
    BrowserConnection,
    BrowserLimits,
)
from directus_realtime.gateway.browser_query import SubscribeRequest
from directus_realtime.gateway.conversation import (
    Acknowledgement,
    Action,
    AuthRequest,
    Closure,
    Conversation,
    Reply,
    UnsubscribeRequest,
)
from directus_realtime.gateway.frames import with_uid
from directus_realtime.gateway.hub_tasks import current_hub
from directus_realtime.gateway.subscription_requests import subscribe
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import await_contained, original

logger = EventLogger("directus_realtime.gateway")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
#: Called with a token and the scope; returns a user, or ``None`` to refuse.
AuthenticateFunction = Callable[[str, dict[str, Any]], Any]

#: Key in the scope: the server's own ``send``, without the middleware that wraps each frame.
SERVER_SEND = "directus_realtime.send"
#: Seconds in which a browser must receive the frame that closes its connection.
_CLOSE_TIMEOUT = 5.0
#: Seconds for which a subscribe may block others before its browser is paused, and how many
#: times as long it is paused then.
_NOTICEABLE, _PAUSE_FACTOR = 0.005, 2


class DirectusGateway:
    """Speaks Directus's WebSocket protocol with browsers.

    For routers of your own; else use :func:`~directus_realtime.gateway.directus_gateway`::

        path("directus/", DirectusGateway.as_asgi())

    Args:
        authenticate: Called with the token of an ``auth`` message and the scope; returns a
            user, or ``None`` to refuse. ``def`` (in a thread, with the ORM) or ``async def``.
            Without it only the session identifies a user, and ``auth`` means nothing.
        limits: Limits of each browser, by name; see
            :class:`~directus_realtime.gateway.browser_connections.BrowserLimits`.

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
        """Return the application; the name is that of Channels' consumers."""
        return cls(**options)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one browser until it disconnects."""
        if scope["type"] != "websocket":
            raise ValueError(f"The gateway serves websocket connections, not {scope['type']}.")
        send = scope.get(SERVER_SEND, send)
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        await SocketConnection(scope, receive, send, self._authenticate, self._limits).run()


class SocketConnection(BrowserConnection):
    """A browser on a WebSocket.

    Args:
        scope: Scope of ASGI, with Channels' ``user`` and ``session`` if there are any.
        receive: The server's.
        send: The server's.
        authenticate: See :class:`DirectusGateway`.
        limits: Limits of the browser.
    """

    __slots__ = (
        "_authenticate",
        "_conversation",
        "_hub",
        "_reader",
        "_receive",
        "_requests",
        "_scope",
        "_send",
        "_texts",
        "_worker",
        "_writer",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        authenticate: AuthenticateFunction | None,
        limits: BrowserLimits,
    ) -> None:
        self._hub = current_hub()
        super().__init__(scope.get("user"), scope.get("session"), limits, self._hub.clock)
        self._hub.join(self)
        self._scope = scope
        self._receive = receive
        self._send = send
        self._authenticate = authenticate
        self._conversation = Conversation(limits, self.clock.monotonic())
        self._reader: asyncio.Task[Any] | None = None
        # Requests that take a while, processed in order.
        self._requests: deque[Action] = deque()
        self._worker: asyncio.Task[None] | None = None
        # Texts that wait because the server applies back-pressure; ``None`` if it does not.
        self._texts: deque[str] | None = None
        self._writer: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the browser until it disconnects, or is dropped."""
        self._reader = asyncio.current_task()
        try:
            await self._read()
        except asyncio.CancelledError:
            if self.closing is None or self._reader is None:
                raise
            self._reader.uncancel()
        finally:
            self._reader = None
            closing = self.closing
            self.mark_left()
            self._stop_writing()
            try:
                await cancel_all([self._worker])
            finally:
                await self._hub.leave(self)
        if closing is not None:
            await self._close(*closing)

    async def _read(self) -> None:
        while self.closing is None:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            content = message.get("text")
            action = self._conversation.receive(
                (message.get("bytes") or b"") if content is None else content,
                self.clock.monotonic(),
            )
            if action is not None:
                self._handle(action)

    def _handle(self, action: Action) -> None:
        match action:
            case Acknowledgement():
                self.pong()
            case Reply(message):
                self.send_message(message)
            case Closure(code, reason):
                self.drop(code, reason)
            case UnsubscribeRequest() if self._worker is None:
                self._unsubscribe(action)
            case _:
                self._enqueue(action)

    # Requests

    def _enqueue(self, action: Action) -> None:
        if len(self._requests) > self.limits.burst:
            self.drop(FLOODING, "The browser asks for too much at once.")
            return
        self._requests.append(action)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="directus-gateway-browser")

    async def _work(self) -> None:
        try:
            while self._requests and self.closing is None:
                await self._process(self._requests.popleft())
        except Exception:  # an unfinished request may be one that withdraws access
            logger.exception("browser-failed", "What a browser asked for failed; it is let go.")
            self.drop(SERVER_ERROR, "The server failed; come back.")
        finally:
            self._worker = None

    async def _process(self, action: Action) -> None:
        match action:
            case SubscribeRequest():
                spent = await subscribe(self._hub, self, action)
                if spent > _NOTICEABLE:
                    # Else a thousand missed events through a long filter, again and again,
                    # would occupy the process.
                    await self.clock.sleep(spent * _PAUSE_FACTOR)
            case AuthRequest():
                await self._check_token(action)
            case UnsubscribeRequest():
                self._unsubscribe(action)

    def _unsubscribe(self, request: UnsubscribeRequest) -> None:
        names = list(self.subscriptions) if request.uid is None else [request.uid]
        for name in names:
            if name in self.subscriptions:
                self.subscriptions[name].end()
        self.send_message(with_uid(frames.stopped(), request.reply_uid))

    async def _check_token(self, request: AuthRequest) -> None:
        if self._authenticate is not None:
            token = request.credentials.get("access_token")
            user = await self._find_user(token) if isinstance(token, str) else None
            if user is None:
                self.send_message(with_uid(frames.NOT_AUTHENTICATED, request.uid))
                self.drop(NOT_AUTHENTICATED, "The token is not accepted.")
                return
            self.user = user
            self.authenticated = True
            if self.subscriptions:
                await recheck(self._hub, [self])
        self.send_message(with_uid(frames.AUTHENTICATED, request.uid))

    async def _find_user(self, token: str) -> Any:
        authenticate: Any = self._authenticate
        if not inspect.iscoroutinefunction(authenticate):
            authenticate = database_sync_to_async(authenticate)
        try:
            user = await await_contained(lambda: authenticate(token, self._scope))
        except Exception as error:  # its text may contain the token
            name = type(original(error)).__name__
            logger.error(
                "authenticate-failed", "The function authenticate failed: %s", name, error=name
            )
            return None
        return user if getattr(user, "is_active", True) else None

    # Frames

    def _write(self, text: str) -> None:
        if self._texts is not None:
            self._texts.append(text)
            return
        # Most servers accept a frame without waiting; a task for each would cost more than that.
        sending: Any = self._send({"type": "websocket.send", "text": text})
        try:
            first = sending.send(None)
        except StopIteration:
            return
        except Exception:  # the connection is lost; receive() reports it
            self.mark_left()
            return
        self._texts = deque()
        self._writer = asyncio.create_task(
            self._drain(_StartedCoroutine(sending, first)), name="directus-gateway-writer"
        )

    async def _drain(self, started: _StartedCoroutine) -> None:
        """Write the waiting texts."""
        try:
            await started
            while self._texts:
                await self._send({"type": "websocket.send", "text": self._texts.popleft()})
        except Exception:  # as above
            self.mark_left()
        finally:
            self._texts = self._writer = None

    def _stop_writing(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    def _on_drop(self) -> None:
        self._stop_writing()
        # If it is dropped for a message, its reader does not wait for another.
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()

    async def _close(self, code: int, reason: str) -> None:
        # A server with back-pressure accepts no frame while the browser does not read; it then
        # closes the connection when this application returns.
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (TimeoutError, OSError):
            logger.debug("close-untold", "A browser could not be told why it is let go.")


class _StartedCoroutine:
    """A coroutine whose first step is done, for a task to await the rest of it.

    Args:
        coroutine: The coroutine; it has yielded once.
        first: The value that it yielded.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        yielded = self._first
        step: Callable[[Any], Any]
        argument: Any
        while True:
            try:
                value = yield yielded
            except BaseException as error:
                step, argument = self._throw, error
            else:
                step, argument = self._coroutine.send, value
            try:
                yielded = step(argument)
            except StopIteration:
                return

    def _throw(self, error: BaseException) -> Any:
        return self._coroutine.throw(error)
