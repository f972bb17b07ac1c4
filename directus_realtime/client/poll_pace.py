"""Pace of the polls of the activity log: at once for a lone change, less often under load."""

from __future__ import annotations

from collections import deque

from directus_realtime.utils.system_clock import SystemClock

#: Seconds over which the load is measured.
_SPAN = 1.0


#: Rows per second up to which each change is polled at once.
_LONE = 10.0


#: Seconds between two polls for each row per second above that, and their limit. Measured on
#: PostgreSQL with four writers: polls 50 ms apart cost Directus 9.5 ms of CPU per change,
#: 250 ms apart 6.8 ms.
_PER_ROW, LONGEST = 0.005, 0.25


class PollPace:
    """Keeps a distance between polls that grows with the rate of changes.

    Args:
        clock: Clock of the polls.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._found = _Rate(clock)
        self._rings = _Rate(clock)
        self._polled_at = -LONGEST

    def delay(self) -> float:
        """Return the seconds until the next poll may start."""
        # A change has a row, a ring or both.
        rate = max(self._found.value(), self._rings.value())
        distance = min(max(rate - _LONE, 0.0) * _PER_ROW, LONGEST)
        return max(self._polled_at + distance - self._clock.monotonic(), 0.0)

    def polled(self) -> None:
        """Record the start of a poll."""
        self._polled_at = self._clock.monotonic()

    def found(self, rows: int) -> None:
        """Record the number of rows of a poll."""
        self._found.add(rows)

    def rang(self, rings: int = 1) -> None:
        """Record rings: a change without a row is load, too."""
        self._rings.add(rings)


class _Rate:
    """Rate of occurrences per second."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._counts: deque[tuple[float, int]] = deque()

    def add(self, count: int) -> None:
        if count:
            self._counts.append((self._clock.monotonic(), count))

    def value(self) -> float:
        now = self._clock.monotonic()
        while self._counts and now - self._counts[0][0] >= _SPAN:
            self._counts.popleft()
        return sum(count for _, count in self._counts) / _SPAN
