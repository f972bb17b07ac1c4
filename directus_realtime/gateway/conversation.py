"""Messages of one browser, parsed into actions; pure.

The messages are those of Directus's own WebSocket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from directus_realtime.gateway import frames
from directus_realtime.gateway.browser_connections import FLOODING, TOO_BIG, BrowserLimits
from directus_realtime.gateway.browser_query import (
    QueryRefused,
    SubscribeRequest,
    parse_subscribe,
    parse_uid,
)
from directus_realtime.gateway.frames import Json, with_uid

Uid = str | int | None

#: Messages over the rate after which a browser is dropped.
_FLOOD = 1000


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that needs no further work."""

    message: Json


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """An ``auth`` message."""

    credentials: Mapping[str, Any]
    uid: Uid


@dataclass(frozen=True, slots=True)
class UnsubscribeRequest:
    """An ``unsubscribe`` message.

    Attributes:
        uid: Uid of the subscription; ``None`` for all subscriptions.
        reply_uid: Uid of the answer: the same, as the browser sent it.
    """

    uid: str | None
    reply_uid: Uid


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The answer to the oldest ping."""


@dataclass(frozen=True, slots=True)
class Closure:
    """A violation of a limit that closes the connection."""

    code: int
    reason: str


Action = Reply | AuthRequest | SubscribeRequest | UnsubscribeRequest | Acknowledgement | Closure


class Conversation:
    """Parser of one browser's messages, with its rate limit.

    Args:
        limits: Limits of the browser.
        now: Monotonic seconds.
    """

    __slots__ = ("_at", "_limits", "_refused", "_tokens")

    def __init__(self, limits: BrowserLimits, now: float) -> None:
        self._limits = limits
        self._tokens = float(limits.burst)
        self._at = now
        self._refused = 0

    def receive(self, content: str | bytes, now: float) -> Action | None:
        """Parse a message.

        Returns:
            The action; ``None`` for messages that Directus does not answer either.
        """
        if _size(content) > self._limits.max_message_size:
            return Closure(TOO_BIG, "The message is too big.")
        if not self._is_within_rate(now):
            return self._refuse()
        try:
            message = frames.decode(content)
        except ValueError:
            return _server_error("Unable to parse the incoming message.")
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            return _server_error('A message is an object with a "type", such as "subscribe".')
        return _to_action(message)

    def _is_within_rate(self, now: float) -> bool:
        rate, burst = self._limits.messages_per_second, self._limits.burst
        self._tokens = min(burst, self._tokens + (now - self._at) * rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        if self._tokens >= burst / 2:
            self._refused = 0
        return True

    def _refuse(self) -> Action:
        self._refused += 1
        if self._refused > _FLOOD:
            return Closure(FLOODING, "The browser sends too many messages.")
        wait = max(1, round((1 - self._tokens) / self._limits.messages_per_second * 1000))
        message = f"Too many messages, retry after {wait}ms."
        return Reply(frames.error("server", frames.REQUESTS_EXCEEDED, message))


def _to_action(message: Json) -> Action | None:
    kind = message["type"]
    if kind == "pong":
        return Acknowledgement()
    if kind not in {"ping", "auth", "subscribe", "unsubscribe"}:
        return None
    try:
        uid = parse_uid(message)
    except QueryRefused as refused:
        return _server_error(refused.message)
    # Directus sends a number back as a number, except with messages of a subscription.
    reply_uid: Uid = message.get("uid")
    match kind:
        case "ping":
            return Reply(with_uid(frames.PONG, reply_uid))
        case "auth":
            return AuthRequest(message, reply_uid)
        case "unsubscribe":
            return UnsubscribeRequest(uid, reply_uid)
    try:
        return parse_subscribe(message)
    except QueryRefused as refused:
        error = frames.error("subscribe", refused.code, refused.message)
        return Reply(with_uid(error, uid))


def _server_error(message: str) -> Reply:
    return Reply(frames.error("server", frames.INVALID_PAYLOAD, message))


def _size(content: str | bytes) -> int:
    if isinstance(content, str) and not content.isascii():
        return len(content.encode("utf-8", "surrogatepass"))
    return len(content)
