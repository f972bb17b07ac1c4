"""Reads and writes of the items of a fake Directus, over REST and over a socket alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from directus_realtime.testing.fake import filters
from directus_realtime.testing.fake.accounts import Access
from directus_realtime.testing.fake.fake_collection import FakeCollection, Item
from directus_realtime.testing.fake.query import DEFAULT_QUERY_LIMIT, Query
from directus_realtime.testing.fake.refusals import (
    ApiError,
    forbidden,
    forbidden_collection,
    forbidden_field,
    invalid_payload,
    invalid_query,
)
from directus_realtime.testing.fake.store import NOBODY, Manner, Origin, Store

NO_FIELD = "\0"  # the name of no field
Tree = dict[str, Any]  # a field to None, or a relation to the tree of its fields
AGGREGATES: Mapping[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "countDistinct": lambda values: len(set(values)),
    "sum": lambda values: sum(values) if values else None,
    "avg": lambda values: mean(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
}


class ItemsService:
    """The items of one collection with the rights of one user.

    Every method raises :exc:`ApiError` where Directus refuses; only administrators may write.
    """

    def __init__(self, store: Store, name: str, access: Access, origin: Origin = NOBODY) -> None:
        self.name = name
        self._store = store
        self._access = access
        self._manner = Manner(origin)

    # Reads

    def read(self, query: Query) -> list[Item]:
        """Return the items for a list request or the first answer of a subscription."""
        return self._shaped(query, self._rows(query), self._list_limit(query))

    def read_keys(self, keys: Sequence[Any], query: Query) -> list[Item]:
        """Return the items of an event, with the limits that Directus applies to events."""
        return self._shaped(query, self._rows(query, keys), self._event_limit(query))

    def read_many(self, keys: Sequence[Any], query: Query) -> list[Item]:
        """Return the items with these keys that exist; invalid keys are refused."""
        if self._access.may_read(self.name) and self.name in self._store.schema:
            self._collection.check_keys(keys)
        return self.read_keys(keys, query)

    def read_one(self, key: Any, query: Query) -> Item:
        """Return one item; a missing, filtered or forbidden one is refused."""
        found = self.read_keys([key], query)
        if not found:
            raise forbidden()
        return found[0]

    def meta(self, query: Query) -> dict[str, int]:
        """Return the counts that the query asks for."""
        queries = {"total_count": Query(), "filter_count": query}
        return {name: len(self._rows(queries[name])) for name in query.meta if name in queries}

    # Writes

    def create(self, data: Any, query: Query) -> Any:
        """Add one item or a list of them, and return the same shape."""
        self._check_write()
        items = data if isinstance(data, list) else [data]
        writes = self._store.plan_create(self.name, items, self._manner)
        self._store.commit(writes)
        made = self.read_keys([write.change.keys[0] for write in writes], query)
        return made if isinstance(data, list) else made[0]

    def update(self, keys: Sequence[Any], data: Item, query: Query) -> list[Item]:
        """Update items in the same way, as one change."""
        self._check_write()
        self._store.commit(self._store.plan_update(self.name, keys, data, self._manner))
        return self.read_keys(keys, query)

    def update_any(self, body: Any, query: Query) -> list[Item]:
        """Update items as the body of a PATCH without a key says."""
        if isinstance(body, list):
            return self._update_each(body, query)
        if not isinstance(body, dict) or "data" not in body:
            raise invalid_payload('"data" is required')
        return self.update(self._keys(body), body["data"], query)

    def delete(self, keys: Sequence[Any]) -> None:
        """Delete items, as one change."""
        self._check_write()
        self._store.commit(self._store.plan_delete(self.name, keys, self._manner))

    def delete_any(self, body: Any) -> None:
        """Delete items as the body of a DELETE without a key says."""
        self.delete(body if isinstance(body, list) else self._keys(body))

    def _update_each(self, items: Sequence[Item], query: Query) -> list[Item]:
        """Update each item in its own way, as one change each."""
        self._check_write()
        primary = self._collection.primary_key
        keys = [item.get(primary) for item in items]
        if None in keys:
            raise invalid_payload(f'Item in update misses primary key "{primary}"')
        writes = [
            write
            for key, item in zip(keys, items, strict=True)
            for write in self._store.plan_update(self.name, [key], item, self._manner)
        ]
        self._store.commit(writes)
        return self.read_keys(keys, query)

    def _keys(self, body: Any) -> list[Any]:
        if isinstance(body, dict) and isinstance(body.get("keys"), list):
            return list(body["keys"])
        if isinstance(body, dict) and isinstance(body.get("query"), dict):
            query = Query.from_values(body["query"], self._store.clock)
            # Its limit counts, also the default one.
            rows = _page(query, self._rows(query), self._list_limit(query))
            return [row[self._collection.primary_key] for row in rows]
        raise invalid_payload('"value" must contain at least one of [query, keys]')

    def _check_write(self) -> None:
        if not self._access.is_admin or self.name not in self._store.schema:
            raise forbidden_collection(self.name)

    # Rows

    @property
    def _collection(self) -> FakeCollection:
        return self._store.schema[self.name]

    def _rows(self, query: Query, keys: Sequence[Any] | None = None) -> list[Item]:
        """Check rights, fields and filter, and return the rows (with these keys) in order."""
        collection, access = self._collection, self._access
        if not access.may_read(self.name):
            raise forbidden_collection(self.name)
        self._tree(collection, _real_fields(query))
        filters.check(self._store, collection, query.filter, access.fields)
        self._check_fields(each.lstrip("-") for each in query.sort)
        conditions = [access.rule(self.name), query.filter]
        rows = [
            row
            for row in self._store.rows(self.name, keys)
            if all(filters.matches(self._store, collection, each, row) for each in conditions)
            and _contains(row, query.search)
        ]
        return _sorted(rows, query.sort)

    def _check_fields(self, names: Iterable[str]) -> None:
        allowed = self._access.field_names(self._collection)
        for name in names:
            if name not in allowed:
                raise forbidden_field(name, self.name)

    def _list_limit(self, query: Query) -> int:
        # Directus adds its limit to a query, but not to a missing one.
        highest = None if query.is_empty else self._store.query_limit_max
        if query.limit is None:
            return min(DEFAULT_QUERY_LIMIT, highest or DEFAULT_QUERY_LIMIT)
        return highest if highest is not None and query.limit == -1 else query.limit

    def _event_limit(self, query: Query) -> int:
        highest = self._store.query_limit_max
        if query.limit is not None and query.limit > 0:
            return query.limit
        if highest is None or query.is_empty or query.limit == 0:
            return -1
        return highest if query.limit == -1 else min(DEFAULT_QUERY_LIMIT, highest)

    # Answers

    def _shaped(self, query: Query, rows: list[Item], limit: int) -> list[Item]:
        """Return one page of the rows with the fields of the query, or their aggregates."""
        if query.aggregate:
            return self._aggregates(query, rows)
        rows, collection = _page(query, rows, limit), self._collection
        tree = self._tree(collection, _real_fields(query))
        self._check_readable(tree, rows)
        shaped = [_renamed(query, self._project(collection, tree, row)) for row in rows]
        return [*shaped, *map(dict, collection.keyless)]

    def _aggregates(self, query: Query, rows: list[Item]) -> list[Item]:
        """Return the aggregates of all rows, or of each group of them."""
        names = [*query.group, *(name for names in query.aggregate.values() for name in names)]
        self._check_fields(name for name in names if name != "*")
        if not query.group:
            return [_aggregate(query.aggregate, rows)]
        groups: dict[tuple[Any, ...], list[Item]] = {}
        for row in rows:
            groups.setdefault(tuple(row[name] for name in query.group), []).append(row)
        found = [
            {**dict(zip(query.group, values, strict=True)), **_aggregate(query.aggregate, each)}
            for values, each in groups.items()
        ]
        return _page(query, found, self._list_limit(query))

    def _check_readable(self, tree: Tree, rows: list[Item]) -> None:
        for row in rows if self._store.spoiled else ():
            spoiled = (self.name, str(row[self._collection.primary_key]))
            field = self._store.spoiled.get(spoiled, NO_FIELD)
            if field is None or field in tree:
                raise ApiError(500, "INTERNAL_SERVER_ERROR", "Invalid time value")

    def _tree(self, collection: FakeCollection, fields: Sequence[str], path: str = "") -> Tree:
        allowed = self._access.field_names(collection)
        tree: Tree = {}
        nested: dict[str, list[str]] = {}
        for each in fields:
            name, _, rest = each.partition(".")
            for field in allowed if name == "*" else [name]:
                if field not in allowed:
                    raise forbidden_field(field, collection.name, path)
                tree.setdefault(field, None)
                if rest and collection.related(field):
                    nested.setdefault(field, []).append(rest)
        for field, names in nested.items():
            other = self._store.schema[str(collection.related(field))]
            tree[field] = self._tree(other, names, f"{path}.{field}" if path else field)
        return tree

    def _project(self, collection: FakeCollection, tree: Tree, row: Item) -> Item:
        shaped: Item = {}
        for field, nested in tree.items():
            value = row[field]
            if nested is not None and value is not None:
                related = str(collection.related(field))
                other = self._store.row(related, value)
                value = other and self._project(self._store.schema[related], nested, other)
            shaped[field] = value
        return shaped


def _page(query: Query, rows: list[Item], limit: int) -> list[Item]:
    step = limit if limit > 0 else DEFAULT_QUERY_LIMIT
    start = query.offset + (query.page - 1) * step
    return rows[start:] if limit < 0 else rows[start : start + limit]


def _real_fields(query: Query) -> list[str]:
    return [query.alias.get(name, name) for name in query.fields]


def _renamed(query: Query, row: Item) -> Item:
    """Return the row with the aliases of the query."""
    named = {name: row[of] for name, of in query.alias.items() if name in query.fields}
    if not named:
        return row
    hidden = {query.alias[name] for name in named} - set(query.fields)
    kept = row if "*" in query.fields else {n: v for n, v in row.items() if n not in hidden}
    return kept | named


def _contains(row: Item, search: str | None) -> bool:
    text = (search or "").lower()
    return not text or any(isinstance(each, str) and text in each.lower() for each in row.values())


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


def _aggregate(functions: Mapping[str, list[str]], rows: list[Item]) -> Item:
    result: Item = {}
    for function, fields in functions.items():
        if function not in AGGREGATES:
            raise invalid_query(f'"{function}" is not a known aggregate')
        if fields == ["*"] and function == "count":
            result["count"] = len(rows)
            continue
        result[function] = {
            name: AGGREGATES[function]([row[name] for row in rows if row.get(name) is not None])
            for name in fields
        }
    return result
