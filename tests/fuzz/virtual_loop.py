"""An event loop whose clock jumps: nothing is waited for, and an hour takes no time."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Clock(selectors.DefaultSelector):
    """Waits for no file; whoever wants to sleep finds that the time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing will ever happen again"
        self.now += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop without input and output, at the time 0."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now
