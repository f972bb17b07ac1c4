"""State machine of one socket, without I/O and without a clock.

The driver passes in frames and the time (seconds of a monotonic clock), sends the frames of
:meth:`Session.take_frames`, and processes the actions of :meth:`Session.take_actions`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from directus_realtime.exceptions import BadFrame
from directus_realtime.protocol import messages
from directus_realtime.protocol.messages import Action, ErrorReply
from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.utils.redaction import excerpt

#: Directus closes a socket that sent nothing for one to two of its 30 s ticks.
PING_INTERVAL = 15.0
#: Seconds of silence after our ping until the connection counts as dead.
PONG_TIMEOUT = 10.0
#: The message that a server answers on an idle socket: a ``ping``, or an ``unsubscribe`` of an
#: unknown uid where its heartbeat is switched off and it ignores pings (measured on 10.13.4,
#: 11.17.4 and 12.4.1).
Keepalive = Literal["ping", "unsubscribe"]
#: Limit of the rate limiter's waits, in seconds.
MAX_WAIT = 60.0
#: Seconds to wait for a reply: some bad requests are never answered.
REPLY_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The server accepted our credentials."""


@dataclass(frozen=True, slots=True)
class AuthenticationFailed:
    """The server refused our credentials; it closes the socket itself."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CredentialsExpired:
    """The token expired: messages are ignored until the next authentication."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The server accepted the subscription of this uid."""

    uid: str


