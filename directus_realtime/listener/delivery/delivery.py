"""The way out: pending events are handed to receivers and groups, and marked."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import TypeVar

from django.utils import timezone

from directus_realtime.database import AsyncConnections, DatabaseThread
from directus_realtime.listener.delivery import crash_marker, delivery_queue
from directus_realtime.listener.delivery.batches import BatchRunner
from directus_realtime.listener.delivery.delivery_queue import RetryPolicy, RowsChanged
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.jobs import Item, Job
from directus_realtime.listener.inbox import FreshRows
from directus_realtime.models import InboxEvent

logger = logging.getLogger("directus_realtime.listener")

T = TypeVar("T")

#: Events of one read.
BATCH_SIZE = 500
#: Seconds between two looks for work that nobody announced (retries, the admin).
LOOK_INTERVAL = 1.0
#: Seconds between two looks at what holds items back: a person may have taken it away.
STOCK_INTERVAL = 60.0
#: Seconds without an outcome after which the log says so.
PATIENCE = 30.0


class Delivery:
    """Hands stored events to receivers and groups, in order for each item.

    Args:
        database: The thread in which ``def`` receivers run.
        policies: For each connection that is delivered, how failures are retried.
        sender: Sends to groups.
        fence: Called before receivers are called, and in each transaction before its commit;
            what it raises ends delivery, and nothing of that transaction has happened.
        fresh: Rows that need not be read from the inbox.
        after_crash: Whether the delivery before this one was cut off: what is due first is
            delivered one by one then, and written down before it is begun.
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
    ) -> None:
        self._fresh = fresh
        self._after_crash = after_crash
        self._suspects: set[int] = set()
        self._database = database
        self._fence = fence
        self._aliases = list(policies)
        self._ceiling = max((policy.ceiling for policy in policies.values()), default=0.0)
        self._runner = BatchRunner(policies, fence)
        self._sender = sender
        self._sending: asyncio.Task[None] | None = None
        self._stock_due = 0.0
        self._knows_stock = False
        self._async_connections = AsyncConnections()
        self._work_arrived = asyncio.Event()

    def wake(self) -> None:
        """Say that there is something to deliver."""
        self._work_arrived.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until told to stop; the delivery at hand is finished first."""
        await self._database.run_with_retry(delivery_queue.take_back, self._aliases)
        due: datetime | None = None
        while not stopping.is_set():
            self._work_arrived.clear()
            await self._take_stock()
            with_retries = bool(self._runner.blocked) or due is not None
            rows = await self._database.run_with_retry(
                delivery_queue.due_rows,
                self._aliases,
                BATCH_SIZE,
                with_retries=with_retries,
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
        """Note what the delivery before this one may have been at when it was cut off."""
        self._after_crash = False
        self._suspects = {row.pk for row in rows}
        if rows:
            logger.info(
                "the listener before was cut off; what is due (%s) is delivered one by one",
                "1 event" if len(rows) == 1 else f"{len(rows)} events",
                extra={"event": "one-by-one", "events": len(rows)},
            )

    def _job(self, row: InboxEvent) -> Job:
        if crash_marker.has_ended(row):
            return Job.ended(row, crash_marker.ENDED)
        return Job.of(row, is_suspect=row.pk in self._suspects or crash_marker.may_end(row))

    async def _take_stock(self) -> None:
        """Look now and then at what holds items back, and let go what waits for nothing."""
        if self._knows_stock and monotonic() < self._stock_due:
            return
        known = self._runner.blocked if self._knows_stock else None
        self._runner.blocked = await self._database.run_with_retry(
            delivery_queue.refresh_blocked, self._aliases, known
        )
        self._knows_stock, self._stock_due = True, monotonic() + STOCK_INTERVAL

    async def _wait_for_work(self, due: datetime | None) -> None:
        """Wait until somebody says so, something comes due, or it is time to look again."""
        until_due = (due - timezone.now()).total_seconds() if due else LOOK_INTERVAL
        try:
            async with asyncio.timeout(min(max(until_due, 0), LOOK_INTERVAL)):
                await self._work_arrived.wait()
        except TimeoutError:
            pass

    async def _deliver(self, rows: list[InboxEvent], stopping: asyncio.Event) -> None:
        """Deliver rows, slice by slice, until told to stop or until others go first."""
        waiting = deque(self._job(row) for row in rows)
        try:
            while waiting := _to_go_on_with(waiting, stopping):
                if await self._deliver_slice(waiting):
                    break
        except RowsChanged as error:
            logger.warning(
                "Somebody else delivers, too (%s); reading the inbox again.",
                error,
                extra={"event": "rows-changed", "error": str(error)},
            )
            # What was committed, by whomever, may be more than we know of.
            self._knows_stock = False
            await self._wait_for_work(None)
        await self._sent()

    async def _deliver_slice(self, waiting: deque[Job]) -> bool:
        """Deliver some jobs from the left; those that are not finished are put back.

        Returns:
            Whether the inbox must be read again: older events than those that wait here
            may have become due.
        """
        # Before a receiver is called: what it does outside the database stays done.
        await self._database.run_with_retry(self._fence)
        held = self._take_held(waiting)
        jobs = self._take_slice(waiting)
        for job in jobs:
            if job.is_suspect and job.left and not job.is_written_ahead:
                await self._database.run_with_retry(self._runner.write_ahead, job)
        await self._wait_with_warning(self._call_outside(jobs))
        found = await self._wait_with_warning(
            self._database.run_with_retry(self._runner.run, jobs, held)
        )
        waiting.extendleft(reversed(found.unfinished))
        await self._send(found.to_send())
        return found.reads_again

    async def _send(self, jobs: Sequence[Job]) -> None:
        """Send to groups while the next slice runs, in order: one batch after another."""
        await self._sent()
        if jobs:
            events = [(job.event, job.row.group) for job in jobs]
            self._sending = asyncio.create_task(self._sender.send_events(events))

    async def _sent(self) -> None:
        """Wait until everything is sent."""
        if self._sending is not None:
            await self._sending
            self._sending = None

    def _take_held(self, waiting: deque[Job]) -> list[Job]:
        """The jobs from the left that an earlier event of their item holds back."""
        held = []
        while waiting and self._is_held(waiting[0]):
            held.append(waiting.popleft())
        return held

    def _take_slice(self, waiting: deque[Job]) -> list[Job]:
        """The jobs from the left that may run together.

        Where an item comes a second time, its first event must have succeeded with all of
        its receivers; only those that share the transaction are known to be through by
        then. A ``def`` receiver outside of it is slow, and no other job waits to be marked
        meanwhile. A job in which the process may end runs alone, too.
        """
        jobs: list[Job] = []
        items: set[Item] = set()
        unsure: set[Item] = set()
        while waiting and not self._is_held(waiting[0]):
            job = waiting[0]
            is_alone = job.is_suspect or (job.is_outside and not job.is_awaited)
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
        return job.item in self._runner.blocked and not (job.row.failures or job.is_begun)

    async def _call_outside(self, jobs: Sequence[Job]) -> None:
        """Make the calls that are next and have no part in a transaction."""
        if awaited := [job for job in jobs if job.is_awaited]:
            await self._async_connections.check()
            await asyncio.gather(*(job.run_async() for job in awaited))
            await self._async_connections.check()
        if jobs and jobs[0].is_outside:
            await self._database.run(jobs[0].run_next)

    async def _wait_with_warning(self, work: Awaitable[T]) -> T:
        """Wait for receivers, and say so when it takes long; they cannot be interrupted."""
        task = asyncio.ensure_future(work)
        try:
            for waited in itertools.count(1):
                done, _ = await asyncio.wait({task}, timeout=PATIENCE)
                if done:
                    break
                logger.warning(
                    "Delivery waits for a receiver since %d s.",
                    waited * PATIENCE,
                    extra={"event": "delivery-waits", "seconds": waited * PATIENCE},
                )
        finally:
            task.cancel()
        return task.result()


def _to_go_on_with(waiting: deque[Job], stopping: asyncio.Event) -> deque[Job]:
    """What waits; once stopping, only the jobs that are begun."""
    return deque(job for job in waiting if job.is_begun) if stopping.is_set() else waiting
