"""SIGTERM and SIGINT: the first asks to stop, the second forces."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator

logger = logging.getLogger("directus_realtime.listener")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds in which a second signal is taken for the first: a terminal and a wrapper such as
#: make or timeout each pass on the same Ctrl-C.
SAME_SIGNAL = 0.5


class StopTimedOut(Exception):
    """Something hangs in a thread, which Python would wait for at its exit.

    Attributes:
        ended_by: What the listener ended by; ``None`` where it was asked to stop.
    """

    def __init__(self, ended_by: BaseException | None) -> None:
        super().__init__("A receiver or the database hangs.")
        self.ended_by = ended_by


@contextlib.contextmanager
def stop_on_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Set an event on the first signal; end the process on the second.

    The handlers only set a flag: raising in the middle of a commit would be worse than
    waiting. Outside the main thread, where Python allows no handlers, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    first_at = 0.0

    def handle(number: signal.Signals) -> None:
        nonlocal first_at
        if stopping.is_set() and loop.time() - first_at < SAME_SIGNAL:
            return
        if stopping.is_set():
            logger.warning(
                "%s again: stopping at once.",
                number.name,
                extra={"what": "stopping-at-once", "signal": number.name},
            )
            os._exit(128 + number)
        logger.info(
            "%s: finishing the delivery at hand.",
            number.name,
            extra={"what": "stopping", "signal": number.name},
        )
        first_at = loop.time()
        stopping.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
