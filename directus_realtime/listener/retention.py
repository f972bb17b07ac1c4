"""Retention: processed events are deleted after some days."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from directus_realtime.database import DatabaseThread, own_alias
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.aio import every
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Rows of one transaction.
CHUNK = 1000
#: Seconds from the start of a listener to its first prune, and between two prunes.
FIRST_AFTER, INTERVAL = 300.0, 86_400.0
#: Seconds between two transactions, in which others can write.
_PAUSE = 0.05


@dataclass(frozen=True)
class Retention:
    """The events of one connection to delete.

    Attributes:
        alias: Alias of the connection.
        done_before: Delete events that were done or merged before this; ``None`` keeps them.
        dead_before: Delete dead letters that were received before this; ``None`` keeps them.
    """

    alias: str
    done_before: datetime | None = None
    dead_before: datetime | None = None

    @classmethod
    def of_days(cls, alias: str, days: float, dead_days: float = 0, *, now: datetime) -> Retention:
        """Return the retention for numbers of days; 0 keeps forever."""
        return cls(alias, _before(days, now), _before(dead_days, now))

    @property
    def last(self) -> datetime | None:
        """Upper bound of the receipt of deleted events; ``None`` where none are deleted."""
        return max(filter(None, [self.done_before, self.dead_before]), default=None)

    def condition(self) -> Q:
        """Return the condition of the rows to delete."""
        condition = Q(pk__in=[])
        if self.done_before:
            processed = [InboxState.DONE, InboxState.MERGED, InboxState.HANDLED]
            condition |= Q(state__in=processed, done_at__lt=self.done_before)
        if self.dead_before:
            condition |= Q(state=InboxState.DEAD, received_at__lt=self.dead_before)
        return condition


def _before(days: float, now: datetime) -> datetime | None:
    """Return the time that is some days ago; ``None`` for 0, or before the first date."""
    try:
        return now - timedelta(days=days) if days else None
    except OverflowError:
        return None


def prune_span(
    retention: Retention,
    position: int = 0,
    *,
    fence: Callable[[], None] = lambda: None,
    dry_run: bool = False,
) -> tuple[int, int | None]:
    """Delete the old ones of the next :data:`CHUNK` rows, in one transaction.

    Spans follow the index ``(connection, id)`` from its start, and end where all rows were
    received too late to be deleted; so rows that are kept are not scanned.

    Args:
        retention: The events to delete.
        position: End of the previous span.
        fence: Called in the transaction; raises where another listener is active now.
        dry_run: Only count.

    Returns:
        Number of rows, and the end of the span; ``None`` where it was the last.
    """
    if retention.last is None:
        return 0, None
    with transaction.atomic(own_alias()):
        fence()
        rows = InboxEvent.objects.filter(connection=retention.alias, id__gt=position)
        span = list(rows.order_by("id").values_list("id", "received_at")[:CHUNK])
        if not any(received_at < retention.last for _, received_at in span):
            return 0, None
        end = span[-1][0]
        old = rows.filter(retention.condition(), id__lte=end)
        return old.count() if dry_run else old.delete()[0], end


class DailyPrune:
    """Pruning of the inbox once a day while the listener is active.

    ``fence`` is called in each transaction, and raises where another listener is active.
    """

    def __init__(
        self,
        database: DatabaseThread,
        connections: Iterable[ConnectionSettings],
        fence: Callable[[], None],
        clock: SystemClock,
    ) -> None:
        self._clock = clock
        self._database = database
        self._days = {settings.alias: settings.retention_days for settings in connections}
        self._fence = fence

    async def run(self) -> None:
        """Prune some minutes after the start and then daily, until cancelled."""
        await self._clock.sleep(FIRST_AFTER)
        await self.prune()
        await every(INTERVAL, self.prune, self._clock)

    async def prune(self) -> None:
        """Delete the old events, and log how many they were."""
        deleted = 0
        for alias, days in self._days.items():
            retention = Retention.of_days(alias, days, now=self._clock.now())
            position: int | None = 0
            while position is not None:
                count, position = await self._database.run_with_retry(
                    prune_span, retention, position, fence=self._fence
                )
                deleted += count
                await self._clock.sleep(_PAUSE)
        logger.info(
            "pruned",
            "Pruned the inbox: %d events that were through are deleted.",
            deleted,
            events=deleted,
        )
