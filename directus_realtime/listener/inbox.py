"""The inbox: the table that stores events before anything else happens to them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import UUID

from django.db import DataError, IntegrityError, transaction

from directus_realtime.database import DatabaseThread, own_alias, sqlite_write_lock
from directus_realtime.exceptions import LeaseLost
from directus_realtime.listener.debounce import gather
from directus_realtime.listener.inbox_entry import InboxEntry, Tally
from directus_realtime.listener.inbox_insert import insert, is_too_large
from directus_realtime.listener.matched_items import judge
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.utils.aio import Wakeup
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

#: Rows in memory, and characters of their data; delivery reads all others from the table.
LIMIT, MOST_TEXT = 5000, 16_000_000


class FreshRows:
    """Rows that were just stored, for delivery to pop instead of reading them again.

    A row must be added before its transaction is committed: one that delivery reads from the
    table first would remain, and would be delivered later in its initial state.

    Args:
        aliases: Aliases of the connections whose rows are kept.
    """

    def __init__(self, aliases: Collection[str] = ()) -> None:
        self._aliases = frozenset(aliases)
        self._rows: dict[UUID, InboxEvent] = {}
        self._text = 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, rows: Iterable[InboxEvent]) -> None:
        """Keep the rows that are due at once."""
        with self._lock:
            for row in rows:
                if len(self._rows) >= LIMIT or self._text >= MOST_TEXT:
                    return
                is_ready = row.state == InboxState.PENDING and row.next_attempt_at is None
                if is_ready and row.connection in self._aliases:
                    self._text += len(row.data_json) if row.event_id not in self._rows else 0
                    self._rows[row.event_id] = row

    def remove(self, rows: Iterable[InboxEvent]) -> None:
        """Remove rows that were not stored after all, or that were read from the table."""
        for row in rows:
            self._pop(row.event_id)

    def take(self, pk: int, event_id: UUID) -> InboxEvent | None:
        """Remove and return the row of an event; ``None`` where it is not in memory.

        Args:
            pk: Primary key of the row, which was not known when it was stored.
            event_id: Id of the event.
        """
        row = self._pop(event_id)
        if row is not None:
            row.pk = pk
            row._state.adding = False
        return row

    def _pop(self, event_id: UUID) -> InboxEvent | None:
        with self._lock:
            row = self._rows.pop(event_id, None)
            if row is not None:
                self._text -= len(row.data_json)
            return row


logger = EventLogger("directus_realtime.listener")
event_logger = EventLogger("directus_realtime.listener.events")

T = TypeVar("T")

#: Events of one transaction, unless more belong together.
BATCH_SIZE = 500
#: Events that may wait to be stored before more of Directus is read.
ROOM = 2000


@dataclass
class _Work:
    """Events to store, and a function to call behind them in the same transaction.

    Attributes:
        entries: The events.
        function: The function; it is called again where the database was unavailable.
        done: Receives the result of the function; ``None`` where nothing waits for it.
    """

    entries: Sequence[InboxEntry] = ()
    function: Callable[[], Any] | None = None
    done: asyncio.Future[Any] | None = None


class Inbox:
    """Batched writer of the inbox table, in a database thread.

    A batch is everything that arrives while the previous one is written, so a lone event is
    stored at once and a burst costs few transactions.

    Args:
        database: The thread to write in.
        on_stored: Called after each write.
        fence: Called in each transaction; raises where another listener is active now.
        fresh: Passes stored rows to delivery.
        clock: Gives the time.
    """

    def __init__(
        self,
        database: DatabaseThread,
        on_stored: Callable[[], None],
        *,
        fence: Callable[[], None] = lambda: None,
        fresh: FreshRows | None = None,
        clock: SystemClock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._fence = fence
        self._fresh = FreshRows() if fresh is None else fresh
        self._database = database
        self._on_stored = on_stored
        self._waiting: deque[_Work] = deque()
        self._count_waiting = 0
        self._arrived = Wakeup(self._clock)
        self._shrunk = asyncio.Condition()
        self._tallies: dict[str, Tally] = {}
        self._writing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Number of events that are received and not stored yet."""
        return self._count_waiting

    def put(self, entries: Sequence[InboxEntry], then: Callable[[], Any] | None = None) -> None:
        """Queue events; never blocks.

        Args:
            entries: The events, in order.
            then: Called in the transaction that stores them, and again where the database was
                unavailable.
        """
        if entries or then is not None:
            self._add(_Work(entries, then))

    async def run_in_order(self, function: Callable[[], T]) -> T:
        """Run a function in the database thread, behind everything that was put before.

        Args:
            function: The function; it is called again where the database was unavailable.
        """
        work = _Work((), function, asyncio.get_running_loop().create_future())
        self._add(work)
        return await cast("asyncio.Future[T]", work.done)

    async def has_room(self) -> None:
        """Wait until at most :data:`ROOM` events are not stored."""
        async with self._shrunk:
            await self._shrunk.wait_for(lambda: self._count_waiting <= ROOM)

    def take_tallies(self) -> dict[str, Tally]:
        """Return the counts since the last call, by subscription."""
        tallies, self._tallies = self._tallies, {}
        return tallies

    async def run(self) -> None:
        """Store events as they arrive, until cancelled."""
        while True:
            await self._arrived.wait()
            await self.flush()

    async def flush(self) -> None:
        """Store everything that has arrived."""
        async with self._writing:
            await self._flush()

    def _add(self, work: _Work) -> None:
        self._waiting.append(work)
        self._count_waiting += len(work.entries)
        self._arrived.set()

    async def _flush(self) -> None:
        while self._waiting:
            if self._waiting[0].done is not None:
                await self._do(self._waiting[0])
                self._waiting.popleft()
            else:
                await self._store_batch()
            self._on_stored()
            async with self._shrunk:
                self._shrunk.notify_all()

    async def _store_batch(self) -> None:
        """Store the events before the next function with a result."""
        batch = self._next_batch()
        entries = [entry for work in batch for entry in work.entries]
        functions = [work.function for work in batch if work.function is not None]
        stored = await self._database.run_with_retry(
            store, entries, self._fence, self._fresh, functions, self._clock
        )
        # Only now: a cancelled write must find them here again.
        for _ in batch:
            self._count_waiting -= len(self._waiting.popleft().entries)
        for entry in stored:
            self._count(entry.row)

    def _next_batch(self) -> list[_Work]:
        batch: list[_Work] = []
        size = 0
        for work in self._waiting:
            size += len(work.entries)
            if work.done is not None or (batch and size > BATCH_SIZE):
                break
            batch.append(work)
        return batch

    async def _do(self, work: _Work) -> None:
        done, function = cast("asyncio.Future[Any]", work.done), work.function
        try:
            result = await self._database.run_with_retry(
                self._fenced, cast("Callable[[], Any]", function)
            )
        except LeaseLost:
            # The task that waits for the result is cancelled with the rest of the listener: one
            # that ended with an error would be cancelled while it closes its connection.
            raise
        except Exception as error:
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(result)

    def _fenced(self, function: Callable[[], Any]) -> Any:
        # The lock before the transaction, as everywhere: the other way round, two threads
        # would wait for each other until SQLite gives up.
        with sqlite_write_lock(own_alias()), transaction.atomic(own_alias()):
            result = function()
            self._fence()
        return result

    def _count(self, row: InboxEvent) -> None:
        tally = self._tallies.setdefault(row.subscription, Tally())
        tally.events += 1
        tally.last_event_at = row.received_at
        counts.events.add((row.connection, row.collection, row.action, row.origin))
        _log_event(row)


