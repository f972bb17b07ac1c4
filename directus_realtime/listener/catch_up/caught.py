"""Events made of rows of the activity log and of the items as they are now."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity import ActivityRow
from directus_realtime.client.items import CurrentItems
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.events import Action, Event, Key, Origin

#: The same row always makes the same event, so that it is in the inbox once at the most.
_NAMESPACE = uuid.UUID("5f0c1d3e-7c53-4b0b-9e0e-1f6f0b7a5a11")
#: How often an item is read again that keeps changing while it is read.
_READS = 20


@dataclass
class _Reading:
    """What is known of the items that some rows are about."""

    current: dict[Key, dict[str, Any]] = field(default_factory=dict)
    outside: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def take(self, items: CurrentItems, keys: Iterable[Key]) -> None:
        for key in keys:
            self.current.pop(key, None)
            self.outside.pop(key, None)
        self.current.update(items.matching)
        self.outside.update(items.others)
        for key, actual in items.aliases.items():
            if actual in items.matching:
                self.current[key] = items.matching[actual]
            else:
                self.outside[key] = items.others[actual]


async def make_events(
    client: DirectusClient,
    subscription: ClientSubscription,
    rows: Sequence[ActivityRow],
    origin: Origin,
) -> list[Event]:
    """The events of some rows, for one subscription.

    A create or an update carries the item as it is now. Where the item is gone by now,
    there is no event of it: the row of its delete makes one. A delete of an item that is
    there again makes none, unless the row of its return comes after it here: otherwise that
    return may be delivered already. Where it is not in the filter
    of the subscription, the event is an update with ``left_filter``; whoever stores it knows
    whether the item was in the filter before.

    Args:
        client: To read with.
        subscription: Who the events are for.
        rows: Of the log, in its order, about the subscription's collection.
        origin: Of the events.

    Raises:
        SubscriptionRefused: The subscription is not to be had.
        RequestRefused: Directus answered with an error.
        ConnectionFailed: Directus could not be reached.
    """
    primary_key = subscription.feed.primary_key or PrimaryKey()
    written = [(row, primary_key.canonical(row.item)) for row in rows]
    # Whoever wants deletes alone may have no right to read the items.
    may_return = set(subscription.query.events) != {"delete"}
    keys = list(dict.fromkeys(k for row, k in written if row.action != "delete" or may_return))
    reading = await _read(client, subscription, keys) if keys else _Reading()
    deleted = {key for row, key in written if row.action == "delete"}
    last_seen = {key: row.id for row, key in written if row.action != "delete"}
    maker = _Maker(client.name, subscription, origin, primary_key, reading, deleted, last_seen)
    made = [maker.event(row, key) for row, key in written]
    return [event for event in made if event is not None]


async def _read(
    client: DirectusClient, subscription: ClientSubscription, keys: list[Key]
) -> _Reading:
    """Read items, and those again that change live meanwhile.

    So what is handed on after a live event is not older than that event.
    """
    reading = _Reading()
    stale = keys
    with client.noting_changes(subscription) as changed:
        for _ in range(_READS):
            reading.take(await client.read_current(subscription, stale), stale)
            # Also those that were read in an earlier round, and changed in this one.
            stale = [key for key in keys if key in changed]
            changed.clear()
            if not stale:
                break
            await asyncio.sleep(0)
    return reading


@dataclass(frozen=True)
class _Maker:
    connection: str
    subscription: ClientSubscription
    origin: Origin
    primary_key: PrimaryKey
    reading: _Reading
    deleted: set[Key]
    last_seen: dict[Key, int]

    def event(self, row: ActivityRow, key: Key) -> Event | None:
        if row.action == "delete":
            is_back = key in self.reading.current and self.last_seen.get(key, 0) < row.id
            return None if is_back else self._event(row, key, "delete", None)
        if row.action is not None and key in self.reading.current:
            return self._event(row, key, row.action, self.reading.current[key])
        if self._has_filter and "update" in self.subscription.query.events:
            return self._left(row, key)
        return None

    def _left(self, row: ActivityRow, key: Key) -> Event | None:
        if key in self.reading.outside:
            return self._event(row, key, "update", self.reading.outside[key], left_filter=True)
        if key in self.deleted:
            return None
        return self._event(row, key, "update", {self.primary_key.name: key}, left_filter=True)

    @property
    def _has_filter(self) -> bool:
        return bool(self.subscription.query.filter or self.subscription.query.search)

    def _event(
        self,
        row: ActivityRow,
        key: Key,
        action: Action,
        data: dict[str, Any] | None,
        *,
        left_filter: bool = False,
    ) -> Event:
        return Event(
            id=self._id(row),
            connection=self.connection,
            subscription=self.subscription.name,
            collection=row.collection,
            action=action,
            key=key,
            data=data,
            origin=self.origin,
            activity_id=row.id,
            left_filter=left_filter,
        )

    def _id(self, row: ActivityRow) -> str:
        """Stable for a catch-up; a replay is asked for by a person, and is new each time."""
        if self.origin != "catch-up":
            return str(uuid.uuid4())
        of = (self.connection, self.subscription.name, row.id, row.timestamp)
        return str(uuid.uuid5(_NAMESPACE, "/".join(map(str, of))))
