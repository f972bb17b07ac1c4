"""Messages of the WebSocket: validation, and the form of answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

Message = dict[str, Any]

MISSING = object()
# Python has only lone ones in its texts; Directus escapes them.
SURROGATE = re.compile("[\ud800-\udfff]")
MASK = "***"
SECRETS = ("access_token", "refresh_token", "password")
EVENTS = ("create", "update", "delete")


def error(kind: str, code: str, message: str, uid: Any = MISSING) -> Message:
    """Return an error message; without ``uid`` it cannot be attributed, as in Directus 11."""
    reason = {"code": code, "message": message}
    answer: Message = {"type": kind, "status": "error", "error": reason}
    return answer if uid is MISSING else {**answer, "uid": uid}


def unknown_collection(kind: str, source: Message) -> Message:
    """Return the refusal of a message that names an unknown collection."""
    text = "The provided collection does not exists or is not accessible."
    return error(kind, "INVALID_COLLECTION", text, source.get("uid", MISSING))


def with_uid(message: Message, source: Message) -> Message:
    """Return an answer with the uid of the message it answers, if that has one."""
    return {**message, "uid": source["uid"]} if "uid" in source else message


def encode(message: Any) -> str:
    """Return JSON without spaces, as Directus writes it."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    return SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def masked(message: Any) -> Any:
    """Return a message with tokens and passwords replaced."""
    if not isinstance(message, dict):
        return message
    return {key: MASK if key in SECRETS else value for key, value in message.items()}


def problem(message: Any) -> str | None:
    """Return the problem of any message, in Directus's words, or None."""
    if not isinstance(message, dict):
        return _sentence([f"expected object, received {_kind(message)}"])
    problems = [*_typed(message, "type", str), *_key(message, "uid")]
    return _sentence(problems) if problems else None


def subscribe_problem(message: Message) -> str | None:
    """Return the problem of a subscribe message, in Directus's words, or None."""
    problems = list(_typed(message, "collection", str))
    if message.get("event", MISSING) is not MISSING and message["event"] not in EVENTS:
        problems.append(_choice("event", EVENTS))
    problems += _key(message, "item")
    if not isinstance(message.get("query", {}), dict):
        problems.append(f'expected record, received {_kind(message["query"])} at "query"')
    return _sentence(problems) if problems else None


def items_problem(message: Message) -> str | None:
    """Return the problem of an items message, in Directus's words, or None."""
    actions = ("create", "read", "update", "delete")
    if message.get("action") not in actions:
        return _sentence([_choice("action", actions)])
    problems = list(_typed(message, "collection", str))
    return _sentence(problems) if problems else None


def auth_is_well_formed(message: Any) -> bool:
    """Return whether this is an auth message with credentials."""
    if problem(message) is not None or message["type"] != "auth":
        return False
    ways = (["email", "password"], ["access_token"], ["refresh_token"])
    return any(all(isinstance(message.get(name), str) for name in way) for way in ways)


def _sentence(problems: Iterable[str]) -> str:
    return "Validation error: " + "; ".join(f"Invalid input: {each}" for each in problems)


def _choice(name: str, allowed: Iterable[str]) -> str:
    return " or Invalid input: ".join(f'expected "{each}" at "{name}"' for each in allowed)


def _typed(message: Message, name: str, wanted: type) -> Iterable[str]:
    value = message.get(name, MISSING)
    if not isinstance(value, wanted):
        yield f'expected string, received {_kind(value)} at "{name}"'


def _key(message: Message, name: str) -> Iterable[str]:
    """Check a value that may be missing, a string or a number."""
    value = message.get(name, MISSING)
    kind = _kind(value)
    if kind not in ("undefined", "string", "number"):
        yield (
            f'expected string, received {kind} at "{name}" or Invalid input: '
            f'expected number, received {kind} at "{name}"'
        )


def _kind(value: Any) -> str:
    if value is MISSING:
        return "undefined"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = ((str, "string"), (int | float, "number"), (list, "array"))
    return next((name for kind, name in names if isinstance(value, kind)), "object")
