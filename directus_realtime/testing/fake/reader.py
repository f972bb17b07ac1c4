"""Reads of a fake Directus: filter, order, page and shape of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from directus_realtime.testing.fake import filters
from directus_realtime.testing.fake.accounts import Access
from directus_realtime.testing.fake.errors import (
    forbidden,
    forbidden_collection,
    forbidden_field,
    internal_error,
    invalid_query,
)
from directus_realtime.testing.fake.query import DEFAULT_QUERY_LIMIT, Query
from directus_realtime.testing.fake.schema import FakeCollection, Item
from directus_realtime.testing.fake.store import Store

MISSING = "\0"  # the name of no field
Tree = dict[str, Any]  # a field to None, or a relation to the tree of its fields


class Reader:
    """Answers queries with the rights of somebody.

    Args:
        store: Where the rows are.
        limit_max: Directus's ``QUERY_LIMIT_MAX``, or None.
    """

    def __init__(self, store: Store, limit_max: int | None = None) -> None:
        self.store = store
        self.limit_max = limit_max

    def query(self, values: dict[str, Any]) -> Query:
        """Read the ``query`` of a message."""
        return Query.from_values(values, self.store.clock)

    def read_query(self, access: Access, name: str, query: Query) -> list[Item]:
        """Return what a list request or a subscription's first answer has.

        Raises:
            ApiError: The collection, a field or the query is refused.
        """
        rows = self._prepare(access, name, query)
        if query.aggregate:
            return self._summaries(access, name, query, rows)
        return self._shape(access, name, query, self._page(query, rows, self._first_limit(query)))

    def read_keys(self, access: Access, name: str, keys: Sequence[Any], query: Query) -> list[Item]:
        """Return the rows of an event, with the limits that Directus puts on events."""
        rows = self._prepare(access, name, query, keys)
        if query.aggregate:
            return self._summaries(access, name, query, rows)
        return self._shape(access, name, query, self._page(query, rows, self._event_limit(query)))

    def read_one(self, access: Access, name: str, key: Any, query: Query) -> Item:
        """Return one row; one that is missing, filtered out or not allowed is refused."""
        found = self.read_keys(access, name, [key], query)
        if not found:
            raise forbidden()
        return found[0]

    def meta(self, access: Access, name: str, query: Query) -> dict[str, int]:
        """Return the counts that the query asks for."""
        counts = {
            "total_count": lambda: len(self._prepare(access, name, Query())),
            "filter_count": lambda: len(self._prepare(access, name, query)),
        }
        return {each: counts[each]() for each in query.meta if each in counts}

    def matching_keys(self, access: Access, name: str, query: Query) -> list[Any]:
        """Return the keys of what the query finds; its limit counts, even if nobody gave one."""
        primary = self.store.schema[name].primary_key
        rows = self._page(query, self._prepare(access, name, query), self._first_limit(query))
        return [row[primary] for row in rows]

    def _prepare(
        self, access: Access, name: str, query: Query, keys: Sequence[Any] | None = None
    ) -> list[Item]:
        """Check rights, fields and filter, and return the rows (with these keys) in order."""
        collection = self.store.schema[name]
        if not access.may_read(name):
            raise forbidden_collection(name)
        self._tree(access, collection, _real_fields(query))
        filters.check(self.store, collection, query.filter, access.fields)
        for each in query.sort:
            if each.lstrip("-") not in access.field_names(collection):
                raise forbidden_field(each.lstrip("-"), collection.name)
        conditions = [access.rule(name), query.filter]
        rows = [
            row
            for row in self.store.rows(name, keys)
            if all(filters.matches(self.store, collection, each, row) for each in conditions)
            and _found(query.search, row)
        ]
        return _sorted(rows, query.sort)

    def _first_limit(self, query: Query) -> int:
        # Directus puts its limit into a query that it gets, but not into one that is missing.
        highest = None if query.is_empty else self.limit_max
        if query.limit is None:
            return min(DEFAULT_QUERY_LIMIT, highest or DEFAULT_QUERY_LIMIT)
        return highest if highest is not None and query.limit == -1 else query.limit

    def _event_limit(self, query: Query) -> int:
        if query.limit is not None and query.limit > 0:
            return query.limit
        if self.limit_max is None or query.is_empty or query.limit == 0:
            return -1
        return self.limit_max if query.limit == -1 else min(DEFAULT_QUERY_LIMIT, self.limit_max)

    def _page(self, query: Query, rows: list[Item], size: int) -> list[Item]:
        step = size if size > 0 else DEFAULT_QUERY_LIMIT
        start = query.offset + (query.page - 1) * step
        return rows[start:] if size < 0 else rows[start : start + size]

    def _summaries(self, access: Access, name: str, query: Query, rows: list[Item]) -> list[Item]:
        """The aggregates of all rows, or of each group of them."""
        names = access.field_names(self.store.schema[name])
        used = [*query.group, *(each for fields in query.aggregate.values() for each in fields)]
        if unknown := [each for each in used if each != "*" and each not in names]:
            raise forbidden_field(unknown[0], name)
        if not query.group:
            return [_aggregate(query.aggregate, rows)]
        groups: dict[tuple[Any, ...], list[Item]] = {}
        for row in rows:
            groups.setdefault(tuple(row[each] for each in query.group), []).append(row)
        found = [
            {**dict(zip(query.group, values, strict=True)), **_aggregate(query.aggregate, each)}
            for values, each in groups.items()
        ]
        return self._page(query, found, self._first_limit(query))

    def _shape(self, access: Access, name: str, query: Query, rows: list[Item]) -> list[Item]:
        collection = self.store.schema[name]
        tree = self._tree(access, collection, _real_fields(query))
        self._check_readable(collection, tree, rows)
        shaped = [_renamed(query, self._project(collection, tree, row)) for row in rows]
        return [*shaped, *map(dict, collection.keyless)]

    def _check_readable(self, collection: FakeCollection, tree: Tree, rows: list[Item]) -> None:
        for row in rows if self.store.spoiled else ():
            spoiled = (collection.name, str(row[collection.primary_key]))
            field = self.store.spoiled.get(spoiled, MISSING)
            if field is None or field in tree:
                raise internal_error("Invalid time value")

    def _tree(
        self, access: Access, collection: FakeCollection, fields: Sequence[str], path: str = ""
    ) -> Tree:
        allowed = access.field_names(collection)
        tree: Tree = {}
        below: dict[str, list[str]] = {}
        for each in fields:
            name, _, rest = each.partition(".")
            names = allowed if name == "*" else [name]
            for field in names:
                if field not in allowed:
                    raise forbidden_field(field, collection.name, path)
                tree.setdefault(field, None)
                if rest and collection.related(field):
                    below.setdefault(field, []).append(rest)
        for field, wanted in below.items():
            other = self.store.schema[str(collection.related(field))]
            tree[field] = self._tree(access, other, wanted, f"{path}.{field}" if path else field)
        return tree

    def _project(self, collection: FakeCollection, tree: Tree, row: Item) -> Item:
        shaped: Item = {}
        for field, below in tree.items():
            value = row[field]
            if below is not None and value is not None:
                related = str(collection.related(field))
                other = self.store.row(related, value)
                value = other and self._project(self.store.schema[related], below, other)
            shaped[field] = value
        return shaped


def _real_fields(query: Query) -> list[str]:
    """The fields, those with another name by the name they have."""
    return [query.alias.get(name, name) for name in query.fields]


def _renamed(query: Query, row: Item) -> Item:
    """The row with other names, where the query gives some."""
    named = {name: row[of] for name, of in query.alias.items() if name in query.fields}
    if not named:
        return row
    hidden = {query.alias[name] for name in named} - set(query.fields)
    kept = row if "*" in query.fields else {n: v for n, v in row.items() if n not in hidden}
    return kept | named


def _found(search: str | None, row: Item) -> bool:
    if not search:
        return True
    wanted = search.lower()
    return any(isinstance(value, str) and wanted in value.lower() for value in row.values())


def _sorted(rows: list[Item], sort: Sequence[str]) -> list[Item]:
    # The last criterion first: Python's sort keeps the order of equals. NULL sorts lowest.
    for each in reversed(sort):
        name = each.lstrip("-")
        rows = sorted(
            rows,
            key=lambda row: (row[name] is not None, row[name]),
            reverse=each.startswith("-"),
        )
    return rows


def _aggregate(wanted: dict[str, list[str]], rows: list[Item]) -> Item:
    result: Item = {}
    for function, fields in wanted.items():
        if fields == ["*"] and function == "count":
            result["count"] = len(rows)
            continue
        result[function] = {name: _summary(function, name, rows) for name in fields}
    return result


def _summary(function: str, name: str, rows: list[Item]) -> Any:
    values = [row[name] for row in rows if row.get(name) is not None]
    if function == "count":
        return len(values)
    if function == "countDistinct":
        return len(set(values))
    if function not in ("min", "max", "sum", "avg"):
        raise invalid_query(f'"{function}" is not a known aggregate')
    if not values:
        return None
    if function == "avg":
        return sum(values) / len(values)
    reduce: dict[str, Callable[[list[Any]], Any]] = {"min": min, "max": max, "sum": sum}
    return reduce[function](values)
