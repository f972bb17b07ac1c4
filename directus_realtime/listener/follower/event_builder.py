"""Events made of changes and of the items as they are now.

Items are read by key after the row of the log was seen, so what is read is never older than
the change (M9). Several changes of one item that are read at once carry equal data.
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

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import Change
from directus_realtime.client.doorbells import OpenRing
from directus_realtime.client.items import ItemsRead
from directus_realtime.client.keys import PrimaryKey
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
#: Reads at a time.
_READS = 4
# Answers that are about the items of a subscription, and of no other one.
_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})

OriginOf = Callable[[Change], Origin]
Inside = Callable[[Memory, list[Key]], Awaitable[set[Key]]]


@dataclass
class Built:
    """What was made of some changes.

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


@dataclass
class Reading:
    """The items of one query, shared by the subscriptions that ask for the same.

    Attributes:
        subscriptions: Those subscriptions.
        keys: Keys to read.
        items: What was read.
        outside: Items outside of the filter that were in it before.
        gone: Keys of items that were not found at all.
        error: Why nothing could be read; empty where it could.
    """

    subscriptions: list[FollowedSubscription] = field(default_factory=list)
    keys: dict[Key, None] = field(default_factory=dict)
    items: ItemsRead = field(default_factory=ItemsRead)
    outside: dict[Key, dict[str, Any]] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)
    error: str = ""

    @property
    def query(self) -> Query:
        """What is asked for."""
        return self.subscriptions[0].wanted.query

    @property
    def primary_key(self) -> PrimaryKey:
        """Of the collection."""
        return self.subscriptions[0].primary_key or PrimaryKey()

    def spelled(self, key: Key) -> Key:
        """Return a key as its item has it: the database may take several spellings for one."""
        return self.items.aliases.get(key, key)

    def has(self, key: Key) -> bool:
        """Return whether an item was found, or is there and cannot be read."""
        return self.spelled(key) in self.items.rows or key in self.items.unreadable


@dataclass(frozen=True)
class _Wish:
    """A change that a subscription wants.

    Attributes:
        change: The change.
        subscription: The subscription.
        key: Key of the item.
        reading: Has the item.
        is_late: Whether later changes of the item may have been read before.
    """

    change: Change
    subscription: FollowedSubscription
    key: Key
    reading: Reading
    is_late: bool = False


