"""Delivery by workers of ``django.tasks``: dispatch in the listener, execution in the worker."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import Min, Q, QuerySet
from django.utils import timezone

from directus_realtime.compat import task
from directus_realtime.database import (
    DatabaseThread,
    exactly,
    of_connections,
    own_alias,
    sqlite_write_lock,
)
from directus_realtime.events import Event
from directus_realtime.listener.delivery.batches import BatchRunner
from directus_realtime.listener.delivery.delivery_queue import (
    RetryPolicy,
    RowsChanged,
    has_arrived,
    is_due_again,
)
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.jobs import Job
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import ConnectionSettings, connection_settings
from directus_realtime.utils.logs import Repetitions

#: Names of receivers that were slow in this process.
_slow: set[str] = set()


def deliver_row(pk: int) -> None:
    """Call the receivers of an event that was handed over, and mark it.

    Args:
        pk: Of its row. Where it is not with a worker (any more), nothing is done: it is
            through, or it will be handed over again.
    """
    row = InboxEvent.objects.filter(pk=pk, state=InboxState.DELIVERING).first()
    if row is None:
        return
    policy = RetryPolicy.of(connection_settings(row.connection))
    runner = BatchRunner({row.connection: policy}, slow=_slow)
    jobs: Sequence[Job] = [Job.of(row)]
    try:
        while jobs:
            _call_outside(jobs[0])
            jobs = runner.run(jobs).unfinished
    except RowsChanged:
        return  # handed over twice, because the first one took too long


def _call_outside(job: Job) -> None:
    if job.is_awaited:
        async_to_sync(job.run_async)()
    elif job.is_outside:
        job.run_next()


def enqueue(pk: int) -> None:
    """Have a worker deliver a row."""
    deliver_event.enqueue(pk)


#: The task; ``None`` where there is no tasks framework.
deliver_event: Any = None
if task is not None:

    @task()  # type: ignore[untyped-decorator]
    def deliver_event(pk: int) -> None:
        """Deliver one event to its receivers."""
        deliver_row(pk)


logger = logging.getLogger("directus_realtime.listener")

#: Events that may be with workers at the same time.
MOST_OUT = 500
#: Seconds between two looks at what workers have done; without any, between two at the inbox.
BUSY_INTERVAL, LOOK_INTERVAL = 0.1, 1.0


@dataclass
class Look:
    """What came of a look at the inbox.

    Attributes:
        finished: Events whose group messages are to be sent, with the own group of each.
        handed: How many events were handed over.
        is_refused: Whether the queue would not have one more.
    """

    finished: list[tuple[Event, str]] = field(default_factory=list)
    handed: int = 0
    is_refused: bool = False


class HandOver:
    """Makes each event a task, in order for each item.

    An event is handed over when no earlier one of its item is left. A task that got lost is
    made anew after its time-out; should both run, only one of them can commit.

    Args:
        database: The thread to work in.
        timeouts: For each connection that is delivered so, the seconds that a task may take.
        sender: Sends to groups.
        fence: Called in each transaction before its commit; what it raises ends the work.
        ceiling: Seconds that a failed event waits at most.
    """

    def __init__(
        self,
        database: DatabaseThread,
        timeouts: Mapping[str, float],
        sender: GroupSender,
        fence: Callable[[], None] = lambda: None,
        ceiling: float = ConnectionSettings.retry_ceiling,
    ) -> None:
        self._database = database
        self._timeouts = timeouts
        self._ceiling = ceiling
        self._sender = sender
        self._fence = fence
        self._work_arrived = asyncio.Event()
        # With workers: whether the groups were told already, by id of the row.
        self._out: dict[int, bool] = {}
        self._is_refused = False
        self._repetitions = Repetitions()

    def wake(self) -> None:
        """Say that there is something to deliver."""
        self._work_arrived.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Hand over until told to stop; what is with workers goes on there."""
        if not self._timeouts:
            return
        await self._database.run_with_retry(self._take_up)
        while not stopping.is_set():
            self._work_arrived.clear()
            look = await self._database.run_with_retry(self._look)
            await self._sender.send_events(look.finished)
            if look.is_refused:
                await asyncio.sleep(LOOK_INTERVAL)
            elif not look.handed:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(BUSY_INTERVAL if self._out else LOOK_INTERVAL):
                await self._work_arrived.wait()
        except TimeoutError:
            pass

    def _take_up(self) -> None:
        """Go on where another listener, or delivery in the listener itself, has stopped."""
        rows = self._rows()
        rows.filter(state=InboxState.HELD).update(state=InboxState.PENDING)
        out = rows.filter(state=InboxState.DELIVERING).values_list("pk", "sent_at")
        self._out = {pk: sent_at is not None for pk, sent_at in out}

    def _look(self) -> Look:
        look = Look(finished=self._take_finished())
        try:
            rows = self._take_next()
        except RowsChanged:
            return look  # by the admin, or by a worker that was late; the next look sees it
        look.handed = self._enqueue(rows)
        look.is_refused = self._is_refused = look.handed < len(rows)
        return look

    def _take_finished(self) -> list[tuple[Event, str]]:
        """What workers are through with, and the groups were not told of."""
        rows = InboxEvent.objects.filter(pk__in=list(self._out))
        rows = rows.exclude(state=InboxState.DELIVERING)
        return [
            (row.to_event(), row.group) for row in rows.order_by("id") if not self._out.pop(row.pk)
        ]

    def _take_next(self) -> list[InboxEvent]:
        """Mark rows as being with workers."""
        now = timezone.now()
        alias = own_alias()
        with sqlite_write_lock(alias), transaction.atomic(alias):
            rows = self._next(now)
            for state in {row.state for row in rows}:
                self._take([row for row in rows if row.state == state], now)
            self._fence()
        for row in rows:
            self._out.setdefault(row.pk, row.sent_at is not None)
        return rows

    def _next(self, now: datetime) -> list[InboxEvent]:
        """The rows to hand over now: those whose task is lost, and others as far as there is room.

        Of a queue that would not have the last one, one row is enough to ask it again.
        """
        most = 1 if self._is_refused else MOST_OUT
        lost = list(self._lost(now)[:most])  # they keep their place
        if len(self._out) >= MOST_OUT:
            self._forget_deleted()
        room = min(MOST_OUT - len(self._out), most - len(lost))
        return [*lost, *(self._due(now)[:room] if room > 0 else ())]

    def _take(self, rows: list[InboxEvent], now: datetime) -> None:
        """Mark rows of one state."""
        same = InboxEvent.objects.filter(state=rows[0].state)
        for alias, timeout in self._timeouts.items():
            pks = [row.pk for row in rows if row.connection == alias]
            until = now + timedelta(seconds=timeout)
            marks = {"state": InboxState.DELIVERING, "next_attempt_at": until}
            if same.filter(pk__in=pks).update(**marks) != len(pks):
                raise RowsChanged("Rows that were to be handed over have changed.")

    def _forget_deleted(self) -> None:
        """Free the places of rows that somebody has deleted: no worker gets through with them."""
        there = InboxEvent.objects.filter(pk__in=list(self._out)).values_list("pk", flat=True)
        self._out = {pk: self._out[pk] for pk in there}

    def _lost(self, now: datetime) -> QuerySet[InboxEvent]:
        """The rows whose task took too long, oldest first."""
        late = self._rows().filter(state=InboxState.DELIVERING, next_attempt_at__lte=now)
        return late.order_by("id")

    def _due(self, now: datetime) -> QuerySet[InboxEvent]:
        """The rows to hand over now, oldest first: the first one of each item, if it is due."""
        arrived = has_arrived(now)
        others = [InboxState.FAILED, InboxState.DELIVERING]
        left = self._rows().filter(arrived | Q(state__in=others))
        names = "collection", "key_json"
        item = {f"same_{name}": exactly(name, left.db) for name in names}
        first = left.values("connection", **item).annotate(first=Min("id"))
        due = arrived | is_due_again(now, self._ceiling)
        return self._rows().filter(due, pk__in=first.values("first")).order_by("id")

    def _rows(self) -> QuerySet[InboxEvent]:
        return of_connections(InboxEvent.objects.all(), self._timeouts)

    def _enqueue(self, rows: Sequence[InboxEvent]) -> int:
        """Enqueue rows, in order; from the first one on that the queue refuses, put them back.

        Returns:
            How many were enqueued.
        """
        for number, row in enumerate(rows):
            try:
                enqueue(row.pk)
            except Exception as error:
                self._put_back(rows[number:])
                self._tell_refusal(row, f"{type(error).__name__}: {error}")
                return number
            if row.state == InboxState.DELIVERING:
                _log_takeover(row)
        return len(rows)

    def _put_back(self, rows: Sequence[InboxEvent]) -> None:
        """Leave rows as they were: what waits is to be seen as waiting."""
        as_read: defaultdict[tuple[str, datetime | None], list[int]] = defaultdict(list)
        for row in rows:
            as_read[row.state, row.next_attempt_at].append(row.pk)
            if row.state != InboxState.DELIVERING:
                del self._out[row.pk]
        alias = own_alias()
        with sqlite_write_lock(alias), transaction.atomic(alias):
            for (state, next_attempt_at), pks in as_read.items():
                same = InboxEvent.objects.filter(pk__in=pks, state=InboxState.DELIVERING)
                same.update(state=state, next_attempt_at=next_attempt_at)

    def _tell_refusal(self, row: InboxEvent, error: str) -> None:
        first_within = self._repetitions.first_within(error)
        logger.log(
            logging.ERROR if first_within else logging.DEBUG,
            "%s cannot be handed over: %s",
            row,
            error,
            extra={
                "event": "enqueue-failed",
                "connection": row.connection,
                "subscription": row.subscription,
                "collection": row.collection,
                "event_id": str(row.event_id),
                "error": error,
            },
        )


def _log_takeover(row: InboxEvent) -> None:
    logger.warning(
        "A task took too long or is lost; %s is handed over again.",
        row,
        extra={
            "event": "task-lost",
            "connection": row.connection,
            "subscription": row.subscription,
            "collection": row.collection,
            "event_id": str(row.event_id),
        },
    )
