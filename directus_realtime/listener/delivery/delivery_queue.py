"""What delivery reads from the inbox, and what it writes back."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet
from django.utils import timezone

from directus_realtime.database import of_connections, own_alias
from directus_realtime.listener.delivery.jobs import Item, Job, item_of
from directus_realtime.listener.inbox import FreshRows
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import ConnectionSettings

#: By how much the clocks of two machines may differ.
_CLOCKS = timedelta(seconds=60)
#: Rows of one statement.
_CHUNK = 500


class RowsChanged(Exception):
    """Rows are not as they were read: somebody else has delivered or changed them."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how late a failed receiver is tried again.

    Attributes:
        attempts: After this many, the event is a dead letter.
        ceiling: Seconds; no delay is longer.
        base: Seconds; doubled with each attempt, it is the longest delay before the next.
    """

    attempts: int
    ceiling: float
    base: float = 1.0

    @classmethod
    def of(cls, settings: ConnectionSettings) -> RetryPolicy:
        """The policy of a connection."""
        return cls(settings.retry_attempts, settings.retry_ceiling, settings.retry_base)

    def delay(self, attempts: int) -> timedelta:
        """The delay after so many attempts, with full jitter."""
        # The exponent is bounded so that many attempts make no huge number.
        limit = min(self.ceiling, self.base * 2 ** min(attempts, 30))
        return timedelta(seconds=random.uniform(0, limit))


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A job of which a receiver failed.

    Attributes:
        job: The job.
        attempts: How many there were, with this one.
        state: Failed, or dead.
        next_attempt_at: When it is tried again.
    """

    job: Job
    attempts: int
    state: InboxState
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, job: Job, policy: RetryPolicy) -> FailedAttempt:
        """What a policy makes of a job."""
        attempts = job.row.attempts + 1
        if attempts >= policy.attempts:
            return cls(job, attempts, InboxState.DEAD, None)
        return cls(job, attempts, InboxState.FAILED, timezone.now() + policy.delay(attempts))

    @property
    def is_dead(self) -> bool:
        """Whether it is not tried again."""
        return self.state == InboxState.DEAD


@dataclass
class Outcomes:
    """What became of some jobs.

    Attributes:
        done: Every receiver succeeded.
        failed: Some did not; tried again, or dead.
        progressed: Some receivers are through, others are still to be called.
        held: An earlier event of the item failed.
        released: Items that nothing holds back any more.
        unfinished: To be gone on with, in order.
        reads_again: Whether older events than those at hand may have become due.
    """

    done: list[Job] = field(default_factory=list)
    failed: list[FailedAttempt] = field(default_factory=list)
    progressed: list[Job] = field(default_factory=list)
    held: list[Job] = field(default_factory=list)
    released: list[Item] = field(default_factory=list)
    unfinished: list[Job] = field(default_factory=list)
    reads_again: bool = False

    def add(self, job: Job, policy: RetryPolicy) -> None:
        """Sort in a job whose receivers were all called."""
        if job.failures:
            self.failed.append(FailedAttempt.of(job, policy))
        else:
            self.done.append(job)

    def to_send(self) -> list[Job]:
        """The jobs whose group messages are to be sent now, in the order of the inbox."""
        jobs = [*self.done, *(failed.job for failed in self.failed), *self.held]
        return sorted((job for job in jobs if job.row.sent_at is None), key=lambda job: job.row.pk)


