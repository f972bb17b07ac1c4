"""Directus's activity log: its rows in order, and the changes of items that they describe."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from directus_realtime.client.rest import RestClient
from directus_realtime.client.rest_messages import malformed, taken_apart
from directus_realtime.events import Action
from directus_realtime.exceptions import RequestRefused
from directus_realtime.protocol.messages import ACTIONS

#: Rows of one request.
PAGE_SIZE = 1000
#: Rows of a request for one row, in case that the first ones are unreadable.
_SPARE = 10

#: The highest id that a column of a database can hold.
_HIGHEST_ID = 2**63 - 1
_PATH = "/activity"
#: Required fields of a row, and the one that is read where the token may.
FIELDS = ("id", "action", "collection", "item", "timestamp")
USER = "user"


@dataclass(frozen=True, slots=True)
class IdRange:
    """A range of ids of the log.

    Attributes:
        first: The lowest id.
        last: The highest id; ``None`` for no end.
    """

    first: int
    last: int | None = None

    def condition(self) -> dict[str, Any]:
        """Return the range as a Directus filter."""
        upper = {} if self.last is None else {"_lte": self.last}
        return {"id": {"_gte": self.first, **upper}}

    def after(self, number: int) -> IdRange | None:
        """Return the part of the range after an id; ``None`` for nothing."""
        first = max(self.first, number + 1)
        return None if self.last is not None and first > self.last else IdRange(first, self.last)


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """One row of the log.

    Attributes:
        id: Grows with each row, though not in the order of commits.
        action: ``create``, ``update`` or ``delete``; ``None`` for other kinds of rows.
        collection: Name of the collection.
        item: Key of the item as its caller wrote it, always as text.
        timestamp: Time of the row by the server's clock; aware.
        user: Id of the Directus user; ``None`` where there is none, or it may not be read.
    """

    id: int
    action: Action | None
    collection: str
    item: str
    timestamp: datetime
    user: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of the log that cannot be parsed.

    Attributes:
        place: Its place for people: ``Row 17``.
        collection: Name of its collection; empty where that is unknown.
    """

    place: str
    collection: str


@dataclass
class LogPage:
    """A page of the log, in the order of ids.

    Attributes:
        rows: The readable rows.
        ids: Ids of all rows, in ascending order.
        unreadable: The other rows.
        size: Number of rows in the answer.
    """

    rows: list[ActivityRow] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    unreadable: list[UnreadableRow] = field(default_factory=list)
    size: int = 0

    def add(self, other: LogPage) -> None:
        """Add the rows of another page, which has none of these."""
        self.rows = sorted([*self.rows, *other.rows], key=lambda row: row.id)
        self.ids = sorted([*self.ids, *other.ids])
        self.unreadable += other.unreadable
        self.size += other.size


class ActivityLog:
    """Reader of the log. Every method may raise :class:`RequestRefused`, where the token may not
    read it or the answer is malformed, or :class:`ConnectionFailed`.

    Malformed rows are left out: they would be the same the next time.

    Args:
        rest: REST client to read with.

    Attributes:
        reads_user: Whether rows carry the user; ``False`` after Directus refused the field.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest
        self.reads_user = True

    async def newest(self) -> ActivityRow | None:
        """Return the row with the highest id, of any kind; ``None`` for an empty log."""
        rows = await self._some({"sort": ["-id"]})
        return rows[-1] if rows else None

    async def last_before(self, number: int) -> ActivityRow | None:
        """Return the row with the highest id below a number; ``None`` where there is none."""
        rows = await self._some({"filter": {"id": {"_lt": number}}, "sort": ["-id"]})
        return rows[-1] if rows else None

    async def oldest_change(self) -> ActivityRow | None:
        """Return the create, update or delete with the lowest id; ``None`` where there is none."""
        condition = {"action": {"_in": list(ACTIONS)}}
        rows = await self._some({"filter": condition, "sort": ["id"]})
        return rows[0] if rows else None

    async def find(self, ids: Iterable[int]) -> dict[int, ActivityRow]:
        """Return the rows with these ids that are in the log, by id."""
        wanted = list(ids)
        found: dict[int, ActivityRow] = {}
        for start in range(0, len(wanted), self.page_size):
            some = wanted[start : start + self.page_size]
            page = await self._page({"filter": {"id": {"_in": some}}, "limit": len(some)})
            found |= {row.id: row for row in page.rows}
        return found

    async def has_change_up_to(self, number: int) -> bool:
        """Return whether a create, update or delete with this id or a lower one exists.

        Retention deletes rows by action and in batches without an order (M59), so the lowest
        id of the log proves nothing.
        """
        condition = {"id": {"_lte": number}, "action": {"_in": list(ACTIONS)}}
        found = await self._page({"filter": condition, "sort": ["-id"], "limit": 1})
        return bool(found.ids)

    async def deleted(self, collection: str, items: Sequence[str]) -> set[str]:
        """Return the items, as they are written, whose delete is in the log."""
        size, found = self.page_size, set[str]()
        for start in range(0, len(items), size):
            deletes = {
                "collection": {"_eq": collection},
                "action": {"_eq": "delete"},
                "item": {"_in": list(items[start : start + size])},
            }
            # An item may have been deleted many times: one page may not have all items.
            async for page in self._pages([IdRange(1)], [deletes]):
                found |= {row.item for row in page.rows}
        return found

    async def count(self, ranges: Sequence[IdRange], collections: Sequence[str] = ()) -> int:
        """Count the rows of ranges."""
        found = await self._rest.search(
            _PATH,
            {"filter": _condition(ranges, _of(collections)), "aggregate": {"count": ["*"]}},
        )
        with taken_apart(f"{_PATH} (a count)"):
            return int(found[0]["count"])

    def pages(
        self, ranges: Sequence[IdRange], collections: Sequence[str] = ()
    ) -> AsyncGenerator[LogPage, None]:
        """Read ranges in the order of ids, page by page.

        Args:
            ranges: Ranges in ascending order.
            collections: Names of collections; empty for all, which is cheaper (M38).

        Yields:
            Pages; the last one has fewer rows than :attr:`page_size`, and may be empty.
        """
        return self._pages(ranges, _of(collections))

    async def _pages(
        self, ranges: Sequence[IdRange], conditions: Sequence[dict[str, Any]]
    ) -> AsyncGenerator[LogPage, None]:
        size = self.page_size
        while True:
            condition = _condition(ranges, conditions)
            page = await self._page({"filter": condition, "sort": ["id"], "limit": size})
            yield page
            if page.size < size:
                return
            if not page.ids:
                raise malformed(_PATH)  # the next page cannot be determined
            rest = [each.after(page.ids[-1]) for each in ranges]
            ranges = [each for each in rest if each is not None]
            if not ranges:
                return

    async def since(self, moment: datetime, collections: Sequence[str] = ()) -> ActivityRow | None:
        """Return the first row at or after a moment of the server's clock."""
        condition: dict[str, Any] = {"timestamp": {"_gte": moment.isoformat()}}
        if collections:
            condition["collection"] = {"_in": list(collections)}
        rows = await self._some({"filter": condition, "sort": ["id"]})
        return rows[0] if rows else None

    @property
    def page_size(self) -> int:
        """Rows of a full page, as ``QUERY_LIMIT_MAX`` allows."""
        limit = self._rest.info.query_limit if self._rest.info else -1
        return PAGE_SIZE if limit < 0 else min(PAGE_SIZE, limit)

    async def _some(self, query: dict[str, Any]) -> list[ActivityRow]:
        """Read the first rows of a query, more of them where those are unreadable."""
        for limit in (min(_SPARE, self.page_size), self.page_size):
            page = await self._page({**query, "limit": limit})
            if page.rows or not page.unreadable:
                return page.rows
        raise malformed(_PATH)

    async def _page(self, query: dict[str, Any]) -> LogPage:
        fields = [*FIELDS, USER] if self.reads_user else [*FIELDS]
        try:
            found = await self._rest.search(_PATH, {**query, "fields": fields})
        except RequestRefused as error:
            # One forbidden field refuses all of them (M20).
            if not self.reads_user or error.status != HTTPStatus.FORBIDDEN:
                raise
            self.reads_user = False
            return await self._page(query)
        if not isinstance(found, list):
            raise malformed(_PATH)
        return _page_of(found)


