"""Frames and texts made fit for a log and a database: short, and without secrets."""

from __future__ import annotations

import re

#: Characters of a frame that are shown.
EXCERPT_LENGTH = 200

_NAMES = r"token|password|passwd|pwd|passphrase|secret|otp|api[_-]?key"
# What ends with such a name is one, too: client_secret, but not tokens.
_QUOTED = rf"[\w-]*(?:{_NAMES})"
# Each pattern's first group is kept, what follows it is the secret. None may look at a stretch of
# text again from each of its characters: texts can be long.
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
