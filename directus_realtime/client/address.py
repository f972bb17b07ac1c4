"""Whether a URL is an address alone: it is in logs, reprs and reasons."""

from __future__ import annotations

from urllib.parse import urlsplit


def secret_in(url: str) -> str:
    """What there is in a URL that may be a secret, as a sentence without it; ``""`` for nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""  # no URL at all; connecting says so
    if "@" in parts.netloc:
        return (
            "The URL contains a user name or a password. Give a token, or email and password; "
            "for HTTP basic authentication in front of the server, use headers."
        )
    if parts.query or parts.fragment:
        return "The URL has something behind ? or #. Give the address alone, and a token as token."
    return ""
