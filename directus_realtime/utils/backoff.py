"""How long to wait before the next attempt."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from time import monotonic

#: Ceiling of the first delay, in seconds.
BASE = 0.5
#: Each ceiling is this many times the one before.
FACTOR = 2.0
#: No delay is longer, in seconds.
CEILING = 30.0


def full_jitter(
    base: float = BASE, factor: float = FACTOR, ceiling: float = CEILING
) -> Iterator[float]:
    """Delays without end, each drawn between 0 and a ceiling that grows.

    Full jitter keeps a thousand clients that lost the same server from coming back
    in the same second.

    Yields:
        Seconds to wait.
    """
    limit = base
    while True:
        yield random.uniform(0, limit)
        limit = min(ceiling, limit * factor)


def endless(delays: Iterable[float]) -> Iterator[float]:
    """Somebody's delays; where they come to an end, the last one again and again.

    Yields:
        Seconds to wait.
    """
    delay = CEILING
    for delay in delays:
        yield delay
    yield from itertools.repeat(delay)


class Backoff:
    """Delays between attempts, short again after an attempt that lasted.

    Args:
        delays: Makes the delays, in seconds.
        stable_after: Seconds after which a connection counts as stable.
    """

    def __init__(self, delays: Callable[[], Iterable[float]], stable_after: float) -> None:
        self._make = delays
        self._stable_after = stable_after
        self._delays = endless(delays())

    def next_delay(self, connected_at: float | None) -> float:
        """Seconds until the next attempt.

        Args:
            connected_at: Time of the monotonic clock at which the last attempt succeeded;
                ``None`` where it failed.
        """
        if connected_at is not None and monotonic() - connected_at >= self._stable_after:
            self._delays = endless(self._make())
        return next(self._delays)
