"""Directus's activity log: which items changed, and in which order that was written.

A row says what changed, never what it is now. Ids are not in the order of commits on
PostgreSQL: a row can become visible after rows with higher ids.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from directus_realtime.client.failures import explained
from directus_realtime.client.rest import RestClient
from directus_realtime.events import Action
from directus_realtime.protocol.messages import ACTIONS

#: Rows of one request.
PAGE_SIZE = 1000

_PATH = "/activity"
_FIELDS = ["id", "action", "collection", "item", "timestamp"]


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """One change of one item, as the log has it.

    Attributes:
        id: Grows with each row, though not in the order of commits.
        action: ``create``, ``update`` or ``delete``; of other kinds of rows, ``None``.
        collection: Name of the collection.
        item: The item's key, always as text.
        timestamp: When, of the server's clock; aware.
    """

    id: int
    action: Action | None
    collection: str
    item: str
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the log: the changes of some collections, after one row and up to another.

    Attributes:
        collections: Names.
        after: Id of the last row that is not wanted.
        until: Id of the last row that is.
    """

    collections: tuple[str, ...]
    after: int
    until: int

    def filter(self) -> dict[str, Any]:
        """As Directus's filter."""
        return {
            "_and": [
                {"id": {"_gt": self.after, "_lte": self.until}},
                {"collection": {"_in": list(self.collections)}},
                {"action": {"_in": list(ACTIONS)}},
            ]
        }


class ActivityLog:
    """Reads the log over REST. Every method may raise :class:`RequestRefused`, where the token
    may not read it, or :class:`ConnectionFailed`.

    Args:
        rest: To read with.
        url: The server's URL, for error messages.
    """

    def __init__(self, rest: RestClient, url: str) -> None:
        self._rest = rest
        self._url = url

    async def newest(self) -> ActivityRow | None:
        """The row with the highest id, of whatever kind; ``None`` where the log is empty."""
        return await self._first({"sort": ["-id"]})

    async def row(self, number: int) -> ActivityRow | None:
        """The row with an id; ``None`` where there is none any more, or never was."""
        return await self._first({"filter": {"id": {"_eq": number}}})

    async def oldest(self) -> ActivityRow | None:
        """The row with the lowest id: retention deletes from that end."""
        return await self._first({"sort": ["id"]})

    async def count(self, span: Span) -> int:
        """How many rows a part of the log has."""
        with explained(self._url, self._rest.proxy_address):
            found = await self._rest.read_items(
                "directus_activity", filter=span.filter(), aggregate={"count": "*"}
            )
        return int(found[0]["count"])

    async def pages(self, span: Span) -> AsyncGenerator[list[ActivityRow], None]:
        """A part of the log in the order of ids, some rows at a time."""
        limit = self._rest.info.query_limit if self._rest.info else -1
        size = PAGE_SIZE if limit < 0 else min(PAGE_SIZE, limit)
        while True:
            rows = await self._read({"filter": span.filter(), "sort": ["id"], "limit": size})
            if rows:
                yield rows
            if len(rows) < size:
                return
            span = Span(span.collections, rows[-1].id, span.until)

    async def since(self, moment: datetime, collections: Iterable[str]) -> ActivityRow | None:
        """The first row of a change of some collections at or after a moment."""
        condition = {
            "timestamp": {"_gte": moment.isoformat()},
            "collection": {"_in": list(collections)},
        }
        return await self._first({"filter": condition, "sort": ["id"]})

    async def _first(self, query: dict[str, Any]) -> ActivityRow | None:
        rows = await self._read({**query, "limit": 1})
        return rows[0] if rows else None

    async def _read(self, query: dict[str, Any]) -> list[ActivityRow]:
        with explained(self._url, self._rest.proxy_address):
            rows = await self._rest.get(_PATH, {**query, "fields": _FIELDS})
        return [_row(row) for row in rows]


def _row(row: dict[str, Any]) -> ActivityRow:
    action = row.get("action")
    return ActivityRow(
        id=int(row["id"]),
        action=action if action in ACTIONS else None,
        collection=str(row.get("collection") or ""),
        item=str(row.get("item") or ""),
        timestamp=datetime.fromisoformat(row["timestamp"]),
    )