def _log_event(row: InboxEvent) -> None:
    event_logger.debug(
        "event",
        "%s  %s %s %s (%s)",
        row.connection,
        row.action,
        row.collection,
        row.key,
        row.subscription,
        connection=row.connection,
        subscription=row.subscription,
        collection=row.collection,
        action=row.action,
        key=row.key,
        event_id=str(row.event_id),
        origin=row.origin,
    )


def store(
    entries: list[InboxEntry],
    fence: Callable[[], None] = lambda: None,
    fresh: FreshRows | None = None,
    functions: Sequence[Callable[[], Any]] = (),
    clock: SystemClock | None = None,
) -> list[InboxEntry]:
    """Insert rows; those that an earlier write has stored, whose answer got lost, stay.

    Args:
        entries: The rows.
        fence: Called in each transaction; raises where another listener is active now.
        fresh: Passes stored rows to delivery.
        functions: Called in the transaction behind the rows.
        clock: Gives the time.

    Returns:
        The stored entries: without the events that do not concern their subscription.
    """
    fresh = FreshRows() if fresh is None else fresh
    clock = clock or SystemClock()
    try:
        return _store(entries, fence, fresh, clock, functions)
    except (DataError, IntegrityError):
        # A row that the database cannot hold must not prevent its neighbours, nor must one of
        # a subscription that was deleted at this moment.
        found = [entry for one in entries for entry in _store_alone(one, fence, fresh, clock)]
        _store([], fence, fresh, clock, functions)
        return found


def _store(
    entries: list[InboxEntry],
    fence: Callable[[], None],
    fresh: FreshRows,
    clock: SystemClock,
    functions: Sequence[Callable[[], Any]] = (),
) -> list[InboxEntry]:
    using = own_alias()
    rows: list[InboxEvent] = []
    try:
        with sqlite_write_lock(using), transaction.atomic(using):
            kept = judge(entries)
            gather(kept, clock.now())
            rows += [entry.row for entry in kept]
            # Where some are in the table already, delivery may have processed them.
            if insert(rows, using) == len(rows):
                fresh.add(rows)
            for function in functions:
                function()
            # Last: a process that is paused before the commit may have lost its lease.
            fence()
    except BaseException as error:
        fresh.remove(rows)
        if is_too_large(error, rows, using):
            raise DataError(*error.args) from error
        raise
    return kept


def _store_alone(
    entry: InboxEntry, fence: Callable[[], None], fresh: FreshRows, clock: SystemClock
) -> list[InboxEntry]:
    try:
        return _store([entry], fence, fresh, clock)
    except (DataError, IntegrityError) as error:
        row = entry.row
        logger.error(
            "store-failed",
            "The event %s of %s cannot be stored: %s",
            row.event_id,
            row,
            error,
            connection=row.connection,
            subscription=row.subscription,
            collection=row.collection,
            event_id=str(row.event_id),
            error=str(error),
        )
        return []