def _of(collections: Sequence[str]) -> list[dict[str, Any]]:
    return [{"collection": {"_in": list(collections)}}] if collections else []


def _condition(ranges: Sequence[IdRange], conditions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ids = [each.condition() for each in ranges]
    condition: dict[str, Any] = ids[0] if len(ids) == 1 else {"_or": ids}
    return {"_and": [condition, *conditions]} if conditions else condition


def _page_of(found: list[Any]) -> LogPage:
    page = LogPage(size=len(found))
    for each in found:
        number = _id(each)
        if number is not None:
            page.ids.append(number)
        row = _row(each)
        if row is None:
            page.unreadable.append(_unreadable(each, number))
        else:
            page.rows.append(row)
    page.ids.sort()
    page.rows.sort(key=lambda row: row.id)
    return page


def _row(found: Any) -> ActivityRow | None:
    """Return a row of the log; ``None`` where it is malformed."""
    try:
        return _parse_row(found)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _parse_row(found: dict[str, Any]) -> ActivityRow:
    action, item, user = found.get("action"), found.get("item"), found.get("user")
    number = _id(found)
    if number is None:
        raise ValueError("A row without an id.")
    row = ActivityRow(
        id=number,
        action=action if action in ACTIONS else None,
        collection=str(found.get("collection") or ""),
        item="" if item is None else str(item),
        timestamp=_moment(found["timestamp"]),
        user=user if isinstance(user, str) and len(user) <= 36 else None,
    )
    if row.action is not None and not (row.collection and row.item):
        raise ValueError("A change of nothing.")
    return row


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.year < 1970:  # no database is older, and year 1 overflows in calculations
        raise ValueError(f"{text} is no time of a change.")
    # Directus writes the time zone; without one the time is in UTC.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _id(found: Any) -> int | None:
    """Return the id of a row that may be malformed otherwise."""
    try:
        number = int(found["id"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= _HIGHEST_ID else None


def _unreadable(found: Any, number: int | None) -> UnreadableRow:
    collection = found.get("collection") if isinstance(found, dict) else None
    return UnreadableRow(
        place="A row without an id" if number is None else f"Row {number}",
        collection=collection if isinstance(collection, str) else "",
    )


#: Each row of the log is a create of this collection; Directus does not log those.
ACTIVITY = "directus_activity"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one item.

    Attributes:
        collection: Name of the collection.
        action: The action.
        item: Key of the item, as its caller wrote it.
        row: The row of the log; ``None`` without one.
    """

    collection: str
    action: Action
    item: object
    row: ActivityRow | None = None


def changes_of(rows: Iterable[ActivityRow], collections: Container[str]) -> list[Change]:
    """Return the changes that rows of the log describe, and the creates of the rows themselves.

    Args:
        rows: Rows in the order of the log.
        collections: Only changes of these collections.
    """
    changes: list[Change] = []
    for row in rows:
        if ACTIVITY in collections:
            changes.append(Change(ACTIVITY, "create", row.id, row))
        if row.action is not None and row.collection in collections:
            changes.append(Change(row.collection, row.action, row.item, row))
    return changes
