"""Frames and texts made fit for a log and a database: short, and without secrets."""

from __future__ import annotations

import re

#: Characters of a frame that are shown.
EXCERPT_LENGTH = 200

_NAMES = r"access_token|refresh_token|token|password|secret|otp"
# Each pattern's first group is kept, what follows it is the secret.
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(Bearer\s+)[^\s\"',}]+",
        r"(://[^\s/:@]*:)[^\s/]+(?=@)",  # a URL with a password
        rf'("(?:{_NAMES})"\s*:\s*")(?:[^"\\]|\\.)*',  # JSON
        rf'(\\+"(?:{_NAMES})\\+"\s*:\s*\\+")[^"\\]*',  # JSON inside of JSON
        rf"('(?:{_NAMES})'\s*:\s*')(?:[^'\\]|\\.)*",  # the repr of a dict
        rf"((?:{_NAMES})\s*=\s*')(?:[^'\\]|\\.)*",  # the repr of a call
        rf'((?:{_NAMES})\s*=\s*")(?:[^"\\]|\\.)*',
        rf"((?:{_NAMES})=)[^&\s\"'\\]+",  # a URL or a form
    )
]


def redact(text: str) -> str:
    """Replace the values of tokens and passwords by ``***``, however they are written."""
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1***", text)
    return text


def excerpt(frame: str | bytes) -> str:
    """The first :data:`EXCERPT_LENGTH` characters of a frame, without secrets, on one line."""
    # The cut comes after the redaction, so that half a secret cannot slip through;
    # the first cut only bounds the work on a frame of megabytes.
    head = frame[: EXCERPT_LENGTH * 20]
    text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    text = " ".join(redact(text).split())
    return text if len(text) <= EXCERPT_LENGTH else text[:EXCERPT_LENGTH] + "…"


def storable(text: str, length: int | None = None) -> str:
    """A text that every database takes: without NUL characters and lone surrogates.

    Args:
        text: Any text.
        length: Characters that are kept.
    """
    text = text.replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()[:length]
