"""Delivery by workers of ``django.tasks``: dispatch in the listener, execution in the worker."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import Min, Q, QuerySet
from django.utils.module_loading import import_string

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
    RowsChanged,
    has_arrived,
    is_due_again,
)
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.receiver_calls import Job
from directus_realtime.listener.delivery.retries import RetryPolicy
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import ConnectionSettings, connection_settings, task_route
from directus_realtime.utils.aio import Wakeup
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.site_code import contained
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Names of receivers that were slow in this process.
_slow: set[str] = set()


def deliver_row(pk: int) -> None:
    """Call the receivers of an enqueued event, and store the outcome.

    Args:
        pk: Primary key of its row. Where its state is not ``delivering``, nothing is done: the
            event is done, or will be enqueued again.
    """
    row = InboxEvent.objects.filter(pk=pk, state=InboxState.DELIVERING).first()
    if row is None:
        return
    policy = RetryPolicy.of(connection_settings(row.connection))
    runner = BatchRunner({row.connection: policy}, slow=_slow)
    jobs: Sequence[Job] = [Job.of(row)]
    try:
        while jobs:
            job = jobs[0]
            if job.is_awaited:
                async_to_sync(job.run_async)()
            elif job.is_outside:
                job.run_next()
            jobs = runner.run(jobs).unfinished
    except RowsChanged:
        return  # the event was enqueued twice, because the first task took too long


#: Path of the task, by which workers find it, too. Its module is imported only to enqueue it:
#: a project without workers may have other queues, or no tasks framework.
TASK_PATH = "directus_realtime.listener.delivery.event_task.deliver_event"


def enqueue(row: InboxEvent) -> None:
    """Enqueue the task that delivers a row, in the queue of its connection."""
    task: Any = import_string(TASK_PATH)
    task.using(**task_route(row.connection)).enqueue(row.pk)


#: Events that may be with workers at the same time.
MAX_ENQUEUED = 500
#: Seconds between two polls while events are with workers, and while none is.
BUSY_INTERVAL, POLL_INTERVAL = 0.1, 1.0


class TaskDispatcher:
    """Enqueues a task for each event, in order for each item.

    An event is enqueued when no earlier one of its item is unfinished. A task that got lost is
    enqueued again after its time-out; where both run, only one of them can commit.

    Args:
        database: Thread for the queries.
        timeouts: Seconds that a task may take, by alias of the delivered connections.
        sender: Sender of group messages.
        fence: Called in each transaction before its commit; its errors end the work.
        ceiling: Longest delay of a retry, in seconds.
        clock: The clock.
    """

    def __init__(
        self,
        database: DatabaseThread,
        timeouts: Mapping[str, float],
        sender: GroupSender,
        fence: Callable[[], None] = lambda: None,
        ceiling: float = ConnectionSettings.retry_ceiling,
        clock: SystemClock | None = None,
    ) -> None:
        self._database = database
        self._timeouts = timeouts
        self._ceiling = ceiling
        self._sender = sender
        self._fence = fence
        self._clock = clock or SystemClock()
        self._work_arrived = Wakeup(self._clock)
        # Rows with workers: whether their group messages were sent already, by primary key.
        self._enqueued: dict[int, bool] = {}
        self._is_refused = False
        self._log = logger.bind()

    def wake(self) -> None:
        """Announce that events may be due."""
        self._work_arrived.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Dispatch until ``stopping`` is set; enqueued tasks go on in their workers."""
        if not self._timeouts:
            return
        await self._database.run_with_retry(self._adopt_rows)
        while not stopping.is_set():
            finished = await self._database.run_with_retry(self._pop_finished)
            await self._sender.send_events(finished)
            enqueued = await self._database.run_with_retry(self._dispatch)
            if self._is_refused:
                await self._clock.sleep(POLL_INTERVAL)
            elif not enqueued:
                await self._work_arrived.wait(BUSY_INTERVAL if self._enqueued else POLL_INTERVAL)

    def _adopt_rows(self) -> None:
        """Continue after another listener, or after delivery in the listener itself."""
        rows = self._rows()
        rows.filter(state=InboxState.HELD).update(state=InboxState.PENDING)
        enqueued = rows.filter(state=InboxState.DELIVERING).values_list("pk", "sent_at")
        self._enqueued = {pk: sent_at is not None for pk, sent_at in enqueued}

    def _pop_finished(self) -> list[tuple[Event, str]]:
        """Return finished events whose group messages are due, with their own groups."""
        rows = InboxEvent.objects.filter(pk__in=list(self._enqueued))
        rows = rows.exclude(state=InboxState.DELIVERING)
        return [
            (row.to_event(), row.group)
            for row in rows.order_by("id")
            if not self._enqueued.pop(row.pk)
        ]

    def _dispatch(self) -> int:
        """Enqueue due rows; return their number."""
        try:
            rows = self._mark_due()
        except RowsChanged:
            return 0  # changed by the admin, or by a late worker; read again at the next poll
        enqueued = self._enqueue(rows)
        self._is_refused = enqueued < len(rows)
        return enqueued

    def _mark_due(self) -> list[InboxEvent]:
        """Mark due rows as delivering."""
        now = self._clock.now()
        alias = own_alias()
        with sqlite_write_lock(alias), transaction.atomic(alias):
            rows = self._select(now)
            groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
            for row in rows:
                groups[row.state, row.connection].append(row.pk)
            for (state, connection), pks in groups.items():
                until = now + timedelta(seconds=self._timeouts[connection])
                unchanged = InboxEvent.objects.filter(pk__in=pks, state=state)
                marks = {"state": InboxState.DELIVERING, "next_attempt_at": until}
                if unchanged.update(**marks) != len(pks):
                    raise RowsChanged("Rows that were to be enqueued have changed.")
            self._fence()
        for row in rows:
            self._enqueued.setdefault(row.pk, row.sent_at is not None)
        return rows

    def _select(self, now: datetime) -> list[InboxEvent]:
        """Return the rows to enqueue: those with a lost task, then due ones within the limit.

        A queue that refused the last row is tried with a single one.
        """
        limit = 1 if self._is_refused else MAX_ENQUEUED
        late = self._rows().filter(state=InboxState.DELIVERING, next_attempt_at__lte=now)
        lost = list(late.order_by("id")[:limit])  # these count as enqueued already
        if len(self._enqueued) >= MAX_ENQUEUED:
            self._forget_deleted()
        room = min(MAX_ENQUEUED - len(self._enqueued), limit - len(lost))
        return [*lost, *(self._due(now)[:room] if room > 0 else ())]

    def _forget_deleted(self) -> None:
        """Forget rows that were deleted: no worker can finish them."""
        pks = InboxEvent.objects.filter(pk__in=list(self._enqueued)).values_list("pk", flat=True)
        self._enqueued = {pk: self._enqueued[pk] for pk in pks}

    def _due(self, now: datetime) -> QuerySet[InboxEvent]:
        """Return the first unfinished row of each item where it is due, oldest first."""
        arrived = has_arrived(now)
        others = [InboxState.FAILED, InboxState.DELIVERING]
        unfinished = self._rows().filter(arrived | Q(state__in=others))
        names = "collection", "key_json"
        item = {f"same_{name}": exactly(name, unfinished.db) for name in names}
        first = unfinished.values("connection", **item).annotate(first=Min("id"))
        due = arrived | is_due_again(now, self._ceiling)
        return self._rows().filter(due, pk__in=first.values("first")).order_by("id")

    def _rows(self) -> QuerySet[InboxEvent]:
        return of_connections(InboxEvent.objects.all(), self._timeouts)

    def _enqueue(self, rows: Sequence[InboxEvent]) -> int:
        """Enqueue rows in order, and put back the rest where the queue refuses one.

        Returns:
            Number of enqueued rows.
        """
        for number, row in enumerate(rows):
            log = logger.bind(
                connection=row.connection,
                subscription=row.subscription,
                collection=row.collection,
                event_id=str(row.event_id),
            )
            try:
                with contained():
                    enqueue(row)
            except Exception as exception:
                error = f"{type(exception).__name__}: {exception}"
                self._put_back(rows[number:])
                text = "%s cannot be enqueued: %s"
                if self._log.is_new("enqueue-failed", error):
                    log.error("enqueue-failed", text, row, error, error=error)
                else:
                    log.debug("enqueue-failed", text, row, error, error=error)
                return number
            if row.state == InboxState.DELIVERING:
                log.warning("task-lost", "A task is late or lost; %s is enqueued again.", row)
        return len(rows)

    def _put_back(self, rows: Sequence[InboxEvent]) -> None:
        """Restore the state of rows as they were read."""
        as_read: defaultdict[tuple[str, datetime | None], list[int]] = defaultdict(list)
        for row in rows:
            as_read[row.state, row.next_attempt_at].append(row.pk)
            if row.state != InboxState.DELIVERING:
                del self._enqueued[row.pk]
        alias = own_alias()
        with sqlite_write_lock(alias), transaction.atomic(alias):
            for (state, next_attempt_at), pks in as_read.items():
                unchanged = InboxEvent.objects.filter(pk__in=pks, state=InboxState.DELIVERING)
                unchanged.update(state=state, next_attempt_at=next_attempt_at)
