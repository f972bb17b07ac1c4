"""What Directus answers over REST, taken apart."""

from __future__ import annotations

from typing import Any

import httpx

from directus_realtime.exceptions import RequestRefused


def data_of(response: httpx.Response) -> Any:
    """The ``data`` of an answer.

    Raises:
        RequestRefused: The answer is an error, or not one of Directus.
    """
    try:
        content = response.json()
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
