"""Busy items: of the changes within a window, only the last state is delivered.

It happens in the inbox, where nothing is lost: a change waits there until its window
ends, and one that a later change overtakes is marked as merged into that one. An event
without a window (caught up, loaded, replayed) overtakes what waits as well, or else the
older state would be delivered last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from directus_realtime.listener.inbox_entry import Debounce, InboxEntry
from directus_realtime.listener.querysets import of_connections
from directus_realtime.models import DebounceBy, InboxEvent, InboxState

_Window = tuple[str, str, str, str]


def _window_of(row: InboxEvent) -> _Window:
    return row.connection, row.subscription, row.collection, row.key_json


def gather(
    incoming: Iterable[InboxEntry], now: datetime, *, read_at: datetime | None = None
) -> None:
    """Give debounced rows the end of their window, and mark what rows overtake as merged.

    Rows that are stored already are changed in the database, the incoming ones in memory;
    call it in the transaction that stores them.

    Args:
        incoming: The rows, in order.
        now: The present time.
        read_at: When their items were read, at the earliest: a stored row that came in
            later is newer and is not overtaken. ``None`` where they are newer than all rows
            that are stored.
    """
    gathered = [entry for entry in incoming if entry.debounce or entry.overtakes]
    if not gathered:
        return
    windows = _OpenWindows([entry.row for entry in gathered], now, read_at)
    for entry in gathered:
        windows.take(entry.row, entry.debounce)
    windows.write()


def end_windows(alias: str, but: Collection[str]) -> None:
    """Let go what waits for the end of a window, of subscriptions that have none any more.

    What comes in for them now goes at once, and finds nothing to overtake.

    Args:
        alias: Of the connection.
        but: Names of the subscriptions that are debounced.
    """
    waiting = of_connections(_waiting(timezone.now()), [alias])
    waiting.exclude(subscription__in=list(but)).update(next_attempt_at=None)


class _OpenWindows:
    """The rows that wait for the end of a window, and what later ones make of them."""

    def __init__(self, rows: Sequence[InboxEvent], now: datetime, read_at: datetime | None) -> None:
        self._now = now
        ids = {row.event_id for row in rows}
        waiting = [row for row in _same_subscriptions(rows, now) if row.event_id not in ids]
        self._waiting = {_window_of(row): row for row in waiting if _is_before(row, read_at)}
        # An event that is in the table already changes nothing there: not its own row, and no
        # other one, which may be newer.
        self._stored = _stored(ids) if waiting else set()
        self._overtaken: list[InboxEvent] = []

    def take(self, row: InboxEvent, debounce: Debounce | None) -> None:
        """Take the next row, with a window or without one."""
        if row.event_id in self._stored:
            return
        # As it was at first, where it is stored once more without those that were with it.
        row.state, row.done_at = InboxState.PENDING, None
        row.next_attempt_at = self._end_of_window(row, debounce) if debounce else None
        if earlier := self._waiting.pop(_window_of(row), None):
            if _is_still_new(earlier, row):
                row.action = "create"
            self._overtaken.append(earlier)
            earlier.state, earlier.done_at = InboxState.MERGED, self._now
            earlier.next_attempt_at = None
        if debounce:
            self._waiting[_window_of(row)] = row

    def write(self) -> None:
        """Change the stored rows, but for those that delivery has come to meanwhile."""
        pks = [row.pk for row in self._overtaken if not row._state.adding]
        if pks:
            InboxEvent.objects.filter(pk__in=pks, state=InboxState.PENDING).update(
                state=InboxState.MERGED, done_at=self._now, next_attempt_at=None
            )

    def _end_of_window(self, row: InboxEvent, debounce: Debounce) -> datetime:
        """When the window ends that a row falls into."""
        if debounce.by == DebounceBy.ITEM:
            same = [self._waiting[_window_of(row)]] if _window_of(row) in self._waiting else []
        else:
            waiting = self._waiting.values()
            same = [other for other in waiting if other.subscription == row.subscription]
        ends = [other.next_attempt_at for other in same if other.next_attempt_at is not None]
        return min([*ends, row.received_at + timedelta(seconds=debounce.seconds)])


def _is_still_new(earlier: InboxEvent, row: InboxEvent) -> bool:
    """Whether the item is still new to receivers, which never got its create."""
    return (earlier.action, row.action) == ("create", "update") and not row.left_filter


def _is_before(row: InboxEvent, read_at: datetime | None) -> bool:
    return read_at is None or row.received_at < read_at


def _same_subscriptions(rows: Iterable[InboxEvent], now: datetime) -> QuerySet[InboxEvent]:
    """The stored rows of the same subscriptions whose windows are open, without their data."""
    waiting = _waiting(now).filter(subscription__in={row.subscription for row in rows})
    return waiting.order_by("id").defer("data_json", "failures", "delivered")


def _waiting(now: datetime) -> QuerySet[InboxEvent]:
    return InboxEvent.objects.filter(state=InboxState.PENDING, next_attempt_at__gt=now)


def _stored(event_ids: Collection[UUID]) -> set[UUID]:
    """Those of some events that are in the table."""
    return set(InboxEvent.objects.filter(event_id__in=event_ids).values_list("event_id", flat=True))
