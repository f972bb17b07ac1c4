"""Retention: events that are through are deleted after some days."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from directus_realtime.database import DatabaseThread, own_alias
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import ConnectionSettings

logger = logging.getLogger("directus_realtime.listener")

#: Rows of one transaction.
CHUNK = 1000
#: Seconds from the start of a listener to its first prune, and between two prunes.
FIRST_AFTER, INTERVAL = 300.0, 86_400.0
#: Seconds between two transactions, for whoever else wants to write.
_PAUSE = 0.05


@dataclass(frozen=True)
class Retention:
    """What is to be deleted of one connection.

    Attributes:
        alias: Of the connection.
        done_before: Delete what was done, or merged, before this; ``None`` keeps it.
        dead_before: Delete dead letters that came in before this; ``None`` keeps them.
    """

    alias: str
    done_before: datetime | None = None
    dead_before: datetime | None = None

    @classmethod
    def of_days(cls, alias: str, days: float, dead_days: float = 0) -> Retention:
        """From numbers of days; 0 keeps for ever."""
        return cls(alias, _before(days), _before(dead_days))

    @property
    def last(self) -> datetime | None:
        """Nothing that came in after this is deleted; ``None`` where nothing is."""
        return max(filter(None, [self.done_before, self.dead_before]), default=None)

    def condition(self) -> Q:
        """Which rows are deleted."""
        condition = Q(pk__in=[])
        if self.done_before:
            through = [InboxState.DONE, InboxState.MERGED, InboxState.HANDLED]
            condition |= Q(state__in=through, done_at__lt=self.done_before)
        if self.dead_before:
            condition |= Q(state=InboxState.DEAD, received_at__lt=self.dead_before)
        return condition


def _before(days: float) -> datetime | None:
    """So many days ago; ``None`` where that is for ever, or before there were dates."""
    try:
        return timezone.now() - timedelta(days=days) if days else None
    except OverflowError:
        return None


def prune_span(
    retention: Retention,
    position: int = 0,
    *,
    fence: Callable[[], None] = lambda: None,
    dry_run: bool = False,
) -> tuple[int, int | None]:
    """Delete what is old enough of the next :data:`CHUNK` rows, in one transaction.

    Spans follow the index ``(connection, id)`` from its beginning, and end where rows came
    in too late to be old enough; so what is kept is not walked through.

    Args:
        retention: What is old enough.
        position: Where the span before ended.
        fence: Called in the transaction; raises where another listener is active now.
        dry_run: Only count.

    Returns:
        How many rows it were, and where the span ended; ``None`` where it was the last.
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
    """Prunes the inbox once a day while the listener is active.

    Args:
        database: The thread to work in.
        connections: What to prune, and after how many days.
        fence: Called in each transaction; raises where another listener is active now.
    """

    def __init__(
        self,
        database: DatabaseThread,
        connections: Iterable[ConnectionSettings],
        fence: Callable[[], None],
    ) -> None:
        self._database = database
        self._days = {settings.alias: settings.retention_days for settings in connections}
        self._fence = fence

    async def run(self) -> NoReturn:
        """Prune some minutes after the start and then daily, until cancelled."""
        await asyncio.sleep(FIRST_AFTER)
        while True:
            await self.prune()
            await asyncio.sleep(INTERVAL)

    async def prune(self) -> None:
        """Delete what is old enough, and say how much it was."""
        deleted = 0
        for alias, days in self._days.items():
            retention = Retention.of_days(alias, days)
            position: int | None = 0
            while position is not None:
                count, position = await self._database.run_with_retry(
                    prune_span, retention, position, fence=self._fence
                )
                deleted += count
                await asyncio.sleep(_PAUSE)
        logger.info(
            "Pruned the inbox: %d events that were through are deleted.",
            deleted,
            extra={"event": "pruned", "events": deleted},
        )
