"""What changes while somebody reads: the row that was read may then be older than the news."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from directus_realtime.events import Key


class ChangeNotes:
    """Keys, noted for everybody who wants to know."""

    def __init__(self) -> None:
        self._open: dict[int, set[Key]] = {}

    def add(self, key: Key) -> None:
        """There is news of this item."""
        for notes in self._open.values():
            notes.add(key)

    @contextlib.contextmanager
    def taken(self, notes: set[Key] | None = None) -> Iterator[set[Key]]:
        """The keys of which news comes while the block runs.

        Args:
            notes: Where to add them; a new set if not given.
        """
        notes = set() if notes is None else notes
        self._open[id(notes)] = notes
        try:
            yield notes
        finally:
            del self._open[id(notes)]
