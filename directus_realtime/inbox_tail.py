"""Tail of the inbox: the rows whose events were sent to their groups since the last read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from django.db.models import QuerySet

from directus_realtime.events import Event
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.utils.system_clock import SystemClock

#: Seconds between two checks of the rows whose debounce window is open: it may be closed early,
#: and the clock of another machine may be ahead of ours.
CHECK_WINDOWS_EVERY = 2.0
#: Ids of one query.
_CHUNK = 1000
#: States of a row whose event may not have been sent yet.
_UNSENT = frozenset({InboxState.PENDING, InboxState.DELIVERING})

T = TypeVar("T")


class InboxTail:
    """Position in the inbox of each connection; all methods use the database.

    Args:
        clock: Clock of the debounce windows.
        batch: Rows of one query.
        batches: Queries for one connection in one read; further rows are left for the next.
        columns: Columns that the rows need besides those of their state; empty for all.
    """

    def __init__(
        self, clock: SystemClock, *, batch: int, batches: int = 1, columns: Iterable[str] = ()
    ) -> None:
        self._clock = clock
        self._batch = batch
        self._batches = batches
        self._columns = tuple(columns)
        self._last_ids: dict[str, int] = {}
        # Unsent rows before the position: when to check each, ``None`` for every read.
        self._skipped: dict[int, datetime | None] = {}
        self._windows_checked_at = clock.monotonic()

    def follow(self, aliases: Iterable[str]) -> None:
        """Follow connections from the last sent row on, except those that are followed already."""
        for alias in aliases:
            if alias in self._last_ids:
                continue
            rows = InboxEvent.objects.filter(connection=alias)
            sent = rows.filter(sent_at__isnull=False).order_by("-id")
            newest = sent.values_list("pk", flat=True).first() or 0
            unsent = rows.filter(state__in=_UNSENT, sent_at=None, id__lt=newest)
            self._skipped.update(
                (row.pk, _check_at(row)) for row in unsent.only("state", "next_attempt_at")
            )
            self._last_ids[alias] = newest

    def read(self, convert: Callable[[list[InboxEvent]], T]) -> T:
        """Read the rows that were sent since the last read, in order for each connection.

        Args:
            convert: Called with the rows. If it fails, the next read finds them again.

        Returns:
            The result of ``convert``.
        """
        before = self._last_ids.copy(), self._skipped.copy()
        try:
            new = [row for alias in self._last_ids for row in self._read_new(alias)]
            return convert([*self._read_skipped(), *new])
        except BaseException:
            self._last_ids, self._skipped = before
            raise

    def _read_new(self, alias: str) -> list[InboxEvent]:
        """Read the rows behind the position of a connection.

        An unsent row holds back those behind it, so that order is kept. One with an open
        debounce window does not: it is skipped and checked later.
        """
        found: list[InboxEvent] = []
        for _ in range(self._batches):
            newer = self._rows().filter(connection=alias, id__gt=self._last_ids[alias])
            rows = list(newer[: self._batch])
            for row in rows:
                if row.sent_at is None and row.state in _UNSENT:
                    if row.next_attempt_at is None:
                        return found
                    self._skipped[row.pk] = _check_at(row)
                elif row.state != InboxState.MERGED:
                    found.append(row)
                self._last_ids[alias] = row.pk
            if len(rows) < self._batch:
                break
        return found

    def _read_skipped(self) -> list[InboxEvent]:
        """Read the skipped rows that were sent in the meantime."""
        found: list[InboxEvent] = []
        due = self._due()
        for start in range(0, len(due), _CHUNK):
            rows = self._rows().filter(pk__in=due[start : start + _CHUNK])
            # The others stay in the database: there may be thousands, each read many times.
            for row in rows.exclude(state__in=_UNSENT, sent_at=None):
                del self._skipped[row.pk]
                if row.state != InboxState.MERGED:
                    found.append(row)
        return found

    def _due(self) -> list[int]:
        if self._clock.monotonic() - self._windows_checked_at >= CHECK_WINDOWS_EVERY:
            self._windows_checked_at = self._clock.monotonic()
            return sorted(self._skipped)
        now = self._clock.now()
        return sorted(pk for pk, at in self._skipped.items() if at is None or at <= now)

    def _rows(self) -> QuerySet[InboxEvent]:
        rows = InboxEvent.objects.order_by("id")
        if not self._columns:
            return rows
        return rows.only("state", "sent_at", "next_attempt_at", *self._columns)


def read_back(row: InboxEvent) -> Event | None:
    """Return the event of a row; ``None`` if its payload cannot be decoded."""
    try:
        return row.to_event()
    except ValueError:
        return None


def _check_at(row: InboxEvent) -> datetime | None:
    """Return when an unsent row may have been sent; a worker can finish one at any time."""
    return row.next_attempt_at if row.state == InboxState.PENDING else None
