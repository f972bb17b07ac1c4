"""The items and the activity log of a fake Directus, with planned and visible changes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from directus_realtime.testing.fake.fake_collection import (
    ACTIVITY,
    FakeCollection,
    Item,
    Key,
    Schema,
)
from directus_realtime.testing.fake.refusals import ApiError, invalid_payload
from directus_realtime.testing.fake.server_state import ServerClock, as_written

Action = Literal["create", "update", "delete"]


@dataclass(frozen=True)
class Origin:
    """The author of a change, for the activity log."""

    user: str | None = None
    ip: str = "127.0.0.1"
    user_agent: str | None = None


NOBODY = Origin()


@dataclass(frozen=True)
class Change:
    """One event of Directus."""

    action: Action
    collection: str
    keys: tuple[Any, ...]  # as the caller wrote them: strings if they came from an address
    items: tuple[Any, ...] = ()  # the keys of the items, if they differ

    @property
    def item_keys(self) -> tuple[Any, ...]:
        """The keys that identify the items."""
        return self.items or self.keys


@dataclass
class Write:
    """A planned change of items, not visible yet."""

    change: Change
    data: Item  # the row of a create, the new values of an update
    log: list[Item]  # its rows of the activity log
    emit: bool = True  # whether events of the change and its rows are sent
    sent: bool = False  # whether the event of the change was sent early


@dataclass(frozen=True)
class Manner:
    """The traces that a change leaves."""

    origin: Origin = NOBODY
    emit: bool = True  # events
    log: bool = True  # rows in the activity log
    as_written: tuple[Any, ...] = ()  # keys in both, if they differ from those of the items


class ActivityLog:
    """The rows of ``directus_activity`` by id."""

    def __init__(self, clock: ServerClock) -> None:
        self.rows: dict[Key, Item] = {}  # the visible ones
        self.last_id = 0  # of a row, visible or not
        self._clock = clock
        self._earliest = dt.datetime.min.replace(tzinfo=dt.UTC)

    def entry(self, action: str, collection: str, item: object, origin: Origin = NOBODY) -> Item:
        """Return a new row that is not visible yet."""
        self.last_id += 1
        return {
            "id": self.last_id,
            "action": action,
            "user": origin.user,
            "timestamp": as_written(max(self._clock.now(), self._earliest)),
            "ip": origin.ip,
            "user_agent": origin.user_agent,
            "collection": collection,
            "item": str(item),
            "origin": None,
            "revisions": [],
        }

    def add(self, rows: Iterable[Item]) -> None:
        """Make rows visible."""
        self.rows |= {row["id"]: row for row in rows}

    def prune(self, until_id: int, actions: Collection[str] | None = None) -> None:
        """Remove the rows up to an id, all or those with one of the actions."""
        self._keep(
            row
            for row in self.rows.values()
            if row["id"] > until_id or (actions is not None and row["action"] not in actions)
        )

    def forget(self, collection: str) -> None:
        """Remove the rows of a collection."""
        self._keep(row for row in self.rows.values() if row["collection"] != collection)

    def replace(self, until_id: int) -> None:
        """Remove the rows above an id; the next row gets the id after it, and is newer."""
        times = [dt.datetime.fromisoformat(row["timestamp"]) for row in self.rows.values()]
        self._earliest = max([self._earliest, *(each + dt.timedelta(seconds=1) for each in times)])
        self._keep(row for row in self.rows.values() if row["id"] <= until_id)
        self.last_id = until_id

    def _keep(self, rows: Iterable[Item]) -> None:
        kept = {row["id"]: row for row in rows}
        self.rows.clear()  # the store holds the same dict
        self.rows.update(kept)


EventListener = Callable[[Sequence[Change]], None]
ORDINARY = Manner()


class Store:
    """Rows by collection and key.

    Args:
        schema: The collections.
        emit: Called once after each operation, with all its changes.
        query_limit_max: Directus's ``QUERY_LIMIT_MAX``.
    """

    def __init__(
        self, schema: Schema, emit: EventListener, query_limit_max: int | None = None
    ) -> None:
        self.schema = schema
        self.emit = emit
        self.query_limit_max = query_limit_max
        self.clock = ServerClock()
        self.log = ActivityLog(self.clock)
        self.spoiled: dict[tuple[str, str], str | None] = {}
        self._rows: dict[str, dict[Key, Item]] = {}
        self._planned: set[tuple[str, Key]] = set()  # keys of items that are not visible yet
        self._highest: dict[str, int] = {}
        for collection in schema.collections.values():
            self.open(collection)

    def open(self, collection: FakeCollection) -> None:
        """Prepare the rows of a collection, with its first items."""
        self._rows[collection.name] = self.log.rows if collection.name == ACTIVITY else {}
        self._highest[collection.name] = 0
        for item in collection.items:
            self.add_silently(collection.name, item)

    def rows(self, name: str, keys: Iterable[Any] | None = None) -> list[Item]:
        """Return the rows of a collection, or those with the keys, in the order of the keys."""
        collection = self.schema[name]
        rows = self._rows[name]
        wanted = rows.keys() if keys is None else {collection.cast_key(key) for key in keys}
        found = [key for key in wanted if key is not None and key in rows]
        return [rows[key] for key in sorted(found, key=lambda key: (isinstance(key, str), key))]

    def row(self, name: str, key: Any) -> Item | None:
        """Return one row, or None; the key may be of any castable type."""
        cast = self.schema[name].cast_key(key)
        return None if cast is None else self._rows[name].get(cast)

    def plan_create(self, name: str, items: Iterable[Item], manner: Manner) -> list[Write]:
        """Plan new items, and reserve their keys."""
        writes = []
        for item in items:
            row = self._new_row(self.schema[name], item)
            key = row[self.schema[name].primary_key]
            self._planned.add((name, key))
            writes.append(self._write(Change("create", name, (key,)), row, manner))
        return writes

    def plan_update(
        self, name: str, keys: Sequence[Any], data: Item, manner: Manner
    ) -> list[Write]:
        """Plan one update of items; none without keys."""
        collection = self.schema[name]
        data = _known(collection, data) | self._timestamps(collection, "date-updated")
        change = Change("update", name, manner.as_written or tuple(keys), tuple(keys))
        return [self._write(change, data, manner)] if keys else []

    def plan_delete(self, name: str, keys: Sequence[Any], manner: Manner) -> list[Write]:
        """Plan one delete of items; none without keys."""
        change = Change("delete", name, manner.as_written or tuple(keys), tuple(keys))
        return [self._write(change, {}, manner)] if keys else []

    def commit(self, writes: Sequence[Write]) -> None:
        """Make planned changes and their rows of the log visible, and send their events."""
        for write in writes:
            self._apply(write)
            self.log.add(write.log)
        emitted = [write for write in writes if write.emit]
        rows = [Change("create", ACTIVITY, (row["id"],)) for write in emitted for row in write.log]
        changes = [write.change for write in emitted if not write.sent]
        if rows or changes:
            self.emit([*rows, *changes])

    def discard(self, writes: Sequence[Write]) -> None:
        """Drop planned changes; the ids of their rows of the log stay reserved."""
        for write in writes:
            self._planned -= {(write.change.collection, key) for key in write.change.keys}

    def add_silently(self, name: str, item: Item) -> None:
        """Add a row without event or log, with the timestamps it has."""
        collection = self.schema[name]
        row = self._new_row(collection, item) | _known(collection, item)
        key = row[collection.primary_key]
        self._rows[name][key] = row
        if name == ACTIVITY:
            self.log.last_id = max(self.log.last_id, key)

    def redefine(self, collection: FakeCollection) -> None:
        """Replace the definition of a collection; its rows are kept."""
        old = self.schema[collection.name]
        kept = list(self._rows[collection.name].values())
        self.schema.collections[collection.name] = collection
        self._rows[collection.name] = {}
        self._highest[collection.name] = 0
        for row in kept:
            key = {collection.primary_key: row[old.primary_key]}
            self.add_silently(collection.name, {**row, **key})

    def drop(self, name: str) -> None:
        """Remove a collection, its rows, and its rows of the log."""
        del self.schema.collections[name], self._rows[name]
        self.log.forget(name)

    def _apply(self, write: Write) -> None:
        change, rows = write.change, self._rows[write.change.collection]
        collection = self.schema[change.collection]
        cast = [key for each in change.item_keys if (key := collection.cast_key(each)) is not None]
        for key in cast:
            if change.action == "create":
                rows[key] = write.data
                self._planned.discard((change.collection, key))
            elif change.action == "update" and key in rows:
                rows[key] = rows[key] | write.data
            elif change.action == "delete":
                rows.pop(key, None)

    def _write(self, change: Change, data: Item, manner: Manner) -> Write:
        is_logged = manner.log and self.schema[change.collection].accountability is not None
        entries = [
            self.log.entry(change.action, change.collection, written, manner.origin)
            for written, key in zip(change.keys, change.item_keys, strict=True)
            if is_logged and (change.action != "update" or self._exists(change.collection, key))
        ]
        return Write(change, data, entries, manner.emit)

    def _exists(self, name: str, key: Any) -> bool:
        return (name, self.schema[name].cast_key(key)) in self._planned or (
            self.row(name, key) is not None
        )

    def _new_row(self, collection: FakeCollection, item: Mapping[str, Any]) -> Item:
        key = self._new_key(collection, item.get(collection.primary_key))
        row = dict.fromkeys(collection.field_names) | collection.defaults
        row |= _known(collection, item) | self._timestamps(collection, "date-created")
        row[collection.primary_key] = key
        return row

    def _new_key(self, collection: FakeCollection, given: Any) -> Key:
        key = collection.cast_key(given) if given is not None else None
        if key is None and collection.key_type == "integer":
            key = self._highest[collection.name] + 1
        elif key is None and collection.key_type == "uuid":
            key = str(uuid.uuid4())
        elif key is None:
            raise invalid_payload(f'"{collection.primary_key}" is required')
        if self._exists(collection.name, key):
            where = {"collection": collection.name, "field": collection.primary_key}
            raise ApiError(
                400,
                "RECORD_NOT_UNIQUE",
                f'Value "{given}" for field "{collection.primary_key}" in collection '
                f'"{collection.name}" has to be unique.',
                **where,
                value=given,
            )
        if isinstance(key, int):
            self._highest[collection.name] = max(key, self._highest[collection.name])
        return key

    def _timestamps(self, collection: FakeCollection, kind: str) -> Item:
        names = [name for name, field_type in collection.fields.items() if field_type == kind]
        return dict.fromkeys(names, self.clock.timestamp())


def _known(collection: FakeCollection, data: Mapping[str, Any]) -> Item:
    # Directus ignores unknown fields in writes.
    names = set(collection.field_names) - {collection.primary_key}
    return {name: value for name, value in data.items() if name in names}
