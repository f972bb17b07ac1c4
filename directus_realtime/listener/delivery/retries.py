"""Results of attempts: processed, retried after a growing delay, or a dead letter."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from directus_realtime.listener.delivery.receiver_calls import Item, Job
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.system_clock import SystemClock


@dataclass(frozen=True)
class RetryPolicy:
    """Retries of failed receivers.

    Attributes:
        attempts: Number of attempts after which the event is a dead letter.
        ceiling: Longest delay, in seconds.
        base: Seconds; doubled with each attempt, it is the upper bound of the next delay.
    """

    attempts: int
    ceiling: float
    base: float = 1.0

    @classmethod
    def of(cls, settings: ConnectionSettings) -> RetryPolicy:
        """Return the policy of a connection."""
        return cls(settings.retry_attempts, settings.retry_ceiling, settings.retry_base)

    def delay(self, attempts: int, clock: SystemClock) -> timedelta:
        """Return the delay after a number of attempts, with full jitter."""
        # The exponent is bounded so that many attempts make no huge number.
        limit = min(self.ceiling, self.base * 2 ** min(attempts, 30))
        return timedelta(seconds=clock.uniform(0, limit))


@dataclass
class Outcomes:
    """Results of jobs.

    Attributes:
        done: Jobs of which every receiver has succeeded.
        failed: Jobs with failed receivers; those without ``retry_at`` are dead letters.
        progressed: Jobs with further receivers that succeeded, and others still to be called.
        held: Jobs of items with an earlier failed event.
        released: Items that no failed event blocks any longer.
        unfinished: Jobs to continue with, in order.
        must_reread: Whether events older than the jobs in memory may have become due.
    """

    done: list[Job] = field(default_factory=list)
    failed: list[Job] = field(default_factory=list)
    progressed: list[Job] = field(default_factory=list)
    held: list[Job] = field(default_factory=list)
    released: list[Item] = field(default_factory=list)
    unfinished: list[Job] = field(default_factory=list)
    must_reread: bool = False

    def add(self, job: Job, policy: RetryPolicy, clock: SystemClock) -> None:
        """Add a job without remaining calls, and plan its retry where it has failed."""
        if not job.failures:
            self.done.append(job)
            return
        if job.attempts < policy.attempts:
            job.retry_at = clock.now() + policy.delay(job.attempts, clock)
        self.failed.append(job)

    def to_send(self) -> list[Job]:
        """Return the jobs whose group messages are due, in the order of the inbox."""
        jobs = [*self.done, *self.failed, *self.held]
        return sorted((job for job in jobs if job.row.sent_at is None), key=lambda job: job.row.pk)
