"""Rows that were stored a moment ago, so that delivery need not read them back."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from uuid import UUID

from directus_realtime.models import InboxEvent, InboxState

#: Rows that are kept, and characters of their data; where delivery is further behind, it reads the
#: others from the table.
LIMIT, MOST_TEXT = 5000, 16_000_000


class FreshRows:
    """Takes rows as they are stored, and gives each of them away once.

    A row must be here before its transaction is committed: one that delivery reads from the
    table first would stay here, and would be given away later as it was at first.

    Args:
        aliases: Of the connections whose rows are kept.
    """

    def __init__(self, aliases: Collection[str] = ()) -> None:
        self._aliases = frozenset(aliases)
        self._rows: dict[UUID, InboxEvent] = {}
        self._text = 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, rows: Iterable[InboxEvent]) -> None:
        """Keep those of some rows that delivery may take at once."""
        with self._lock:
            for row in rows:
                if len(self._rows) >= LIMIT or self._text >= MOST_TEXT:
                    return
                is_ready = row.state == InboxState.PENDING and row.next_attempt_at is None
                if is_ready and row.connection in self._aliases:
                    self._text += len(row.data_json) if row.event_id not in self._rows else 0
                    self._rows[row.event_id] = row

    def remove(self, rows: Iterable[InboxEvent]) -> None:
        """Forget rows that were not stored after all, or that were read from the table."""
        for row in rows:
            self._pop(row.event_id)

    def take(self, pk: int, event_id: UUID) -> InboxEvent | None:
        """The row of an event, if it is here; it is not any more then.

        Args:
            pk: Its primary key, which was not known when it was stored.
            event_id: Id of the event.
        """
        row = self._pop(event_id)
        if row is not None:
            row.pk = pk
            row._state.adding = False
        return row

    def _pop(self, event_id: UUID) -> InboxEvent | None:
        with self._lock:
            row = self._rows.pop(event_id, None)
            if row is not None:
                self._text -= len(row.data_json)
            return row
