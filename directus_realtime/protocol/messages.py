"""Decoded messages of Directus's WebSocket.

Shapes as measured on Directus 10.13.4, 11.17.4 and 12.4.1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from directus_realtime.exceptions import BadFrame
from directus_realtime.utils.json_parser import parse_json
from directus_realtime.utils.redaction import excerpt

Action = Literal["create", "update", "delete"]
#: Primary key of an item.
Key = int | str

#: The actions a subscription may ask for, in the order they are subscribed.
ACTIONS: tuple[Action, ...] = ("create", "update", "delete")

#: Error codes that Directus sends with ``"type": "auth"``.
AUTH_FAILED = "AUTH_FAILED"
AUTH_TIMEOUT = "AUTH_TIMEOUT"
TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - a code, not a token
#: A message was dropped by the rate limiter.
REQUESTS_EXCEEDED = "REQUESTS_EXCEEDED"
#: A message did not have the shape that Directus wants.
INVALID_PAYLOAD = "INVALID_PAYLOAD"


@dataclass(frozen=True, slots=True)
class AuthOk:
    """The socket is authenticated."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """``"status": "error"``.

    Attributes:
        kind: The message's ``type``: ``auth``, ``subscribe``, ``server``, …
        uid: Absent on most errors of Directus 10 and 11.
    """

    kind: str
    code: str
    message: str
    uid: str | None


@dataclass(frozen=True, slots=True)
class Ping:
    """The server's check that we are alive."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to our own ping."""


@dataclass(frozen=True, slots=True)
class Started:
    """``init``: the subscription of this uid is active."""

    uid: str | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """``unsubscribe``: the subscription of this uid is gone (or never was)."""

    uid: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """One change message: rows for a create or an update, keys for a delete."""

    uid: str | None
    action: Action
    data: list[Any]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of an unknown type; it is logged and ignored."""

    kind: str


Message = AuthOk | ErrorReply | Ping | Pong | Started | Stopped | Changed | Unknown


def encode(message: dict[str, Any]) -> str:
    """Encode a message as the text of a frame."""
    return json.dumps(message, separators=(",", ":"))


def decode(frame: str | bytes) -> Message:
    """Decode a frame.

    Raises:
        BadFrame: The frame is not JSON, not an object, has no ``type``, or its data are
            malformed.
    """
    content = _parse(frame)
    if not isinstance(content, dict):
        raise BadFrame("The frame is not a JSON object", excerpt(frame))
    kind = content.get("type")
    if not isinstance(kind, str):
        raise BadFrame("The message has no type", excerpt(frame))
    if content.get("status") == "error":
        return _error(kind, content, frame)
    match kind:
        case "ping":
            return Ping()
        case "pong":
            return Pong()
        case "auth":
            return AuthOk()
        case "subscription":
            return _subscription(content, frame)
    return Unknown(kind)


def _parse(frame: str | bytes) -> Any:
    try:
        return parse_json(frame, parse_constant=_refuse_constant)
    except ValueError:
        raise BadFrame("The frame is not JSON", excerpt(frame)) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _uid(content: dict[str, Any]) -> str | None:
    # A number comes back as a string in one message and as a number in another.
    uid = content.get("uid")
    return None if uid is None else str(uid)


def _error(kind: str, content: dict[str, Any], frame: str | bytes) -> ErrorReply:
    error = content.get("error")
    if not isinstance(error, dict):
        raise BadFrame("The error message has no error", excerpt(frame))
    return ErrorReply(
        kind=kind,
        code=str(error.get("code", "")),
        message=str(error.get("message", "")),
        uid=_uid(content),
    )


def _subscription(content: dict[str, Any], frame: str | bytes) -> Message:
    match content.get("event"):
        case "init":
            return Started(_uid(content))
        case "unsubscribe":
            return Stopped(_uid(content))
        case ("create" | "update" | "delete") as action:
            return Changed(_uid(content), action, _rows_or_keys(action, content, frame))
    raise BadFrame("The subscription message has no known event", excerpt(frame))


def _rows_or_keys(action: Action, content: dict[str, Any], frame: str | bytes) -> list[Any]:
    data = content.get("data")
    # A subscription with ``item``, and directus_relations, send one instead of a list.
    data = data if isinstance(data, list) else [data]
    wanted = (str, int) if action == "delete" else dict
    if not all(isinstance(entry, wanted) and not isinstance(entry, bool) for entry in data):
        what = "keys" if action == "delete" else "items"
        raise BadFrame(f"The {action} message does not carry {what}", excerpt(frame))
    return data
