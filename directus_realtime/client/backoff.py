"""How long to wait before the next attempt."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator

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
