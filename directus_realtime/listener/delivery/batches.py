"""A batch of delivery: the work of receivers and the outcomes of their rows, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db import Error, transaction

from directus_realtime.database import (
    is_transaction_conflict,
    on_one_line,
    own_alias,
    sqlite_write_lock,
)
from directus_realtime.listener.delivery import crash_marker, delivery_queue
from directus_realtime.listener.delivery.delivery_queue import BlockedItems
from directus_realtime.listener.delivery.receiver_calls import Call, Item, Job
from directus_realtime.listener.delivery.retries import Outcomes, RetryPolicy
from directus_realtime.listener.delivery.shared_transaction import (
    SharedTransaction,
    shared_transaction,
)
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Seconds of calls that share a transaction.
BATCH_SECONDS = 0.05
#: Conflicts of an event with other transactions that count no attempt.
MAX_CONFLICTS = 20


@dataclass
class _Batch:
    """Calls of a transaction, and their outcomes."""

    calls: list[tuple[Job, Call]] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)


class BatchRunner:
    """Runs batches in a database thread.

    Args:
        policies: Retry policies of the delivered connections.
        fence: Called in each transaction before its commit. Its errors, except those of the
            database, roll back and are raised by :meth:`run`.
        slow: Names of slow receivers; kept up to date.
        clock: The clock.

    Attributes:
        blocked: Items whose later events wait for failed ones.
    """

    def __init__(
        self,
        policies: Mapping[str, RetryPolicy],
        fence: Callable[[], None] = lambda: None,
        slow: set[str] | None = None,
        clock: SystemClock | None = None,
    ) -> None:
        self._policies = policies
        self._fence = fence
        self._slow = set() if slow is None else slow
        self._clock = clock or SystemClock()
        self._log = logger.bind()
        self.blocked = BlockedItems()

    def run(self, jobs: Sequence[Job], held: Sequence[Job] = ()) -> Outcomes:
        """Make calls for :data:`BATCH_SECONDS`, and store the outcomes.

        Args:
            jobs: Jobs in order; those without remaining calls are finished.
            held: Jobs of blocked items.

        Raises:
            RowsChanged: Another process has delivered one of the rows; all is rolled back.
            django.db.Error: The database is unavailable; no receiver was called.
        """
        batch = _Batch()
        batch.outcomes.held += held
        try:
            with shared_transaction(own_alias()) as shared:
                self._call(jobs, shared, batch)
                batch.outcomes.released = self.blocked.released_by(batch.outcomes)
                delivery_queue.write(batch.outcomes, self._clock.now())
                self._fence()
        except Error as error:
            if is_transaction_conflict(error):
                return self._conflicted([*held, *jobs], batch.calls, error)
            if not batch.calls:
                raise
            return self._rolled_back([*held, *jobs], batch.calls, error)
        self._committed(batch.outcomes)
        return batch.outcomes

    def write_ahead(self, job: Job) -> None:
        """Store the crash marker of a job.

        Raises:
            RowsChanged: The row changed since it was read.
            django.db.Error: The database is unavailable.
        """
        with sqlite_write_lock(own_alias()), transaction.atomic(own_alias()):
            crash_marker.write_ahead(job)
            self._fence()
        job.is_written_ahead = True

    def _call(self, jobs: Sequence[Job], shared: SharedTransaction, batch: _Batch) -> None:
        deadline = self._clock.monotonic() + BATCH_SECONDS
        failed: set[Item] = set()
        for index, job in enumerate(jobs):
            if job.item in failed:
                self._skip(job, batch.outcomes)
                continue
            is_complete = self._call_receivers(job, shared, batch, deadline)
            if not job.remaining:
                batch.outcomes.add(job, self._policies[job.row.connection], self._clock)
            elif job.delivered != job.row.delivered:
                batch.outcomes.progressed.append(job)
            if not is_complete:
                batch.outcomes.unfinished += jobs[index:]
                return
            if job.remaining:
                batch.outcomes.unfinished.append(job)
            if job.failures:
                failed.add(job.item)

    def _call_receivers(
        self, job: Job, shared: SharedTransaction, batch: _Batch, deadline: float
    ) -> bool:
        """Make the atomic calls of a job; return whether none is left for the next batch."""
        while (call := job.next) and call.is_atomic:
            started = self._clock.monotonic()
            if batch.calls and (
                started >= deadline
                or shared.locks_others_out
                or self._is_alone(job, call)
                or self._is_alone(*batch.calls[-1])
            ):
                return False
            batch.calls.append((job, call))
            job.record(call, shared.call(call))
            if self._clock.monotonic() - started > BATCH_SECONDS:
                self._slow.add(call.name)
            else:
                self._slow.discard(call.name)
        return True

    def _is_alone(self, job: Job, call: Call) -> bool:
        """Whether a call must not share its transaction with other calls."""
        return job.isolated or call.name in self._slow

    @staticmethod
    def _skip(job: Job, outcomes: Outcomes) -> None:
        """Hold a job whose item has just failed; it is read again where that is a dead letter."""
        if any(failed.item == job.item and failed.retry_at for failed in outcomes.failed):
            outcomes.held.append(job)
        else:
            outcomes.must_reread = True

    def _committed(self, outcomes: Outcomes) -> None:
        for job in outcomes.progressed:
            job.row.delivered = list(job.delivered)
        self.blocked.update(outcomes)
        outcomes.must_reread = outcomes.must_reread or bool(outcomes.released)
        now = self._clock.now()
        for job in outcomes.done:
            seconds = (now - job.row.received_at).total_seconds()
            counts.delivery_seconds.observe((job.row.connection,), max(seconds, 0))
        for job in outcomes.failed:
            counter = counts.retries if job.retry_at else counts.dead_letters
            counter.add((job.row.connection,))
            self._log_failures(job)
            if not job.retry_at:
                _log_dead_letter(job)

    def _conflicted(
        self, jobs: Sequence[Job], calls: Sequence[tuple[Job, Call]], error: Error
    ) -> Outcomes:
        """Return the jobs to run again after a conflict with another transaction.

        That is no failure of a receiver, unless it conflicts again and again, for example with
        a second connection of its own.
        """
        self._log.debug(
            "transaction-conflict",
            "A transaction is run again, because of another one at the same time: %s",
            on_one_line(error),
            error=str(error),
        )
        called = {job for job, _ in calls}
        if any(job.conflicts >= MAX_CONFLICTS for job in called):
            return self._rolled_back(jobs, calls, error)
        return Outcomes(unfinished=[job.again() if job in called else job for job in jobs])

    def _rolled_back(
        self, jobs: Sequence[Job], calls: Sequence[tuple[Job, Call]], error: Error
    ) -> Outcomes:
        """Return the jobs to run again after a failed commit, each call in its own transaction.

        So the receiver that broke the transaction is found: a call that breaks its own has
        failed.
        """
        job, call = calls[0]
        if job.isolated:
            job.record_rollback(call, error)
            return Outcomes(unfinished=list(jobs))
        self._log.warning(
            "transaction-broken",
            "A transaction could not be committed (%s); its %d receivers are called again, each "
            "in a transaction of its own.",
            on_one_line(error),
            len(calls),
            error=str(error),
            receivers=len(calls),
        )
        broken = {job for job, _ in calls}
        return Outcomes(
            unfinished=[
                replace(job.again(), isolated=True) if job in broken else job for job in jobs
            ]
        )

    def _log_failures(self, job: Job) -> None:
        event = job.event
        for failure in job.failures:
            counts.receiver_failures.add((failure.receiver,))
            self._log.repeated(
                f"{failure.receiver} {failure.error}",
                "receiver-failed",
                "The receiver %s failed for %s %s %s (%s): %s",
                failure.receiver,
                event.collection,
                event.key,
                event.action,
                ", ".join(filter(None, [f"try {job.attempts}", failure.place])),
                failure.error,
                connection=event.connection,
                subscription=event.subscription,
                collection=event.collection,
                key=event.key,
                event_id=event.id,
                receiver=failure.receiver,
                attempt=job.attempts,
                error=failure.error,
                traceback=failure.traceback,
            )


def _log_dead_letter(job: Job) -> None:
    event = job.event
    logger.error(
        "dead-letter",
        "%s %s %s is a dead letter after %s (event %d in the admin): %s",
        event.collection,
        event.key,
        event.action,
        "1 try" if job.attempts == 1 else f"{job.attempts} tries",
        job.row.pk,
        "; ".join(f"{each.receiver}: {each.error}" for each in job.failures),
        connection=event.connection,
        subscription=event.subscription,
        collection=event.collection,
        key=event.key,
        event_id=event.id,
        attempt=job.attempts,
    )
