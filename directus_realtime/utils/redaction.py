"""Texts for logs and databases: short, and without secrets."""

from __future__ import annotations

import re

#: Characters of an excerpt.
EXCERPT_LENGTH = 200

_NAMES = r"token|password|passwd|pwd|passphrase|secret|otp|api[_-]?key"
# Names that end like this are included: client_secret, but not tokens.
_QUOTED = rf"[\w-]*(?:{_NAMES})"
# The first group of a pattern is kept; the secret follows it. Patterns must run in linear time,
# because texts can be long.
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(Bearer\s+)[^\s\"',}]+",
        r"(Authorization[\"']?\s*[:=]\s*[\"']?(?:Basic|Token|ApiKey)\s+)[^\s\"',}]+",
        r"(\bX-[\w-]{0,40}(?:Key|Token|Secret)\s*:\s*)[^\s\"',}]+",  # a header
        r"(Illegal header (?:name|value) )b?(?:'[^']*'|\"[^\"]*\")",  # of httpx
        r"(://[^\s/:@]*:)[^\s/]+(?=@)",  # a URL with a password
        rf'("{_QUOTED}"\s*:\s*")(?:[^"\\]|\\.)*',  # JSON
        rf'((?<!\\)\\+"{_QUOTED}\\+"\s*:\s*\\+")[^"\\]*',  # JSON inside of JSON
        rf"('{_QUOTED}'\s*:\s*')(?:[^'\\]|\\.)*",  # the repr of a dict
        rf"((?:{_NAMES})\s*=\s*')(?:[^'\\]|\\.)*",  # the repr of a call
        rf'((?:{_NAMES})\s*=\s*")(?:[^"\\]|\\.)*',
        rf"((?:{_NAMES})=)[^&\s\"'\\]+",  # a URL or a form
    )
]


def redact(text: str) -> str:
    """Replace the values of tokens and passwords by ``***``."""
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1***", text)
    return text


def excerpt(frame: str | bytes) -> str:
    """Return the first :data:`EXCERPT_LENGTH` characters of a frame, redacted, on one line."""
    # The cut follows the redaction, so that no half secret remains; the first cut limits the
    # work on a frame of megabytes.
    head = frame[: EXCERPT_LENGTH * 20]
    text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    text = " ".join(redact(text).split())
    return text if len(text) <= EXCERPT_LENGTH else text[:EXCERPT_LENGTH] + "…"


def storable(text: str, length: int | None = None) -> str:
    """Return a text that every database accepts: without NUL and lone surrogates.

    Args:
        text: Any text.
        length: Maximal number of characters.
    """
    text = text.replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()[:length]
