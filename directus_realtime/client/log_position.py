"""Position in the activity log: the highest id that was read, and the holes below it.

Ids of the log are not in the order of commits: rows of longer transactions become visible
after rows with higher ids, and ids of rolled-back transactions never do (M37).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from directus_realtime.client.activity_log import ActivityRow, IdRange

#: Seconds after which a hole is dropped, by default.
HOLE_AGE = 3600.0
#: Bounds of the seconds between two queries for a hole: half of its age.
_SHORTEST, _LONGEST = 0.05, 30.0
#: Share of such a pause after which a hole is queried together with others that are due.
_SOON = 0.5
#: Most holes; beyond that, neighbours are merged.
_MOST_HOLES = 1000
#: Most holes of one request.
MOST_ASKED = 100
#: Rows that identify the log.
_ANCHORS = 8


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids below the top that are not visible.

    Attributes:
        first: Lowest id.
        last: Highest id.
        seen_at: Time of the first sight, in seconds since 1970.
        asked_at: Time of the last query, likewise.
    """

    first: int
    last: int
    seen_at: float
    asked_at: float

    @property
    def size(self) -> int:
        """Number of missing ids."""
        return self.last - self.first + 1

    @property
    def ids(self) -> IdRange:
        """The hole as a range."""
        return IdRange(self.first, self.last)

    def due_at(self) -> float:
        """Return the time of the next query, in seconds since 1970."""
        return self._due_at(1.0)

    def is_due(self, now: float) -> bool:
        """Return whether to query it now; also where the clock was set back."""
        return self._due_at(1.0) <= now or self.asked_at > now

    def is_soon_due(self, now: float) -> bool:
        """Return whether to query it together with a hole that is due."""
        return self._due_at(_SOON) <= now

    def _due_at(self, share: float) -> float:
        pause = min(max((self.asked_at - self.seen_at) / 2, _SHORTEST), _LONGEST)
        return self.asked_at + share * pause


class Position:
    """The rows of a log that were read. All times are seconds since 1970 of one clock.

    Args:
        top: The highest id that was read; 0 for none.
        holes: Ranges below it that were not visible.
        anchors: The last rows that were read, as id and timestamp.

    Attributes:
        dropped: Number of ids that this object has dropped.
        dropped_ranges: The ranges of the last drop, as first and last id.
    """

    def __init__(
        self,
        top: int = 0,
        holes: Iterable[Hole] = (),
        anchors: Iterable[tuple[int, datetime]] = (),
    ) -> None:
        self.top = top
        self.dropped = 0
        self.dropped_ranges: list[tuple[int, int]] = []
        self._holes = sorted(holes, key=lambda hole: hole.first)
        self._anchors = list(anchors)[-_ANCHORS:]

    @property
    def holes(self) -> Sequence[Hole]:
        """The holes, in ascending order."""
        return self._holes

    @property
    def anchors(self) -> Sequence[tuple[int, datetime]]:
        """The last rows that were read, as id and timestamp."""
        return self._anchors

    def is_new(self, number: int) -> bool:
        """Return whether a row is unread."""
        return number > self.top or self._hole_of(number) is not None

    def unread(self) -> list[IdRange]:
        """Return all unread ids as ranges."""
        return [*(hole.ids for hole in self._holes), IdRange(self.top + 1)]

    def take(self, ids: Iterable[int], rows: Iterable[ActivityRow], now: float) -> None:
        """Record that rows were read.

        Args:
            ids: Ids in ascending order.
            rows: The readable rows among them.
            now: The present time.
        """
        for number in ids:
            if number > self.top:
                if number > self.top + 1:
                    self._holes.append(Hole(self.top + 1, number - 1, now, now))
                self.top = number
            else:
                self._fill(number)
        self._anchors += [(row.id, row.timestamp) for row in list(rows)[-_ANCHORS:]]
        self._anchors = self._anchors[-_ANCHORS:]
        self._merge()

    def due(self, now: float) -> list[IdRange]:
        """Return the holes to query now, in ascending order.

        A list that is rolled back beside other changes leaves hundreds of holes. Those that are
        due next are queried together with those that are due, because one request for each would
        mean a request every few milliseconds.
        """
        if not any(hole.is_due(now) for hole in self._holes):
            return []
        return [hole.ids for hole in self._holes if hole.is_due(now) or hole.is_soon_due(now)]

    def youngest(self) -> list[IdRange]:
        """Return the youngest holes, due or not, as many as one request takes with the new rows."""
        return [hole.ids for hole in self._holes[-(MOST_ASKED - 1) :]]

    def record_query(self, ranges: Iterable[IdRange], now: float) -> None:
        """Record that holes were queried, once the answer was processed.

        A request that failed says nothing of a hole: it must neither be dropped nor counted as
        read.

        Args:
            ranges: The ranges that were queried.
            now: When the query began.
        """
        lasts = {ids.first: ids.last for ids in ranges}
        firsts = sorted(lasts)
        for place, hole in enumerate(self._holes):
            before = bisect_right(firsts, hole.first) - 1
            last = lasts[firsts[before]] if before >= 0 else 0
            if last is not None and hole.last <= last:
                self._holes[place] = replace(hole, asked_at=now)

    def next_due(self) -> float | None:
        """Return the time of the next query for a hole; ``None`` without holes."""
        return min((hole.due_at() for hole in self._holes), default=None)

    def complete_until(self, read_at: float) -> float:
        """Return the time up to which every visible row is read.

        Args:
            read_at: Start of the last read to the end of the log.
        """
        return min([read_at, *(hole.asked_at for hole in self._holes)])

    def has_young_hole(self, now: float, age: float) -> bool:
        """Return whether a hole is younger than ``age`` seconds."""
        return any(now - hole.seen_at < age for hole in self._holes)

    def drop(self, before: float, number: int = 0) -> int:
        """Drop old holes that were queried since ``before``.

        Args:
            before: Holes that were first seen before this time are dropped.
            number: Id of a row that is older than any open transaction: the holes below it are
                dropped, too.

        Returns:
            Number of dropped ids.
        """
        asked = [hole for hole in self._holes if hole.asked_at >= before]
        old = {hole for hole in asked if hole.seen_at < before or hole.last < number}
        self._holes = [hole for hole in self._holes if hole not in old]
        count = sum(hole.size for hole in old)
        self.dropped += count
        self.dropped_ranges = sorted((hole.first, hole.last) for hole in old)
        return count

    def _hole_of(self, number: int) -> int | None:
        place = bisect_left(self._holes, number + 1, key=lambda hole: hole.first) - 1
        return place if place >= 0 and self._holes[place].last >= number else None

    def _fill(self, number: int) -> None:
        place = self._hole_of(number)
        if place is None:
            return
        hole = self._holes[place]
        rest = [replace(hole, last=number - 1), replace(hole, first=number + 1)]
        self._holes[place : place + 1] = [each for each in rest if each.first <= each.last]

    def _merge(self) -> None:
        """Merge neighbouring holes where there are too many.

        The rows between them are read a second time, and make the same events again.
        """
        if len(self._holes) <= _MOST_HOLES:
            return
        merged = []
        for left, right in zip(self._holes[::2], [*self._holes[1::2], None], strict=False):
            merged.append(left if right is None else replace(left, last=right.last))
        self._holes = merged
