"""The states of items that were last handed to subscriptions, as digests."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import InboxEvent

#: Items that are remembered; the oldest is forgotten first.
_MOST = 20_000


class LastStates:
    """Remembers what a subscription knows of an item, to tell a change from a repetition.

    Args:
        alias: Of the connection.
        inbox: Has the events of listeners before this one.
    """

    def __init__(self, alias: str, inbox: Inbox) -> None:
        self._alias = alias
        self._inbox = inbox
        self._is_loaded = False
        self._digests: dict[tuple[str, str], int] = {}

    async def load(self) -> None:
        """Read once what listeners before this one have delivered."""
        if self._is_loaded:
            return
        # The inbox has no index by key: the newest events take one pass, for all items.
        stored = await self._inbox.run_in_order(partial(_stored_digests, self._alias))
        self._digests = stored | self._digests
        self._is_loaded = True
        self._forget()

    def note(self, rows: Iterable[InboxEvent]) -> None:
        """Note the events of subscriptions."""
        for row in rows:
            item = row.subscription, row.key_json
            self._digests.pop(item, None)
            self._digests[item] = _digest(row)
        self._forget()

    def is_news(self, row: InboxEvent) -> bool:
        """Return whether an event says something else than the last one of its item."""
        return self._digests.get((row.subscription, row.key_json)) != _digest(row)

    def _forget(self) -> None:
        while len(self._digests) > _MOST:
            del self._digests[next(iter(self._digests))]


def _digest(row: InboxEvent) -> int:
    if row.action == "delete":
        return 0
    return hash((row.data_json, row.left_filter))


def _stored_digests(alias: str) -> dict[tuple[str, str], int]:
    """The newest events of a connection, the oldest first."""
    rows = InboxEvent.objects.filter(connection=alias).order_by("-id")
    columns = rows.only("subscription", "key_json", "action", "data_json", "left_filter")
    found: dict[tuple[str, str], int] = {}
    for row in columns[:_MOST].iterator():
        found.setdefault((row.subscription, row.key_json), _digest(row))
    return dict(reversed(found.items()))
