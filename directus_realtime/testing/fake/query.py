"""Query parameters of Directus, from an address or a message."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from directus_realtime.testing.fake.fake_collection import Filter
from directus_realtime.testing.fake.refusals import (
    NoReplyError,
    invalid_payload,
    invalid_query,
)
from directus_realtime.testing.fake.server_state import ServerClock

DEFAULT_QUERY_LIMIT = 100  # rows, unless the caller or the server says otherwise
SHIFT = re.compile(r"\$NOW\(([+-]?\d+) (second|minute|hour|day|week)s?\)")
BRACKETS = re.compile(r"\[([^\]]*)\]")


@dataclass
class Query:
    """The items to read, and their shape. ``None`` means not given."""

    fields: list[str] = field(default_factory=lambda: ["*"])
    filter: Filter = field(default_factory=dict)
    sort: list[str] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0
    page: int = 1
    search: str | None = None
    meta: list[str] = field(default_factory=list)
    aggregate: dict[str, list[str]] = field(default_factory=dict)
    group: list[str] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)
    is_empty: bool = True

    @classmethod
    def from_address(
        cls, pairs: Iterable[tuple[str, str]], limit_max: int | None, clock: ServerClock
    ) -> Query:
        """Parse the parameters of a request; an invalid or too high limit is refused."""
        values = _nest(pairs)
        return cls.from_request(values, limit_max, clock) if values else cls()

    @classmethod
    def from_request(
        cls, values: dict[str, Any], limit_max: int | None, clock: ServerClock
    ) -> Query:
        """Parse the ``query`` of a SEARCH; an invalid or too high limit is refused."""
        if "limit" in values:
            _check_limit(values["limit"], limit_max)
        return cls.from_values(values, clock)

    @classmethod
    def from_values(cls, values: dict[str, Any], clock: ServerClock) -> Query:
        """Parse the ``query`` of a message; as in Directus 11, an invalid limit is ignored."""
        query = cls(is_empty=False)
        if "fields" in values:
            query.fields = _fields(values["fields"])
        if "filter" in values:
            query.filter = _filter(values["filter"], clock)
        query.sort = _names(values.get("sort", []))
        query.limit = _whole(values.get("limit"), minimum=-1)
        query.offset = _whole(values.get("offset"), minimum=0) or 0
        query.page = _whole(values.get("page"), minimum=1) or 1
        query.search = values.get("search") or None
        query.meta = _meta(values.get("meta"))
        query.alias = _alias(values.get("alias"))
        query.group = _names(values.get("groupBy") or [])
        query.aggregate = {k: _names(v) for k, v in (values.get("aggregate") or {}).items()}
        return query


def searched_keys(body: Any) -> list[Any] | None:
    """Return the ``keys`` in the body of a SEARCH, or None; an invalid body is refused."""
    if not isinstance(body, dict):
        raise invalid_payload('"value" must be of type object')
    if unknown := [name for name in body if name not in ("keys", "query")]:
        raise invalid_payload(f'"{unknown[0]}" is not allowed')
    keys = body.get("keys", [])
    if not isinstance(keys, list):
        raise invalid_payload('"keys" must be an array')
    for number, key in enumerate(keys):
        if isinstance(key, bool) or not isinstance(key, str | int | float):
            raise invalid_payload(f'"keys[{number}]" must be one of [string, number]')
        if key == "":
            raise invalid_payload(f'"keys[{number}]" is not allowed to be empty')
    if not isinstance(body.get("query", {}), dict):
        raise invalid_payload('"query" must be of type object')
    return keys if "keys" in body else None


def _nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn ``filter[a][_eq]=1`` into nested dicts, and numbered or empty keys into lists."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        path = [name.split("[", 1)[0], *BRACKETS.findall(name)]
        place = root
        for step in path[:-1]:
            place = place.setdefault(step, {})
        last = path[-1] or str(len(place))
        place[last] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(each) for each in value.values()]
    return {key: _lists(each) for key, each in value.items()}


def _check_limit(value: Any, maximum: int | None) -> None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise invalid_query('"limit" must be a number') from None
    if number < -1:
        raise invalid_query('"limit" must be greater than or equal to -1')
    if maximum is not None and number > maximum:
        raise invalid_query(f'"limit" must be less than or equal to {maximum}')


def _whole(value: Any, *, minimum: int) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if number >= minimum else None


def _fields(value: Any) -> list[str]:
    if not isinstance(value, str | list):
        raise invalid_query('"fields" must be a string or array')
    if isinstance(value, list) and not all(isinstance(each, str) for each in value):
        raise NoReplyError
    return _names(value) or ["*"]


def _names(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    return [each.strip() for part in parts for each in str(part).split(",") if each.strip()]


def _meta(value: Any) -> list[str]:
    names = _names(value or [])
    return ["total_count", "filter_count"] if "*" in names else names


def _alias(value: Any) -> dict[str, str]:
    value = _parsed(value, "alias")
    return {str(name): str(of) for name, of in value.items()} if isinstance(value, dict) else {}


def _parsed(value: Any, name: str) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise invalid_query(f"Invalid JSON for {name} object") from None


def _filter(value: Any, clock: ServerClock) -> Filter:
    value = _parsed(value, "filter")
    if isinstance(value, list):
        value = {str(number): each for number, each in enumerate(value)}
    return dict(_with_time(value, clock)) if value else {}


def _with_time(value: Any, clock: ServerClock) -> Any:
    """Replace ``$NOW`` by the time; Directus does so once, on receipt of the filter."""
    if isinstance(value, dict):
        return {key: _with_time(each, clock) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_time(each, clock) for each in value]
    if isinstance(value, str) and value.startswith("$NOW"):
        return _moment(value, clock)
    return value


def _moment(variable: str, clock: ServerClock) -> str:
    shift = SHIFT.fullmatch(variable)
    if shift is None:
        return clock.timestamp() if variable == "$NOW" else variable
    return clock.timestamp(dt.timedelta(**{f"{shift[2]}s": int(shift[1])}))