class BlockedItems:
    """The items whose later events wait for a failed one, and for which rows they wait."""

    def __init__(self) -> None:
        self._rows: dict[Item, set[int]] = {}

    @classmethod
    def read(cls, aliases: Iterable[str]) -> BlockedItems:
        """As the inbox has them."""
        blocked = cls()
        failed = of_connections(InboxEvent.objects.filter(state=InboxState.FAILED), aliases)
        for row in failed.only("connection", "collection", "key_json"):
            blocked.add(row)
        return blocked

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __contains__(self, item: Item) -> bool:
        return item in self._rows

    def is_same_as(self, other: BlockedItems) -> bool:
        """Whether the same rows hold the same items back."""
        return self._rows == other._rows

    def add(self, row: InboxEvent) -> None:
        """A row failed."""
        self._rows.setdefault(item_of(row), set()).add(row.pk)

    def remove(self, row: InboxEvent) -> None:
        """A row is through."""
        item = item_of(row)
        if rows := self._rows.get(item):
            rows.discard(row.pk)
            if not rows:
                del self._rows[item]

    def released_by(self, found: Outcomes) -> list[Item]:
        """The items that wait for nothing but rows that are through by some outcomes."""
        if not self._rows:
            return []
        through = [*found.done, *(failed.job for failed in found.failed if failed.is_dead)]
        still_failed = {failed.job.item for failed in found.failed if not failed.is_dead}
        pks = {job.row.pk for job in through}
        items = {job.item for job in through if job.item in self._rows}
        return [item for item in items - still_failed if self._rows[item] <= pks]

    def update(self, found: Outcomes) -> None:
        """Take outcomes in that were written down."""
        for job in found.done:
            self.remove(job.row)
        for failed in found.failed:
            if failed.is_dead:
                self.remove(failed.job.row)
            else:
                self.add(failed.job.row)


def take_back(aliases: Iterable[str]) -> None:
    """Take rows back from workers, after the setting ``DELIVERY`` was changed."""
    rows = of_connections(InboxEvent.objects.filter(state=InboxState.DELIVERING), aliases)
    rows.update(state=InboxState.PENDING, next_attempt_at=None)


def refresh_blocked(aliases: Collection[str], known: BlockedItems | None = None) -> BlockedItems:
    """See what holds items back, and let go of the held rows that wait for nothing.

    Somebody may have deleted, or put into another state, what they waited for; and where the
    answer of a commit got lost, nobody knows what it has let go.

    Args:
        aliases: Of the connections that are delivered.
        known: What holds items back, as far as is known; ``None`` where nothing is.
    """
    blocked = BlockedItems.read(aliases)
    if known is not None and known.is_same_as(blocked):
        return blocked
    held = of_connections(InboxEvent.objects.filter(state=InboxState.HELD), aliases)
    columns = "connection", "collection", "key_json"
    free = [row.pk for row in held.only(*columns).iterator() if item_of(row) not in blocked]
    for start in range(0, len(free), _CHUNK):
        rows = InboxEvent.objects.filter(pk__in=free[start : start + _CHUNK], state=InboxState.HELD)
        rows.update(state=InboxState.PENDING)
    return blocked


def due_rows(
    aliases: Iterable[str],
    limit: int,
    *,
    with_retries: bool,
    ceiling: float = ConnectionSettings.retry_ceiling,
    fresh: FreshRows | None = None,
) -> list[InboxEvent]:
    """The rows to deliver now, oldest first.

    Args:
        aliases: Of the connections that are delivered.
        limit: Of pending rows, and of failed rows.
        with_retries: Also look for failed rows whose time has come.
        ceiling: Seconds that a failed row waits at most.
        fresh: Rows that need not be read again.
    """
    now = timezone.now()
    rows = of_connections(InboxEvent.objects.order_by("id"), aliases)
    pending = rows.filter(has_arrived(now))
    found = _with_fresh(pending, limit, fresh) if fresh else list(pending[:limit])
    if fresh is not None:
        fresh.remove(found)  # stored behind the look for fresh ones, and read all the same
    if not with_retries:
        return found
    retries = rows.filter(is_due_again(now, ceiling))[:limit]
    return sorted([*found, *retries], key=lambda row: row.pk)


def has_arrived(now: datetime) -> Q:
    """Pending, and no window keeps it.

    A clock that was put back is no reason to wait: what came in ahead of it has no window.
    """
    is_due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    return Q(state=InboxState.PENDING) & (is_due | Q(received_at__gt=now + _CLOCKS))


