"""The way in: events from the socket are stored before anything is done with them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import DataError, router, transaction
from django.utils import timezone

from directus_realtime.database import DatabaseThread, waits_its_turn
from directus_realtime.events import Event
from directus_realtime.listener.debounce import Debounce, Incoming, gather
from directus_realtime.models import InboxEvent

logger = logging.getLogger("directus_realtime.listener")

#: Events of one write.
BATCH_SIZE = 500


@dataclass
class Tally:
    """What came in for one subscription since it was last written down."""

    events: int = 0
    last_event_at: datetime | None = None


class Inbox:
    """Takes events at once and stores them in batches, in a thread of their own.

    A batch is whatever came in while the one before was written, so a lone event is not
    kept waiting and a burst costs few transactions.

    Args:
        database: The thread to write in.
        on_stored: Called after each write.
    """

    def __init__(self, database: DatabaseThread, on_stored: Callable[[], None]) -> None:
        self._database = database
        self._on_stored = on_stored
        self._waiting: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._shrunk = asyncio.Condition()
        self._tallies: dict[str, Tally] = {}
        self._writing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Events that are received and not stored yet."""
        return len(self._waiting)

    def put(self, event: Event, group: str = "", debounce: Debounce | None = None) -> None:
        """Take an event; never blocks.

        Args:
            event: The event.
            group: Own group of its subscription, or ``""``.
            debounce: How the changes of its subscription are gathered.
        """
        self._waiting.append(Incoming(InboxEvent.from_event(event, group), debounce))
        self._arrived.set()

    async def drained_to(self, limit: int) -> None:
        """Wait until no more than so many events are received and not stored."""
        async with self._shrunk:
            await self._shrunk.wait_for(lambda: len(self._waiting) <= limit)

    def take_tallies(self) -> dict[str, Tally]:
        """What was stored since the last call, by subscription."""
        tallies, self._tallies = self._tallies, {}
        return tallies

    async def run(self) -> None:
        """Store what comes in, until cancelled."""
        while True:
            await self._arrived.wait()
            await self.flush()

    async def flush(self) -> None:
        """Store everything that has come in."""
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        self._arrived.clear()
        while self._waiting:
            size = min(BATCH_SIZE, len(self._waiting))
            batch = [self._waiting[index] for index in range(size)]
            await self._database.run_surely(store, batch)
            # Only now: a cancelled write must find them here again.
            for entry in batch:
                self._waiting.popleft()
                self._count(entry.row)
            self._on_stored()
            async with self._shrunk:
                self._shrunk.notify_all()

    def _count(self, row: InboxEvent) -> None:
        tally = self._tallies.setdefault(row.subscription, Tally())
        tally.events += 1
        tally.last_event_at = row.received_at


def store(incoming: list[Incoming]) -> None:
    """Write rows; those that are stored already, by a write whose answer got lost, stay."""
    try:
        _store(incoming)
    except DataError:
        # One row that the database cannot hold must not take its neighbours along.
        for entry in incoming:
            _store_alone(entry)


def _store(incoming: list[Incoming]) -> None:
    with waits_its_turn(router.db_for_write(InboxEvent)), transaction.atomic():
        gather(incoming, timezone.now())
        InboxEvent.objects.bulk_create([e.row for e in incoming], ignore_conflicts=True)


def _store_alone(entry: Incoming) -> None:
    try:
        _store([entry])
    except DataError as error:
        row = entry.row
        logger.error("The event %s of %s cannot be stored: %s", row.event_id, row, error)
