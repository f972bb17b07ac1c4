"""The way in: events from the socket are stored before anything is done with them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from directus_realtime.database import DatabaseThread, own_alias, waits_its_turn
from directus_realtime.events import Event
from directus_realtime.exceptions import LeaseLost
from directus_realtime.listener.debounce import gather
from directus_realtime.listener.fresh import FreshRows
from directus_realtime.listener.incoming import Debounce, Incoming, Memory, Tally
from directus_realtime.listener.inserting import insert, is_too_large
from directus_realtime.listener.matching import judge
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.listener.rows import make_row
from directus_realtime.models import InboxEvent, InboxState

logger = logging.getLogger("directus_realtime.listener")

T = TypeVar("T")

#: Events of one write.
BATCH_SIZE = 500
#: Events that are received and not stored, from which on the inbox is full, and down to which
#: it stays so: some 100 MB of events of 1 kB each. The same in characters of their data.
FULL, HAS_ROOM = 50_000, 5_000
FULL_TEXT, HAS_ROOM_TEXT = 100_000_000, 10_000_000


@dataclass(frozen=True)
class _Work:
    function: Callable[[], Any]
    done: asyncio.Future[Any]


class Inbox:
    """Takes events at once and stores them in batches, in a thread of their own.

    A batch is whatever came in while the one before was written, so a lone event is not
    kept waiting and a burst costs few transactions.

    Args:
        database: The thread to write in.
        on_stored: Called after each write.
        fence: Called in each transaction; raises where another listener is active now.
        fresh: Where delivery finds what was stored.
    """

    def __init__(
        self,
        database: DatabaseThread,
        on_stored: Callable[[], None],
        *,
        fence: Callable[[], None] = lambda: None,
        fresh: FreshRows | None = None,
    ) -> None:
        self._fence = fence
        self._fresh = FreshRows() if fresh is None else fresh
        self._database = database
        self._on_stored = on_stored
        self._waiting: deque[Incoming | _Work] = deque()
        self._text = 0
        self._arrived = asyncio.Event()
        self._shrunk = asyncio.Condition()
        self._tallies: dict[str, Tally] = {}
        self._writing = asyncio.Lock()
        self._is_full = False

    @property
    def waiting(self) -> int:
        """Events that are received and not stored yet."""
        return len(self._waiting)

    @property
    def unstored_since(self) -> datetime | None:
        """When the oldest event that is not stored yet was received."""
        entries = (entry for entry in self._waiting if isinstance(entry, Incoming))
        return next((entry.row.received_at for entry in entries), None)

    @property
    def is_full(self) -> bool:
        """Whether so much is received and not stored that more would be a danger."""
        most, text = (HAS_ROOM, HAS_ROOM_TEXT) if self._is_full else (FULL, FULL_TEXT)
        self._is_full = len(self._waiting) > most or self._text > text
        return self._is_full

    def put(
        self,
        event: Event,
        group: str = "",
        debounce: Debounce | None = None,
        memory: Memory | None = None,
        *,
        is_held: bool = False,
    ) -> None:
        """Take an event; never blocks. One that cannot be stored is reported.

        Args:
            event: The event.
            group: Own group of its subscription, or ``""``.
            debounce: How the changes of its subscription are gathered.
            memory: Of a subscription with a filter.
            is_held: Store it, but let it wait for the catch-up, which releases it.
        """
        row = make_row(event, group)
        if row is None:
            return
        if is_held:
            row.state = InboxState.WAITING
            entry = Incoming(row)  # gathered and judged when it is released
        else:
            # A live one that is not gathered is of a subscription that has no windows.
            entry = Incoming(row, debounce, memory, overtakes=event.origin != "live")
        self._waiting.append(entry)
        self._text += len(row.data_json)
        self._arrived.set()

    async def run_in_order(self, function: Callable[[], T]) -> T:
        """Run something in the database thread: after all that was put before has been stored,
        and before anything that is put from now on.

        Args:
            function: May be called again where the database was away.
        """
        work = _Work(function, asyncio.get_running_loop().create_future())
        self._waiting.append(work)
        self._arrived.set()
        return cast("T", await work.done)

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
            if isinstance(work := self._waiting[0], _Work):
                await self._do(work)
                self._waiting.popleft()
            else:
                await self._store_batch()
            self._on_stored()
            async with self._shrunk:
                self._shrunk.notify_all()

    async def _store_batch(self) -> None:
        """Store what has come in, up to the next work."""
        entries = itertools.takewhile(lambda entry: isinstance(entry, Incoming), self._waiting)
        batch = list(cast("Iterator[Incoming]", itertools.islice(entries, BATCH_SIZE)))
        stored = await self._database.run_surely(store, batch, self._fence, self._fresh)
        # Only now: a cancelled write must find them here again.
        for entry in batch:
            self._waiting.popleft()
            self._text -= len(entry.row.data_json)
        for entry in stored:
            self._count(entry.row)

    async def _do(self, work: _Work) -> None:
        try:
            result = await self._database.run_surely(self._fenced, work.function)
        except LeaseLost:
            # Whoever waits for it is ended with the rest of the listener, and in one go: one
            # that ended by itself would be cancelled while it closes its connection.
            raise
        except Exception as error:
            if not work.done.done():
                work.done.set_exception(error)
        else:
            if not work.done.done():
                work.done.set_result(result)

    def _fenced(self, function: Callable[[], Any]) -> Any:
        # The turn before the transaction, as everybody takes them: the other way round, two
        # threads would wait for each other until SQLite gives up.
        with waits_its_turn(own_alias()), transaction.atomic(own_alias()):
            result = function()
            self._fence()
        return result

    def _count(self, row: InboxEvent) -> None:
        tally = self._tallies.setdefault(row.subscription, Tally())
        tally.events += 1
        tally.last_event_at = row.received_at
        counts.events.add((row.connection, row.collection, row.action, row.origin))


def store(
    incoming: list[Incoming],
    fence: Callable[[], None] = lambda: None,
    fresh: FreshRows | None = None,
) -> list[Incoming]:
    """Write rows; those that are stored already, by a write whose answer got lost, stay.

    Args:
        incoming: The rows.
        fence: Called in each transaction; raises where another listener is active now.
        fresh: Where delivery finds what was stored.

    Returns:
        What was stored: without the events that are none for their subscription.
    """
    fresh = FreshRows() if fresh is None else fresh
    try:
        return _store(incoming, fence, fresh)
    except (DataError, IntegrityError):
        # One row that the database cannot hold must not take its neighbours along, nor one
        # of a subscription that was deleted in this very moment.
        return [entry for one in incoming for entry in _store_alone(one, fence, fresh)]


def _store(incoming: list[Incoming], fence: Callable[[], None], fresh: FreshRows) -> list[Incoming]:
    using = own_alias()
    rows: list[InboxEvent] = []
    try:
        with waits_its_turn(using), transaction.atomic(using):
            wanted = judge(incoming)
            gather(wanted, timezone.now())
            rows += [entry.row for entry in wanted]
            # Where some are in the table already, delivery may have come to them.
            if insert(rows, using) == len(rows):
                fresh.add(rows)
            # Last of all: a process that is paused between here and the commit may have lost
            # its lease when it goes on.
            fence()
    except BaseException as error:
        fresh.remove(rows)
        if is_too_large(error, rows, using):
            raise DataError(*error.args) from error
        raise
    return wanted


def _store_alone(entry: Incoming, fence: Callable[[], None], fresh: FreshRows) -> list[Incoming]:
    try:
        return _store([entry], fence, fresh)
    except (DataError, IntegrityError) as error:
        row = entry.row
        logger.error(
            "The event %s of %s cannot be stored: %s",
            row.event_id,
            row,
            error,
            extra={
                "what": "store-failed",
                "connection": row.connection,
                "subscription": row.subscription,
                "collection": row.collection,
                "event_id": str(row.event_id),
                "error": str(error),
            },
        )
        return []
