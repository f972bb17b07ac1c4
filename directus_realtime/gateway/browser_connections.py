"""Connections of browsers: their limits, and the sent frames that are not read yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from directus_realtime.gateway import frames
from directus_realtime.gateway.frames import Frame
from directus_realtime.gateway.topics import BrowserSubscription
from directus_realtime.utils.system_clock import SystemClock

#: Close codes of WebSocket, and of our own where it has none.
FLOODING, TOO_BIG, SERVER_ERROR, TOO_SLOW = 1008, 1009, 1011, 1013
NOT_AUTHENTICATED, SILENT = 4401, 4408


@dataclass(frozen=True, slots=True)
class BrowserLimits:
    """The limits of each browser.

    Attributes:
        max_message_size: Bytes of one message from a browser.
        messages_per_second: Messages that a browser may send per second on average.
        burst: Messages that it may send at once.
        max_subscriptions: Subscriptions that it may have.
        heartbeat: Seconds between two pings.
        pong_timeout: Seconds in which a ping must be answered.
        max_unread: Bytes that may have been sent without being acknowledged.
    """

    max_message_size: int = 64 * 1024
    messages_per_second: float = 50.0
    burst: int = 200
    max_subscriptions: int = 100
    heartbeat: float = 30.0
    pong_timeout: float = 20.0
    max_unread: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"The gateway's {name} is {value!r}; it must be more than 0.")

    @property
    def ask_at(self) -> int:
        """Unacknowledged bytes at which a browser is pinged at once."""
        return self.max_unread // 8


class BrowserConnection:
    """A connection with subscriptions.

    Frames are passed to the server at once. If it applies back-pressure, the following ones are
    queued by the subclass; if it never does (daphne), answered pings show what has been read.
    Either way a connection with more than :attr:`BrowserLimits.max_unread` bytes is dropped.

    Args:
        user: User of the browser.
        session: Session of the user, if there is one.
        limits: Limits of the browser.
        clock: Clock of the pings.

    Attributes:
        subscriptions: Subscriptions by uid; those without one have a number of ours.
        closing: Close code and reason; ``None`` while the connection is open.
        authenticated: Whether a token, and not the session, identifies the user.
        aliases: Aliases of the Directus connections whose state it is sent.
    """

    __slots__ = (
        "_acknowledged",
        "_next_ping",
        "_pings",
        "_sent",
        "aliases",
        "authenticated",
        "clock",
        "closing",
        "limits",
        "session",
        "subscriptions",
        "user",
    )

    def __init__(self, user: Any, session: Any, limits: BrowserLimits, clock: SystemClock) -> None:
        self.user = user
        self.session = session
        self.limits = limits
        self.clock = clock
        self.authenticated = False
        self.subscriptions: dict[str | int, BrowserSubscription] = {}
        self.aliases: frozenset[str] = frozenset()
        self.closing: tuple[int, str] | None = None
        self._sent = 0
        self._acknowledged = 0
        # Each with the bytes that were sent before it, and its deadline.
        self._pings: deque[tuple[int, float]] | None = None
        # Jitter: spread the pings of browsers that connected at the same time.
        self._next_ping = clock.monotonic() + limits.heartbeat * clock.uniform(0.5, 1.0)

    @property
    def unread(self) -> int:
        """Bytes that were sent and are not known to have been read."""
        return self._sent - self._acknowledged

    def send_message(self, message: frames.Json) -> None:
        """Send a message to this browser alone."""
        self.deliver(Frame(frames.encode(message)))

    def deliver(self, frame: Frame) -> None:
        """Send a frame, without waiting."""
        if self.closing is not None:
            return
        self._sent += frame.size
        unread = self.unread
        if unread > self.limits.max_unread:
            self.drop(TOO_SLOW, "The browser does not read what it is sent.")
            return
        self._write(frame.text)
        if self._pings is None and unread > self.limits.ask_at:
            self.ping(self.clock.monotonic())

    def ping(self, now: float) -> None:
        """Send a ping; its answer acknowledges everything before it."""
        if self.closing is not None:
            return
        if self._pings is None:
            self._pings = deque()
        self._next_ping = now + self.limits.heartbeat
        self._sent += frames.PING.size
        self._pings.append((self._sent, now + self.limits.pong_timeout))
        self._write(frames.PING.text)

    def pong(self) -> None:
        """Acknowledge everything before the oldest ping."""
        if self._pings:
            self._acknowledged, _ = self._pings.popleft()
            if not self._pings:
                self._pings = None

    def acknowledge_all(self) -> None:
        """Acknowledge everything that was sent."""
        self._acknowledged = self._sent

    def tick(self, now: float) -> None:
        """Send a ping if one is due; drop the connection if one was not answered in time."""
        if self._pings is not None and now >= self._pings[0][1]:
            self.drop(SILENT, "The browser did not answer a ping in time.")
        elif now >= self._next_ping:
            self.ping(now)

    def drop(self, code: int, reason: str) -> None:
        """Close the connection; nothing more is sent."""
        if self.closing is None:
            self.closing = (code, reason)
            self._on_drop()

    def mark_left(self) -> None:
        """Note that the browser has closed the connection."""
        if self.closing is None:
            self.closing = (1000, "")

    def _write(self, text: str) -> None:
        raise NotImplementedError

    def _on_drop(self) -> None:
        raise NotImplementedError
