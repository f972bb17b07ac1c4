"""Regular samples of the database, so that reading metrics never waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

from directus_realtime.database import DatabaseThread
from directus_realtime.health import gather
from directus_realtime.health_facts import ConnectionHealth, Limits

#: Seconds between two samples.
SAMPLE_INTERVAL = 5.0
#: Seconds after which a sample is outdated: the database is unavailable.
STALE = 30.0


@dataclass(frozen=True)
class Sample:
    """Health of the connections at one moment.

    Attributes:
        connections: One entry for each connection.
        taken_at: By the monotonic clock.
    """

    connections: list[ConnectionHealth]
    taken_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether it is recent enough to be published."""
        return monotonic() - self.taken_at < STALE


class Sampler:
    """Takes samples while this process is active.

    The database is the same for all listeners: with samples from each, sums would be too large.
    """

    def __init__(self) -> None:
        self._sample: Sample | None = None

    @property
    def sample(self) -> Sample | None:
        """The latest sample; ``None`` while standing by, or without a database."""
        return self._sample if self._sample and self._sample.is_fresh else None

    async def run(self, aliases: Sequence[str]) -> NoReturn:
        """Take samples until cancelled.

        Args:
            aliases: Of the connections.
        """
        database = DatabaseThread("metrics")
        try:
            while True:
                self._sample = await database.run_surely(take_sample, aliases)
                await asyncio.sleep(SAMPLE_INTERVAL)
        finally:
            self._sample = None
            database.close_soon()


def take_sample(aliases: Sequence[str]) -> Sample:
    """Read the health of connections from the database."""
    return Sample(gather(aliases, Limits()), monotonic())
