"""The items of a fake Directus, and the log of their changes."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from directus_realtime.testing.fake.errors import invalid_payload, not_unique
from directus_realtime.testing.fake.schema import ACTIVITY, FakeCollection, Item, Key, Schema

Action = Literal["create", "update", "delete"]


@dataclass(frozen=True)
class Change:
    """One event of Directus.

    The keys are as the caller of Directus wrote them: strings if they came from an address.
    """

    action: Action
    collection: str
    keys: tuple[Any, ...]


@dataclass(frozen=True)
class Origin:
    """Who changes something, for the activity log."""

    user: str | None = None
    ip: str = "127.0.0.1"
    user_agent: str | None = None


Listener = Callable[[Sequence[Change]], None]
NOBODY = Origin()


class Store:
    """Rows by collection and key.

    Args:
        schema: The collections.
        listener: Called once for each operation, after it, with all its changes.
    """

    def __init__(self, schema: Schema, listener: Listener) -> None:
        self.schema = schema
        self._listener = listener
        self._rows: dict[str, dict[Key, Item]] = {name: {} for name in schema.collections}
        self._highest = dict.fromkeys(schema.collections, 0)
        self._activity_ids = itertools.count(1)
        for collection in schema.collections.values():
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

    def create(
        self, name: str, items: Iterable[Item], origin: Origin = NOBODY, *, emit: bool = True
    ) -> list[Key]:
        """Add items; every one of them is a change of its own.

        Here and below, ``emit=False`` logs the change but tells nobody.
        """
        collection = self.schema[name]
        keys = [self._insert(collection, item) for item in items]
        self._announce([Change("create", name, (key,)) for key in keys], origin, emit)
        return keys

    def update(
        self,
        name: str,
        updates: Sequence[tuple[Sequence[Any], Item]],
        origin: Origin = NOBODY,
        *,
        emit: bool = True,
    ) -> None:
        """Change items; every pair of keys and data is one change. Unknown keys are left out."""
        collection = self.schema[name]
        changes = []
        for keys, data in updates:
            for row in filter(None, (self.row(name, key) for key in keys)):
                row.update(_known(collection, data))
                self._touch(collection, row, "date-updated")
            if keys:
                changes.append(Change("update", name, tuple(keys)))
        self._announce(changes, origin, emit)

    def delete(
        self, name: str, keys: Sequence[Any], origin: Origin = NOBODY, *, emit: bool = True
    ) -> None:
        """Remove items in one change, which has the unknown keys too, as in Directus."""
        collection = self.schema[name]
        for key in keys:
            cast = collection.cast_key(key)
            if cast is not None:
                self._rows[name].pop(cast, None)
        if keys:
            self._announce([Change("delete", name, tuple(keys))], origin, emit)

    def add_unnoticed(self, name: str, item: Item) -> None:
        """Add a row that nobody is told of, with the past that it says it has."""
        collection = self.schema[name]
        key = self._insert(collection, item)
        self._rows[name][key].update(_known(collection, item))

    def _insert(self, collection: FakeCollection, item: Mapping[str, Any]) -> Key:
        key = self._new_key(collection, item.get(collection.primary_key))
        row = dict.fromkeys(collection.field_names) | collection.defaults
        row |= _known(collection, item)
        row[collection.primary_key] = key
        self._touch(collection, row, "date-created")
        self._rows[collection.name][key] = row
        return key

    def _new_key(self, collection: FakeCollection, given: Any) -> Key:
        key = collection.cast_key(given) if given is not None else None
        if key is None and collection.key_type == "integer":
            key = self._highest[collection.name] + 1
        elif key is None and collection.key_type == "uuid":
            key = str(uuid.uuid4())
        elif key is None:
            raise invalid_payload(f'"{collection.primary_key}" is required')
        if key in self._rows[collection.name]:
            raise not_unique(collection.name, collection.primary_key, given)
        if isinstance(key, int):
            self._highest[collection.name] = max(key, self._highest[collection.name])
        return key

    def _touch(self, collection: FakeCollection, row: Item, kind: str) -> None:
        for name, field_type in collection.fields.items():
            if field_type == kind:
                row[name] = timestamp()

    def _announce(self, changes: list[Change], origin: Origin, emit: bool) -> None:
        logged = [
            self._log(change, key, origin)
            for change in changes
            if self.schema[change.collection].accountability is not None
            for key in change.keys
            if change.action == "delete" or self.row(change.collection, key) is not None
        ]
        if emit:
            self._listener([*logged, *changes])

    def _log(self, change: Change, key: Any, origin: Origin) -> Change:
        number = next(self._activity_ids)
        row: Item = {
            "id": number,
            "action": change.action,
            "user": origin.user,
            "timestamp": timestamp(),
            "ip": origin.ip,
            "user_agent": origin.user_agent,
            "collection": change.collection,
            "item": str(key),
            "revisions": [],
        }
        self._insert(self.schema[ACTIVITY], row)
        return Change("create", ACTIVITY, (number,))


def timestamp(shift: dt.timedelta = dt.timedelta()) -> str:
    """Return the shifted present time as Directus writes it, in UTC with milliseconds."""
    now = dt.datetime.now(dt.UTC) + shift
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _known(collection: FakeCollection, data: Mapping[str, Any]) -> Item:
    # Directus ignores unknown fields in what is written.
    names = set(collection.field_names) - {collection.primary_key}
    return {name: value for name, value in data.items() if name in names}