@dataclass(frozen=True, slots=True)
class SubscribeRefused:
    """The server refused the subscription of this uid, or never answered."""

    uid: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The subscription of this uid is gone."""

    uid: str


@dataclass(frozen=True, slots=True)
class ItemsChanged:
    """Rows (create, update) or keys (delete) of a subscription."""

    uid: str
    action: Action
    data: list[Any]


@dataclass(frozen=True, slots=True)
class SubscriptionError:
    """An error of a confirmed subscription, or (uid ``None``) of an unknown one."""

    uid: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """An ignored frame, with the reason for the log."""

    error: BadFrame


@dataclass(frozen=True, slots=True)
class PeerSilent:
    """The server did not answer our ping: the connection is dead."""

    seconds: float


SessionAction = (
    Authenticated
    | AuthenticationFailed
    | CredentialsExpired
    | Confirmed
    | SubscribeRefused
    | Removed
    | ItemsChanged
    | SubscriptionError
    | Ignored
    | PeerSilent
)


@dataclass(slots=True)
class _Request:
    """A subscribe or an unsubscribe; one at a time is pending (errors carry no uid)."""

    uid: str
    subscription: WireSubscription | None
    deadline: float | None = None
    not_before: float = 0.0
    #: Unsubscribed while the subscribe was pending: its answer is ignored.
    is_ended: bool = False

    def message(self) -> dict[str, Any]:
        if self.subscription is None:
            return {"type": "unsubscribe", "uid": self.uid}
        return self.subscription.message()


class Session:
    """One socket: authentication, keepalive, and one subscribe at a time.

    Args:
        ping_interval: Seconds between our pings.
        pong_timeout: Seconds a ping may stay unanswered.
        reply_timeout: Seconds a subscribe or an authentication may stay unanswered.
        authenticated: Whether the token was sent with the handshake, so that no reply follows.
        keepalive: The message whose answer proves that the server is alive.
        now: The present time.
    """

    def __init__(
        self,
        *,
        ping_interval: float = PING_INTERVAL,
        pong_timeout: float = PONG_TIMEOUT,
        reply_timeout: float = REPLY_TIMEOUT,
        authenticated: bool = False,
        keepalive: Keepalive = "ping",
        now: float = 0.0,
    ) -> None:
        self.authenticated = authenticated
        self._keepalive = keepalive
        self._ping_interval = ping_interval
        self._pong_timeout = pong_timeout
        self._reply_timeout = reply_timeout
        self._frames: list[str] = []
        self._actions: list[SessionAction] = []
        self._queue: deque[_Request] = deque()
        self._current: _Request | None = None
        self._credentials: dict[str, str] = {}
        self._auth_deadline: float | None = None
        self._auth_again_at: float | None = None
        self._next_ping = now + ping_interval
        self._pong_deadline: float | None = None
        self._pings = 0
        #: uids the server has confirmed on this socket and not removed
        self.active: set[str] = set()

    # Called by the driver

    def authenticate(self, credentials: dict[str, str], now: float) -> None:
        """Send credentials: ``access_token``, or ``email`` and ``password``."""
        self._credentials = credentials
        self._auth_again_at = None
        self._send({"type": "auth", **credentials})
        self._auth_deadline = now + self._reply_timeout

    def subscribe(self, subscription: WireSubscription, now: float) -> None:
        """Request a subscription; answered by :class:`Confirmed` or :class:`SubscribeRefused`."""
        if not self._is_asked(subscription):
            self._queue.append(_Request(subscription.uid, subscription))
            self._advance(now)

    def unsubscribe(self, uid: str, now: float) -> None:
        """End a subscription; its messages are ignored from now on."""
        self.active.discard(uid)
        waiting = [request for request in self._queue if request.uid == uid]
        for request in waiting:
            self._queue.remove(request)
        if self._current is not None and self._current.uid == uid:
            self._current.is_ended = True
        self._queue.append(_Request(uid, None))
        self._advance(now)

    def receive(self, frame: str | bytes, now: float) -> None:
        """Process a frame of the server."""
        # Any frame proves that the server is alive, a refused ping included.
        self._pong_deadline = None
        try:
            message = messages.decode(frame)
        except BadFrame as error:
            self._actions.append(Ignored(error))
            return
        self._handle(message, now)
        self._advance(now)

    def tick(self, now: float) -> None:
        """Process the deadlines that have passed; call it at :meth:`next_deadline` or earlier."""
        if self._auth_deadline is not None and now >= self._auth_deadline:
            self._auth_deadline = None
            message = f"Directus did not answer within {self._reply_timeout:g} s."
            self._actions.append(AuthenticationFailed("NO_REPLY", message))
        if _is_past(self._auth_again_at, now):
            self.authenticate(self._credentials, now)
        if self._pong_deadline is not None and now >= self._pong_deadline:
            self._pong_deadline = None
            self._actions.append(PeerSilent(self._pong_timeout))
        if now >= self._next_ping:
            self._ping(now)
        if self._current is not None and _is_past(self._current.deadline, now):
            self._give_up(self._current)
        self._advance(now)

    def next_deadline(self) -> float:
        """Return the time of the next :meth:`tick`."""
        times = [self._next_ping, self._pong_deadline, self._auth_deadline, self._auth_again_at]
        if self._current is not None:
            times.append(self._current.deadline)
        elif self._queue and self.authenticated:
            times.append(self._queue[0].not_before)
        return min(time for time in times if time is not None)

    def take_frames(self) -> list[str]:
        """Return the new frames to send, in order."""
        frames, self._frames = self._frames, []
        return frames

    def take_actions(self) -> list[SessionAction]:
        """Return the new actions, in order."""
        actions, self._actions = self._actions, []
        return actions

    # Messages of the server

    def _handle(self, message: messages.Message, now: float) -> None:
        match message:
            case messages.Changed():
                self._items_changed(message)
            case messages.Ping():
                self._send({"type": "pong"})
            case messages.AuthOk():
                self._auth_deadline = self._auth_again_at = None
                self.authenticated = True
                self._actions.append(Authenticated())
            case messages.Started(uid):
                self._started(uid)
            case messages.Stopped(uid):
                self._stopped(uid)
            case ErrorReply(kind="auth"):
                self._auth_error(message)
            case ErrorReply():
                self._error(message, now)
            case messages.Unknown(kind):
                problem = "The message has a type that this client does not know"
                self._actions.append(Ignored(BadFrame(problem, excerpt(kind)[:50])))

    def _items_changed(self, message: messages.Changed) -> None:
        # Directus 11.17.4 serves a socket whose token has expired without any permission check,
        # so its messages must not be used.
        if self.authenticated and message.uid is not None and message.uid in self.active:
            self._actions.append(ItemsChanged(message.uid, message.action, message.data))

    def _started(self, uid: str | None) -> None:
        current = self._current
        if current is not None and current.subscription is not None and current.uid == uid:
            self._current = None
            if not current.is_ended:
                self.active.add(current.uid)
                self._actions.append(Confirmed(current.uid))

    def _stopped(self, uid: str | None) -> None:
        current = self._current
        if current is not None and current.subscription is None and current.uid == uid:
            self._current = None
            self._actions.append(Removed(current.uid))

    def _auth_error(self, error: ErrorReply) -> None:
        self._auth_deadline = self._auth_again_at = None
        self.authenticated = False
        if error.code == messages.TOKEN_EXPIRED:
            self._ask_again()
            self._actions.append(CredentialsExpired())
        else:
            self._actions.append(AuthenticationFailed(error.code, error.message))

    def _error(self, error: ErrorReply, now: float) -> None:
        current = self._current
        if error.code == messages.REQUESTS_EXCEEDED:
            self._try_later(_retry_after(error.message), now)
        elif current is not None and self._is_about(current, error):
            self._current = None
            if not current.is_ended:
                self._actions.append(SubscribeRefused(current.uid, error.code, error.message))
        else:
            self._actions.append(SubscriptionError(error.uid, error.code, error.message))

    @staticmethod
    def _is_about(current: _Request, error: ErrorReply) -> bool:
        """Return whether an error answers the pending subscribe.

        Directus 10 and 11 leave the uid out of most errors. With ``event`` set they check only
        the message's shape, so any other error without a uid belongs to an event of an older
        subscription.
        """
        if current.subscription is None:
            return False
        if error.uid is None:
            return error.kind == "subscribe" and error.code == messages.INVALID_PAYLOAD
        return error.uid == current.uid

    def _is_asked(self, subscription: WireSubscription) -> bool:
        """Return whether this subscribe is queued or pending."""
        current = [self._current] if self._current and not self._current.is_ended else []
        return any(request.subscription == subscription for request in [*current, *self._queue])

    # Messages to the server

    def _advance(self, now: float) -> None:
        """Send the next request if none is pending."""
        if self._current is not None or not self._queue or not self.authenticated:
            return
        if self._queue[0].not_before > now:
            return
        self._current = self._queue.popleft()
        self._current.deadline = now + self._reply_timeout
        self._send(self._current.message())

    def _try_later(self, seconds: float, now: float) -> None:
        """Repeat the message that the rate limiter dropped.

        It does not name the message, so all that wait for an answer are repeated, except pings
        and pongs.
        """
        if self._auth_deadline is not None:
            self._auth_deadline = None
            self._auth_again_at = now + seconds
        if (current := self._current) is not None:
            current.not_before = now + seconds
            current.deadline = None
            self._current = None
            if not current.is_ended:
                self._queue.appendleft(current)
            elif self._queue:
                self._queue[0].not_before = current.not_before

    def _ask_again(self) -> None:
        """Repeat the pending request after the next authentication.

        Its answer may be a refusal for the lack of an authentication.
        """
        current, self._current = self._current, None
        if current is not None and not current.is_ended:
            current.deadline = None
            self._queue.appendleft(current)

    def _give_up(self, current: _Request) -> None:
        self._current = None
        if current.subscription is None:
            self._actions.append(Removed(current.uid))
            return
        if current.is_ended:
            return
        message = (
            f"Directus did not answer the subscription within {self._reply_timeout:g} s. "
            "Some versions do not answer when the collection does not exist; "
            "look for an exception in the server's log."
        )
        self._actions.append(SubscribeRefused(current.uid, "NO_REPLY", message))

    def _ping(self, now: float) -> None:
        self._next_ping = now + self._ping_interval
        if not self.authenticated:
            return  # Directus takes a ping before it for a failed authentication
        self._pings += 1
        self._send({"type": self._keepalive, "uid": f"ping-{self._pings}"})
        if self._pong_deadline is None:
            self._pong_deadline = now + self._pong_timeout

    def _send(self, message: dict[str, Any]) -> None:
        self._frames.append(messages.encode(message))


def _is_past(deadline: float | None, now: float) -> bool:
    return deadline is not None and now >= deadline


def _retry_after(message: str) -> float:
    """Return the seconds of ``Too many messages, retry after 1960ms.``; 1 without any."""
    found = re.search(r"retry after (\d{1,9})\s*(ms|s)", message)
    if found is None:
        return 1.0
    return min(int(found[1]) / (1000 if found[2] == "ms" else 1), MAX_WAIT)
