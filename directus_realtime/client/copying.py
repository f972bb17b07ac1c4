"""Copies of what was read as JSON."""

from __future__ import annotations

from typing import Any


def copied(value: Any) -> Any:
    """A copy that shares nothing that can be changed.

    Nothing here calls itself: whatever depth could be read can be copied, which is not so with
    :func:`copy.deepcopy`.

    Args:
        value: Of dicts, lists and what cannot be changed.
    """
    if not isinstance(value, dict | list):
        return value
    copy = value.copy()
    unfinished: list[dict[str, Any] | list[Any]] = [copy]
    while unfinished:
        container = unfinished.pop()
        if isinstance(container, dict):
            for name, entry in container.items():  # its size stays
                if isinstance(entry, dict | list):
                    container[name] = inner = entry.copy()
                    unfinished.append(inner)
        else:
            for place, entry in enumerate(container):
                if isinstance(entry, dict | list):
                    container[place] = inner = entry.copy()
                    unfinished.append(inner)
    return copy
