"""Messages of Directus's REST interface: query strings, answers and the server's clock."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from directus_realtime.events import Key
from directus_realtime.exceptions import RequestRefused
from directus_realtime.utils.json_parser import NestedTooDeeply, parse_json
from directus_realtime.utils.system_clock import SystemClock

#: Code of an answer that Directus would not give.
MALFORMED = "MALFORMED"
#: Code of a single item that Directus fails to read.
UNREADABLE = "UNREADABLE"
#: Directus's code for a path, or a method there, that it does not have.
ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
#: Statuses that ask for a later retry.
ASK_LATER = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)

#: Statuses with which a proxy, or Directus, refuses a method.
_METHOD_REFUSALS = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
)


def is_not_ready(error: RequestRefused) -> bool:
    """Return whether the server is busy, or down behind its proxy, and has decided nothing."""
    return error.status in ASK_LATER | {502, 503, 504}


def refuses_method(error: RequestRefused) -> bool:
    """Return whether an error may be about the HTTP method rather than the request.

    Directus gives a reason for a refusal; a proxy sends an error page.
    """
    if error.status in _METHOD_REFUSALS:
        return True
    return not error.code and error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}


def is_under_pressure(response: httpx.Response) -> bool:
    """Return whether Directus refuses a request because its event loop is overloaded."""
    is_refused = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return is_refused and "under pressure" in response.text.lower()


def malformed(place: str) -> RequestRefused:
    """Return the error of an answer that Directus would not give.

    Args:
        place: The path, for example ``/users/me``.
    """
    message = f"The answer of {place} is not one of Directus."
    return RequestRefused(HTTPStatus.OK, MALFORMED, message)


@contextlib.contextmanager
def taken_apart(place: str) -> Iterator[None]:
    """Raise the errors of taking an answer apart as :func:`malformed`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise malformed(place) from None


def data_of(response: httpx.Response) -> Any:
    """Return the ``data`` of an answer.

    Raises:
        RequestRefused: The answer is an error, or not one of Directus.
    """
    try:
        content = parse_json(response.content)
    except NestedTooDeeply:
        sentence = "The answer is nested too deeply to be read."
        raise RequestRefused(response.status_code, MALFORMED, sentence) from None
    except ValueError:
        content = None
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
    """Return whether a filter of Directus interprets a key instead of comparing its text."""
    return isinstance(key, str) and (key in _INTERPRETED or key.startswith(_VARIABLES))


def filtered_by_keys(
    query: Mapping[str, Any], key_field: str, keys: Sequence[Key]
) -> dict[str, Any]:
    """Return a query with the condition that the key is one of these."""
    own = [query["filter"]] if query.get("filter") else []
    return {**query, "filter": {"_and": [{key_field: {"_in": list(keys)}}, *own]}}


def batches(
    keys: Iterable[Key], size: int, budget: int, length_of: Callable[[Key], int]
) -> Iterator[list[Key]]:
    """Yield keys in batches that fit into one request each.

    Args:
        keys: The keys.
        size: Most keys of a batch.
        budget: Most characters of a batch.
        length_of: Returns the characters that a key takes.
    """
    batch: list[Key] = []
    total = 0
    for key in keys:
        length = length_of(key)
        if batch and (len(batch) == size or total + length > budget):
            yield batch
            batch, total = [], 0
        batch.append(key)
        total += length
    if batch:
        yield batch


def url_batches(keys: Iterable[Key]) -> Iterator[list[Key]]:
    """Yield keys in batches that fit into a URL each."""
    # Quotes and a comma are 12 characters there.
    return batches(
        keys, _KEYS, _KEYS_BUDGET, lambda key: len(quote(str(key), errors="replace")) + 12
    )


def _text(value: Any) -> str:
    if isinstance(value, dict | bool):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(str(entry) for entry in value)
    return str(value)


#: ``Date`` names whole seconds.
_RESOLUTION = timedelta(seconds=1)
#: A clock that is this far off is ignored: its time may be beyond what datetimes can hold.
_BEYOND_REASON = timedelta(days=365 * 100)


class ServerClock:
    """Estimate of the difference between the server's clock and ours.

    Each answer was made between the sending of its request and its arrival, which bounds the
    difference; the bounds of all answers together are narrow.

    Args:
        clock: Our clock.
    """

    def __init__(self, clock: SystemClock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._least: timedelta | None = None
        self._most = timedelta()

    @property
    def ahead(self) -> timedelta:
        """How far the server's clock is ahead of ours; 0 before the first answer."""
        return timedelta() if self._least is None else (self._least + self._most) / 2

    def now(self) -> datetime:
        """Return the present time of the server's clock; aware."""
        return self._clock.now() + self.ahead

    def note(self, date: str, sent_at: datetime, received_at: datetime) -> None:
        """Use the time of an answer.

        Args:
            date: The header ``Date``; ignored where it cannot be parsed.
            sent_at: Time of the request, by our clock.
            received_at: Time of the arrival, by our clock.
        """
        try:
            made_at = parsedate_to_datetime(date)
            if made_at.tzinfo is None or abs(made_at - received_at) > _BEYOND_REASON:
                return
        except (ValueError, OverflowError):
            return
        least, most = made_at - received_at, made_at + _RESOLUTION - sent_at
        if self._least is None or least > self._most or most < self._least:
            # The first answer, or one of the clocks was set.
            self._least, self._most = least, most
        else:
            self._least, self._most = max(least, self._least), min(most, self._most)
