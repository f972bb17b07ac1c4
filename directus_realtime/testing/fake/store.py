"""The items of a fake Directus: planned changes, and those that everybody sees."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from directus_realtime.testing.fake.activity_log import NOBODY, ActivityLog, Origin
from directus_realtime.testing.fake.errors import invalid_payload, not_unique
from directus_realtime.testing.fake.schema import ACTIVITY, FakeCollection, Item, Key, Schema
from directus_realtime.testing.fake.server_clock import ServerClock

Action = Literal["create", "update", "delete"]


@dataclass(frozen=True)
class Change:
    """One event of Directus.

    The keys are as the caller of Directus wrote them: strings if they came from an address.

    Args:
        action: What was done.
        collection: The collection.
        keys: The keys as they are repeated.
        items: The keys of the items, if those are others.
    """

    action: Action
    collection: str
    keys: tuple[Any, ...]
    items: tuple[Any, ...] = ()

    @property
    def item_keys(self) -> tuple[Any, ...]:
        """The keys that the items are found by."""
        return self.items or self.keys


@dataclass
class Write:
    """One change of items that is planned and not visible yet.

    Args:
        change: The event of it.
        data: The row of a create, the new values of an update.
        log: Its rows of the activity log.
        emit: False sends no event, neither of the change nor of its rows.
        sent: True if the event of the change was sent early.
    """

    change: Change
    data: Item
    log: list[Item]
    emit: bool = True
    sent: bool = False


@dataclass(frozen=True)
class Manner:
    """The traces that a change leaves.

    Args:
        origin: Its author.
        emit: False sends no event.
        log: False leaves no row in the activity log.
        as_written: The keys that the log and the event repeat, if not those of the items.
    """

    origin: Origin = NOBODY
    emit: bool = True
    log: bool = True
    as_written: tuple[Any, ...] = ()


Listener = Callable[[Sequence[Change]], None]
ORDINARY = Manner()


class Store:
    """Rows by collection and key.

    Args:
        schema: The collections.
        listener: Called once for each operation, after it, with all its changes.
    """

    def __init__(self, schema: Schema, listener: Listener) -> None:
        self.schema = schema
        self.clock = ServerClock()
        self.log = ActivityLog(self.clock)
        self.spoiled: dict[tuple[str, str], str | None] = {}
        self.tell = listener
        self._rows: dict[str, dict[Key, Item]] = {}
        self._planned: set[tuple[str, Key]] = set()  # keys of items that are not visible yet
        self._highest: dict[str, int] = {}
        for collection in schema.collections.values():
            self.open(collection)

    def open(self, collection: FakeCollection) -> None:
        """Make place for a collection, with the items that it has from the start."""
        self._rows[collection.name] = self.log.rows if collection.name == ACTIVITY else {}
        self._highest[collection.name] = 0
        for item in collection.items:
            self.add_unnoticed(collection.name, item)

    def rows(self, name: str, keys: Iterable[Any] | None = None) -> list[Item]:
        """Return the rows of a collection, or those with the keys, in the order of the keys."""
        collection = self.schema[name]
        rows = self._rows[name]
        wanted = rows.keys() if keys is None else {collection.cast_key(key) for key in keys}
        found = [key for key in wanted if key is not None and key in rows]
        return [rows[key] for key in sorted(found, key=lambda key: (isinstance(key, str), key))]

    def row(self, name: str, key: Any) -> Item | None:
        """Return one row, or None; the key may be of any type that can be cast."""
        cast = self.schema[name].cast_key(key)
        return None if cast is None else self._rows[name].get(cast)

    def create(self, name: str, items: Iterable[Item], manner: Manner = ORDINARY) -> list[Key]:
        """Add items; every one of them is a change of its own. Return their keys."""
        writes = self.plan_create(name, items, manner)
        self.commit(writes)
        return [write.change.keys[0] for write in writes]

    def update(
        self, name: str, updates: Sequence[tuple[Sequence[Any], Item]], manner: Manner = ORDINARY
    ) -> None:
        """Change items; every pair of keys and data is one change. Unknown keys are left out."""
        self.commit(
            [w for keys, data in updates for w in self.plan_update(name, keys, data, manner)]
        )

    def delete(self, name: str, keys: Sequence[Any], manner: Manner = ORDINARY) -> None:
        """Remove items in one change, which has the unknown keys too, as in Directus."""
        self.commit(self.plan_delete(name, keys, manner))

    def plan_create(self, name: str, items: Iterable[Item], manner: Manner) -> list[Write]:
        """Take keys for items that are visible after :meth:`commit`."""
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
        """Prepare one change of items, which is none without keys."""
        collection = self.schema[name]
        data = _known(collection, data) | self._touched(collection, "date-updated")
        change = Change("update", name, manner.as_written or tuple(keys), tuple(keys))
        return [self._write(change, data, manner)] if keys else []

    def plan_delete(self, name: str, keys: Sequence[Any], manner: Manner) -> list[Write]:
        """Prepare the removal of items."""
        change = Change("delete", name, manner.as_written or tuple(keys), tuple(keys))
        return [self._write(change, {}, manner)] if keys else []

    def commit(self, writes: Sequence[Write]) -> None:
        """Make planned changes and their rows of the log visible, and send their events."""
        for write in writes:
            self._apply(write)
            self.log.add(write.log)
        told = [write for write in writes if write.emit]
        rows = [Change("create", ACTIVITY, (row["id"],)) for write in told for row in write.log]
        changes = [write.change for write in told if not write.sent]
        if rows or changes:
            self.tell([*rows, *changes])

    def discard(self, writes: Sequence[Write]) -> None:
        """Forget planned changes; the ids they took are taken."""
        for write in writes:
            self._planned -= {(write.change.collection, key) for key in write.change.keys}

    def add_unnoticed(self, name: str, item: Item) -> None:
        """Add a row that nobody is told of, with the past that it says it has."""
        collection = self.schema[name]
        row = self._new_row(collection, item) | _known(collection, item)
        key = row[collection.primary_key]
        self._rows[name][key] = row
        if name == ACTIVITY:
            self.log.last_id = max(self.log.last_id, key)

    def redefine(self, collection: FakeCollection) -> None:
        """Put another definition in the place of that with its name; the rows follow it."""
        old = self.schema[collection.name]
        kept = list(self._rows[collection.name].values())
        self.schema.collections[collection.name] = collection
        self._rows[collection.name] = {}
        self._highest[collection.name] = 0
        for row in kept:
            key = {collection.primary_key: row[old.primary_key]}
            self.add_unnoticed(collection.name, {**row, **key})

    def drop(self, name: str) -> None:
        """Remove a collection with its rows, and those of the log that are about it."""
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
        row |= _known(collection, item) | self._touched(collection, "date-created")
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
            raise not_unique(collection.name, collection.primary_key, given)
        if isinstance(key, int):
            self._highest[collection.name] = max(key, self._highest[collection.name])
        return key

    def _touched(self, collection: FakeCollection, kind: str) -> Item:
        names = [name for name, field_type in collection.fields.items() if field_type == kind]
        return dict.fromkeys(names, self.clock.timestamp())


def _known(collection: FakeCollection, data: Mapping[str, Any]) -> Item:
    # Directus ignores unknown fields in what is written.
    names = set(collection.field_names) - {collection.primary_key}
    return {name: value for name, value in data.items() if name in names}
