"""Waiting for a condition instead of sleeping for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL = 0.02
#: Seconds; generous, because it costs nothing when things go well.
DEADLINE = 60.0


def wait_for(condition: Callable[[], T], timeout: float = DEADLINE, what: str = "") -> T:
    """Poll until a condition is true, and give its value.

    Raises:
        AssertionError: It did not come true within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        time.sleep(POLL_INTERVAL)


async def await_for(condition: Callable[[], T], timeout: float = DEADLINE, what: str = "") -> T:
    """Like :func:`wait_for`, in a coroutine."""
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        await asyncio.sleep(POLL_INTERVAL)
