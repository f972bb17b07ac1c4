"""Knocks at the doors of the connections, polled from the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from directus_realtime.database import DatabaseThread
from directus_realtime.models import DoorRing
from directus_realtime.utils.aio import every
from directus_realtime.utils.system_clock import SystemClock

#: Seconds between two polls. A plain read works behind every pooler; ``LISTEN`` does not.
INTERVAL = 0.05

_Rings = dict[str, tuple[int, str]]


class DoorPoller:
    """Polls the counters of the doors, and calls back where one has changed.

    Args:
        database: The thread to read in.
        aliases: Connections that have a door.
        on_knock: Called with the connection, the number of knocks, and the collection that the
            last one named; must not block.
        clock: Measures the interval.
    """

    def __init__(
        self,
        database: DatabaseThread,
        aliases: Sequence[str],
        on_knock: Callable[[str, int, str], None],
        clock: SystemClock,
    ) -> None:
        self._database = database
        self._aliases = aliases
        self._on_knock = on_knock
        self._clock = clock
        self._known: _Rings = {}

    async def run(self) -> None:
        """Poll until cancelled; knocks from before are covered by the first poll of the log."""
        self._known = await self._database.run_with_retry(_read, self._aliases)
        await every(INTERVAL, self._poll, self._clock)

    async def _poll(self) -> None:
        found = await self._database.run_with_retry(_read, self._aliases)
        before, self._known = self._known, found
        for alias, (rings, collection) in found.items():
            known = before[alias][0] if alias in before else 0
            if rings != known:
                # A counter that went back is another row: at least one knock.
                self._on_knock(alias, max(rings - known, 1), collection)


def _read(aliases: Sequence[str]) -> _Rings:
    rows = DoorRing.objects.filter(alias__in=aliases)
    return {
        alias: (rings, collection)
        for alias, rings, collection in rows.values_list("alias", "rings", "collection")
    }
