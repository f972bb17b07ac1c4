"""What delivery reads from the inbox, and what it writes back."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet
from django.utils import timezone

from directus_realtime.listener.receivers import Failure
from directus_realtime.models import InboxEvent, InboxState

#: Connection, collection and key (as JSON): what order is kept for.
Item = tuple[str, str, str]

#: Seconds; the ceiling of the first delay, doubled with each attempt.
RETRY_BASE = 1.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how late a failed receiver is tried again.

    Attributes:
        attempts: After this many, the event is a dead letter.
        ceiling: Seconds; no delay is longer.
    """

    attempts: int
    ceiling: float

    def delay(self, attempts: int) -> timedelta:
        """A delay after so many attempts, with full jitter."""
        # The exponent is bounded so that many attempts make no huge number.
        limit = min(self.ceiling, RETRY_BASE * 2 ** min(attempts, 30))
        return timedelta(seconds=random.uniform(0, limit))


@dataclass
class Outcomes:
    """What became of some rows.

    Attributes:
        done: Every receiver succeeded.
        failed: Some did not; tried again, or dead.
        held: An earlier event of the item failed.
        released: Items that nothing holds back any more.
    """

    done: list[InboxEvent] = field(default_factory=list)
    failed: list[InboxEvent] = field(default_factory=list)
    held: list[InboxEvent] = field(default_factory=list)
    released: list[Item] = field(default_factory=list)

    def all_rows(self) -> list[InboxEvent]:
        """Every row, in the order of the inbox."""
        return sorted([*self.done, *self.failed, *self.held], key=lambda row: row.pk)

    def add(self, row: InboxEvent, failures: Sequence[Failure], policy: RetryPolicy) -> bool:
        """Sort in a row that was tried.

        Returns:
            Whether it is through: done, or dead.
        """
        row.attempts += 1
        if not failures:
            self.done.append(row)
            return True
        row.failures = {failure.receiver: asdict(failure) for failure in failures}
        is_dead = row.attempts >= policy.attempts
        row.state = InboxState.DEAD if is_dead else InboxState.FAILED
        row.next_attempt_at = None if is_dead else timezone.now() + policy.delay(row.attempts)
        self.failed.append(row)
        return is_dead


def item_of(row: InboxEvent) -> Item:
    """The item whose order a row is part of."""
    return row.connection, row.collection, row.key_json


class BlockedItems:
    """The items whose later events wait for a failed one, and for which rows they wait."""

    def __init__(self) -> None:
        self._rows: dict[Item, set[int]] = {}

    @classmethod
    def read(cls, aliases: Iterable[str]) -> BlockedItems:
        """As the inbox has them."""
        blocked = cls()
        failed = InboxEvent.objects.filter(connection__in=list(aliases), state=InboxState.FAILED)
        for row in failed.only("connection", "collection", "key_json"):
            blocked.add(row)
        return blocked

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __contains__(self, item: Item) -> bool:
        return item in self._rows

    def add(self, row: InboxEvent) -> None:
        """A row failed."""
        self._rows.setdefault(item_of(row), set()).add(row.pk)

    def remove(self, row: InboxEvent) -> bool:
        """A row is through.

        Returns:
            Whether its item waited for that row, and waits for no other.
        """
        item = item_of(row)
        waited_for = self._rows.get(item, set())
        if row.pk not in waited_for:
            return False
        waited_for.discard(row.pk)
        if not waited_for:
            del self._rows[item]
        return not waited_for


def due_rows(aliases: Iterable[str], limit: int, *, with_retries: bool) -> list[InboxEvent]:
    """The rows to deliver now, oldest first.

    Args:
        aliases: Of the connections that are delivered.
        limit: Of pending rows, and of failed rows.
        with_retries: Also look for failed rows whose time has come.
    """
    now = timezone.now()
    rows = InboxEvent.objects.filter(connection__in=list(aliases)).order_by("id")
    is_due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    pending = rows.filter(is_due, state=InboxState.PENDING)[:limit]
    if not with_retries:
        return list(pending)
    retries = rows.filter(state=InboxState.FAILED, next_attempt_at__lte=now)[:limit]
    return sorted([*pending, *retries], key=lambda row: row.pk)


def next_due(aliases: Iterable[str]) -> datetime | None:
    """When the next row comes due that waits for its time: a retry, or a debounced one."""
    rows = InboxEvent.objects.filter(
        connection__in=list(aliases),
        state__in=[InboxState.PENDING, InboxState.FAILED],
        next_attempt_at__isnull=False,
    )
    return rows.aggregate(earliest=Min("next_attempt_at"))["earliest"]  # type: ignore[no-any-return]


def write(outcomes: Outcomes) -> None:
    """Write outcomes down, all or none; may be called again with the same."""
    now = timezone.now()
    sent_at = {"sent_at": now}
    with transaction.atomic():
        if outcomes.done:
            _rows(outcomes.done).update(
                state=InboxState.DONE,
                done_at=now,
                next_attempt_at=None,
                attempts=F("attempts") + 1,
                failures={},
                **sent_at,
            )
        for row in outcomes.failed:
            row.sent_at = row.sent_at or now
            row.save(update_fields=["state", "attempts", "next_attempt_at", "failures", "sent_at"])
        if outcomes.held:
            _rows(outcomes.held).update(state=InboxState.HELD, **sent_at)
        if outcomes.released:
            _held_back(outcomes.released).update(state=InboxState.PENDING)


def _rows(rows: Iterable[InboxEvent]) -> QuerySet[InboxEvent]:
    return InboxEvent.objects.filter(pk__in=[row.pk for row in rows])


def _held_back(items: Iterable[Item]) -> QuerySet[InboxEvent]:
    condition = Q()
    for connection, collection, key in items:
        condition |= Q(connection=connection, collection=collection, key_json=key)
    return InboxEvent.objects.filter(condition, state=InboxState.HELD)