class EventBuilder:
    """Makes events of changes.

    Args:
        client: To read with.
        inside: Gives those of some items that may have been in a filter before.
        clock: Gives the time.
    """

    def __init__(self, client: DirectusClient, inside: Inside, clock: SystemClock) -> None:
        self._client = client
        self._inside = inside
        self._clock = clock
        self._deleted: dict[tuple[str, Key], int] = {}
        self._reads = asyncio.Semaphore(_READS)

    async def build(
        self,
        changes: Iterable[Change],
        subscriptions: Collection[FollowedSubscription],
        origin_of: OriginOf,
        top: int = 0,
    ) -> Built:
        """Read the items of changes, and make an event for each subscription that wants it.

        Args:
            changes: In the order of the log.
            subscriptions: Those to make events for.
            origin_of: Gives the origin of the events of a change.
            top: Highest id of the log that was read before: a later create of an item whose
                delete is below it may have been read already.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        changes = list(changes)
        wishes = _wishes(changes, subscriptions, top)
        readings = _unique(wish.reading for wish in wishes)
        await self.read(readings)
        built = Built()
        self._note_deletes(changes, subscriptions, built)
        for reading in readings:
            if reading.error:
                built.refused |= dict.fromkeys(reading.subscriptions, reading.error)
            built.read |= {(reading.query.collection, key) for key in reading.keys}
        self._make(wishes, origin_of, built)
        return built

    def _note_deletes(
        self,
        changes: Iterable[Change],
        subscriptions: Iterable[FollowedSubscription],
        built: Built,
    ) -> None:
        """Remember which items were deleted, whether a subscription wants deletes or not."""
        keys = {each.collection: each.primary_key or PrimaryKey() for each in subscriptions}
        for change in changes:
            if change.collection not in keys or change.action == "update":
                continue
            key = keys[change.collection].canonical(change.item)
            item = change.collection, key
            number = change.row.id if change.row else 0
            before = self._deleted.pop(item, 0)
            if change.action == "create" and 0 < number < before:
                self._deleted[item] = before  # its row came late, the item is gone since
            elif change.action == "delete":
                self._deleted[item] = max(number, before)
                built.deleted.add((change.collection, key_as_json(key)))
        while len(self._deleted) > _MOST_DELETED:
            del self._deleted[next(iter(self._deleted))]

    async def build_unlogged(
        self, rings: Sequence[OpenRing], subscriptions: Collection[FollowedSubscription]
    ) -> Built:
        """Read the items of rings that no row of the log answered, and make events of them.

        An event says ``update``, or ``delete`` where the ring said so and the item is not
        found. Whether it is news is for the caller to judge.

        Args:
            rings: Rings without a row.
            subscriptions: Those to make events for.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        collections = {ring.collection for ring in rings}
        interested = [each for each in subscriptions if each.collection in collections]
        readings = readings_of(interested)
        # By the key of now: its type may have been unknown when the ring came.
        wishes: dict[tuple[FollowedSubscription, Key], tuple[_Wish, OpenRing]] = {}
        for ring in rings:
            change = Change(ring.collection, "update", ring.key)
            for each in interested:
                if each.wants_item(change):
                    key = (each.primary_key or PrimaryKey()).canonical(change.item)
                    readings[each].keys[key] = None
                    wishes[each, key] = _Wish(change, each, key, readings[each]), ring
        await self.read(_unique(readings.values()))
        built = Built()
        for reading in _unique(readings.values()):
            if reading.error:
                built.refused |= dict.fromkeys(reading.subscriptions, reading.error)
        for wish, ring in wishes.values():
            self._make_unlogged(wish, ring, built)
        return built

    def _make_unlogged(self, wish: _Wish, ring: OpenRing, built: Built) -> None:
        reading, key, events = wish.reading, wish.key, wish.subscription.wanted.query.events
        if (item := reading.items.rows.get(key)) is not None:
            built.present.add((_subscription_id(wish), key_as_json(key)))
            if "update" in events:
                self._put(wish, "update", item, _live, built)
        elif key in reading.outside:
            self._leave(wish, reading.outside[key], _live, built)
        elif key in reading.gone and ring.action == "delete" and "delete" in events:
            self._put(wish, "delete", None, _live, built)

    async def read(self, readings: Sequence[Reading]) -> None:
        """Read the items of some queries, a few queries at a time."""
        await asyncio.gather(*(self._read(reading) for reading in readings if reading.keys))

    async def _read(self, reading: Reading) -> None:
        async with self._reads:
            try:
                await followed_subscription.ask_query(
                    self._client, partial(self._read_items, reading)
                )
            except SubscriptionRefused as error:
                reading.error = str(error)
            except RequestRefused as error:
                if error.status not in _REFUSALS:
                    raise
                reading.error = str(error)

    async def _read_items(self, reading: Reading) -> None:
        query, primary_key = reading.query, reading.primary_key
        reading.items = await self._client.read_by_keys(query, primary_key, list(reading.keys))
        for key in itertools.islice(reading.items.rows, 1):
            # An item shows the type that the token may not read in the schema.
            for subscription in reading.subscriptions:
                subscription.primary_key = primary_key.seen(key)
        missing = [key for key in reading.keys if not reading.has(key)]
        if not missing:
            return
        if query.has_condition:
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

    async def _were_inside(self, reading: Reading, keys: list[Key]) -> list[Key]:
        """Those of some items that were in the filter before, as far as that is known."""
        inside: set[Key] = set()
        for subscription in reading.subscriptions:
            if (memory := subscription.wanted.memory) is not None:
                inside |= await self._inside(memory, keys)
        return [key for key in keys if key in inside]

    def _make(self, wishes: Sequence[_Wish], origin_of: OriginOf, built: Built) -> None:
        last: dict[tuple[int, Key, Action], int] = {}
        for place, wish in enumerate(wishes):
            last[_subscription_id(wish), wish.key, wish.change.action] = place
        for place, wish in enumerate(wishes):
            if wish.subscription in built.refused:
                continue
            is_later = _Later(last, wish, place)
            if wish.change.action == "delete":
                self._make_delete(wish, is_later, origin_of, built)
            else:
                self._make_present(wish, origin_of, built)

    def _make_delete(
        self, wish: _Wish, is_later: _Later, origin_of: OriginOf, built: Built
    ) -> None:
        is_there = wish.reading.spelled(wish.key) in wish.reading.items.rows
        # The item is there again, and its create follows, or was read before.
        if not (is_there and (wish.is_late or is_later("create"))):
            self._put(wish, "delete", None, origin_of, built)

    def _make_present(self, wish: _Wish, origin_of: OriginOf, built: Built) -> None:
        reading = wish.reading
        wish = replace(wish, key=reading.spelled(wish.key))
        key = wish.key
        if (item := reading.items.rows.get(key)) is not None:
            built.present.add((_subscription_id(wish), key_as_json(key)))
            self._put(wish, wish.change.action, item, origin_of, built)
        elif key in reading.items.unreadable:
            self._park(wish, reading.items.unreadable[key], built)
        elif key in reading.outside:
            built.present.add((_subscription_id(wish), key_as_json(key)))
            self._leave(wish, reading.outside[key], origin_of, built)
        elif key in reading.gone and (wish.change.collection, key) not in self._deleted:
            if wish.subscription.is_partial:
                self._leave(wish, {reading.primary_key.name: key}, origin_of, built)
            else:
                self._park(wish, "", built)

    def _leave(self, wish: _Wish, item: dict[str, Any], origin_of: OriginOf, built: Built) -> None:
        if wish.subscription.wanted.memory is not None:
            self._put(wish, "update", item, origin_of, built, left_filter=True)

    def _park(self, wish: _Wish, reason: str, built: Built) -> None:
        row = wish.change.row
        if row is None:
            return
        built.parked.append(
            ParkedChange(
                connection=self._client.name,
                subscription_id=_subscription_id(wish),
                activity_id=row.id,
                collection=wish.change.collection,
                key_json=key_as_json(wish.key),
                action=wish.change.action,
                changed_at=row.timestamp,
                changed_by=row.user or "",
                parked_at=self._clock.now(),
                reason=storable(reason),
            )
        )

    def _put(
        self,
        wish: _Wish,
        action: Action,
        item: dict[str, Any] | None,
        origin_of: OriginOf,
        built: Built,
        *,
        left_filter: bool = False,
    ) -> None:
        event = self._event(wish, action, item, origin_of(wish.change))
        if left_filter:
            event = replace(event, left_filter=True)
        if (entry := entry_of(event, wish.subscription)) is not None:
            built.entries.append(entry)

    def _event(
        self, wish: _Wish, action: Action, item: dict[str, Any] | None, origin: Origin
    ) -> Event:
        row = wish.change.row
        of_log: dict[str, Any] = {}
        if row is not None:
            of_log = {
                "activity_id": row.id,
                "changed_at": row.timestamp,
                "changed_by": row.user,
            }
            if origin != "replay":  # what was asked for again is another event
                number = _subscription_id(wish)
                of_log["id"] = event_id(self._client.name, number, row.id, row.timestamp)
        return Event(
            connection=self._client.name,
            subscription=wish.subscription.wanted.name,
            collection=wish.change.collection,
            action=action,
            key=wish.key,
            data=item,
            origin=origin,
            received_at=self._clock.now(),
            **of_log,
        )


