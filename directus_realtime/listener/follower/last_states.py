"""The states of items that were last handed to subscriptions, as digests."""

from __future__ import annotations

from collections.abc import Iterable

from directus_realtime.models import InboxEvent

#: Items that are remembered; the oldest is forgotten first.
_MOST = 20_000


class LastStates:
    """Remembers what a subscription knows of an item, to tell a change from a repetition."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str], int] = {}

    def note(self, rows: Iterable[InboxEvent]) -> None:
        """Note the events of subscriptions."""
        for row in rows:
            item = row.subscription, row.key_json
            self._digests.pop(item, None)
            self._digests[item] = _digest(row)
        while len(self._digests) > _MOST:
            del self._digests[next(iter(self._digests))]

    def is_news(self, row: InboxEvent) -> bool:
        """Return whether an event says something else than the last one of its item."""
        return self._digests.get((row.subscription, row.key_json)) != _digest(row)


def _digest(row: InboxEvent) -> int:
    if row.action == "delete":
        return 0
    return hash((row.data_json, row.left_filter))
