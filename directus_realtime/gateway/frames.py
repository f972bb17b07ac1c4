"""Messages to and from browsers, as the text of frames; pure."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from directus_realtime.utils.json_parser import parse_json

#: Directus's codes.
AUTH_FAILED = "AUTH_FAILED"
FORBIDDEN = "FORBIDDEN"
INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
INVALID_PAYLOAD = "INVALID_PAYLOAD"
LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
REQUESTS_EXCEEDED = "REQUESTS_EXCEEDED"
SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"

Json = dict[str, Any]

# The true reason contains addresses, and is meant for those who run the site.
_PUBLIC_REASONS = {
    "reconnecting": "Directus cannot be reached at the moment.",
    "disconnected": "Nobody listens to Directus at the moment.",
}


class Frame:
    """Text that is sent to many browsers, and its size in bytes."""

    __slots__ = ("size", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.size = len(text) if text.isascii() else len(text.encode())


def encode(message: Json) -> str:
    """Return a message as text that every server can send."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which Directus passes on
        text = json.dumps(message, separators=(",", ":"))
    return text


def decode(text: str | bytes) -> Any:
    """Return the value of a text of JSON from a browser.

    Raises:
        ValueError: The text is no JSON, or nested too deep.
    """
    return parse_json(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def with_uid(message: Json, uid: str | int | None) -> Json:
    """Return a message with the uid of the request; without one if it had none."""
    return message if uid is None else {**message, "uid": uid}


def suffix(uid: str | None) -> str:
    """Return the end of a frame whose beginning :func:`head` made."""
    return "}" if uid is None else f',"uid":{json.dumps(uid)}}}'


def head(message: Json) -> str:
    """Return a message without its end: the part that browsers with other uids share."""
    return encode(message)[:-1]


def event(action: str, data: Any, event_id: str, origin: str) -> Json:
    """Return the message of an event: that of Directus, with id and origin."""
    return {
        "type": "subscription",
        "event": action,
        "data": data,
        "id": event_id,
        "origin": origin,
    }


def started(data: Any, *, complete: bool = True, resumed: bool | None = None) -> Json:
    """Return the message ``init``: the subscription is active.

    Args:
        data: Rows of the first load; ``None`` for a message without rows.
        complete: Whether the rows are all of the collection's.
        resumed: Whether missed events follow; ``None`` if the browser did not ask for them.
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
    """Return the answer to ``unsubscribe``."""
    return {"type": "subscription", "event": "unsubscribe"}


def error(kind: str, code: str, message: str) -> Json:
    """Return an error message; ``kind`` is ``auth``, ``subscribe`` or ``server``."""
    return {"type": kind, "status": "error", "error": {"code": code, "message": message}}


def connection(alias: str, state: str) -> Json:
    """Return the message of a connection's state; not a message of Directus."""
    reason = public_reason(state)
    return {"type": "connection", "connection": alias, "state": state, "reason": reason}


def public_reason(state: str) -> str:
    """Return the reason of a connection's state, without the details that are not public."""
    return _PUBLIC_REASONS.get(state, "")


AUTHENTICATED: Json = {"type": "auth", "status": "ok"}
NOT_AUTHENTICATED = error("auth", AUTH_FAILED, "Authentication failed.")
PING = Frame(encode({"type": "ping"}))
PONG: Json = {"type": "pong"}
