"""What really happened in Directus: the changes, and when they could be seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from directus_realtime.testing.fake.writes import FakeTransaction
from tests.simulation import clock
from tests.simulation.directus import ARTICLES, SimulatedDirectus

#: Collection and key.
Item = tuple[str, str]


@dataclass
class Logged:
    """A row of the activity log.

    Attributes:
        number: Its id.
        item: The item.
        action: What happened to it.
        version: Version of the item afterwards; 0 for a delete.
        status: Its status afterwards.
        written_at: True second at which it was written.
        visible_at: True second of its commit.
        pruned_at: True second at which it was deleted from the log; ``None`` where it was not.
    """

    number: int
    item: Item
    action: str
    version: int
    status: str
    written_at: float
    visible_at: float
    pruned_at: float | None = None


class Truth:
    """Makes the changes of a simulation, and remembers those that were committed.

    Args:
        directus: The server.

    Attributes:
        rows: The rows of the log, in the order of their commits.
        by_item: The same, by item and in the order of their ids.
        unlogged: Committed states that the log does not have: item, version and status.
    """

    def __init__(self, directus: SimulatedDirectus) -> None:
        self.rows: list[Logged] = []
        self.by_item: dict[Item, list[Logged]] = defaultdict(list)
        self.unlogged: set[tuple[Item, int, str]] = set()
        self.changes = 0
        self._directus = directus
        self._locked: set[Item] = set()
        self._version = 0

    def begin(self) -> Transaction:
        """Begin a transaction of Directus."""
        return Transaction(self, self._directus.fake.transaction())

    def state(self, item: Item) -> dict[str, Any] | None:
        """Return an item as it is now."""
        return self._directus.store.row(*item)

    def items(self, collection: str) -> list[str]:
        """Return the keys of the items that no transaction has locked."""
        rows = self._directus.store.rows(collection)
        keys = [str(row["id"]) for row in rows]
        return [key for key in keys if (collection, key) not in self._locked]

    def prune(self, until: int, at: float) -> None:
        """Note that the visible rows up to an id are deleted from the log."""
        for row in self.rows:
            if row.number <= until and row.pruned_at is None:
                row.pruned_at = at

    def since(self, collection: str, at: float) -> list[Logged]:
        """Return the rows of a collection that are in the log and were written since a moment."""
        own = [row for row in self.rows if row.item[0] == collection and row.written_at >= at]
        return [row for row in own if row.pruned_at is None]

    def _commit(self, rows: Sequence[Logged]) -> None:
        self.rows += rows
        for row in rows:
            self.by_item[row.item].append(row)


class Transaction:
    """A transaction of Directus: its changes are visible to nobody until it is committed."""

    def __init__(self, truth: Truth, fake: FakeTransaction) -> None:
        self._truth = truth
        self._fake = fake
        self._rows: list[Logged] = []
        self._unlogged: list[tuple[Item, int, str]] = []
        self._locked: set[Item] = set()

    async def change(self, action: str, collection: str, pick: int, status: str, way: str) -> None:
        """Change an item that nobody else is changing; create one where there is none.

        Args:
            action: ``create``, ``update`` or ``delete``.
            collection: The collection.
            pick: Chooses the item.
            status: Its status afterwards.
            way: ``silent``: no socket hears of it. ``early``: sockets hear of an update before
                its commit. ``unlogged``: the log has no row of an update. Else ordinary.
        """
        truth = self._truth
        truth.changes += 1
        truth._version += 1
        version = truth._version
        values = {"title": f"t{version}", "status": status, "version": version}
        free, emit = truth.items(collection), way != "silent"
        if action == "create" or not free:
            if collection == ARTICLES:
                made = await self._fake.create(collection, values, emit=emit)
                self._note("create", collection, str(made["id"]), version, status)
                return
            key = f"n{pick % 40}"
            if truth.state((collection, key)) is not None or (collection, key) in truth._locked:
                return
            await self._fake.create(collection, {**values, "id": key}, emit=emit)
            self._note("create", collection, key, version, status)
            return
        key = free[pick % len(free)]
        wire: int | str = int(key) if collection == ARTICLES else key
        if action == "update":
            is_logged, is_early = way != "unlogged", way == "early"
            await self._fake.update(
                collection, wire, values, emit=emit, log=is_logged, early=is_early
            )
            if is_logged:
                self._note("update", collection, key, version, status)
            else:
                self._note_unlogged((collection, key), version, status)
        else:
            await self._fake.delete(collection, wire, emit=emit)
            self._note("delete", collection, key, 0, "")

    def _note(self, action: str, collection: str, key: str, version: int, status: str) -> None:
        item = collection, key
        number = self._truth._directus.store.log.last_id
        now = clock.true_seconds()
        self._rows.append(Logged(number, item, action, version, status, now, now))
        self._truth._locked.add(item)
        self._locked.add(item)

    def _note_unlogged(self, item: Item, version: int, status: str) -> None:
        self._unlogged.append((item, version, status))
        self._truth._locked.add(item)
        self._locked.add(item)

    def end(self, at: float, *, is_rolled_back: bool) -> list[Logged]:
        """Commit, or roll back; return the rows that are visible now."""
        self._truth._locked -= self._locked
        if is_rolled_back:
            self._fake.rollback()
            return []
        self._fake.commit()
        for row in self._rows:
            row.visible_at = at
        self._truth.unlogged.update(self._unlogged)
        self._truth._commit(self._rows)
        return self._rows
