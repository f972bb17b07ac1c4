"""Debounce: only the last state of an item within a window is delivered.

Changes wait in the inbox, where nothing is lost, until their window ends; a change that a
later one overtakes is marked as merged into it. An event without a window (caught up, loaded,
replayed) overtakes waiting rows as well: otherwise the older state would be delivered last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from django.db.models import QuerySet

from directus_realtime.database import of_connections
from directus_realtime.listener.inbox_entry import Debounce, InboxEntry
from directus_realtime.models import DebounceBy, InboxEvent, InboxState

_Window = tuple[str, str, str, str]


def _window_of(row: InboxEvent) -> _Window:
    return row.connection, row.subscription, row.collection, row.key_json


def gather(
    entries: Iterable[InboxEntry], now: datetime, *, read_at: datetime | None = None
) -> None:
    """Set the end of the window of debounced entries, and mark overtaken rows as merged.

    Stored rows are changed in the database, the entries in memory; call it in the transaction
    that stores the entries.

    Args:
        entries: The entries, in order.
        now: The present time.
        read_at: Lower bound of the time when their items were read: a stored row that was
            received later is newer and is not overtaken. ``None`` where they are newer than
            all stored rows.
    """
    gathered = [entry for entry in entries if entry.debounce or entry.overtakes]
    if not gathered:
        return
    windows = _OpenWindows([entry.row for entry in gathered], now, read_at)
    for entry in gathered:
        windows.add(entry.row, entry.debounce)
    windows.write()


def end_windows(alias: str, but: Collection[str], now: datetime) -> None:
    """Release the waiting rows of subscriptions that are not debounced any longer.

    New events of these are due at once, and would not overtake the waiting rows.

    Args:
        alias: Alias of the connection.
        but: Names of the subscriptions that are debounced.
        now: The present time.
    """
    waiting = of_connections(_waiting(now), [alias])
    waiting.exclude(subscription__in=list(but)).update(next_attempt_at=None)


class _OpenWindows:
    """Rows that wait for the end of a window, and those that later rows overtake."""

    def __init__(self, rows: Sequence[InboxEvent], now: datetime, read_at: datetime | None) -> None:
        self._now = now
        ids = {row.event_id for row in rows}
        waiting = [row for row in _same_subscriptions(rows, now) if row.event_id not in ids]
        self._waiting = {_window_of(row): row for row in waiting if _is_before(row, read_at)}
        # An event that is in the table already changes nothing there: neither its own row nor
        # another one, which may be newer.
        stored = InboxEvent.objects.filter(event_id__in=ids).values_list("event_id", flat=True)
        self._stored = set(stored) if waiting else set()
        self._overtaken: list[InboxEvent] = []

    def add(self, row: InboxEvent, debounce: Debounce | None) -> None:
        """Add the next row, with a window or without one."""
        if row.event_id in self._stored:
            return
        # Reset it: it may be stored a second time, without the rest of its batch.
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
        """Update the stored rows, except those that delivery has processed in the meantime."""
        pks = [row.pk for row in self._overtaken if not row._state.adding]
        if pks:
            InboxEvent.objects.filter(pk__in=pks, state=InboxState.PENDING).update(
                state=InboxState.MERGED, done_at=self._now, next_attempt_at=None
            )

    def _end_of_window(self, row: InboxEvent, debounce: Debounce) -> datetime:
        """Return the end of the window of a row."""
        if debounce.by == DebounceBy.ITEM:
            same = [self._waiting[_window_of(row)]] if _window_of(row) in self._waiting else []
        else:
            waiting = self._waiting.values()
            same = [other for other in waiting if other.subscription == row.subscription]
        ends = [other.next_attempt_at for other in same if other.next_attempt_at is not None]
        return min([*ends, row.received_at + timedelta(seconds=debounce.seconds)])


def _is_still_new(earlier: InboxEvent, row: InboxEvent) -> bool:
    """Return whether receivers never got the create of the item."""
    return (earlier.action, row.action) == ("create", "update") and not row.left_filter


def _is_before(row: InboxEvent, read_at: datetime | None) -> bool:
    return read_at is None or row.received_at < read_at


def _same_subscriptions(rows: Iterable[InboxEvent], now: datetime) -> QuerySet[InboxEvent]:
    """Return the rows of the same subscriptions whose windows are open, without their data."""
    waiting = _waiting(now).filter(subscription__in={row.subscription for row in rows})
    return waiting.order_by("id").defer("data_json", "failures", "delivered")


def _waiting(now: datetime) -> QuerySet[InboxEvent]:
    return InboxEvent.objects.filter(state=InboxState.PENDING, next_attempt_at__gt=now)