def event_id(connection: str, subscription_id: int, activity_id: int, timestamp: object) -> str:
    """Return the id of the event that a row of the log makes for a subscription.

    The same row makes the same id, so that its event is stored once. The timestamp is part of
    it because ids of the log repeat after a backup was restored.
    """
    name = f"{connection}/{subscription_id}/{activity_id}/{timestamp}"
    return str(uuid.uuid5(_NAMESPACE, name))


def entry_of(event: Event, subscription: FollowedSubscription) -> InboxEntry | None:
    """Return an event as it is stored for a subscription; ``None`` where it cannot be."""
    wanted = subscription.wanted
    row = make_row(event, wanted.group)
    if row is None:
        return None
    is_live = event.origin == "live"
    return InboxEntry(
        row, wanted.debounce if is_live else None, wanted.memory, overtakes=not is_live
    )


def readings_of(
    subscriptions: Iterable[FollowedSubscription],
) -> dict[FollowedSubscription, Reading]:
    """Return one reading for all subscriptions that ask for the same items and fields."""
    by_query: dict[str, Reading] = {}
    found: dict[FollowedSubscription, Reading] = {}
    for subscription in subscriptions:
        asked = replace(subscription.wanted.query, events=ACTIONS, sort=()).fingerprint()
        reading = found[subscription] = by_query.setdefault(asked, Reading())
        reading.subscriptions.append(subscription)
    return found


def _live(change: Change) -> Origin:
    return "live"


class _Later:
    """Whether a change of the same item follows for the same subscription."""

    def __init__(self, last: dict[tuple[int, Key, Action], int], wish: _Wish, place: int) -> None:
        self._last, self._wish, self._place = last, wish, place

    def __call__(self, action: Action) -> bool:
        item = _subscription_id(self._wish), self._wish.key, action
        return self._last.get(item, -1) > self._place


def _wishes(
    changes: Iterable[Change], subscriptions: Collection[FollowedSubscription], top: int
) -> list[_Wish]:
    by_collection: dict[str, list[FollowedSubscription]] = {}
    for subscription in subscriptions:
        by_collection.setdefault(subscription.collection, []).append(subscription)
    readings = readings_of(subscriptions)
    wishes = []
    for change in changes:
        is_late = change.row is not None and change.row.id <= top
        for subscription in by_collection.get(change.collection, ()):
            if subscription.wants(change):
                key = (subscription.primary_key or PrimaryKey()).canonical(change.item)
                reading = readings[subscription]
                wishes.append(_Wish(change, subscription, key, reading, is_late))
                if change.action != "delete" or is_late:
                    reading.keys[key] = None
    return wishes


def _unique(readings: Iterable[Reading]) -> list[Reading]:
    return list({id(reading): reading for reading in readings}.values())


def _subscription_id(wish: _Wish) -> int:
    return wish.subscription.wanted.subscription_id
