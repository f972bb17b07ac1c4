"""JSON from outside, parsed with a limit on its depth."""

from __future__ import annotations

import json
from typing import Any

#: Levels of objects and lists. Python itself parses some 900, depending on the call stack; within
#: this limit, parsed JSON can be copied and encoded again by :mod:`json`.
MAX_DEPTH = 900


class NestedTooDeeply(ValueError):
    """The JSON has more than :data:`MAX_DEPTH` levels."""


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Parse JSON.

    Args:
        text: Text, or bytes in UTF-8.
        options: Options of :func:`json.loads`.

    Raises:
        NestedTooDeeply: It has too many levels.
        ValueError: It is not JSON.
    """
    try:
        value = json.loads(text, **options)
    except RecursionError:
        raise NestedTooDeeply from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return value
        level = [
            entry
            for container in level
            for entry in (container.values() if isinstance(container, dict) else container)
            if type(entry) is dict or type(entry) is list
        ]
    if level:
        raise NestedTooDeeply
    return value


def copy_json(value: Any) -> Any:
    """Return a copy of parsed JSON that shares nothing mutable with it."""
    return json.loads(json.dumps(value))
