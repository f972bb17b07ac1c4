"""A slice of delivery: receivers' work and the marks of their rows, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from django.db import Error, transaction
from django.utils import timezone

from directus_realtime.database import on_one_line, own_alias, sqlite_write_lock
from directus_realtime.listener.delivery import crash_marker, delivery_queue
from directus_realtime.listener.delivery.delivery_queue import BlockedItems, Outcomes, RetryPolicy
from directus_realtime.listener.delivery.jobs import Item, Job
from directus_realtime.listener.delivery.receiver_calls import Call
from directus_realtime.listener.delivery.shared_transaction import (
    SharedTransaction,
    shared_transaction,
)
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.utils.logs import Repetitions

logger = logging.getLogger("directus_realtime.listener")

#: Seconds of receivers' work that share a transaction.
SLICE = 0.05


@dataclass
class _Batch:
    """What was called in a transaction, and what came of it."""

    calls: list[tuple[Job, Call]] = field(default_factory=list)
    found: Outcomes = field(default_factory=Outcomes)


class BatchRunner:
    """Runs slices, in a thread that may use the database.

    Args:
        policies: For each connection that is delivered, how failures are retried.
        fence: Called in each transaction before its commit. What it raises, but for errors
            of the database, rolls back and comes out of :meth:`run`.
        slow: Names of receivers that are known to be slow; kept up to date.

    Attributes:
        blocked: The items whose later events wait for a failed one.
    """

    def __init__(
        self,
        policies: Mapping[str, RetryPolicy],
        fence: Callable[[], None] = lambda: None,
        slow: set[str] | None = None,
    ) -> None:
        self._policies = policies
        self._fence = fence
        self._slow = set() if slow is None else slow
        self._repetitions = Repetitions()
        self.blocked = BlockedItems()

    def run(self, jobs: Sequence[Job], held: Sequence[Job] = ()) -> Outcomes:
        """Make calls until :data:`SLICE` is used up, and write down what is through.

        Args:
            jobs: In order; those of which no call is left are finished.
            held: Jobs that wait for an earlier event of their item.

        Raises:
            RowsChanged: Somebody else has delivered one of the rows; nothing has happened.
            django.db.Error: The database is away; no receiver was called.
        """
        part = _Batch()
        part.found.held += held
        try:
            with shared_transaction(own_alias()) as shared:
                self._call(jobs, shared, part)
                part.found.released = self.blocked.released_by(part.found)
                delivery_queue.write(part.found)
                self._fence()
        except Error as error:
            if not part.calls:
                raise
            return _after_a_break([*held, *jobs], part.calls, error)
        self._settle(part.found)
        return part.found

    def write_ahead(self, job: Job) -> None:
        """Write down that a job is begun, so that it is known if the process ends in it.

        Raises:
            RowsChanged: The row is not as it was read.
            django.db.Error: The database is away.
        """
        with sqlite_write_lock(own_alias()), transaction.atomic(own_alias()):
            crash_marker.write_ahead(job)
            self._fence()
        job.is_written_ahead = True

    def _call(self, jobs: Sequence[Job], shared: SharedTransaction, part: _Batch) -> None:
        until = monotonic() + SLICE
        failed: set[Item] = set()
        for index, job in enumerate(jobs):
            if job.item in failed:
                self._skip(job, part.found)
                continue
            is_through = self._call_receivers(job, shared, part, until)
            if not job.left:
                part.found.add(job, self._policies[job.row.connection])
            elif job.delivered != job.row.delivered:
                part.found.progressed.append(job)
            if not is_through:
                part.found.unfinished += jobs[index:]
                return
            if job.left:
                part.found.unfinished.append(job)
            if job.failures:
                failed.add(job.item)

    def _call_receivers(
        self, job: Job, shared: SharedTransaction, part: _Batch, until: float
    ) -> bool:
        """Make the calls of a job that share the transaction.

        Returns:
            Whether they were all made; the others wait for the next slice.
        """
        while (call := job.next) and call.is_atomic:
            if part.calls and self._must_wait(job, call, part.calls[-1], shared, until):
                return False
            started = monotonic()
            part.calls.append((job, call))
            job.take(call, shared.call(call))
            self._note_time(call, monotonic() - started)
        return True

    def _must_wait(
        self,
        job: Job,
        call: Call,
        last: tuple[Job, Call],
        shared: SharedTransaction,
        until: float,
    ) -> bool:
        """Whether a call must not share the transaction with the calls before it."""
        last_job, last_call = last
        return (
            monotonic() >= until
            or shared.locks_others_out
            or job.isolated
            or last_job.isolated
            or call.name in self._slow
            or last_call.name in self._slow
        )

    def _note_time(self, call: Call, seconds: float) -> None:
        if seconds > SLICE:
            self._slow.add(call.name)
        else:
            self._slow.discard(call.name)

    @staticmethod
    def _skip(job: Job, found: Outcomes) -> None:
        """Do not deliver a job whose item has just failed.

        Where the failed one is dead by now, this one is not held: it stays as it is and
        is read again.
        """
        if any(failed.job.item == job.item and not failed.is_dead for failed in found.failed):
            found.held.append(job)
        else:
            found.reads_again = True

    def _settle(self, found: Outcomes) -> None:
        """Take in what was committed."""
        for job in found.progressed:
            job.row.delivered = list(job.delivered)
        self.blocked.update(found)
        found.reads_again = found.reads_again or bool(found.released)
        now = timezone.now()
        for job in found.done:
            seconds = (now - job.row.received_at).total_seconds()
            counts.delivery_seconds.observe((job.row.connection,), max(seconds, 0))
        for failed in found.failed:
            _count(failed)
            self._report(failed)

    def _report(self, failed: delivery_queue.FailedAttempt) -> None:
        """Say what failed; the same failure of other events is said once a minute."""
        event = failed.job.event
        for failure in failed.job.failures:
            first_within = self._repetitions.first_within(f"{failure.receiver} {failure.error}")
            logger.log(
                logging.WARNING if first_within else logging.DEBUG,
                "The receiver %s failed for %s %s %s (%s): %s",
                failure.receiver,
                event.collection,
                event.key,
                event.action,
                ", ".join(filter(None, [f"try {failed.attempts}", failure.place])),
                failure.error,
                extra={
                    "event": "receiver-failed",
                    "connection": event.connection,
                    "subscription": event.subscription,
                    "collection": event.collection,
                    "key": event.key,
                    "event_id": event.id,
                    "receiver": failure.receiver,
                    "attempt": failed.attempts,
                    "error": failure.error,
                    "traceback": failure.traceback,
                },
            )
        if failed.is_dead:
            logger.error(
                "%s %s %s is a dead letter after %s (event %d in the admin): %s",
                event.collection,
                event.key,
                event.action,
                "1 try" if failed.attempts == 1 else f"{failed.attempts} tries",
                failed.job.row.pk,
                "; ".join(f"{each.receiver}: {each.error}" for each in failed.job.failures),
                extra={
                    "event": "dead-letter",
                    "connection": event.connection,
                    "subscription": event.subscription,
                    "collection": event.collection,
                    "key": event.key,
                    "event_id": event.id,
                    "attempt": failed.attempts,
                },
            )


def _after_a_break(
    jobs: Sequence[Job], calls: Sequence[tuple[Job, Call]], error: Error
) -> Outcomes:
    """What to do after a transaction that could not be committed.

    Its jobs are run again with a transaction for each call, so that the guilty receiver is
    found and the others get through. A call that breaks its own transaction has failed.
    """
    job, call = calls[0]
    if job.isolated:
        job.take_back(call, error)
        return Outcomes(unfinished=list(jobs))
    logger.warning(
        "A transaction could not be committed (%s); its %d receivers are called again, each "
        "in a transaction of its own.",
        on_one_line(error),
        len(calls),
        extra={"event": "transaction-broken", "error": str(error), "receivers": len(calls)},
    )
    broken = {job for job, _ in calls}
    again = [
        Job.of(job.row, isolated=True, is_suspect=job.is_suspect) if job in broken else job
        for job in jobs
    ]
    return Outcomes(unfinished=again)


def _count(failed: delivery_queue.FailedAttempt) -> None:
    for failure in failed.job.failures:
        counts.receiver_failures.add((failure.receiver,))
    counter = counts.dead_letters if failed.is_dead else counts.retries
    counter.add((failed.job.row.connection,))
