"""What may be done with items, over REST and over a socket alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from directus_realtime.testing.fake.accounts import Access
from directus_realtime.testing.fake.activity_log import Origin
from directus_realtime.testing.fake.errors import forbidden_collection, invalid_payload
from directus_realtime.testing.fake.query import Query
from directus_realtime.testing.fake.reader import Reader
from directus_realtime.testing.fake.schema import Item
from directus_realtime.testing.fake.store import Manner


class Items:
    """The items of one collection with the rights of somebody.

    Args:
        reader: What to read with; its store is what is changed.
        name: The collection.
        access: Whose rights; only an administrator may change anything.
        origin: Who it is, for the activity log.
    """

    def __init__(self, reader: Reader, name: str, access: Access, origin: Origin) -> None:
        self._reader = reader
        self._name = name
        self._access = access
        self._manner = Manner(origin)

    def read(self, query: Query) -> list[Item]:
        """Return the items of a query."""
        return self._reader.read_query(self._access, self._name, query)

    def read_one(self, key: Any, query: Query) -> Item:
        """Return one item."""
        return self._reader.read_one(self._access, self._name, key, query)

    def read_many(self, keys: Sequence[Any], query: Query) -> list[Item]:
        """Return the items with these keys, as far as they exist.

        Raises:
            ApiError: The collection is refused, or a key can be none of its keys.
        """
        if self._access.may_read(self._name) and self._name in self._reader.store.schema:
            self._reader.store.schema[self._name].check_keys(keys)
        return self._reader.read_keys(self._access, self._name, keys, query)

    def create(self, data: Any, query: Query) -> Any:
        """Add one item or a list of them, and return the same shape."""
        self._check_write()
        items = data if isinstance(data, list) else [data]
        keys = self._reader.store.create(self._name, items, self._manner)
        made = self._reader.read_keys(self._access, self._name, keys, query)
        return made if isinstance(data, list) else made[0]

    def update(self, keys: Sequence[Any], data: Item, query: Query) -> list[Item]:
        """Change items in the same way: one change."""
        self._check_write()
        self._reader.store.update(self._name, [(keys, data)], self._manner)
        return self._reader.read_keys(self._access, self._name, keys, query)

    def update_each(self, items: Sequence[Item], query: Query) -> list[Item]:
        """Change items each in its own way: so many changes."""
        self._check_write()
        primary = self._reader.store.schema[self._name].primary_key
        keys = [item.get(primary) for item in items]
        if None in keys:
            raise invalid_payload(f'Item in update misses primary key "{primary}"')
        pairs = [([key], item) for key, item in zip(keys, items, strict=True)]
        self._reader.store.update(self._name, pairs, self._manner)
        return self._reader.read_keys(self._access, self._name, keys, query)

    def update_any(self, body: Any, query: Query) -> list[Item]:
        """Change what the body of a PATCH without a key says."""
        if isinstance(body, list):
            return self.update_each(body, query)
        if not isinstance(body, dict) or "data" not in body:
            raise invalid_payload('"data" is required')
        return self.update(self._keys(body), body["data"], query)

    def delete(self, keys: Sequence[Any]) -> None:
        """Remove items: one change."""
        self._check_write()
        self._reader.store.delete(self._name, keys, self._manner)

    def delete_any(self, body: Any) -> list[Any]:
        """Remove what the body of a DELETE without a key says, and return the keys."""
        keys = body if isinstance(body, list) else self._keys(body)
        self.delete(keys)
        return keys

    def meta(self, query: Query) -> dict[str, int]:
        """Return the counts that the query asks for."""
        return self._reader.meta(self._access, self._name, query)

    def _keys(self, body: Any) -> list[Any]:
        if isinstance(body, dict) and isinstance(body.get("keys"), list):
            return list(body["keys"])
        if isinstance(body, dict) and isinstance(body.get("query"), dict):
            query = self._reader.query(body["query"])
            return self._reader.matching_keys(self._access, self._name, query)
        raise invalid_payload('"value" must contain at least one of [query, keys]')

    def _check_write(self) -> None:
        if not self._access.is_admin or self._name not in self._reader.store.schema:
            raise forbidden_collection(self._name)
