"""Python's garbage collector, in a process that does nothing but listen."""

from __future__ import annotations

import gc

#: Objects after which the youngest are looked at; Python's own number is 700.
_THRESHOLD = 10_000


def spare_collector() -> None:
    """Let the collector look at what is made from now on, and at that more seldom.

    Django and the project stay until the end, and of events and rows next to none are part
    of a cycle. In a burst an eighth of the CPU went into looking at them again and again.
    It holds for the process, so call it from a command and nowhere else.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
