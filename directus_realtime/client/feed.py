"""A feed: one query on the wire, shared by all subscriptions that ask for it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol

from cachetools import TTLCache

from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import BadFrame, DirectusRealtimeError, SubscriptionRefused
from directus_realtime.protocol.queries import Query, WireSubscription
from directus_realtime.utils.json_parser import copy_json
from directus_realtime.utils.redaction import excerpt
from directus_realtime.utils.system_clock import SystemClock


class Leaving:
    """Counts the changes of each item minus its messages with the filter, in windows of time.

    Each change of an item in the filter brings one of both. An item with more changes is
    suspected to have left the filter; a read of it decides.

    Attributes:
        suspects: Items to read, in the order of their changes.
    """

    def __init__(self) -> None:
        self.suspects: dict[Key, None] = {}
        self._balance: dict[Key, int] = {}
        self._ahead: set[Key] = set()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to wait for and nothing to read."""
        return not self._balance and not self.suspects

    def changed(self, key: Key) -> None:
        """Count a change of an item, in the filter or not."""
        self._add(key, 1)

    def reported(self, key: Key) -> None:
        """Count a message about an item in the filter."""
        self._add(key, -1)

    def deleted(self, key: Key) -> None:
        """Forget an item that was deleted: it leaves no filter."""
        self.suspects.pop(key, None)
        self._balance.pop(key, None)

    def end_window(self) -> None:
        """Suspect the items with more changes than messages.

        The change that belongs to a message with the filter may still arrive, for one more
        window; none does where the item was deleted.
        """
        self._suspect()
        self._balance = {
            key: count
            for key, count in self._balance.items()
            if count < 0 and key not in self._ahead
        }
        self._ahead = set(self._balance)

    def gap(self) -> None:
        """End all windows: the missing counterparts do not arrive any more."""
        self._suspect()
        self._balance.clear()
        self._ahead.clear()

    def _suspect(self) -> None:
        self.suspects |= {key: None for key, count in self._balance.items() if count > 0}

    def _add(self, key: Key, count: int) -> None:
        count += self._balance.pop(key, 0)
        if count:
            self._balance[key] = count


class KeyRecorder:
    """Records keys for all readers that are open."""

    def __init__(self) -> None:
        self._open: dict[int, set[Key]] = {}

    def add(self, key: Key) -> None:
        """Record a key."""
        for keys in self._open.values():
            keys.add(key)

    @contextmanager
    def record(self, keys: set[Key] | None = None) -> Iterator[set[Key]]:
        """Collect the keys that are recorded while the block runs.

        Args:
            keys: Set to add them to; a new one if not given.
        """
        keys = set() if keys is None else keys
        self._open[id(keys)] = keys
        try:
            yield keys
        finally:
            del self._open[id(keys)]


#: Seconds after the end of an item in which a message about it may be late; on a busy server
#: events lag that much.
LATE_AFTER_END = 60.0
#: Ended items that are remembered.
ENDED_LIMIT = 10_000

#: In the place of the action: the wire subscription to the keys of all updates.
CHANGED = "changed"


class FeedState(StrEnum):
    """States of a subscription."""

    #: Not requested yet, or not answered yet, or the connection is down.
    WAITING = "waiting"
    #: Confirmed by the server.
    SUBSCRIBED = "subscribed"
    #: Refused, with a reason.
    REFUSED = "refused"


class FeedListener(Protocol):
    """A subscription as its feed sees it."""

    uid: str

    def receive(self, action: Action, key: Key, data: dict[str, Any] | None) -> None:
        """Process a change of one item."""

    def receive_left(self, key: Key, data: dict[str, Any]) -> None:
        """Process that an item is not in the filter."""

    def may_lose(self, key: Key) -> bool:
        """Return whether :meth:`receive_left` would deliver something for this item."""

    def gap(self) -> None:
        """Note that changes may be missed from now on."""

    def refused(self, error: SubscriptionRefused) -> None:
        """Process a refusal."""

    def report(self, error: DirectusRealtimeError) -> None:
        """Process any other error."""

    def state_changed(self) -> None:
        """Note that the state of the feed has changed."""


