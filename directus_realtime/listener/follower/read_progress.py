"""How far the follower is in a long read of the activity log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from directus_realtime.client.activity import ActivityLog, IdRange
from directus_realtime.utils.system_clock import SystemClock

logger = logging.getLogger("directus_realtime.listener")

#: Rows from which on a read is a long one.
_LONG = 1000
#: Seconds between two lines about the progress.
_INTERVAL = 5.0


class ReadProgress:
    """Counts the rows of a long read, and logs how far it is.

    Args:
        alias: Of the connection.
        clock: Gives the time.
    """

    def __init__(self, alias: str, clock: SystemClock) -> None:
        self._alias = alias
        self._clock = clock
        self._total = self._done = self._events = 0
        self._logged_at = 0.0

    @property
    def values(self) -> Mapping[str, object]:
        """The progress as columns; empty where no long read is under way."""
        if not self._total:
            return {}
        return {"rows_done": self._done, "rows_total": max(self._total, self._done)}

    async def begin(self, log: ActivityLog, top: int, newest: int) -> None:
        """Count what is to be read.

        Args:
            log: The log.
            top: Id of the last row that was read.
            newest: Id of the newest row.
        """
        self._total = self._done = self._events = 0
        self._logged_at = self._clock.monotonic()
        if newest - top > _LONG:
            self._total = await log.count([IdRange(top + 1, newest)])

    def add(self, rows: int, events: int) -> None:
        """Count rows that were read, and the events that were made of them."""
        if not self._total:
            return
        self._done += rows
        self._events += events
        if self._clock.monotonic() - self._logged_at >= _INTERVAL:
            self._logged_at = self._clock.monotonic()
            logger.info(
                "%s  catching up: %d of %d rows of the activity log",
                self._alias,
                self._done,
                max(self._total, self._done),
                extra={
                    "what": "catch-up-progress",
                    "connection": self._alias,
                    "done": self._done,
                    "total": max(self._total, self._done),
                },
            )

    def end(self) -> Mapping[str, object]:
        """Note that everything is read.

        Returns:
            Columns to reset; empty where there was no long read.
        """
        if not self._total:
            return {}
        logger.info(
            "%s  caught up: %d rows of the activity log, %d events",
            self._alias,
            self._done,
            self._events,
            extra={
                "what": "caught-up",
                "connection": self._alias,
                "done": self._done,
                "events": self._events,
            },
        )
        self._total = self._done = self._events = 0
        return {"rows_done": 0, "rows_total": 0}
