"""What Directus answers over REST, taken apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx

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
