"""The inbox as the queue of delivery: due rows, retries, blocked items, and outcomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet

from directus_realtime.database import of_connections, own_alias
from directus_realtime.listener.delivery.receiver_calls import Item, Job, item_of
from directus_realtime.listener.delivery.retries import Outcomes
from directus_realtime.listener.inbox import FreshRows
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.system_clock import SystemClock

#: Allowed difference between the clocks of two machines.
_CLOCK_SKEW = timedelta(seconds=60)
#: Rows of one statement.
_CHUNK = 500


class RowsChanged(Exception):
    """Rows changed since they were read: another process delivered or changed them."""


@dataclass
class BlockedItems:
    """Items whose later events wait for failed ones.

    Attributes:
        rows: Primary keys of the failed rows, by item.
    """

    rows: dict[Item, set[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, aliases: Iterable[str]) -> BlockedItems:
        """Read the failed rows of connections."""
        blocked = cls()
        failed = of_connections(InboxEvent.objects.filter(state=InboxState.FAILED), aliases)
        for row in failed.only("connection", "collection", "key_json"):
            blocked.add(row)
        return blocked

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __contains__(self, item: Item) -> bool:
        return item in self.rows

    def add(self, row: InboxEvent) -> None:
        """Add a failed row."""
        self.rows.setdefault(item_of(row), set()).add(row.pk)

    def remove(self, row: InboxEvent) -> None:
        """Remove a row that is done or dead."""
        item = item_of(row)
        if pks := self.rows.get(item):
            pks.discard(row.pk)
            if not pks:
                del self.rows[item]

    def released_by(self, outcomes: Outcomes) -> list[Item]:
        """Return the items that are no longer blocked after some outcomes."""
        if not self.rows:
            return []
        finished = [*outcomes.done, *(job for job in outcomes.failed if not job.retry_at)]
        still_failed = {job.item for job in outcomes.failed if job.retry_at}
        pks = {job.row.pk for job in finished}
        items = {job.item for job in finished if job.item in self.rows}
        return [item for item in items - still_failed if self.rows[item] <= pks]

    def update(self, outcomes: Outcomes) -> None:
        """Apply outcomes that were committed."""
        for job in outcomes.done:
            self.remove(job.row)
        for job in outcomes.failed:
            if job.retry_at:
                self.add(job.row)
            else:
                self.remove(job.row)


def reclaim_rows(aliases: Iterable[str]) -> None:
    """Make rows of workers pending, after the setting ``DELIVERY`` was changed."""
    rows = of_connections(InboxEvent.objects.filter(state=InboxState.DELIVERING), aliases)
    rows.update(state=InboxState.PENDING, next_attempt_at=None)


def refresh_blocked(aliases: Collection[str], known: BlockedItems | None = None) -> BlockedItems:
    """Recompute the blocked items, and release held rows that are no longer blocked.

    The failed row may have been deleted or changed by another process, and a commit whose answer
    got lost may have released rows.

    Args:
        aliases: Aliases of the delivered connections.
        known: Blocked items as last known; ``None`` where they are unknown.
    """
    blocked = BlockedItems.read(aliases)
    if known == blocked:
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
    clock: SystemClock,
    *,
    with_retries: bool,
    ceiling: float = ConnectionSettings.retry_ceiling,
    fresh: FreshRows | None = None,
) -> list[InboxEvent]:
    """Return the rows to deliver now, oldest first.

    Args:
        aliases: Aliases of the delivered connections.
        limit: Limit of pending rows, and of failed rows.
        clock: The clock.
        with_retries: Whether failed rows are included.
        ceiling: Longest delay of a retry, in seconds.
        fresh: Rows in memory that need not be read.
    """
    now = clock.now()
    rows = of_connections(InboxEvent.objects.order_by("id"), aliases)
    pending = rows.filter(has_arrived(now))
    found = _with_fresh(pending, limit, fresh) if fresh else list(pending[:limit])
    if fresh is not None:
        fresh.remove(found)  # rows that were stored after the check of ``fresh``
    if not with_retries:
        return found
    retries = rows.filter(is_due_again(now, ceiling))[:limit]
    return sorted([*found, *retries], key=lambda row: row.pk)


def has_arrived(now: datetime) -> Q:
    """Match pending rows outside of a debounce window.

    A row of the future was stored before the clock was set back; its window is ignored.
    """
    is_due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    return Q(state=InboxState.PENDING) & (is_due | Q(received_at__gt=now + _CLOCK_SKEW))


def is_due_again(now: datetime, ceiling: float) -> Q:
    """Match failed rows whose retry is due.

    Args:
        now: Present time.
        ceiling: Longest delay, in seconds; a retry that is further away was planned before the
            clock was set back, and is due.
    """
    longest = now + timedelta(seconds=ceiling) + _CLOCK_SKEW
    is_due = Q(next_attempt_at__lte=now) | Q(next_attempt_at__gt=longest)
    return Q(state=InboxState.FAILED) & is_due


def _with_fresh(pending: QuerySet[InboxEvent], limit: int, fresh: FreshRows) -> list[InboxEvent]:
    """Read the keys of the next rows, and in full only rows that are not in memory."""
    ids = list(pending.values_list("pk", "event_id")[:limit])
    rows = {pk: fresh.take(pk, event_id) for pk, event_id in ids}
    missing = [pk for pk, row in rows.items() if row is None]
    if missing:
        rows.update((row.pk, row) for row in pending.filter(pk__in=missing))
    return [row for row in rows.values() if row is not None]


def next_due(aliases: Iterable[str]) -> datetime | None:
    """Return the time of the next retry, or of the end of the next debounce window."""
    states = [InboxState.PENDING, InboxState.FAILED]
    rows = InboxEvent.objects.filter(state__in=states, next_attempt_at__isnull=False)
    return of_connections(rows, aliases).aggregate(earliest=Min("next_attempt_at"))["earliest"]  # type: ignore[no-any-return]


def write(outcomes: Outcomes, now: datetime) -> None:
    """Store outcomes, all or none.

    Args:
        outcomes: The outcomes.
        now: Present time.

    Raises:
        RowsChanged: A row changed since it was read; nothing is stored.
    """
    with transaction.atomic(own_alias(), savepoint=False):
        update_rows(
            outcomes.done,
            state=InboxState.DONE,
            done_at=now,
            next_attempt_at=None,
            attempts=F("attempts") + 1,
            failures={},
            delivered=[],
            sent_at=now,
        )
        for job in outcomes.failed:
            update_rows(
                [job],
                state=InboxState.FAILED if job.retry_at else InboxState.DEAD,
                attempts=job.attempts,
                next_attempt_at=job.retry_at,
                failures={failure.receiver: asdict(failure) for failure in job.failures},
                delivered=job.delivered,
                sent_at=job.row.sent_at or now,
            )
        progressed = defaultdict(list)
        for job in outcomes.progressed:
            progressed[tuple(job.delivered)].append(job)
        for delivered, jobs in progressed.items():
            update_rows(jobs, delivered=list(delivered))
        update_rows(outcomes.held, state=InboxState.HELD, sent_at=now)
        if outcomes.released:
            condition = Q()
            for connection, collection, key in outcomes.released:
                condition |= Q(connection=connection, collection=collection, key_json=key)
            held = InboxEvent.objects.filter(condition, state=InboxState.HELD)
            held.update(state=InboxState.PENDING)


def update_rows(jobs: Collection[Job], **values: Any) -> None:
    """Update the rows of jobs on condition that they are unchanged.

    The condition includes the receivers that have succeeded: where an event is delivered twice
    at the same time, the work of a receiver must not be committed twice.

    Raises:
        RowsChanged: A row changed since it was read.
    """
    as_read: defaultdict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for job in jobs:
        as_read[job.row.state, tuple(job.row.delivered)].append(job.row.pk)
    for (state, delivered), pks in as_read.items():
        rows = InboxEvent.objects.filter(pk__in=pks, state=state, delivered=list(delivered))
        if rows.update(**values) != len(pks):
            raise RowsChanged(f"Of {len(pks)} rows some are no longer {state}.")
