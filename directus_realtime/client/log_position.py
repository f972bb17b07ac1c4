"""The place in the activity log up to which it is read: a top, and the holes below it.

Ids of the log are not in the order of commits: rows of longer transactions become visible
after rows with higher ids, and ids of rolled-back transactions never do (M37).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from directus_realtime.client.activity_log import ActivityRow, IdRange

#: Seconds after which a hole is given up, where no setting says otherwise.
HOLE_AGE = 3600.0
#: Seconds between two questions for a hole: half of its age, within these bounds.
_SHORTEST, _LONGEST = 0.05, 30.0
#: Share of such a pause after which a hole is asked for with others that are due.
_SOON = 0.5
#: Holes that are remembered; beyond that, neighbours become one.
_MOST_HOLES = 1000
#: Holes of one request.
MOST_ASKED = 100
#: Rows that are remembered to recognize the log.
_ANCHORS = 8


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids below the top that are not visible.

    Attributes:
        first: The lowest.
        last: The highest.
        seen_at: When the hole was first seen, in seconds since 1970.
        asked_at: When it was last asked for, likewise.
    """

    first: int
    last: int
    seen_at: float
    asked_at: float

    @property
    def size(self) -> int:
        """How many ids are missing."""
        return self.last - self.first + 1

    def due_at(self) -> float:
        """When to ask for it again, in seconds since 1970."""
        return self._due_at(1.0)

    def is_due(self, now: float) -> bool:
        """Return whether to ask for it; at once where the clock was set back meanwhile."""
        return self._due_at(1.0) <= now or self.asked_at > now

    def is_soon_due(self, now: float) -> bool:
        """Return whether to ask for it where another hole is due."""
        return self._due_at(_SOON) <= now

    def _due_at(self, share: float) -> float:
        pause = min(max((self.asked_at - self.seen_at) / 2, _SHORTEST), _LONGEST)
        return self.asked_at + share * pause


class Position:
    """Which rows of a log were read.

    Times are seconds since 1970 of one clock.

    Args:
        top: The highest id that was read; 0 for none.
        holes: Ranges below it that were not visible.
        anchors: Rows that were read, as id and timestamp.

    Attributes:
        dropped: Ids that were given up since this object was made.
    """

    def __init__(
        self,
        top: int = 0,
        holes: Iterable[Hole] = (),
        anchors: Iterable[tuple[int, datetime]] = (),
    ) -> None:
        self.top = top
        self.dropped = 0
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
        """Return whether a row was not read yet."""
        return number > self.top or self._hole_of(number) is not None

    def unread(self) -> list[IdRange]:
        """Return everything that was not read yet, as ranges."""
        return [*(IdRange(hole.first, hole.last) for hole in self._holes), IdRange(self.top + 1)]

    def take(self, ids: Iterable[int], rows: Iterable[ActivityRow], now: float) -> None:
        """Note that rows were read.

        Args:
            ids: In ascending order.
            rows: Those of them that can be read.
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

    def due(self, now: float, *, all_of_them: bool = False) -> list[IdRange]:
        """Return the holes to ask for now, and note that they are asked for.

        A list that is rolled back beside other changes leaves hundreds of holes. Those that are
        due next are asked for with those that are due: each by itself, they would be a request
        every few milliseconds.

        Args:
            now: The present time.
            all_of_them: Ask for the youngest holes, too, due or not.

        Returns:
            Any number of ranges, in ascending order.
        """
        count = len(self._holes)
        young = range(max(count - MOST_ASKED, 0), count) if all_of_them else ()
        due = {place for place, hole in enumerate(self._holes) if hole.is_due(now)}
        if due:
            due |= {place for place, hole in enumerate(self._holes) if hole.is_soon_due(now)}
        places = sorted({*young, *due})
        for place in places:
            self._holes[place] = replace(self._holes[place], asked_at=now)
        return [IdRange(self._holes[place].first, self._holes[place].last) for place in places]

    def next_due(self) -> float | None:
        """Return when the next hole is to be asked for; ``None`` without holes."""
        return min((hole.due_at() for hole in self._holes), default=None)

    def complete_until(self, read_at: float) -> float:
        """Return up to when every row that was visible is read.

        Args:
            read_at: When the last read to the end of the log began.
        """
        return min([read_at, *(hole.asked_at for hole in self._holes)])

    def has_young_hole(self, now: float, age: float) -> bool:
        """Return whether a hole is younger than so many seconds."""
        return any(now - hole.seen_at < age for hole in self._holes)

    def drop(self, before: float, number: int = 0) -> int:
        """Give up holes, but only those that were asked for since the time that is named.

        Args:
            before: When a hole that is given up was first seen, at the latest.
            number: A row that is older than a transaction may take: the holes below it are
                given up, too.

        Returns:
            How many ids were given up.
        """
        asked = [hole for hole in self._holes if hole.asked_at >= before]
        old = {hole for hole in asked if hole.seen_at < before or hole.last < number}
        self._holes = [hole for hole in self._holes if hole not in old]
        count = sum(hole.size for hole in old)
        self.dropped += count
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
        """Make one of neighbouring holes where there are too many.

        What lies between them is read a second time, and makes the same events again.
        """
        if len(self._holes) <= _MOST_HOLES:
            return
        merged = []
        for left, right in zip(self._holes[::2], [*self._holes[1::2], None], strict=False):
            merged.append(left if right is None else replace(left, last=right.last))
        self._holes = merged
