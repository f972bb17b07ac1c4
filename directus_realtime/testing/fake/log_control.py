"""What a test does to the activity log and the collections of a fake Directus."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection
from typing import Any

from directus_realtime.testing.fake.schema import ACTIVITY, FakeCollection
from directus_realtime.testing.fake.store import Change, Store


class LogControl:
    """The part of :class:`FakeDirectus` that is about the log and the collections."""

    _store: Store

    async def write_log(self, action: str, collection: str, item: object = "") -> int:
        """Write a row without a change of an item, and return its id.

        Args:
            action: For example ``login``, ``run`` or ``version_save``.
            collection: For example ``directus_users`` or ``directus_flows``.
            item: The key of the item that the row names.
        """
        row = self._store.log.entry(action, collection, item)
        self._store.log.add([row])
        self._store.tell([Change("create", ACTIVITY, (row["id"],))])
        return int(row["id"])

    def prune_log(self, until_id: int, actions: Collection[str] | None = None) -> None:
        """Remove rows of the activity log, as Directus's retention does.

        Args:
            until_id: The highest id to remove.
            actions: The actions whose rows are removed; all if not given.
        """
        self._store.log.prune(until_id, actions)

    def replace_log(self, until_id: int = 0) -> None:
        """Put the activity log back to an earlier state, as a restored backup does.

        Args:
            until_id: The highest id that stays. The ids above it are given again, to rows with
                other timestamps.
        """
        self._store.log.replace(until_id)

    def shift_clock(self, seconds: float) -> None:
        """Move the server's clock: timestamps, ``$NOW`` and the header ``Date``.

        Args:
            seconds: How far the clock goes ahead; a negative number sets it back.
        """
        self._store.clock.ahead += dt.timedelta(seconds=seconds)

    async def create_collection(self, collection: FakeCollection) -> None:
        """Add a collection, with rows of the log for it and its fields."""
        for _ in collection.fields:
            await self._log_field("create")
        self._store.schema.collections[collection.name] = collection
        self._store.open(collection)
        await self.write_log("create", "directus_collections", collection.name)

    async def delete_collection(self, name: str) -> None:
        """Remove a collection, its items, and every row of the log that is about them."""
        self._store.drop(name)
        await self.write_log("delete", "directus_collections", name)

    async def change_collection(self, name: str, **changes: Any) -> None:
        """Change what a collection is; its items stay.

        New and removed fields and another accountability have rows in the log, another key or
        type of a field has none, as in Directus.

        Args:
            name: The collection.
            **changes: Arguments of :class:`FakeCollection`, for example ``fields`` or
                ``key_type``.
        """
        old = self._store.schema[name]
        new = dataclasses.replace(old, items=(), **changes)
        self._store.redefine(new)
        for _ in new.fields.keys() - old.fields.keys():
            await self._log_field("create")
        for _ in old.fields.keys() - new.fields.keys():
            await self._log_field("delete")
        if new.accountability != old.accountability:
            await self.write_log("update", "directus_collections", name)

    async def _log_field(self, action: str) -> None:
        # Directus names a field by a number of its own.
        await self.write_log(action, "directus_fields", self._store.log.last_id + 1)
