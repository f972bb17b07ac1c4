"""Rings that no row of the activity log has answered yet.

A ring says that an item changed. Usually its row of the log follows, or is there already.
Where none comes, the change was not logged: Directus writes no row for its own services, for
the second half of an upload, and for extensions without accountability (M59).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from directus_realtime.events import Action, Key
from directus_realtime.utils.system_clock import SystemClock

#: Seconds to wait for the row of a ring, from the last ring of its collection: a list is
#: announced item by item, long before its transaction is committed. The second number is the
#: limit, and how long to wait while the log has young holes.
PATIENCE, LONG_PATIENCE = 10.0, 60.0
#: Seconds to collect rings whose row was read before they came.
_COLLECT = 1.0
#: Seconds for which a row that was read is remembered.
_REMEMBERED = 60.0
#: Seconds until the log is polled again for a ring without a row, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
#: Items that are remembered; the oldest is forgotten first.
_MOST = 20_000

_Item = tuple[str, Key]


@dataclass(frozen=True, slots=True)
class OpenRing:
    """A ring of one item.

    Attributes:
        collection: Name of the collection.
        key: In its canonical form.
        action: What the last ring said of the item.
        rung_at: When the last ring came, by the monotonic clock.
        first_rung_at: When the first one came that was not answered, likewise.
        due_at: When to read the item where no row has come by then, likewise.
        waits_for_row: Whether a row may still come; none does where it was read before.
    """

    collection: str
    key: Key
    action: Action
    rung_at: float
    due_at: float
    waits_for_row: bool
    first_rung_at: float = 0.0


class RingBook:
    """Matches rings with the reads of their items.

    A read of the item that begins after the ring answers it: what the ring announced is in
    what was read.

    Args:
        clock: Gives the time.

    Attributes:
        has_young_holes: Whether rows of transactions that are still open may follow, so that
            rings wait longer for theirs.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.has_young_holes = False
        self._clock = clock
        self._open: dict[_Item, OpenRing] = {}
        self._rows: dict[_Item, float] = {}
        self._last_rung: dict[str, float] = {}
        self._pause = _FIRST_PAUSE
        self._poll_at: float | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, collection: str, key: Key, action: Action) -> None:
        """Note a ring."""
        now, item = self._clock.monotonic(), (collection, key)
        self._last_rung[collection] = now
        was_read = now - self._rows.get(item, -_REMEMBERED) < _REMEMBERED
        before = self._open.pop(item, None)
        first_rung_at = before.first_rung_at if before else now
        due_at = now + (_COLLECT if was_read else PATIENCE)
        # An item that rings again and again is read all the same.
        due_at = min(due_at, first_rung_at + LONG_PATIENCE)
        self._open[item] = OpenRing(
            collection, key, action, now, due_at, not was_read, first_rung_at
        )
        if len(self._open) > _MOST:
            del self._open[next(iter(self._open))]

    def poll_soon(self) -> None:
        """Ask for a poll at once; a ring came, whatever it was about."""
        self._pause, self._poll_at = _FIRST_PAUSE, self._clock.monotonic()

    def polled(self) -> None:
        """Note that the log was polled."""
        if not self._open:
            self._poll_at = None
            return
        self._poll_at = self._clock.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def answer(self, items: Iterable[_Item], read_from: float) -> None:
        """Note that items were read for rows of the log.

        Args:
            items: Collections and canonical keys.
            read_from: When the read began, by the monotonic clock.
        """
        for item in items:
            ring = self._open.get(item)
            if ring is not None and ring.rung_at <= read_from:
                del self._open[item]
            self._rows.pop(item, None)
            self._rows[item] = read_from
        while len(self._rows) > _MOST:
            del self._rows[next(iter(self._rows))]

    def take_due(self) -> list[OpenRing]:
        """Return the rings whose items are to be read now; they are closed."""
        now = self._clock.monotonic()
        due = [ring for ring in self._open.values() if self._due_at(ring) <= now]
        for ring in due:
            del self._open[ring.collection, ring.key]
        return due

    def wait(self) -> float | None:
        """Return the seconds until a poll or a read is due; ``None`` where nothing is open."""
        times = [self._due_at(ring) for ring in self._open.values()]
        if self._poll_at is not None:
            times.append(self._poll_at)
        return max(min(times) - self._clock.monotonic(), 0.0) if times else None

    def _due_at(self, ring: OpenRing) -> float:
        if not ring.waits_for_row:
            return ring.due_at
        patience = LONG_PATIENCE if self.has_young_holes else PATIENCE
        due_at = max(ring.rung_at, self._last_rung[ring.collection]) + patience
        return min(due_at, ring.first_rung_at + LONG_PATIENCE)
