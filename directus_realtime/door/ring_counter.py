"""Counter of the rings in the database, which the listener in another process looks at."""

from __future__ import annotations

import threading
from collections import Counter

from django.db import IntegrityError
from django.db.models import F

from directus_realtime.client.doorbells import KNOCK_WINDOW
from directus_realtime.door.knocks import Knock
from directus_realtime.models import DoorRing
from directus_realtime.utils.system_clock import SystemClock


class RingCounter:
    """Writes the rings of this process, at most once in :data:`KNOCK_WINDOW` for each connection.

    Args:
        clock: Measures the window, and gives the time of the ring.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._written_at: dict[str, float] = {}
        self._unwritten: Counter[str] = Counter()

    def ring(self, alias: str, knock: Knock) -> None:
        """Count a ring.

        Args:
            alias: The connection.
            knock: The knock that rang.

        Raises:
            DatabaseError: The ring could not be written.
        """
        if not (count := self._due(alias)):
            return
        try:
            self._write(alias, knock, count)
        except BaseException:
            with self._lock:  # the next knock tries again
                self._written_at.pop(alias, None)
                self._unwritten[alias] += count
            raise

    def _due(self, alias: str) -> int:
        """Return the number of rings to write now."""
        with self._lock:
            self._unwritten[alias] += 1
            now = self._clock.monotonic()
            if now - self._written_at.get(alias, -KNOCK_WINDOW) < KNOCK_WINDOW:
                return 0
            self._written_at[alias] = now
            return self._unwritten.pop(alias)

    def _write(self, alias: str, knock: Knock, count: int) -> None:
        values = {
            "rung_at": self._clock.now(),
            "event": knock.event,
            "collection": knock.collection,
        }
        rows = DoorRing.objects.filter(alias=alias)
        added = {"rings": F("rings") + count, **values}
        if rows.update(**added):
            return
        try:
            DoorRing.objects.create(alias=alias, rings=count, **values)
        except IntegrityError:  # another process made the row
            rows.update(**added)
