"""Delays between attempts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from directus_realtime.utils.system_clock import SystemClock

#: Ceiling of the first delay, in seconds.
BASE = 0.5
#: Each ceiling is this many times the one before.
FACTOR = 2.0
#: Ceiling of all delays, in seconds.
CEILING = 30.0


def full_jitter(
    base: float = BASE,
    factor: float = FACTOR,
    ceiling: float = CEILING,
    clock: SystemClock | None = None,
) -> Iterator[float]:
    """Yield endless delays in seconds, each drawn between 0 and a ceiling that grows.

    Full jitter keeps a thousand clients that lost the same server from coming back in the same
    second.

    Args:
        base: First ceiling.
        factor: Growth of the ceiling from one delay to the next.
        ceiling: Limit of the ceiling.
        clock: Source of randomness.
    """
    clock, limit = clock or SystemClock(), base
    while True:
        yield clock.uniform(0, limit)
        limit = min(ceiling, limit * factor)


def endless(delays: Iterable[float]) -> Iterator[float]:
    """Yield delays; where they end, repeat the last one for ever."""
    delay = CEILING
    for delay in delays:
        yield delay
    yield from itertools.repeat(delay)


class Backoff:
    """Delays between attempts, short again after a stable connection.

    Args:
        delays: Makes the delays, in seconds.
        stable_after: Seconds after which a connection counts as stable.
        clock: Measures how long a connection lasted.
    """

    def __init__(
        self, delays: Callable[[], Iterable[float]], stable_after: float, clock: SystemClock
    ) -> None:
        self._make = delays
        self._stable_after = stable_after
        self._clock = clock
        self._delays = endless(delays())

    def next_delay(self, connected_at: float | None) -> float:
        """Return the seconds until the next attempt.

        Args:
            connected_at: Time of the monotonic clock at which the last attempt succeeded;
                ``None`` where it failed.
        """
        if (
            connected_at is not None
            and self._clock.monotonic() - connected_at >= self._stable_after
        ):
            self._delays = endless(self._make())
        return next(self._delays)