class Feed:
    """One query on the wire, and the subscriptions that share it.

    Directus reads the database for every subscription of every change, so equal
    subscriptions share one.

    Args:
        uid: Stable over reconnects; never used again for another query.
        query: The query.
        clock: Measures how long ended items are remembered.

    Attributes:
        state: Current state.
        error: The refusal; else ``None``.
        primary_key: Primary key of the collection; ``None`` until it was read.
        subscriptions: The subscriptions.
        reads_updates: Whether updates arrive without the query, and their items are read by
            key: a server with a query limit cuts a batch of updates, unless the query is empty.
        updated: Keys of the updates whose items are still to be read, message by message.
        announced: Records every item that a message of the server names.
        delivered: Records every item of which something was delivered.
        leaving: Items that may have left the filter.
        late: Items that had ended before their messages arrived, to be checked by a read, with
            the action of each.
    """

    def __init__(self, uid: str, query: Query, clock: SystemClock | None = None) -> None:
        self.uid = uid
        self.query = query
        self.state = FeedState.WAITING
        self.error: SubscriptionRefused | None = None
        self.primary_key: PrimaryKey | None = None
        self.subscriptions: list[FeedListener] = []
        self.reads_updates = False
        self.updated: deque[list[Key]] = deque()
        self.announced = KeyRecorder()
        self.delivered = KeyRecorder()
        self.leaving = Leaving()
        self.late: dict[Key, Action] = {}
        timer = (clock or SystemClock()).monotonic
        self._deleted: TTLCache[Key, None] = TTLCache(ENDED_LIMIT, LATE_AFTER_END, timer=timer)
        self._left: TTLCache[Key, None] = TTLCache(ENDED_LIMIT, LATE_AFTER_END, timer=timer)
        self._unconfirmed: set[str] = set()
        self._settled = asyncio.Event()

    def wire_subscriptions(self) -> list[WireSubscription]:
        """Return one ``subscribe`` for each wanted action; each must be confirmed from now on.

        Where items can leave the filter, there is one more for the keys of all updates.
        """
        primary_key = (self.primary_key or PrimaryKey()).name
        parameters = self.query.rest_parameters(primary_key)
        wires = [
            self._wire(event, event, {} if event == "update" and self.reads_updates else parameters)
            for event in self.query.events
        ]
        if self._has_all_updates:
            wires.append(self._wire(CHANGED, "update", self.query.rest_key(primary_key)))
        self._unconfirmed = {wire.uid for wire in wires}
        return wires

    def wire_uids(self) -> list[str]:
        """Return the uids of this feed on the server."""
        names: list[str] = [*self.query.events]
        if self._has_all_updates:
            names.append(CHANGED)
        return [f"{self.uid}.{name}" for name in names]

    async def settled(self) -> None:
        """Wait until the server has confirmed.

        Raises:
            SubscriptionRefused: The server refused.
        """
        await self._settled.wait()
        if self.error is not None:
            raise self.error

    def confirm(self, wire_uid: str) -> None:
        """Note that the server accepted one of the wire subscriptions."""
        self._unconfirmed.discard(wire_uid)
        if not self._unconfirmed and self.state is FeedState.WAITING:
            self.error = None
            self._settle(FeedState.SUBSCRIBED)

    def refuse(self, error: SubscriptionRefused) -> None:
        """Note that the feed was refused, and report it to every subscription, once."""
        if self.state is FeedState.REFUSED:
            return
        self.error = error
        self._settle(FeedState.REFUSED)
        for subscription in list(self.subscriptions):
            subscription.refused(error)

    def wait_again(self) -> None:
        """Reset the state: the feed is requested again, or the connection is lost."""
        self.state = FeedState.WAITING
        self.error = None
        self._settled.clear()
        self.leaving.gap()
        for subscription in self.subscriptions:
            subscription.gap()

    def report(self, error: DirectusRealtimeError) -> None:
        """Pass an error to every subscription."""
        for subscription in list(self.subscriptions):
            subscription.report(error)

    def receive(self, action: Action, data: list[Any]) -> None:
        """Deliver a change message to every subscription, item by item.

        A message about an item that has ended is kept in :attr:`late`: Directus reads the
        row before it sends, so it can send a create or an update after the delete.
        """
        for key, entry in self.keyed(action, data):
            if action == "delete":
                self._delete(key)
                continue
            if action == "update" and self._has_all_updates:
                self.leaving.reported(key)
            if self._is_late(key):
                self.late[key] = "create" if self.late.get(key) == "create" else action
            else:
                self._deliver(action, key, entry)

    def receive_changed(self, data: list[Any]) -> None:
        """Count changes of items, in the filter or not."""
        for key, _ in self.keyed("update", data):
            self.leaving.changed(key)

    def receive_current(self, action: Action, key: Key, row: dict[str, Any]) -> None:
        """Deliver an item that was just read, so that it exists."""
        self.late.pop(key, None)
        self._deleted.pop(key, None)
        self._left.pop(key, None)
        self._deliver(action, key, row)

    def receive_left(self, key: Key, row: dict[str, Any] | None) -> None:
        """Deliver that an item is not in the filter, with its row where it can be read."""
        if row is None:
            if key in self._deleted:
                return
            row = {(self.primary_key or PrimaryKey()).name: key}
        self._left[key] = None
        self.delivered.add(key)
        for subscription in self._listeners():
            subscription.receive_left(key, copy_json(row))

    def may_lose(self, key: Key) -> bool:
        """Return whether :meth:`receive_left` would deliver something for this item."""
        return any(subscription.may_lose(key) for subscription in self.subscriptions)

    def keyed(self, action: Action, data: list[Any]) -> list[tuple[Key, Any]]:
        """Return the wanted entries of a message with their keys, and record all keys."""
        entries = []
        for entry in data:
            try:
                key = self._key(action, entry)
            except BadFrame as error:
                self.report(error)
                continue
            self.announced.add(key)
            if self._is_wanted(key):
                entries.append((key, entry))
        return entries

    @contextmanager
    def noting_changes(self) -> Iterator[set[Key]]:
        """Collect the keys of items that are announced or delivered while the block runs.

        A message that is checked first is delivered some time after it arrived.
        """
        with self.announced.record() as changed, self.delivered.record(changed):
            yield changed

    @property
    def _has_all_updates(self) -> bool:
        return self.query.reports_leaving and not self.reads_updates

    def _is_late(self, key: Key) -> bool:
        return key in self.late or key in self._deleted or key in self._left

    def _wire(self, name: str, event: Action, query: dict[str, Any]) -> WireSubscription:
        return WireSubscription(f"{self.uid}.{name}", self.query.collection, event, query)

    def _delete(self, key: Key) -> None:
        self._deleted[key] = None
        self._left.pop(key, None)
        self.late.pop(key, None)
        self.leaving.deleted(key)
        self._deliver("delete", key, None)

    def _settle(self, state: FeedState) -> None:
        self.state = state
        self._settled.set()
        for subscription in list(self.subscriptions):
            subscription.state_changed()

    def _deliver(self, action: Action, key: Key, data: dict[str, Any] | None) -> None:
        self.delivered.add(key)
        subscriptions = self._listeners()
        for subscription in subscriptions:
            # Each may change its data.
            is_last = subscription is subscriptions[-1]
            subscription.receive(action, key, data if is_last else copy_json(data))

    def _listeners(self) -> list[FeedListener]:
        # None once the feed was refused, though a read may still end.
        return [] if self.state is FeedState.REFUSED else list(self.subscriptions)

    def _key(self, action: Action, entry: Any) -> Key:
        primary_key = self.primary_key or PrimaryKey()
        key = entry if action == "delete" else entry.get(primary_key.name)
        if not isinstance(key, int | str) or isinstance(key, bool):
            problem = f"An item of {self.query.collection} has no {primary_key.name}"
            raise BadFrame(problem, excerpt(json.dumps(entry)))
        if action != "delete":
            self.primary_key = primary_key = primary_key.seen(key)
        return primary_key.canonical(key)

    def _is_wanted(self, key: Key) -> bool:
        """Whether a change is of the one item asked for: deletes come for every item."""
        return self.query.item is None or str(key) == str(self.query.item)
