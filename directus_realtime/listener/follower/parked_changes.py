"""Changes whose item was not found, parked until the item or its delete is found.

Directus answers missing and forbidden alike, and cascades leave no row in the log (M33), so
*not found* never means *deleted*.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial

from directus_realtime.client.activity_log import ActivityLog, ActivityRow, Change
from directus_realtime.database import grouped
from directus_realtime.listener.follower import position_store
from directus_realtime.listener.follower.event_builder import Built
from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import ParkedChange
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Seconds between two reads of the same parked items.
_RETRY = 30.0
#: Maximum number of items of one such read.
_AT_A_TIME = 1000


class ParkedChanges:
    """The parked changes of one connection, *unexplained* after ``age`` seconds."""

    def __init__(self, alias: str, inbox: Inbox, clock: SystemClock, age: float) -> None:
        self._alias = alias
        self._log = logger.bind(connection=alias)
        self._inbox = inbox
        self._clock = clock
        self._age = age
        self._changes: dict[tuple[int, int], ParkedChange] = {}
        self._retried_at: dict[int, float] = {}
        self._is_loaded = False

    async def load(self) -> None:
        """Read the parked changes of the previous listener, once."""
        if self._is_loaded:
            return
        rows = await self._inbox.run_in_order(partial(position_store.read_parked, self._alias))
        self.add(rows)
        self._is_loaded = True

    def add(self, changes: Iterable[ParkedChange]) -> None:
        """Park changes."""
        for each in changes:
            self._changes.setdefault((each.subscription_id, each.activity_id), each)

    def resolve(self, built: Built) -> tuple[set[tuple[int, str]], set[tuple[str, str]]]:
        """Remove the changes whose item or delete was found.

        Args:
            built: Result of the processing of other changes.

        Returns:
            Found items of parked changes, as subscription and key, and deleted ones, as
            collection and key.
        """
        found: set[tuple[int, str]] = set()
        deleted: set[tuple[str, str]] = set()
        if not self._changes or not (built.present or built.deleted):
            return found, deleted
        for number, each in list(self._changes.items()):
            item, place = (each.subscription_id, each.key_json), (each.collection, each.key_json)
            if item in built.present:
                found.add(item)
            elif place in built.deleted:
                deleted.add(place)
            else:
                continue
            del self._changes[number]
        return found, deleted

    def due(self, subscription_id: int) -> list[Change]:
        """Return the changes of a subscription whose items are due to be read again."""
        now = self._clock.monotonic()
        if now - self._retried_at.get(subscription_id, now - _RETRY) < _RETRY:
            return []
        changes = self._changes.values()
        mine = [each for each in changes if each.subscription_id == subscription_id][:_AT_A_TIME]
        for each in mine:  # the others first, the next time
            number = each.subscription_id, each.activity_id
            self._changes[number] = self._changes.pop(number)
        if mine:
            self._retried_at[subscription_id] = now
        return [_change(each) for each in sorted(mine, key=lambda each: each.activity_id)]

    async def give_up_old(self, log: ActivityLog) -> None:
        """Mark old changes as unexplained, unless a delete was logged before them."""
        before = self._clock.now() - timedelta(seconds=self._age)
        old = [number for number, each in self._changes.items() if each.parked_at < before]
        if not old:
            return
        await self._explain([self._changes[number] for number in old], log)
        for number in old:
            self._changes.pop(number, None)
        count = await self._inbox.run_in_order(
            partial(position_store.give_up_parked, self._alias, before)
        )
        if not count:
            return
        self._log.warning(
            "unexplained",
            "%s  unexplained: %s in the activity log. The item is not found, and no delete of it "
            "was found in the log: it never existed, the database itself has deleted it, or the "
            "token may not read it.",
            self._alias,
            "1 change" if count == 1 else f"{count} changes",
            changes=count,
        )

    async def _explain(self, changes: Sequence[ParkedChange], log: ActivityLog) -> None:
        """Remove the changes of items whose delete is in the log, before or after them."""
        parked = grouped((each.collection, each.key_json) for each in changes)
        for collection, keys in parked.items():
            items = {key: str(json.loads(key)) for key in keys}
            found = await log.deleted(collection, sorted(set(items.values())))
            explained = {(collection, key) for key, item in items.items() if item in found}
            _, deleted = self.resolve(Built(deleted=explained))
            progress = position_store.Progress(self._alias, deleted=deleted)
            await self._inbox.run_in_order(progress.write)


def _change(parked: ParkedChange) -> Change:
    row = ActivityRow(
        parked.activity_id,
        parked.action,  # type: ignore[arg-type]
        parked.collection,
        str(json.loads(parked.key_json)),
        parked.changed_at,
        parked.changed_by or None,
    )
    return Change(row.collection, row.action or "update", row.item, row)
