"""Whether extra headers can be sent. What refuses them later would quote them, secrets and all."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def header_problem(headers: object) -> str:
    """What is wrong with headers, as a sentence that shows no value; ``""`` for nothing."""
    if not isinstance(headers, Mapping):
        return f"They are a {type(headers).__name__}, not a dict of texts."
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return "A name contains a character that no header's name has, or is no text."
        if not isinstance(value, str):
            return f"The value of {name} is a {type(value).__name__}, not a text."
        if not _is_plain(value):
            return (
                f"The value of {name} contains a character that no header has, such as a line "
                "break at its end."
            )
    return ""


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()
