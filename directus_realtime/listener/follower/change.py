"""A change of an item: a row of the activity log, or a ring where there is no log."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from directus_realtime.client.activity import ActivityRow
from directus_realtime.events import Action

#: Its own rows are the changes of this collection; Directus logs none of them.
ACTIVITY = "directus_activity"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one item.

    Attributes:
        collection: Name of the collection.
        action: What happened to the item.
        item: Its key, as its caller wrote it.
        row: The row of the log; ``None`` where there is none.
    """

    collection: str
    action: Action
    item: object
    row: ActivityRow | None = None


def changes_of(rows: Iterable[ActivityRow], collections: Container[str]) -> list[Change]:
    """Return what rows of the log are about: items that changed, and the new rows themselves.

    Args:
        rows: In the order of the log.
        collections: Only changes of these.
    """
    changes: list[Change] = []
    for row in rows:
        if ACTIVITY in collections:
            changes.append(Change(ACTIVITY, "create", row.id, row))
        if row.action is not None and row.collection in collections:
            changes.append(Change(row.collection, row.action, row.item, row))
    return changes
