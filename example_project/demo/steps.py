"""Progress of the demo's start, with durations."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

#: Seconds after which a step says that it is still at work.
REMIND_AFTER = 15.0


class StepFailed(Exception):
    """A step failed; the message has the reason and a remedy."""


class Steps:
    """Numbers the steps.

    Args:
        total: How many there are.
        done: How many were done before.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total = total
        self._number = done

    @contextlib.contextmanager
    def step(self, sentence: str) -> Iterator[None]:
        """Print a sentence, do the block, print the seconds it took."""
        self._number += 1
        say(f"{self._number}/{self._total} {sentence} … ", end="")
        began = time.monotonic()
        finished = threading.Event()
        reminder = threading.Thread(target=_remind, args=(finished, began), daemon=True)
        reminder.start()
        try:
            yield
        except BaseException:
            say("not done")
            raise
        finally:
            finished.set()
            reminder.join()
        say(f"{time.monotonic() - began:.1f} s")


def say(text: str, end: str = "\n") -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def _remind(finished: threading.Event, began: float) -> None:
    while not finished.wait(REMIND_AFTER):
        say(f"\n    still at work after {time.monotonic() - began:.0f} s … ", end="")
