"""Looks at the inbox now and then, so that nobody who reads metrics waits for a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

from directus_realtime.database import DatabaseThread, in_bulk
from directus_realtime.health import InboxHealth, aliases_subscribed, inbox_health
from directus_realtime.models import ActivityCursor

#: Seconds between two looks.
SAMPLE_INTERVAL = 5.0
#: Seconds after which a look is not worth telling any more: the database is away.
STALE = 30.0


@dataclass(frozen=True)
class Sample:
    """What the database said.

    Attributes:
        inboxes: What is not through, by connection.
        cursors: How far the activity log is worked through, by connection.
        taken_at: By the monotonic clock.
    """

    inboxes: dict[str, InboxHealth]
    cursors: dict[str, ActivityCursor]
    taken_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether it still tells something."""
        return monotonic() - self.taken_at < STALE


class Sampler:
    """Takes samples while this process is active.

    The inbox is the same for all listeners; where each told of it, sums would be too large.
    """

    def __init__(self) -> None:
        self._sample: Sample | None = None

    @property
    def sample(self) -> Sample | None:
        """The latest one; ``None`` while standing by, or where the database is away."""
        return self._sample if self._sample and self._sample.is_fresh else None

    async def run(self, aliases: Sequence[str]) -> NoReturn:
        """Take samples until cancelled.

        Args:
            aliases: Of the connections.
        """
        database = DatabaseThread("metrics")
        try:
            while True:
                self._sample = await database.run_surely(_take, aliases)
                await asyncio.sleep(SAMPLE_INTERVAL)
        finally:
            self._sample = None
            database.close_soon()


def _take(aliases: Sequence[str]) -> Sample:
    cursors = in_bulk(ActivityCursor.objects.all(), aliases)
    for alias in cursors.keys() - aliases_subscribed():
        cursors[alias].caught_up_at = None  # nobody reads its log, and nobody should
    return Sample(inbox_health(aliases), cursors, monotonic())
