"""Keeps the log readable when the same thing goes wrong a thousand times."""

from __future__ import annotations

from time import monotonic

#: Seconds after which the same text is news again.
INTERVAL = 60.0
#: Texts that are remembered.
_LIMIT = 100


class Repetitions:
    """Remembers what was said lately."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def first_within(self, text: str) -> bool:
        """Whether a text was not said within the last minute; it counts as said now."""
        now = monotonic()
        if now - self._said.get(text, -INTERVAL) < INTERVAL:
            return False
        self._said.pop(text, None)
        self._said[text] = now
        if len(self._said) > _LIMIT:
            del self._said[next(iter(self._said))]
        return True
