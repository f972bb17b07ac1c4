"""Directus's activity log: which items changed, and in which order that was written.

A row says what changed, never what it is now. Ids are not in the order of commits on
PostgreSQL: a row can become visible after rows with higher ids.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from directus_realtime.client.responses import malformed, taken_apart
from directus_realtime.client.rest import RestClient
from directus_realtime.events import Action
from directus_realtime.protocol.messages import ACTIONS

#: Rows of one request.
PAGE_SIZE = 1000
#: Rows of a request for one, in case that the first ones cannot be read.
_SPARE = 10

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
class UnreadableRow:
    """A row of the log that makes no sense.

    Attributes:
        place: Where it is, such as ``Row 17``.
        collection: Of which collection it is; empty where that is not known.
    """

    place: str
    collection: str


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
    may not read it or the answer makes no sense, or :class:`ConnectionFailed`.

    A row that makes no sense is left out: it would be the same the next time.

    Args:
        rest: To read with.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def newest(self) -> ActivityRow | None:
        """The row with the highest id, of whatever kind; ``None`` where the log is empty."""
        return await self._first({"sort": ["-id"]})

    async def row(self, number: int) -> ActivityRow | None:
        """The row with an id; ``None`` where there is none that makes sense, or never was."""
        found = await self._read({"filter": {"id": {"_eq": number}}, "limit": 1})
        return _row(found[0]) if found else None

    async def oldest(self) -> ActivityRow | None:
        """The row with the lowest id: retention deletes from that end."""
        return await self._first({"sort": ["id"]})

    async def count(self, span: Span) -> int:
        """How many rows a part of the log has."""
        found = await self._rest.search(
            _PATH, {"filter": span.filter(), "aggregate": {"count": ["*"]}}
        )
        with taken_apart(f"{_PATH} (a count)"):
            return int(found[0]["count"])

    async def pages(
        self, span: Span, on_unreadable: Callable[[UnreadableRow], None]
    ) -> AsyncGenerator[list[ActivityRow], None]:
        """A part of the log in the order of ids, some rows at a time.

        Args:
            span: The part.
            on_unreadable: Called with each row that is left out.
        """
        size = self._capped(PAGE_SIZE)
        while True:
            found = await self._read({"filter": span.filter(), "sort": ["id"], "limit": size})
            rows: list[ActivityRow] = []
            last = span.after
            for each in found:
                row = _row(each)
                if row is None:
                    on_unreadable(_unreadable(each, last))
                else:
                    rows.append(row)
                last = max(last, _id(each) or 0)
            if rows:
                yield rows
            if len(found) < size:
                return
            if last == span.after:
                raise malformed(_PATH)  # there is no telling where the next page begins
            span = Span(span.collections, last, span.until)

    async def since(self, moment: datetime, collections: Iterable[str]) -> ActivityRow | None:
        """The first row of a change of some collections at or after a moment."""
        condition = {
            "timestamp": {"_gte": moment.isoformat()},
            "collection": {"_in": list(collections)},
        }
        return await self._first({"filter": condition, "sort": ["id"]})

    async def _first(self, query: dict[str, Any]) -> ActivityRow | None:
        found = await self._read({**query, "limit": self._capped(_SPARE)})
        rows = [row for each in found if (row := _row(each)) is not None]
        if found and not rows:
            raise malformed(_PATH)
        return rows[0] if rows else None

    async def _read(self, query: dict[str, Any]) -> list[Any]:
        found = await self._rest.search(_PATH, {**query, "fields": _FIELDS})
        if not isinstance(found, list):
            raise malformed(_PATH)
        return found

    def _capped(self, size: int) -> int:
        """A page size that ``QUERY_LIMIT_MAX`` allows."""
        limit = self._rest.info.query_limit if self._rest.info else -1
        return size if limit < 0 else min(size, limit)


def _row(found: Any) -> ActivityRow | None:
    """A row of the log; ``None`` where it makes no sense."""
    try:
        return _read_row(found)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _read_row(found: dict[str, Any]) -> ActivityRow:
    action, item = found.get("action"), found.get("item")
    row = ActivityRow(
        id=int(found["id"]),
        action=action if action in ACTIONS else None,
        collection=str(found.get("collection") or ""),
        item="" if item is None else str(item),
        timestamp=_moment(found["timestamp"]),
    )
    if row.action is not None and not (row.collection and row.item):
        raise ValueError("A change of nothing.")
    return row


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.year < 1970:  # before there were databases; near the first year no sums can be done
        raise ValueError(f"{text} is no time of a change.")
    # Directus writes the time zone, and means this one where it does not.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _id(found: Any) -> int | None:
    """The id of a row of which nothing else may make sense."""
    try:
        return int(found["id"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return None


def _unreadable(found: Any, before: int) -> UnreadableRow:
    number = _id(found)
    collection = found.get("collection") if isinstance(found, dict) else None
    return UnreadableRow(
        place=f"Row {number}" if number is not None else f"A row behind row {before}",
        collection=collection if isinstance(collection, str) else "",
    )
