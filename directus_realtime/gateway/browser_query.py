"""Requests of browsers in Directus's format, parsed and checked without the offers; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from directus_realtime.events import Action, Key
from directus_realtime.exceptions import QueryRefused
from directus_realtime.gateway.conditions import compile_filter, shorten
from directus_realtime.gateway.frames import decode
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.queries import BrowserQuery, Filter

__all__ = ["BrowserQuery", "QueryRefused", "SubscribeRequest", "parse_subscribe", "parse_uid"]

#: Characters of a name, a key or a uid.
MAX_LENGTH = 255
#: Names in ``fields``.
MAX_NAMES = 200
#: Names in ``sort``: for each, a first load is sorted, which blocks others.
MAX_SORTS = 20
#: Operators in a filter: each is evaluated for each event.
MAX_OPERATORS = 100
#: Values in a filter, those in lists counted each.
MAX_VALUES = 2000

_OPTIONS = frozenset({"fields", "filter", "sort", "limit"})
_WHOLE_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class SubscribeRequest:
    """A ``subscribe`` message.

    Attributes:
        collection: A collection, or the name of an offer.
        query: The query.
        uid: The uid of all answers; ``None`` for none.
        wants_data: Whether the answer has items: no single event was requested.
        last_event_id: Id of the last event that the browser received; ``None`` if there is none.
    """

    collection: str
    query: BrowserQuery
    uid: str | None = None
    wants_data: bool = True
    last_event_id: str | None = None


def parse_subscribe(message: object) -> SubscribeRequest:
    """Parse a ``subscribe`` message.

    Args:
        message: Any value that was decoded from JSON.

    Raises:
        QueryRefused: ``INVALID_PAYLOAD`` for its shape, ``INVALID_QUERY`` for the query.
    """
    if not isinstance(message, dict):
        raise _invalid_payload("The message must be an object.")
    uid = parse_uid(message)
    events = _events(message)
    query = message.get("query", {})
    if not isinstance(query, dict):
        raise _invalid_payload(f'"query" must be an object, not {shorten(query)}.')
    return SubscribeRequest(
        collection=_collection(message),
        query=_query(query, events, _item(message)),
        uid=uid,
        wants_data="event" not in message,
        last_event_id=_last_event_id(message),
    )


def parse_uid(message: Mapping[str, Any]) -> str | None:
    """Return the ``uid`` of a message: a number becomes a text, as in Directus.

    Raises:
        QueryRefused: ``INVALID_PAYLOAD``; it is neither a text nor a number.
    """
    if "uid" not in message:
        return None
    return str(_name_or_number("uid", message["uid"]))


def _collection(message: Mapping[str, Any]) -> str:
    name = message.get("collection")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_LENGTH:
        raise _invalid_payload(f'"collection" must be the name of one, not {shorten(name)}.')
    return name


def _events(message: Mapping[str, Any]) -> tuple[Action, ...]:
    if "event" not in message:
        return ACTIONS
    event = message["event"]
    if not isinstance(event, str) or event not in get_args(Action):
        raise _invalid_payload(f'"event" must be create, update or delete, not {shorten(event)}.')
    return tuple(action for action in ACTIONS if action == event)


def _item(message: Mapping[str, Any]) -> Key | None:
    return _name_or_number("item", message["item"]) if "item" in message else None


def _last_event_id(message: Mapping[str, Any]) -> str | None:
    last = message.get("last_event_id")
    if last is None:
        return None
    if not isinstance(last, str) or len(last) > MAX_LENGTH:
        raise _invalid_payload(f'"last_event_id" must be the id of an event, not {shorten(last)}.')
    return last or None


def _name_or_number(name: str, value: object) -> Key:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JavaScript has only one kind of number
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
        return value
    if isinstance(value, str) and len(value) <= MAX_LENGTH and _is_unicode(value):
        return value
    raise _invalid_payload(f'"{name}" must be a text or a whole number, not {shorten(value)}.')


def _is_unicode(text: str) -> bool:
    """Return whether a text can be sent: half a surrogate pair cannot."""
    return text == text.encode("utf-8", "replace").decode()


# The query


def _query(query: Mapping[str, Any], events: tuple[Action, ...], item: Key | None) -> BrowserQuery:
    for name, value in query.items():
        if name not in _OPTIONS and value is not None:
            raise _invalid_query(
                f"{shorten(name)} is not possible in a subscription here; "
                f"{', '.join(sorted(_OPTIONS))} are."
            )
    return BrowserQuery(
        events=events,
        fields=_names("fields", query.get("fields"), MAX_NAMES) or ("*",),
        filter=_filter(query.get("filter")),
        sort=_names("sort", query.get("sort"), MAX_SORTS),
        limit=_limit(query.get("limit")),
        item=item,
    )


def _names(option: str, value: object, most: int) -> tuple[str, ...]:
    """Parse a list of names, or a text with commas, as the official client sends it."""
    given = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(entry, str) for entry in given):
        raise _invalid_query(f"{option} must be a list of field names, not {shorten(value)}.")
    entries = (name.strip() for entry in given for name in entry.split(","))
    names = tuple(dict.fromkeys(name for name in entries if name))
    if len(names) > most:
        raise _invalid_query(f"{option} has more than {most} names.")
    if long := [name for name in names if len(name) > MAX_LENGTH]:
        raise _invalid_query(f"{shorten(long[0])} is not the name of a field.")
    return names


def _filter(value: object) -> Filter:
    """Parse a filter, or its JSON as a text, as the official client sends it."""
    if isinstance(value, str):
        try:
            value = decode(value)
        except ValueError:
            raise _invalid_query("The filter is not JSON.") from None
    if value is None:
        return {}
    condition = compile_filter(value)
    if condition.size > MAX_OPERATORS:
        raise _invalid_query(f"The filter has more than {MAX_OPERATORS} operators.")
    if condition.values > MAX_VALUES:
        raise _invalid_query(f"The filter has more than {MAX_VALUES} values.")
    return dict(value) if isinstance(value, dict) else {}


def _limit(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = int(value)  # the official client sends a text
    if not isinstance(value, int) or isinstance(value, bool) or value < -1:
        raise _invalid_query(f"limit must be a whole number, not {shorten(value)}.")
    return None if value == -1 else value


def _invalid_payload(message: str) -> QueryRefused:
    return QueryRefused("INVALID_PAYLOAD", message)


def _invalid_query(message: str) -> QueryRefused:
    return QueryRefused("INVALID_QUERY", message)
