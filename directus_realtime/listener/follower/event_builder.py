"""Events made of changes and of the items in their present state.

Items are read by key after the row of the log was read, so an item is never older than the
change (M9). Several changes of one item that are read at once carry equal data.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

from cachetools import FIFOCache

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import Change
from directus_realtime.client.doorbells import OpenRing
from directus_realtime.client.items import ItemsRead
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.database import grouped
from directus_realtime.events import Action, Event, Key, Origin
from directus_realtime.exceptions import RequestRefused, SubscriptionRefused
from directus_realtime.listener.follower import followed_subscription
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.inbox_entry import InboxEntry, Memory, make_row
from directus_realtime.models import ParkedChange, key_as_json
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.queries import Query
from directus_realtime.utils.redaction import storable
from directus_realtime.utils.system_clock import SystemClock

_NAMESPACE = uuid.UUID("5f0c1d3e-7c53-4b0b-9e0e-1f6f0b7a5a11")
#: Deletes that are remembered: an update that waited behind a delete is logged after it.
_MOST_DELETED = 20_000
#: Concurrent reads.
_READS = 4
# Answers that concern the items of a subscription, and no other one.
_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})

OriginOf = Callable[[Change], Origin]
Inside = Callable[[Memory, list[Key]], Awaitable[set[Key]]]


@dataclass
class Built:
    """Result of the processing of some changes.

    Attributes:
        entries: The events, in the order of the changes.
        parked: Changes whose item was not found.
        present: Items that were found, as subscription and key in JSON.
        deleted: Items whose delete was logged, as collection and key in JSON.
        read: Items that were read, as collection and key.
        refused: Subscriptions whose items Directus refuses to read, with its sentence.
    """

    entries: list[InboxEntry] = field(default_factory=list)
    parked: list[ParkedChange] = field(default_factory=list)
    present: set[tuple[int, str]] = field(default_factory=set)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    read: set[tuple[str, Key]] = field(default_factory=set)
    refused: dict[FollowedSubscription, str] = field(default_factory=dict)


@dataclass(eq=False)
class _Reading:
    """The items of one query, shared by the subscriptions with the same query.

    Attributes:
        subscriptions: Those subscriptions.
        keys: Keys to read.
        items: Items that were read.
        outside: Items outside of the filter that matched it before.
        gone: Keys of items that were not found at all.
    """

    subscriptions: list[FollowedSubscription] = field(default_factory=list)
    keys: dict[Key, None] = field(default_factory=dict)
    items: ItemsRead = field(default_factory=ItemsRead)
    outside: dict[Key, dict[str, Any]] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)

    @property
    def query(self) -> Query:
        return self.subscriptions[0].desired.query

    @property
    def primary_key(self) -> PrimaryKey:
        return self.subscriptions[0].primary_key or PrimaryKey()

    def spelled(self, key: Key) -> Key:
        """Return the item's own spelling of a key, of several that the database accepts."""
        return self.items.aliases.get(key, key)

    def has(self, key: Key) -> bool:
        """Return whether an item was found, or exists and is unreadable."""
        return self.spelled(key) in self.items.rows or key in self.items.unreadable


@dataclass(frozen=True)
class _Draft:
    """A change that concerns a subscription, before its event is made.

    Attributes:
        change: The change.
        subscription: The subscription.
        key: Key of the item.
        reading: The read of the item.
        origin: Origin of the event.
        is_late: Whether later changes of the item may have been processed before.
    """

    change: Change
    subscription: FollowedSubscription
    key: Key
    reading: _Reading
    origin: Origin = "live"
    is_late: bool = False

    @property
    def subscription_id(self) -> int:
        return self.subscription.desired.subscription_id


