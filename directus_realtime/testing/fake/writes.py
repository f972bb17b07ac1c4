"""Writes to the items of a fake Directus by a test: at once or in a transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self, overload

from directus_realtime.testing.fake.fake_collection import Item, Key
from directus_realtime.testing.fake.refusals import ApiError
from directus_realtime.testing.fake.store import Manner, Store, Write


class ItemWriter(ABC):
    """Create, update and delete items.

    Common arguments of the three:

    - ``keys``: The key of one item, or a list of keys.
    - ``emit=False`` acts like a Flow without "emit events": the activity log has the change,
      but no socket gets an event.
    - ``log=False`` acts like a service without accountability: sockets get the event, but the
      activity log has no row.
    - ``as_written``: Another spelling of the key or keys, for the log and the event.
    """

    _store: Store

    @overload
    async def create(
        self, collection: str, data: Item, *, emit: bool = True, log: bool = True
    ) -> Item: ...

    @overload
    async def create(
        self, collection: str, data: list[Item], *, emit: bool = True, log: bool = True
    ) -> list[Item]: ...

    async def create(
        self, collection: str, data: Item | list[Item], *, emit: bool = True, log: bool = True
    ) -> Item | list[Item]:
        """Add one item or a list of them, like a POST, and return them as stored.

        Raises:
            ValueError: Directus would refuse this.
        """
        given = data if isinstance(data, list) else [data]
        try:
            writes = self._store.plan_create(collection, given, Manner(emit=emit, log=log))
        except ApiError as refusal:
            raise ValueError(refusal.message) from refusal
        made = [dict(write.data) for write in writes]
        self._execute(writes)
        return made if isinstance(data, list) else made[0]

    async def update(
        self,
        collection: str,
        keys: Key | Sequence[Key],
        data: Item,
        *,
        emit: bool = True,
        log: bool = True,
        as_written: Key | Sequence[Key] | None = None,
        early: bool = False,
    ) -> None:
        """Update one item, like a PATCH to its address, or several, like a PATCH of keys.

        Args:
            collection: The collection.
            keys: See the class, as for ``emit``, ``log`` and ``as_written``.
            data: The new values.
            early: Send the event first, with the old rows, as Directus on PostgreSQL does for
                the objects in the list of a PATCH.
        """
        manner = Manner(emit=emit, log=log, as_written=_spellings(as_written))
        writes = self._store.plan_update(collection, _wire_keys(keys), data, manner)
        for write in writes if early and emit else ():
            self._store.emit([write.change])
            write.sent = True
        self._execute(writes)

    async def delete(
        self,
        collection: str,
        keys: Key | Sequence[Key],
        *,
        emit: bool = True,
        log: bool = True,
        as_written: Key | Sequence[Key] | None = None,
    ) -> None:
        """Remove one item, like a DELETE to its address, or several, like a DELETE of keys.

        The event of a single key has it as a string, as in Directus.
        """
        manner = Manner(emit=emit, log=log, as_written=_spellings(as_written))
        self._execute(self._store.plan_delete(collection, _wire_keys(keys), manner))

    @abstractmethod
    def _execute(self, writes: Sequence[Write]) -> None:
        """Commit planned changes, now or later."""


class FakeTransaction(ItemWriter):
    """Changes that become visible together, at the end of an ``async with`` block.

    Made by :meth:`FakeDirectus.transaction`. Keys of items and ids of rows of the activity log
    are reserved at once, events are sent at the end, except those of updates with
    ``early=True``. An exception in the block rolls everything back.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writes: list[Write] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def commit(self) -> None:
        """Make the changes so far visible, and send their events."""
        writes, self._writes = self._writes, []
        self._store.commit(writes)

    def rollback(self) -> None:
        """Drop the changes so far; the ids of their rows of the log stay reserved."""
        writes, self._writes = self._writes, []
        self._store.discard(writes)

    def _execute(self, writes: Sequence[Write]) -> None:
        self._writes += writes


def _wire_keys(keys: Key | Sequence[Key]) -> list[Key]:
    """Return keys as an event has them: strings come from addresses, numbers from bodies."""
    return [str(keys)] if isinstance(keys, int | str) else list(keys)


def _spellings(written: Key | Sequence[Key] | None) -> tuple[Key, ...]:
    if written is None:
        return ()
    return (written,) if isinstance(written, int | str) else tuple(written)
