"""What browsers are told, as the text of frames; pure."""

from __future__ import annotations

import json
from typing import Any

#: Directus's codes.
AUTH_FAILED = "AUTH_FAILED"
FORBIDDEN = "FORBIDDEN"
INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
INVALID_PAYLOAD = "INVALID_PAYLOAD"
LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
REQUESTS_EXCEEDED = "REQUESTS_EXCEEDED"
SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"

Json = dict[str, Any]


class Frame:
    """A text that many browsers are sent, and its size in bytes."""

    __slots__ = ("size", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.size = len(text) if text.isascii() else len(text.encode())


def encode(message: Json) -> str:
    """A message as text that every server can send."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which Directus hands on
        text = json.dumps(message, separators=(",", ":"))
    return text


def with_uid(message: Json, uid: str | int | None) -> Json:
    """A message with the uid of what it answers; without where it had none."""
    return message if uid is None else {**message, "uid": uid}


def suffix(uid: str | None) -> str:
    """What ends a frame whose beginning :func:`head` made."""
    return "}" if uid is None else f',"uid":{json.dumps(uid)}}}'


def head(message: Json) -> str:
    """A message without its end, which is what browsers with other uids share."""
    return encode(message)[:-1]


def event(action: str, data: Any, event_id: str, origin: str) -> Json:
    """An event, as Directus tells it, with its id and origin."""
    return {
        "type": "subscription",
        "event": action,
        "data": data,
        "id": event_id,
        "origin": origin,
    }


def started(data: Any, *, complete: bool = True, resumed: bool | None = None) -> Json:
    """``init``: a subscription is active.

    Args:
        data: The rows, or ``None`` for none at all.
        complete: Whether they are all that there are.
        resumed: Whether missed events follow; ``None`` where the browser did not ask.
    """
    message: Json = {"type": "subscription", "event": "init"}
    if data is not None:
        message["data"] = data
        if not complete:
            message["complete"] = False
    if resumed is not None:
        message["resumed"] = resumed
    return message


def stopped() -> Json:
    """The answer to ``unsubscribe``."""
    return {"type": "subscription", "event": "unsubscribe"}


def error(kind: str, code: str, message: str) -> Json:
    """An error; ``kind`` is ``auth``, ``subscribe`` or ``server``."""
    return {"type": kind, "status": "error", "error": {"code": code, "message": message}}


def connection(alias: str, state: str, reason: str) -> Json:
    """How a connection to Directus stands; not a message of Directus."""
    return {"type": "connection", "connection": alias, "state": state, "reason": reason}


AUTHENTICATED: Json = {"type": "auth", "status": "ok"}
NOT_AUTHENTICATED = error("auth", AUTH_FAILED, "Authentication failed.")
PING = Frame(encode({"type": "ping"}))
PONG: Json = {"type": "pong"}
