"""The activity log of a fake Directus: its rows, and what becomes of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from directus_realtime.testing.fake.schema import Item, Key
from directus_realtime.testing.fake.server_clock import ServerClock, as_written


@dataclass(frozen=True)
class Origin:
    """The author of a change, for the activity log."""

    user: str | None = None
    ip: str = "127.0.0.1"
    user_agent: str | None = None


NOBODY = Origin()


class ActivityLog:
    """The rows of ``directus_activity`` by id.

    Args:
        clock: The server's clock.

    Attributes:
        rows: The visible rows.
        last_id: The highest id that was taken, by a row that is visible or not.
    """

    def __init__(self, clock: ServerClock) -> None:
        self.rows: dict[Key, Item] = {}
        self.last_id = 0
        self._clock = clock
        self._earliest = dt.datetime.min.replace(tzinfo=dt.UTC)

    def entry(self, action: str, collection: str, item: object, origin: Origin = NOBODY) -> Item:
        """Return a row with an id of its own that is not visible yet."""
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
        # The store reads this very dict.
        kept = {row["id"]: row for row in rows}
        self.rows.clear()
        self.rows.update(kept)
