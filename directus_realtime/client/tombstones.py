"""Keys that are gone: what comes of them now may have been read before."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from directus_realtime.events import Key

#: How long a late message is reckoned with, in seconds; on a busy server events lag that much.
SECONDS = 60.0
#: How many keys are remembered; the oldest is forgotten first.
LIMIT = 10_000


class Tombstones:
    """The keys of items that were told to be gone a short time ago.

    Args:
        clock: Seconds, of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: dict[Key, float] = {}  # the oldest first

    def __contains__(self, key: Key) -> bool:
        since = self._since.get(key)
        return since is not None and self._clock() - since < SECONDS

    def __len__(self) -> int:
        return len(self._since)

    def add(self, key: Key) -> None:
        """This item is gone."""
        now = self._clock()
        self._since.pop(key, None)
        self._since[key] = now
        while len(self._since) > LIMIT or now - next(iter(self._since.values())) >= SECONDS:
            del self._since[next(iter(self._since))]

    def discard(self, key: Key) -> None:
        """This item is there."""
        self._since.pop(key, None)