def is_due_again(now: datetime, ceiling: float) -> Q:
    """Failed, and to be tried again now.

    Args:
        now: The present time.
        ceiling: Seconds. What is to wait for longer was to wait for less by another clock: it
            was put back.
    """
    longest = now + timedelta(seconds=ceiling) + _CLOCKS
    is_due = Q(next_attempt_at__lte=now) | Q(next_attempt_at__gt=longest)
    return Q(state=InboxState.FAILED) & is_due


def _with_fresh(pending: QuerySet[InboxEvent], limit: int, fresh: FreshRows) -> list[InboxEvent]:
    """The table says which rows are next; only those that are not at hand are read in full."""
    ids = list(pending.values_list("pk", "event_id")[:limit])
    rows = {pk: fresh.take(pk, event_id) for pk, event_id in ids}
    missing = [pk for pk, row in rows.items() if row is None]
    if missing:
        rows.update((row.pk, row) for row in pending.filter(pk__in=missing))
    return [row for row in rows.values() if row is not None]


def next_due(aliases: Iterable[str]) -> datetime | None:
    """When the next row comes due that waits for its time: a retry, or a debounced one."""
    states = [InboxState.PENDING, InboxState.FAILED]
    rows = InboxEvent.objects.filter(state__in=states, next_attempt_at__isnull=False)
    return of_connections(rows, aliases).aggregate(earliest=Min("next_attempt_at"))["earliest"]  # type: ignore[no-any-return]


def write(found: Outcomes) -> None:
    """Write outcomes down, all or none.

    Raises:
        RowsChanged: A row is not as it was read; nothing is written.
    """
    now = timezone.now()
    with transaction.atomic(own_alias(), savepoint=False):
        update_rows(
            found.done,
            state=InboxState.DONE,
            done_at=now,
            next_attempt_at=None,
            attempts=F("attempts") + 1,
            failures={},
            delivered=[],
            sent_at=now,
        )
        for failed in found.failed:
            update_rows([failed.job], **_values_of(failed, now))
        for delivered, jobs in _by_delivered(found.progressed).items():
            update_rows(jobs, delivered=list(delivered))
        update_rows(found.held, state=InboxState.HELD, sent_at=now)
        if found.released:
            _held_back(found.released).update(state=InboxState.PENDING)


def _values_of(failed: FailedAttempt, now: datetime) -> dict[str, Any]:
    job = failed.job
    return {
        "state": failed.state,
        "attempts": failed.attempts,
        "next_attempt_at": failed.next_attempt_at,
        "failures": {failure.receiver: asdict(failure) for failure in job.failures},
        "delivered": job.delivered,
        "sent_at": job.row.sent_at or now,
    }


def _by_delivered(jobs: Iterable[Job]) -> dict[tuple[str, ...], list[Job]]:
    found: defaultdict[tuple[str, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        found[tuple(job.delivered)].append(job)
    return found


def update_rows(jobs: Collection[Job], **values: Any) -> None:
    """Change the rows of jobs on condition that they are as they were read.

    The state alone would not do: where an event is delivered twice at the same time, the
    same receiver must not be marked, and so must not have its work committed, twice.

    Raises:
        RowsChanged: A row is not as it was read.
    """
    as_read: defaultdict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for job in jobs:
        as_read[job.row.state, tuple(job.row.delivered)].append(job.row.pk)
    for (state, delivered), pks in as_read.items():
        rows = InboxEvent.objects.filter(pk__in=pks, state=state, delivered=list(delivered))
        if rows.update(**values) != len(pks):
            raise RowsChanged(f"Of {len(pks)} rows some are not {state} any more.")


def _held_back(items: Sequence[Item]) -> QuerySet[InboxEvent]:
    condition = Q()
    for connection, collection, key in items:
        condition |= Q(connection=connection, collection=collection, key_json=key)
    return InboxEvent.objects.filter(condition, state=InboxState.HELD)
