"""The way out: pending events are handed to receivers and groups, and marked."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import TypeVar

from django.utils import timezone

from directus_realtime.database import DatabaseThread
from directus_realtime.events import Event
from directus_realtime.listener import outcomes
from directus_realtime.listener.outcomes import BlockedItems, Item, Outcomes, RetryPolicy
from directus_realtime.listener.receivers import Call, Failure, calls_for
from directus_realtime.listener.sending import GroupSender
from directus_realtime.models import InboxEvent, InboxState

logger = logging.getLogger("directus_realtime.listener")

T = TypeVar("T")

#: Events of one read.
BATCH_SIZE = 200
#: Seconds of receivers' work after which outcomes are written down; what a crash repeats.
SLICE = 0.05
#: Seconds between two looks for work that nobody announced (retries, the admin).
LOOK_INTERVAL = 1.0
#: Seconds without an outcome after which the log says so.
PATIENCE = 30.0


@dataclass
class Job:
    """One row on its way to its receivers.

    Attributes:
        failures: What the receivers of this attempt raised.
        was_called: Whether the receivers were called at all.
    """

    row: InboxEvent
    event: Event
    item: Item
    calls: list[Call]
    failures: list[Failure] = field(default_factory=list)
    was_called: bool = True

    @classmethod
    def of(cls, row: InboxEvent) -> Job:
        """The job of a row; of one that was tried before, only what failed is wanted."""
        event = row.to_event()
        calls = calls_for(event, set(row.failures) or None)
        return cls(row, event, outcomes.item_of(row), calls)

    @property
    def has_async_calls(self) -> bool:
        """Whether some receivers are ``async def``."""
        return any(call.is_async for call in self.calls)

    def run_sync(self) -> None:
        """Call the ``def`` receivers, in the thread of the caller."""
        found = [call.run() for call in self.calls if not call.is_async]
        self.failures += [failure for failure in found if failure]

    async def run_async(self) -> None:
        """Call the ``async def`` receivers."""
        found = await asyncio.gather(*(call.arun() for call in self.calls if call.is_async))
        self.failures += [failure for failure in found if failure]


class Delivery:
    """Hands stored events to receivers and groups, in order for each item.

    Args:
        database: The thread in which ``def`` receivers run.
        policies: For each connection that is delivered, how failures are retried.
        sender: Sends to groups.
        fence: To be called in each transaction that writes; raises where the lease is lost.
    """

    def __init__(
        self,
        database: DatabaseThread,
        policies: dict[str, RetryPolicy],
        sender: GroupSender,
        *,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        self._fence = fence
        self._database = database
        self._policies = policies
        self._sender = sender
        self._blocked = BlockedItems()
        self._work_arrived = asyncio.Event()

    def wake(self) -> None:
        """Say that there is something to deliver."""
        self._work_arrived.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until told to stop; the delivery at hand is finished first."""
        aliases = list(self._policies)
        self._blocked = await self._database.run_surely(BlockedItems.read, aliases)
        due: datetime | None = None
        while not stopping.is_set():
            self._work_arrived.clear()
            with_retries = bool(self._blocked) or due is not None
            rows = await self._database.run_surely(
                outcomes.due_rows, aliases, BATCH_SIZE, with_retries=with_retries
            )
            if rows:
                await self._deliver(rows, stopping)
            else:
                due = await self._database.run_surely(outcomes.next_due, aliases)
                await self._wait_for_work(due)

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
        waiting = deque(Job.of(row) for row in rows)
        while waiting and not stopping.is_set():
            if await self._deliver_slice(waiting):
                return

    async def _deliver_slice(self, waiting: deque[Job]) -> bool:
        """Deliver some jobs from the left, and write down what became of them.

        Returns:
            Whether the inbox must be read again: older events than those that wait here
            may have become due.
        """
        # Before a receiver is called: what it does outside the database stays done.
        await self._database.run_surely(self._fence)
        held = self._take_held(waiting)
        tried = self._take_slice(waiting)
        if any(not call.is_async for job in tried for call in job.calls):
            jobs, tried = tried, await self._patiently(self._database.run(run_slice, tried))
            waiting.extendleft(reversed(jobs[len(tried) :]))
        await self._patiently(asyncio.gather(*(job.run_async() for job in tried)))
        found = self._sort(tried, held)
        await self._sender.send_events(
            (row.to_event(), row.group) for row in found.all_rows() if row.sent_at is None
        )
        await self._database.run_surely(outcomes.write, found)
        return bool(found.released) or not all(job.was_called for job in tried)

    def _take_held(self, waiting: deque[Job]) -> list[Job]:
        """The jobs from the left that an earlier event of their item holds back."""
        held = []
        while waiting and self._is_held(waiting[0]):
            held.append(waiting.popleft())
        return held

    def _take_slice(self, waiting: deque[Job]) -> list[Job]:
        """The jobs from the left that may run together: those of one item may not.

        Where an item comes a second time, its first event must have succeeded with all
        of its receivers; only ``def`` receivers are known to be through by then.
        """
        jobs: list[Job] = []
        items: set[Item] = set()
        has_async_calls = False
        while waiting and not self._is_held(waiting[0]):
            job = waiting[0]
            has_async_calls = has_async_calls or job.has_async_calls
            if has_async_calls and job.item in items:
                break
            items.add(job.item)
            jobs.append(waiting.popleft())
        return jobs

    def _is_held(self, job: Job) -> bool:
        return job.item in self._blocked and not job.row.failures

    def _sort(self, tried: Sequence[Job], held: Sequence[Job]) -> Outcomes:
        """What became of the jobs of a slice, in order."""
        found = Outcomes(held=[job.row for job in held])
        for job in tried:
            if not job.was_called:
                # An earlier event of the item failed in the same slice. Where that one is
                # dead by now, this one is not held; it stays pending and is read again.
                if job.item in self._blocked:
                    found.held.append(job.row)
                continue
            is_through = found.add(job.row, job.failures, self._policies[job.row.connection])
            self._report(job)
            if not is_through:
                self._blocked.add(job.row)
            elif self._blocked.remove(job.row):
                found.released.append(job.item)
        return found

    @staticmethod
    def _report(job: Job) -> None:
        event = job.event
        for failure in job.failures:
            logger.warning(
                "The receiver %s failed for %s %s %s (try %d): %s",
                failure.receiver,
                event.collection,
                event.key,
                event.action,
                job.row.attempts,
                failure.error,
            )
        if job.row.state == InboxState.DEAD:
            logger.error(
                "%s %s %s is a dead letter after %d tries; see the inbox in the admin.",
                event.collection,
                event.key,
                event.action,
                job.row.attempts,
            )

    async def _patiently(self, work: Awaitable[T]) -> T:
        """Wait for receivers, and say so when it takes long; they cannot be interrupted."""
        task = asyncio.ensure_future(work)
        for waited in itertools.count(1):
            done, _ = await asyncio.wait({task}, timeout=PATIENCE)
            if done:
                break
            logger.warning("Delivery waits for a receiver since %d s.", waited * PATIENCE)
        return task.result()


def run_slice(jobs: Sequence[Job]) -> list[Job]:
    """Run the ``def`` receivers of jobs, in order, until :data:`SLICE` is used up.

    Returns:
        The jobs that were dealt with; of an item that failed, later ones were not called.
    """
    until = monotonic() + SLICE
    tried: list[Job] = []
    failed: set[Item] = set()
    for job in jobs:
        if tried and monotonic() >= until:
            break
        job.was_called = job.item not in failed
        if job.was_called:
            job.run_sync()
        if job.failures:
            failed.add(job.item)
        tried.append(job)
    return tried
