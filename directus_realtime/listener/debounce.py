"""Busy items: of the changes within a window, only the last state is delivered.

It happens in the inbox, where nothing is lost: a change waits there until its window
ends, and one that a later change overtakes is marked as merged into that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import QuerySet

from directus_realtime.listener.incoming import Debounce, Incoming
from directus_realtime.models import DebounceBy, InboxEvent, InboxState

_Window = tuple[str, str, str, str]


def _window_of(row: InboxEvent) -> _Window:
    return row.connection, row.subscription, row.collection, row.key_json


def gather(incoming: Iterable[Incoming], now: datetime) -> None:
    """Give debounced rows the end of their window, and mark what they overtake as merged.

    Rows that are stored already are changed in the database, the incoming ones in memory;
    call it in the transaction that stores them.
    """
    debounced = [(entry.row, entry.debounce) for entry in incoming if entry.debounce]
    if not debounced:
        return
    rows = [row for row, _ in debounced]
    waiting = {_window_of(row): row for row in _waiting_rows(rows, now)}
    overtaken: list[InboxEvent] = []
    for row, debounce in debounced:
        row.next_attempt_at = _end_of_window(row, debounce, waiting)
        if earlier := waiting.get(_window_of(row)):
            overtaken.append(earlier)
            if (earlier.action, row.action) == ("create", "update"):
                row.action = "create"  # whoever is told only once is told that it is new
        waiting[_window_of(row)] = row
    for row in overtaken:
        row.state, row.done_at, row.next_attempt_at = InboxState.MERGED, now, None
    stored = [row.pk for row in overtaken if not row._state.adding]
    InboxEvent.objects.filter(pk__in=stored).update(
        state=InboxState.MERGED, done_at=now, next_attempt_at=None
    )


def _waiting_rows(rows: list[InboxEvent], now: datetime) -> QuerySet[InboxEvent]:
    """The stored rows of the same subscriptions whose windows are open."""
    return InboxEvent.objects.filter(
        state=InboxState.PENDING,
        next_attempt_at__gt=now,
        subscription__in={row.subscription for row in rows},
    ).exclude(event_id__in=[row.event_id for row in rows])


def _end_of_window(
    row: InboxEvent, debounce: Debounce, waiting: dict[_Window, InboxEvent]
) -> datetime:
    """When the window ends that this row falls into."""
    if debounce.by == DebounceBy.ITEM:
        same = [waiting[_window_of(row)]] if _window_of(row) in waiting else []
    else:
        same = [other for other in waiting.values() if other.subscription == row.subscription]
    ends = [other.next_attempt_at for other in same if other.next_attempt_at is not None]
    return min([*ends, row.received_at + timedelta(seconds=debounce.seconds)])
