"""Live events that wait for the catch-up: stored at once, let go when it is through.

Under its own id, a row that waits is never delivered: it is merged, or deleted and stored again
behind the others. Web processes, which follow the inbox by id, pass it by for good.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from django.db import transaction
from django.utils import timezone

from directus_realtime.listener.finding import of_connections
from directus_realtime.listener.inbox import store
from directus_realtime.listener.incoming import Debounce, Incoming, Memory
from directus_realtime.models import InboxEvent, InboxState

#: Seconds after a caught-up event in which a live one may still come in for the same change.
DOUBT = 120.0
#: Rows of one transaction.
_CHUNK = 500
#: Activity id of a duplicate, which belongs to no row of the log.
_NO_ROW = 0

#: Subscription, and key as JSON.
Change = tuple[str, str]


class Doubts:
    """Items of which a live event may be about a change that was caught up already."""

    def __init__(self) -> None:
        self._until: dict[Change, float] = {}

    def __contains__(self, change: Change) -> bool:
        until = self._until.get(change)
        return until is not None and monotonic() < until

    def add(self, change: Change) -> None:
        """A change of an item was caught up."""
        # Last in the order, which is the order of the ends.
        self._until.pop(change, None)
        self._until[change] = monotonic() + DOUBT

    def current(self) -> frozenset[Change]:
        """Those that have not ended; the others are forgotten."""
        now = monotonic()
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]
        return frozenset(self._until)


@dataclass(frozen=True)
class Delivered:
    """How a subscription's events are stored, once they are let go."""

    debounce: Debounce | None
    memory: Memory | None


@dataclass(frozen=True)
class Held:
    """An event that waits, and that belongs to a row of the log.

    Attributes:
        row: Of the inbox.
        is_stale: Whether its item was caught up: what it carries may be older than what was
            handed on. When it came in says nothing of that, for it may have been long on its
            way.
    """

    row: InboxEvent
    is_stale: bool


def held_events(alias: str, subscriptions: Collection[str], rows: Collection[int]) -> list[Held]:
    """The events that wait, of some rows of the log; in the order of the log.

    Args:
        alias: Of the connection.
        subscriptions: Names.
        rows: Ids of the log.
    """
    mine = InboxEvent.objects.filter(connection=alias, subscription__in=subscriptions)
    waiting = mine.filter(state=InboxState.WAITING, activity_id__in=rows)
    held = list(waiting.order_by("activity_id", "id"))
    overtaken = _overtaken(alias, held)
    return [Held(row, (row.subscription, row.key_json) in overtaken) for row in held]


def _overtaken(alias: str, held: Collection[InboxEvent]) -> set[Change]:
    """Of the items of some events, those that were caught up lately."""
    if not held:
        return set()
    caught = InboxEvent.objects.filter(
        connection=alias,
        origin="catch-up",
        received_at__gte=timezone.now() - timedelta(seconds=DOUBT),
        key_json__in={row.key_json for row in held},
    )
    return set(caught.values_list("subscription", "key_json"))


def replace_held(
    stale: Collection[InboxEvent], going: Iterable[InboxEvent], delivered: Delivered
) -> None:
    """Let events go, behind everything that is in the inbox by now, and drop others.

    Args:
        stale: Those to drop; their rows of the log make new events.
        going: Those to let go, of one subscription and in order.
        delivered: How they are stored.
    """
    going = list(going)
    with transaction.atomic():
        InboxEvent.objects.filter(pk__in=[row.pk for row in [*stale, *going]]).delete()
        store([_again(row, delivered) for row in going])


class Verdict(enum.Enum):
    """What becomes of an event that waits."""

    GO = enum.auto()
    STAY = enum.auto()
    DUPLICATE = enum.auto()


def let_go(
    alias: str,
    subscriptions: Mapping[str, Delivered],
    behind: Collection[str],
    doubts: frozenset[Change],
    looked_at: datetime,
) -> int:
    """Let go what waits, behind everything that is in the inbox by now.

    Where a change was caught up before its live event came in, that event belongs to no
    row of the log and is marked as merged. One that came in after the log was looked at
    stays until the next look, and so does one of an item that was caught up meanwhile: it
    may carry an older state, which its row of the log will tell.

    Args:
        alias: Of the connection.
        subscriptions: Those that are caught up, by name.
        behind: Names of those that are not.
        doubts: See :class:`Doubts`.
        looked_at: When the log was looked at, at the latest.

    Returns:
        How many events stay.
    """

    overtaken: set[Change] = set()

    def judge(row: InboxEvent) -> Verdict:
        change = row.subscription, row.key_json
        if row.activity_id is not None or not (change in doubts or change in overtaken):
            return Verdict.GO
        if row.received_at >= looked_at:
            return Verdict.STAY
        return Verdict.DUPLICATE if change in doubts else Verdict.GO

    waiting = of_connections(InboxEvent.objects.filter(state=InboxState.WAITING), [alias])
    waiting = waiting.exclude(subscription__in=list(behind))
    staying: set[Change] = set()
    last, stayed = 0, 0
    while rows := list(waiting.filter(id__gt=last).order_by("id")[:_CHUNK]):
        last = rows[-1].pk
        overtaken = _overtaken(alias, rows)
        stayed += _let_go(rows, subscriptions, judge, staying)
    return stayed


def _let_go(
    rows: Iterable[InboxEvent],
    subscriptions: Mapping[str, Delivered],
    judge: Callable[[InboxEvent], Verdict],
    staying: set[Change],
) -> int:
    going: list[InboxEvent] = []
    duplicates: list[int] = []
    stayed = 0
    for row in rows:
        change = row.subscription, row.key_json
        verdict = Verdict.STAY if change in staying else judge(row)
        if verdict is Verdict.GO:
            going.append(row)
        elif verdict is Verdict.DUPLICATE:
            duplicates.append(row.pk)
        else:
            staying.add(change)  # and with it all later ones of the item
            stayed += 1
    with transaction.atomic():
        InboxEvent.objects.filter(pk__in=duplicates).update(
            state=InboxState.MERGED, done_at=timezone.now(), activity_id=_NO_ROW
        )
        InboxEvent.objects.filter(pk__in=[row.pk for row in going]).delete()
        store([_again(row, subscriptions.get(row.subscription)) for row in going])
    return stayed


def _again(row: InboxEvent, delivered: Delivered | None) -> Incoming:
    """The same event as a new row, behind those that were caught up.

    One of a subscription that is gone by now goes as it is.
    """
    again = InboxEvent.from_event(row.to_event(), row.group)
    if delivered is None:
        return Incoming(again)
    return Incoming(again, delivered.debounce, delivered.memory)


def recent_changes(alias: str, since: datetime) -> list[Change]:
    """The changes that were caught up lately, by a listener before this one."""
    rows = InboxEvent.objects.filter(
        connection=alias, origin="catch-up", activity_id__gt=_NO_ROW, received_at__gte=since
    )
    return list(rows.values_list("subscription", "key_json"))
