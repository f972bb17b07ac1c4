"""Frames and texts made fit for a log: short, and without secrets."""

from __future__ import annotations

import re

#: Characters of a frame that are shown.
EXCERPT_LENGTH = 200

_SENSITIVE = r"access_token|refresh_token|token|password|secret|otp"
_JSON_SECRET = re.compile(rf'("(?:{_SENSITIVE})"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.IGNORECASE)
_URL_SECRET = re.compile(rf"((?:{_SENSITIVE})=)[^&\s\"']+", re.IGNORECASE)


def redact(text: str) -> str:
    """Replace the values of tokens and passwords in JSON or URL text by ``***``."""
    return _URL_SECRET.sub(r"\1***", _JSON_SECRET.sub(r'\1"***"', text))


def excerpt(frame: str | bytes) -> str:
    """The first :data:`EXCERPT_LENGTH` characters of a frame, without secrets, on one line."""
    # The cut comes after the redaction, so that half a secret cannot slip through;
    # the first cut only bounds the work on a frame of megabytes.
    head = frame[: EXCERPT_LENGTH * 20]
    text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    text = " ".join(redact(text).split())
    return text if len(text) <= EXCERPT_LENGTH else text[:EXCERPT_LENGTH] + "…"