class EventBuilder:
    """Maker of events from changes.

    ``inside`` returns those of some keys whose items may have matched a filter before.
    """

    def __init__(self, client: DirectusClient, inside: Inside, clock: SystemClock) -> None:
        self._client = client
        self._inside = inside
        self._clock = clock
        self._deleted: FIFOCache[tuple[str, Key], int] = FIFOCache(_MOST_DELETED)
        self._reads = asyncio.Semaphore(_READS)

    async def build(
        self,
        changes: Iterable[Change],
        subscriptions: Collection[FollowedSubscription],
        origin_of: OriginOf,
        top: int = 0,
    ) -> Built:
        """Read the items of changes, and make an event for each subscription concerned.

        Args:
            changes: The changes, in the order of the log.
            subscriptions: The subscriptions to make events for.
            origin_of: Returns the origin of the events of a change.
            top: Highest id of the log that was read before: a later create of an item whose
                delete is below it may have been processed already.
        """
        changes = list(changes)
        drafts = _drafts(changes, subscriptions, origin_of, top)
        built = Built()
        readings = await self._read(drafts, built)
        self._note_deletes(changes, subscriptions, built)
        built.read = {(each.query.collection, key) for each in readings for key in each.keys}
        creates = {
            (draft.subscription, draft.key): place
            for place, draft in enumerate(drafts)
            if draft.change.action == "create"
        }
        for place, draft in enumerate(drafts):
            if draft.subscription in built.refused:
                continue
            if draft.change.action != "delete":
                self._make_present(draft, built)
                continue
            is_there = draft.reading.spelled(draft.key) in draft.reading.items.rows
            is_created_later = creates.get((draft.subscription, draft.key), -1) > place
            # Else the item exists again, and its create follows, or was processed before.
            if not (is_there and (draft.is_late or is_created_later)):
                self._put(draft, "delete", None, built)
        return built

    def _note_deletes(
        self,
        changes: Iterable[Change],
        subscriptions: Iterable[FollowedSubscription],
        built: Built,
    ) -> None:
        """Remember the deleted items, whether or not a subscription concerns deletes."""
        keys = {each.collection: each.primary_key or PrimaryKey() for each in subscriptions}
        for change in changes:
            if change.collection not in keys or change.action == "update":
                continue
            key = keys[change.collection].canonical(change.item)
            item = change.collection, key
            number = change.row.id if change.row else 0
            before = self._deleted.pop(item, 0)
            if change.action == "create" and 0 < number < before:
                self._deleted[item] = before  # its row came late, the item was deleted since
            elif change.action == "delete":
                self._deleted[item] = max(number, before)
                built.deleted.add((change.collection, key_as_json(key)))

    async def build_unlogged(
        self, rings: Sequence[OpenRing], subscriptions: Collection[FollowedSubscription]
    ) -> Built:
        """Read the items of rings that no row of the log answered, and make events of them.

        An event is an ``update``, or a ``delete`` where the ring said so and the item is not
        found. The caller decides whether its state is new.

        Args:
            rings: Rings without a row.
            subscriptions: The subscriptions to make events for.
        """
        collections = {ring.collection for ring in rings}
        concerned = [each for each in subscriptions if each.collection in collections]
        readings = _readings_of(concerned)
        # By the present key: its type may have been unknown at the time of the ring.
        drafts: dict[tuple[FollowedSubscription, Key], tuple[_Draft, OpenRing]] = {}
        for ring in rings:
            change = Change(ring.collection, "update", ring.key)
            for each in concerned:
                if each.wants_item(change):
                    key = (each.primary_key or PrimaryKey()).canonical(change.item)
                    readings[each].keys[key] = None
                    drafts[each, key] = _Draft(change, each, key, readings[each]), ring
        built = Built()
        await self._read([draft for draft, _ in drafts.values()], built)
        for draft, ring in drafts.values():
            self._make_unlogged(draft, ring, built)
        return built

    def _make_unlogged(self, draft: _Draft, ring: OpenRing, built: Built) -> None:
        reading, key = draft.reading, draft.key
        events = draft.subscription.desired.query.events
        if (item := reading.items.rows.get(key)) is not None:
            built.present.add((draft.subscription_id, key_as_json(key)))
            if "update" in events:
                self._put(draft, "update", item, built)
        elif key in reading.outside:
            self._leave(draft, reading.outside[key], built)
        elif key in reading.gone and ring.action == "delete" and "delete" in events:
            self._put(draft, "delete", None, built)

    async def _read(self, drafts: Iterable[_Draft], built: Built) -> list[_Reading]:
        """Read the items of drafts, some queries at a time; note the refused subscriptions."""
        readings = list(dict.fromkeys(draft.reading for draft in drafts))
        await asyncio.gather(*(self._read_one(each, built) for each in readings if each.keys))
        return readings

    async def _read_one(self, reading: _Reading, built: Built) -> None:
        async with self._reads:
            try:
                await followed_subscription.ask_query(
                    self._client, partial(self._read_items, reading)
                )
            except (SubscriptionRefused, RequestRefused) as error:
                if isinstance(error, RequestRefused) and error.status not in _REFUSALS:
                    raise
                built.refused |= dict.fromkeys(reading.subscriptions, str(error))

    async def _read_items(self, reading: _Reading) -> None:
        query, primary_key = reading.query, reading.primary_key
        reading.items = await self._client.read_by_keys(query, primary_key, list(reading.keys))
        for key in itertools.islice(reading.items.rows, 1):
            # An item shows the type where the token may not read it in the schema.
            for subscription in reading.subscriptions:
                subscription.primary_key = primary_key.seen(key)
        missing = [key for key in reading.keys if not reading.has(key)]
        if missing and query.has_condition:
            missing = await self._were_inside(reading, missing)
            if missing:
                others = await self._client.read_by_keys(
                    query.without_condition(), primary_key, missing
                )
                reading.outside = others.rows
                reading.items.unreadable.update(others.unreadable)
                reading.items.aliases.update(others.aliases)
        reading.gone = {
            key
            for key in missing
            if reading.spelled(key) not in reading.outside and not reading.has(key)
        }

    async def _were_inside(self, reading: _Reading, keys: list[Key]) -> list[Key]:
        """Return those keys whose items matched the filter before, as far as that is known."""
        inside: set[Key] = set()
        for subscription in reading.subscriptions:
            if (memory := subscription.desired.memory) is not None:
                inside |= await self._inside(memory, keys)
        return [key for key in keys if key in inside]

    def _make_present(self, draft: _Draft, built: Built) -> None:
        reading = draft.reading
        draft = replace(draft, key=reading.spelled(draft.key))
        key = draft.key
        if (item := reading.items.rows.get(key)) is not None:
            built.present.add((draft.subscription_id, key_as_json(key)))
            self._put(draft, draft.change.action, item, built)
        elif key in reading.items.unreadable:
            self._park(draft, reading.items.unreadable[key], built)
        elif key in reading.outside:
            built.present.add((draft.subscription_id, key_as_json(key)))
            self._leave(draft, reading.outside[key], built)
        elif key in reading.gone and (draft.change.collection, key) not in self._deleted:
            if draft.subscription.is_partial:
                self._leave(draft, {reading.primary_key.name: key}, built)
            else:
                self._park(draft, "", built)

    def _leave(self, draft: _Draft, item: dict[str, Any], built: Built) -> None:
        if draft.subscription.desired.memory is not None:
            self._put(draft, "update", item, built, left_filter=True)

    def _park(self, draft: _Draft, reason: str, built: Built) -> None:
        row = draft.change.row
        if row is None:
            return
        built.parked.append(
            ParkedChange(
                connection=self._client.name,
                subscription_id=draft.subscription_id,
                activity_id=row.id,
                collection=draft.change.collection,
                key_json=key_as_json(draft.key),
                action=draft.change.action,
                changed_at=row.timestamp,
                changed_by=row.user or "",
                parked_at=self._clock.now(),
                reason=storable(reason),
            )
        )

    def _put(
        self,
        draft: _Draft,
        action: Action,
        item: dict[str, Any] | None,
        built: Built,
        *,
        left_filter: bool = False,
    ) -> None:
        row = draft.change.row
        values: dict[str, Any] = {}
        if row is not None:
            values = {"activity_id": row.id, "changed_at": row.timestamp, "changed_by": row.user}
            if draft.origin != "replay":  # a replayed event is another one
                values["id"] = event_id(
                    self._client.name, draft.subscription_id, row.id, row.timestamp
                )
        event = Event(
            connection=self._client.name,
            subscription=draft.subscription.desired.name,
            collection=draft.change.collection,
            action=action,
            key=draft.key,
            data=item,
            origin=draft.origin,
            received_at=self._clock.now(),
            left_filter=left_filter,
            **values,
        )
        if (entry := entry_of(event, draft.subscription)) is not None:
            built.entries.append(entry)


