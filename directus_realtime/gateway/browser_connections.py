"""One browser, as the hub sees it: what it is sent, and what it has read of that."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from time import monotonic
from typing import TYPE_CHECKING, Any

from directus_realtime.gateway import frames
from directus_realtime.gateway.frames import Frame
from directus_realtime.gateway.limits import SILENT, TOO_SLOW, BrowserLimits

if TYPE_CHECKING:
    from directus_realtime.gateway.topics import BrowserSubscription

Send = Callable[[dict[str, Any]], Awaitable[None]]


class BrowserConnection:
    """A browser that subscribes.

    Frames are handed to the server at once. Where it pushes back, what follows waits here;
    where it never does (daphne), what has not been read is known by the answers to pings.
    Either way a browser that holds more than :attr:`Limits.max_unread` is dropped.

    Args:
        user: Whose browser it is.
        session: Their session, where there is one.
        limits: What it may hold.

    Attributes:
        subscriptions: By uid; those without one have a number of ours.
        closing: The code and the reason with which it is let go; ``None`` before.
        authenticated: Whether a token, and not the session, says who it is.
        aliases: Connections of whose state it was told.
    """

    __slots__ = (
        "_acknowledged",
        "_next_ping",
        "_pings",
        "_sent",
        "aliases",
        "authenticated",
        "closing",
        "limits",
        "session",
        "subscriptions",
        "user",
    )

    def __init__(self, user: Any, session: Any, limits: BrowserLimits) -> None:
        self.user = user
        self.session = session
        self.limits = limits
        self.authenticated = False
        self.subscriptions: dict[str | int, BrowserSubscription] = {}
        self.aliases: frozenset[str] = frozenset()
        self.closing: tuple[int, str] | None = None
        self._sent = 0
        self._acknowledged = 0
        # Each with the bytes that were sent before it, and when it must be answered.
        self._pings: deque[tuple[int, float]] | None = None
        # Those who came together are not pinged together.
        self._next_ping = monotonic() + limits.heartbeat * random.uniform(0.5, 1.0)

    @property
    def unread(self) -> int:
        """Bytes that were sent and are not known to have been read."""
        return self._sent - self._acknowledged

    def say(self, message: frames.Json) -> None:
        """Tell this browser alone."""
        self.deliver(Frame(frames.encode(message)))

    def deliver(self, frame: Frame) -> None:
        """Hand over a frame, without waiting."""
        if self.closing is not None:
            return
        self._sent += frame.size
        unread = self._sent - self._acknowledged
        if unread > self.limits.max_unread:
            self.drop(TOO_SLOW, "The browser does not read what it is sent.")
            return
        self._write(frame.text)
        if self._pings is None and unread > self.limits.ask_at:
            self.ping(monotonic())

    def ping(self, now: float) -> None:
        """Ask whether everything until now was read."""
        if self.closing is not None:
            return
        if self._pings is None:
            self._pings = deque()
        self._next_ping = now + self.limits.heartbeat
        self._sent += frames.PING.size
        self._pings.append((self._sent, now + self.limits.pong_timeout))
        self._write(frames.PING.text)

    def pong(self) -> None:
        """The oldest ping is answered, so all before it was read."""
        if self._pings:
            self._acknowledged, _ = self._pings.popleft()
            if not self._pings:
                self._pings = None

    def has_read(self) -> None:
        """Everything that was sent was read."""
        self._acknowledged = self._sent

    def tick(self, now: float) -> None:
        """Let time pass: ping when it is time to, and drop who did not answer."""
        if self._pings is not None and now >= self._pings[0][1]:
            self.drop(SILENT, "The browser did not answer a ping in time.")
        elif now >= self._next_ping:
            self.ping(now)

    def drop(self, code: int, reason: str) -> None:
        """Let it go; nothing more is sent."""
        if self.closing is None:
            self.closing = (code, reason)
            self._end(code, reason)

    def left(self) -> None:
        """It has gone by itself."""
        if self.closing is None:
            self.closing = (1000, "")

    def _write(self, text: str) -> None:
        raise NotImplementedError

    def _end(self, code: int, reason: str) -> None:
        raise NotImplementedError


class SocketConnection(BrowserConnection):
    """A browser on a WebSocket.

    Args:
        send: The server's.
        on_drop: Called when it is to be let go.
    """

    __slots__ = ("_on_drop", "_send", "_waiting", "_writer")

    def __init__(
        self,
        user: Any,
        session: Any,
        limits: BrowserLimits,
        send: Send,
        on_drop: Callable[[], None],
    ) -> None:
        super().__init__(user, session, limits)
        self._send = send
        self._on_drop = on_drop
        self._waiting: deque[str] | None = None
        self._writer: asyncio.Task[None] | None = None

    def _write(self, text: str) -> None:
        if self._waiting is not None:
            self._waiting.append(text)
            return
        # Most servers take a frame without waiting; a task for each would cost more than that.
        sending: Any = self._send({"type": "websocket.send", "text": text})
        try:
            first = sending.send(None)
        except StopIteration:
            return
        except Exception:  # the connection is gone; receive() says so
            self.left()
            return
        self._waiting = deque()
        self._writer = asyncio.create_task(
            self._drain(_Begun(sending, first)), name="directus-gateway-writer"
        )

    async def _drain(self, begun: _Begun) -> None:
        """Write what waits, until nothing does."""
        try:
            await begun
            while self._waiting:
                await self._send({"type": "websocket.send", "text": self._waiting.popleft()})
        except Exception:  # as above
            self.left()
        finally:
            self._waiting = self._writer = None

    def _end(self, code: int, reason: str) -> None:
        self.stop_writing()
        self._on_drop()

    def stop_writing(self) -> None:
        """Give up what waits."""
        if self._writer is not None:
            self._writer.cancel()


class _Begun:
    """A coroutine whose first step is done, for a task to await the rest of it.

    Args:
        coroutine: It has yielded once.
        first: What it yielded.
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
