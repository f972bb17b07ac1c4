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
#: Statuses of answers that mean: ask again later.
ASK_LATER = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


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