def event_id(connection: str, subscription_id: int, activity_id: int, timestamp: object) -> str:
    """Return the id of the event of a row of the log for a subscription.

    The same row makes the same id, so that its event is stored once. The timestamp is part of
    it because ids of the log repeat after a backup was restored.
    """
    name = f"{connection}/{subscription_id}/{activity_id}/{timestamp}"
    return str(uuid.uuid5(_NAMESPACE, name))


def entry_of(event: Event, subscription: FollowedSubscription) -> InboxEntry | None:
    """Return the entry of an event for a subscription; ``None`` where it cannot be stored."""
    desired = subscription.desired
    row = make_row(event, desired.group)
    if row is None:
        return None
    is_live = event.origin == "live"
    return InboxEntry(
        row, desired.debounce if is_live else None, desired.memory, overtakes=not is_live
    )


def _readings_of(
    subscriptions: Iterable[FollowedSubscription],
) -> dict[FollowedSubscription, _Reading]:
    """Return one reading for all subscriptions with the same items and fields."""
    by_query: dict[str, _Reading] = {}
    found: dict[FollowedSubscription, _Reading] = {}
    for subscription in subscriptions:
        query = replace(subscription.desired.query, events=ACTIONS, sort=())
        reading = found[subscription] = by_query.setdefault(query.fingerprint(), _Reading())
        reading.subscriptions.append(subscription)
    return found


def _drafts(
    changes: Iterable[Change],
    subscriptions: Collection[FollowedSubscription],
    origin_of: OriginOf,
    top: int,
) -> list[_Draft]:
    by_collection = grouped((each.collection, each) for each in subscriptions)
    readings = _readings_of(subscriptions)
    drafts = []
    for change in changes:
        is_late = change.row is not None and change.row.id <= top
        for subscription in by_collection.get(change.collection, ()):
            if subscription.wants(change):
                key = (subscription.primary_key or PrimaryKey()).canonical(change.item)
                reading = readings[subscription]
                origin = origin_of(change)
                drafts.append(_Draft(change, subscription, key, reading, origin, is_late))
                if change.action != "delete" or is_late:
                    reading.keys[key] = None
    return drafts
