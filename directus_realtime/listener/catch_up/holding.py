"""Live events that wait for the catch-up: stored at once, let go when it is through.

Under its own id, a row that waits is never delivered: it is merged, or deleted and stored again
behind the others. Web processes, which follow the inbox by id, pass it by for good.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from django.db import transaction
from django.utils import timezone

from directus_realtime.database import own_alias
from directus_realtime.listener.finding import of_connections
from directus_realtime.listener.inbox import store
from directus_realtime.listener.incoming import Debounce, Incoming, Memory
from directus_realtime.models import NO_ROW, InboxEvent, InboxState

#: Seconds after a caught-up event in which a live one may still come in for the same change.
DOUBT = 120.0
#: Rows of one transaction.
_CHUNK = 500

#: Subscription, and key as JSON.
Change = tuple[str, str]


class RecentChanges:
    """Changes that were noted in the last :data:`DOUBT` seconds.

    They are kept in memory: no index leads to what was caught up lately, and the question
    comes with every page of the log.
    """

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
        self._forget_ended()

    def current(self) -> frozenset[Change]:
        """Those that have not ended; the others are forgotten."""
        self._forget_ended()
        return frozenset(self._until)

    def _forget_ended(self) -> None:
        now = monotonic()
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]


@dataclass(frozen=True)
class Delivered:
    """How a subscription's events are stored, once they are let go."""

    debounce: Debounce | None
    memory: Memory | None


def held_events(
    alias: str, subscriptions: Collection[str], rows: Collection[int]
) -> list[InboxEvent]:
    """The events that wait, of some rows of the log; in the order of the log.

    Args:
        alias: Of the connection.
        subscriptions: Names.
        rows: Ids of the log.
    """
    mine = InboxEvent.objects.filter(connection=alias, subscription__in=subscriptions)
    waiting = mine.filter(state=InboxState.WAITING, activity_id__in=rows)
    return list(waiting.order_by("activity_id", "id"))


def stale_events(
    held: Iterable[InboxEvent], items: Collection[str], caught_up: RecentChanges
) -> list[InboxEvent]:
    """The held events that may carry an older state than what was read of their items.

    When they came in says nothing of that, for they may have been long on their way. Their
    rows of the log make new events, in their place.

    Args:
        held: Events that wait.
        items: Keys that the log has; they are caught up now.
        caught_up: What was caught up lately.
    """
    return [
        row
        for row in held
        if str(row.key) in items or (row.subscription, row.key_json) in caught_up
    ]


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
    with transaction.atomic(own_alias()):
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
    caught_up: frozenset[Change],
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
        doubts: Changes that were caught up, and of which a live event may come in.
        caught_up: All that were caught up lately.
        looked_at: When the log was looked at, at the latest.

    Returns:
        How many events stay.
    """

    def judge(row: InboxEvent) -> Verdict:
        change = row.subscription, row.key_json
        if row.activity_id is not None or not (change in doubts or change in caught_up):
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
    with transaction.atomic(own_alias()):
        InboxEvent.objects.filter(pk__in=duplicates).update(
            state=InboxState.MERGED, done_at=timezone.now(), activity_id=NO_ROW
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
        return Incoming(again, overtakes=True)
    return Incoming(again, delivered.debounce, delivered.memory, overtakes=True)


def recent_changes(alias: str, since: datetime) -> list[Change]:
    """The changes that were caught up lately, by a listener before this one."""
    rows = InboxEvent.objects.filter(connection=alias)
    # No index has the times; but what is older than an event that was through before then
    # came in before then, too.
    through = rows.filter(done_at__lt=since).order_by("-id").values_list("id", flat=True)
    lately = rows.filter(id__gt=through.first() or 0, received_at__gte=since)
    return list(lately.filter(origin="catch-up").values_list("subscription", "key_json"))
