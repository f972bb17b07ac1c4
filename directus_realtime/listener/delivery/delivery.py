"""Delivery of pending events to receivers and groups, in the process of the listener."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from directus_realtime.database import AsyncConnections, DatabaseThread
from directus_realtime.listener.delivery import crash_marker, delivery_queue
from directus_realtime.listener.delivery.batches import BatchRunner
from directus_realtime.listener.delivery.delivery_queue import RowsChanged
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.receiver_calls import Item, Job
from directus_realtime.listener.delivery.retries import RetryPolicy
from directus_realtime.listener.inbox import FreshRows
from directus_realtime.models import InboxEvent
from directus_realtime.utils.aio import Wakeup
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

T = TypeVar("T")

#: Events of one read.
READ_SIZE = 500
#: Seconds between two polls for work that no task announces (retries, changes in the admin).
POLL_INTERVAL = 1.0
#: Seconds between two reads of the blocked items.
REFRESH_INTERVAL = 60.0
#: Seconds without an outcome after which a warning is logged.
PATIENCE = 30.0


class Delivery:
    """Delivers stored events to receivers and groups, in order for each item.

    Args:
        database: Thread in which ``def`` receivers run.
        policies: Retry policies of the delivered connections.
        sender: Sender of group messages.
        fence: Called before receivers, and in each transaction before its commit; its errors
            roll back and end delivery.
        fresh: Rows in memory that need not be read from the inbox.
        after_crash: Whether the previous listener crashed or hangs: the first due events are
            then delivered one by one, each with a write-ahead crash marker.
        clock: The clock.
    """

    def __init__(
        self,
        database: DatabaseThread,
        policies: dict[str, RetryPolicy],
        sender: GroupSender,
        fence: Callable[[], None] = lambda: None,
        fresh: FreshRows | None = None,
        *,
        after_crash: bool = False,
        clock: SystemClock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._fresh = fresh
        self._after_crash = after_crash
        self._suspects: set[int] = set()
        self._database = database
        self._fence = fence
        self._aliases = list(policies)
        self._ceiling = max((policy.ceiling for policy in policies.values()), default=0.0)
        self._runner = BatchRunner(policies, fence, clock=self._clock)
        self._sender = sender
        self._sending: asyncio.Task[None] | None = None
        # ``None`` while the blocked items are unknown.
        self._refresh_due: float | None = None
        self._async_connections = AsyncConnections()
        self._work_arrived = Wakeup(self._clock)

    def wake(self) -> None:
        """Announce that events may be due."""
        self._work_arrived.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until ``stopping`` is set; started deliveries are finished first."""
        await self._database.run_with_retry(delivery_queue.reclaim_rows, self._aliases)
        due: datetime | None = None
        while not stopping.is_set():
            await self._refresh_blocked()
            rows = await self._database.run_with_retry(
                delivery_queue.due_rows,
                self._aliases,
                READ_SIZE,
                self._clock,
                with_retries=bool(self._runner.blocked) or due is not None,
                ceiling=self._ceiling,
                fresh=self._fresh,
            )
            if self._after_crash:
                self._suspect(rows)
            if rows:
                await self._deliver(rows, stopping)
            else:
                due = await self._database.run_with_retry(delivery_queue.next_due, self._aliases)
                await self._wait_for_work(due)

    def _suspect(self, rows: list[InboxEvent]) -> None:
        """Remember the rows that the previous listener may have crashed on."""
        self._after_crash = False
        self._suspects = {row.pk for row in rows}
        if rows:
            logger.info(
                "one-by-one",
                "the previous listener crashed or hangs; %s due, delivered one by one",
                "1 event" if len(rows) == 1 else f"{len(rows)} events",
                events=len(rows),
            )

    def _job(self, row: InboxEvent) -> Job:
        if crash_marker.has_crashed(row):
            return Job.crashed(row, crash_marker.CRASHED)
        maybe_poison = row.pk in self._suspects or crash_marker.maybe_poison(row)
        return Job.of(row, maybe_poison=maybe_poison)

    async def _refresh_blocked(self) -> None:
        known = None
        if self._refresh_due is not None:
            if self._clock.monotonic() < self._refresh_due:
                return
            known = self._runner.blocked
        self._runner.blocked = await self._database.run_with_retry(
            delivery_queue.refresh_blocked, self._aliases, known
        )
        self._refresh_due = self._clock.monotonic() + REFRESH_INTERVAL

    async def _wait_for_work(self, due: datetime | None) -> None:
        until_due = (due - self._clock.now()).total_seconds() if due else POLL_INTERVAL
        await self._work_arrived.wait(min(max(until_due, 0), POLL_INTERVAL))

    async def _deliver(self, rows: list[InboxEvent], stopping: asyncio.Event) -> None:
        """Deliver rows in batches, until stopping or until the inbox must be read again."""
        waiting = deque(self._job(row) for row in rows)
        try:
            while waiting := _continued(waiting, stopping):
                if await self._deliver_batch(waiting):
                    break
        except RowsChanged as error:
            logger.warning(
                "rows-changed",
                "Another process has delivered or changed the same events (%s); reading the "
                "inbox again.",
                error,
                error=str(error),
            )
            # The other process may have committed more than is known here.
            self._refresh_due = None
            await self._wait_for_work(None)
        await self._sent()

    async def _deliver_batch(self, waiting: deque[Job]) -> bool:
        """Deliver some jobs from the left; unfinished ones are put back.

        Returns:
            Whether the inbox must be read again: events older than these may have become due.
        """
        # Before a receiver is called: its work outside of the database cannot be rolled back.
        await self._database.run_with_retry(self._fence)
        held = self._pop_held(waiting)
        jobs = self._pop_batch(waiting)
        for job in jobs:
            if job.maybe_poison and job.remaining and not job.is_written_ahead:
                await self._database.run_with_retry(self._runner.write_ahead, job)
        await self._wait_with_warning(self._call_outside(jobs))
        outcomes = await self._wait_with_warning(
            self._database.run_with_retry(self._runner.run, jobs, held)
        )
        waiting.extendleft(reversed(outcomes.unfinished))
        await self._send(outcomes.to_send())
        return outcomes.must_reread

    async def _send(self, jobs: Sequence[Job]) -> None:
        """Send to groups while the next batch runs, one batch after another."""
        await self._sent()
        if jobs:
            events = [(job.event, job.row.group) for job in jobs]
            self._sending = asyncio.create_task(self._sender.send_events(events))

    async def _sent(self) -> None:
        if self._sending is not None:
            await self._sending
            self._sending = None

    def _pop_held(self, waiting: deque[Job]) -> list[Job]:
        """Pop the jobs of blocked items from the left."""
        held = []
        while waiting and self._is_held(waiting[0]):
            held.append(waiting.popleft())
        return held

    def _pop_batch(self, waiting: deque[Job]) -> list[Job]:
        """Pop the jobs from the left that may run in one batch.

        For a second event of an item, all receivers of its first one must have succeeded, which
        only atomic receivers have by then. A ``def`` receiver outside of the transaction is slow
        and runs alone, so that no other job waits for its outcome; so does a job that may crash
        the process.
        """
        jobs: list[Job] = []
        items: set[Item] = set()
        unsure: set[Item] = set()
        while waiting and not self._is_held(waiting[0]):
            job = waiting[0]
            is_alone = job.maybe_poison or (job.is_outside and not job.is_awaited)
            if job.item in unsure or (jobs and is_alone) or (job.is_outside and job.item in items):
                break
            jobs.append(waiting.popleft())
            if is_alone:
                break
            items.add(job.item)
            if job.ends_outside:
                unsure.add(job.item)
        return jobs

    def _is_held(self, job: Job) -> bool:
        return job.item in self._runner.blocked and not (job.row.failures or job.is_started)

    async def _call_outside(self, jobs: Sequence[Job]) -> None:
        """Make the next calls that are not atomic."""
        if awaited := [job for job in jobs if job.is_awaited]:
            await self._async_connections.check()
            await asyncio.gather(*(job.run_async() for job in awaited))
            await self._async_connections.check()
        if jobs and jobs[0].is_outside:
            await self._database.run(jobs[0].run_next)

    async def _wait_with_warning(self, work: Awaitable[T]) -> T:
        """Wait for receivers, which cannot be interrupted; log a warning where it takes long."""
        task = asyncio.ensure_future(work)
        try:
            for waited in itertools.count(1):
                done, _ = await asyncio.wait({task}, timeout=PATIENCE)
                if done:
                    break
                seconds = waited * PATIENCE
                logger.warning(
                    "delivery-waits",
                    "Delivery has waited for a receiver for %d s.",
                    seconds,
                    seconds=seconds,
                )
        finally:
            task.cancel()
        return task.result()


def _continued(waiting: deque[Job], stopping: asyncio.Event) -> deque[Job]:
    """Return the jobs to continue with: while stopping, only those that were started."""
    return deque(job for job in waiting if job.is_started) if stopping.is_set() else waiting
