"""What a browser says, understood; pure: messages in, actions out.

The messages are those of Directus's own WebSocket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from directus_realtime.gateway import frames
from directus_realtime.gateway.browser_query import (
    QueryRefused,
    Subscribe,
    parse_subscribe,
    parse_uid,
)
from directus_realtime.gateway.frames import Json, with_uid
from directus_realtime.gateway.limits import FLOODING, TOO_BIG, BrowserLimits

Uid = str | int | None

#: Messages over the rate for which a browser is let go.
_FLOOD = 1000


@dataclass(frozen=True, slots=True)
class Say:
    """Answer at once."""

    message: Json


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out who it is."""

    credentials: Mapping[str, Any]
    uid: Uid


@dataclass(frozen=True, slots=True)
class Ask:
    """It wants a subscription."""

    subscribe: Subscribe


@dataclass(frozen=True, slots=True)
class End:
    """It wants a subscription no more; all of them where there is no uid."""

    uid: str | None
    own_uid: Uid


@dataclass(frozen=True, slots=True)
class PongReceived:
    """It has read everything up to the oldest ping."""


@dataclass(frozen=True, slots=True)
class Close:
    """It is to be let go."""

    code: int
    reason: str


Action = Say | Authenticate | Ask | End | PongReceived | Close


class Conversation:
    """One browser's messages, in order.

    Args:
        limits: What it may say.
        now: Monotonic seconds.
    """

    __slots__ = ("_at", "_left", "_limits", "_refused")

    def __init__(self, limits: BrowserLimits, now: float) -> None:
        self._limits = limits
        self._left = float(limits.burst)
        self._at = now
        self._refused = 0

    def receive(self, content: str | bytes, now: float) -> Action | None:
        """Take a message.

        Returns:
            What is to be done; ``None`` for what Directus does not answer either.
        """
        if _size(content) > self._limits.max_message_size:
            return Close(TOO_BIG, "The message is too big.")
        if not self._may_speak(now):
            return self._refuse()
        try:
            message = json.loads(content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return _server_error("Unable to parse the incoming message.")
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            return _server_error('A message is an object with a "type", such as "subscribe".')
        return _understand(message)

    def _may_speak(self, now: float) -> bool:
        rate, burst = self._limits.messages_per_second, self._limits.burst
        self._left = min(burst, self._left + (now - self._at) * rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        if self._left >= burst / 2:
            self._refused = 0
        return True

    def _refuse(self) -> Action:
        self._refused += 1
        if self._refused > _FLOOD:
            return Close(FLOODING, "The browser sends too many messages.")
        wait = max(1, round((1 - self._left) / self._limits.messages_per_second * 1000))
        message = f"Too many messages, retry after {wait}ms."
        return Say(frames.error("server", frames.REQUESTS_EXCEEDED, message))


def _understand(message: Json) -> Action | None:
    kind = message["type"]
    if kind == "pong":
        return PongReceived()
    if kind not in {"ping", "auth", "subscribe", "unsubscribe"}:
        return None
    try:
        uid = parse_uid(message)
    except QueryRefused as refused:
        return _server_error(refused.message)
    # Directus sends a number back as a number, except with what a subscription gets.
    own_uid: Uid = message.get("uid")
    match kind:
        case "ping":
            return Say(with_uid(frames.PONG, own_uid))
        case "auth":
            return Authenticate(message, own_uid)
        case "unsubscribe":
            return End(uid, own_uid)
    return _subscribe(message, uid)


def _subscribe(message: Json, uid: str | None) -> Action:
    try:
        return Ask(parse_subscribe(message))
    except QueryRefused as refused:
        error = frames.error("subscribe", refused.code, refused.message)
        return Say(with_uid(error, uid))


def _server_error(message: str) -> Say:
    return Say(frames.error("server", frames.INVALID_PAYLOAD, message))


def _size(content: str | bytes) -> int:
    if isinstance(content, str) and not content.isascii():
        return len(content.encode("utf-8", "surrogatepass"))
    return len(content)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
