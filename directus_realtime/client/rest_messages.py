"""Messages of Directus's REST interface: query strings, answers and the server's clock."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from directus_realtime.events import Key
from directus_realtime.exceptions import RequestRefused

#: Code of an answer that is there, but has another shape than Directus gives it.
MALFORMED = "MALFORMED"
#: Code of an item that Directus fails to read, though it can read others.
UNREADABLE = "UNREADABLE"
#: Directus's code for a path, or a method there, that it does not have.
ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
#: Statuses of answers that mean: ask again later.
ASK_LATER = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


#: Statuses with which a proxy, or Directus, refuses a method.
_METHOD_REFUSALS = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
)


def is_not_ready(error: RequestRefused) -> bool:
    """Return whether a server that is busy, or absent behind its proxy, has judged nothing."""
    return error.status in ASK_LATER | {502, 503, 504}


def refuses_method(error: RequestRefused) -> bool:
    """Return whether an error may be about the HTTP method, and not about what was asked.

    Directus says why it refuses a request; a proxy has an error page.
    """
    if error.status in _METHOD_REFUSALS:
        return True
    return not error.code and error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}


def is_under_pressure(response: httpx.Response) -> bool:
    """Return whether Directus refuses a request because its event loop is too busy now."""
    is_refused = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return is_refused and "under pressure" in response.text.lower()


def malformed(place: str) -> RequestRefused:
    """The error of an answer that has another shape than Directus gives it.

    Args:
        place: What was asked, such as ``/users/me``.
    """
    message = f"The answer of {place} is not one of Directus."
    return RequestRefused(HTTPStatus.OK, MALFORMED, message)


@contextlib.contextmanager
def taken_apart(place: str) -> Iterator[None]:
    """Raise what goes wrong in taking an answer apart as :class:`RequestRefused`.

    Args:
        place: What was asked.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise malformed(place) from None


def data_of(response: httpx.Response) -> Any:
    """The ``data`` of an answer.

    Raises:
        RequestRefused: The answer is an error, or not one of Directus.
    """
    try:
        content = response.json()
    except ValueError:
        content = None
    except RecursionError:
        sentence = "The answer is nested too deeply to be read."
        raise RequestRefused(response.status_code, MALFORMED, sentence) from None
    if response.is_success and isinstance(content, dict) and "data" in content:
        return content["data"]
    if response.is_redirect:
        location = response.headers.get("Location", "")
        raise RequestRefused(response.status_code, "REDIRECT", location)
    raise _refusal(response.status_code, content)


def _refusal(status: int, content: Any) -> RequestRefused:
    errors = content.get("errors") if isinstance(content, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return RequestRefused(status, "", f"The answer (HTTP {status}) is not one of Directus.")
    extensions = first.get("extensions")
    code = extensions.get("code", "") if isinstance(extensions, dict) else ""
    return RequestRefused(status, str(code), str(first.get("message", "")))


#: Characters of the keys of one URL: proxies refuse long ones.
_KEYS_BUDGET = 4_000
#: Keys of one URL.
_KEYS = 100
_INTERPRETED = frozenset({"true", "false", "null", "NULL"})
_VARIABLES = ("$NOW", "$CURRENT_")


def encoded(query: Mapping[str, Any]) -> dict[str, str]:
    """Return a query as the parameters of a URL.

    Lists are joined by commas, objects become JSON, and ``aggregate={"count": "*"}`` becomes
    ``aggregate[count]=*``.
    """
    found = {name: _text(value) for name, value in query.items() if name != "aggregate"}
    aggregate = query.get("aggregate") or {}
    if isinstance(aggregate, Mapping):
        return found | {f"aggregate[{name}]": _text(value) for name, value in aggregate.items()}
    return found | {"aggregate": _text(aggregate)}


def with_fresh_cache_key(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query with the same meaning that no cache has answered before.

    Directus's cache is looked up by the query after unknown parameters were dropped. A
    ``deep`` for a field that is not asked for stays in, and changes nothing.
    """
    deep = query.get("deep") or {}
    if isinstance(deep, str):
        deep = json.loads(deep)
    return {**query, "deep": {**deep, f"fresh_{secrets.token_hex(8)}": {"_limit": 1}}}


def is_interpreted(key: Key) -> bool:
    """Return whether a filter of Directus takes a key for something else than its text."""
    return isinstance(key, str) and (key in _INTERPRETED or key.startswith(_VARIABLES))


def filtered_by_keys(
    query: Mapping[str, Any], key_field: str, keys: Sequence[Key]
) -> dict[str, Any]:
    """Return a query with the condition that the key is one of these."""
    own = [query["filter"]] if query.get("filter") else []
    return {**query, "filter": {"_and": [{key_field: {"_in": list(keys)}}, *own]}}


def key_batches(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Yield keys in batches that fit into a URL each."""
    batch: list[Key] = []
    length = 0
    for key in keys:
        cost = len(quote(str(key), errors="replace")) + 12  # quotes and a comma, encoded
        if batch and (len(batch) == _KEYS or length + cost > _KEYS_BUDGET):
            yield batch
            batch, length = [], 0
        batch.append(key)
        length += cost
    if batch:
        yield batch


def _text(value: Any) -> str:
    if isinstance(value, dict | bool):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(str(entry) for entry in value)
    return str(value)


#: ``Date`` names whole seconds.
_RESOLUTION = timedelta(seconds=1)
#: A clock that is this far off tells nothing, and sums with its time may not be possible.
_BEYOND_REASON = timedelta(days=365 * 100)


class ServerClock:
    """Narrows down how far the server's clock is ahead of ours.

    Each answer was made between the sending of its request and its arrival. A slow answer
    says little, and one that took no time says it to the second; together they say what
    is true of all of them.
    """

    def __init__(self) -> None:
        self._least: timedelta | None = None
        self._most = timedelta()

    @property
    def ahead(self) -> timedelta:
        """How far the server's clock is ahead of ours; nothing where no answer has told yet."""
        return timedelta() if self._least is None else (self._least + self._most) / 2

    def now(self) -> datetime:
        """The present time of the server's clock; aware."""
        return datetime.now(UTC) + self.ahead

    def note(self, date: str, sent_at: datetime, received_at: datetime) -> None:
        """Take what an answer says.

        Args:
            date: The header ``Date``; one that cannot be read says nothing.
            sent_at: When the request was sent, of our clock.
            received_at: When the answer was there, of our clock.
        """
        try:
            told = parsedate_to_datetime(date)
            if told.tzinfo is None or abs(told - received_at) > _BEYOND_REASON:
                return
        except (ValueError, OverflowError):
            return
        least, most = told - received_at, told + _RESOLUTION - sent_at
        if self._least is None or least > self._most or most < self._least:
            # The first answer, or one of the clocks was set.
            self._least, self._most = least, most
        else:
            self._least, self._most = max(least, self._least), min(most, self._most)
