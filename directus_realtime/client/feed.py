"""A feed: one query that the server knows, shared by all subscriptions that ask for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any

from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import BadFrame, DirectusRealtimeError, SubscriptionRefused
from directus_realtime.protocol.queries import Query, WireSubscription
from directus_realtime.utils.redaction import excerpt

if TYPE_CHECKING:
    from directus_realtime.client.client_subscription import ClientSubscription


class Leaving:
    """Changes of an item less its messages with the filter, in windows of time.

    Each change of an item in the filter brings one of both. Where there are more changes
    the item is suspected to have left; a read of it tells.

    Attributes:
        suspects: Items to be read, in the order they were told of.
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
        """An item changed, in the filter or not."""
        self._add(key, 1)

    def reported(self, key: Key) -> None:
        """An item changed and was in the filter."""
        self._add(key, -1)

    def deleted(self, key: Key) -> None:
        """An item is gone for good; it leaves nothing."""
        self.suspects.pop(key, None)
        self._balance.pop(key, None)

    def end_window(self) -> None:
        """Suspect what only its change was told of.

        Of a message with the filter the other half may still be on its way, for one more
        window; it does not come where the item was deleted meanwhile.
        """
        self._suspect()
        self._balance = {
            key: count
            for key, count in self._balance.items()
            if count < 0 and key not in self._ahead
        }
        self._ahead = set(self._balance)

    def gap(self) -> None:
        """The other half of what was told does not come any more."""
        self._suspect()
        self._balance.clear()
        self._ahead.clear()

    def _suspect(self) -> None:
        self.suspects |= {key: None for key, count in self._balance.items() if count > 0}

    def _add(self, key: Key, count: int) -> None:
        count += self._balance.pop(key, 0)
        if count:
            self._balance[key] = count


class ChangeNotes:
    """Keys, noted for everybody who wants to know."""

    def __init__(self) -> None:
        self._open: dict[int, set[Key]] = {}

    def add(self, key: Key) -> None:
        """There is news of this item."""
        for notes in self._open.values():
            notes.add(key)

    @contextlib.contextmanager
    def taken(self, notes: set[Key] | None = None) -> Iterator[set[Key]]:
        """The keys of which news comes while the block runs.

        Args:
            notes: Where to add them; a new set if not given.
        """
        notes = set() if notes is None else notes
        self._open[id(notes)] = notes
        try:
            yield notes
        finally:
            del self._open[id(notes)]


#: How long a late message is reckoned with, in seconds; on a busy server events lag that much.
SECONDS = 60.0
#: How many keys are remembered; the oldest is forgotten first.
LIMIT = 10_000


class Tombstones:
    """The keys of items that were told to be gone a short time ago.

    Args:
        clock: Seconds, of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: dict[Key, float] = {}  # the oldest first

    def __contains__(self, key: Key) -> bool:
        since = self._since.get(key)
        return since is not None and self._clock() - since < SECONDS

    def __len__(self) -> int:
        return len(self._since)

    def add(self, key: Key) -> None:
        """This item is gone."""
        now = self._clock()
        self._since.pop(key, None)
        self._since[key] = now
        while len(self._since) > LIMIT or now - next(iter(self._since.values())) >= SECONDS:
            del self._since[next(iter(self._since))]

    def discard(self, key: Key) -> None:
        """This item is there."""
        self._since.pop(key, None)


def copied(value: Any) -> Any:
    """A copy that shares nothing that can be changed.

    Nothing here calls itself: whatever depth could be read can be copied, which is not so with
    :func:`copy.deepcopy`.

    Args:
        value: Of dicts, lists and what cannot be changed.
    """
    if not isinstance(value, dict | list):
        return value
    copy = value.copy()
    unfinished: list[dict[str, Any] | list[Any]] = [copy]
    while unfinished:
        container = unfinished.pop()
        if isinstance(container, dict):
            for name, entry in container.items():  # its size stays
                if isinstance(entry, dict | list):
                    container[name] = inner = entry.copy()
                    unfinished.append(inner)
        else:
            for place, entry in enumerate(container):
                if isinstance(entry, dict | list):
                    container[place] = inner = entry.copy()
                    unfinished.append(inner)
    return copy


#: In the place of the action: the wire subscription that tells the keys of all updates.
CHANGED = "changed"


class FeedState(StrEnum):
    """Where a subscription stands."""

    #: Not asked for yet, or not answered yet, or the connection is down.
    WAITING = "waiting"
    #: Confirmed by the server.
    SUBSCRIBED = "subscribed"
    #: Refused, with a reason.
    REFUSED = "refused"


class Feed:
    """One query on the wire, and who listens to it.

    Directus reads the database for every subscription of every change, so those that ask
    the same share one.

    Attributes:
        uid: Stable over reconnects; never used again for another query.
        query: What is asked for.
        state: Where it stands.
        error: Why it was refused, else ``None``.
        primary_key: Of the collection; ``None`` until the server was asked.
        subscriptions: Who listens.
        reads_updates: Whether updates come without the query, and their items are read by
            key: a server with a query limit cuts a batch of updates, except where there is
            no query.
        updated: Keys of the updates whose items are still to be read, message by message.
        news: Notes every item of which the server says anything.
        told: Notes every item of which something was handed over.
        leaving: Which items may have left the filter.
        late: What has come of items that were gone already, to be checked by a read: the
            action of each.
    """

    def __init__(self, uid: str, query: Query) -> None:
        self.uid = uid
        self.query = query
        self.state = FeedState.WAITING
        self.error: SubscriptionRefused | None = None
        self.primary_key: PrimaryKey | None = None
        self.subscriptions: list[ClientSubscription] = []
        self.reads_updates = False
        self.updated: deque[list[Key]] = deque()
        self.news = ChangeNotes()
        self.told = ChangeNotes()
        self.leaving = Leaving()
        self.late: dict[Key, Action] = {}
        self._deleted = Tombstones()
        self._left = Tombstones()
        self._unconfirmed: set[str] = set()
        self._settled = asyncio.Event()

    def wire_subscriptions(self) -> list[WireSubscription]:
        """One ``subscribe`` for each wanted action; each must be confirmed from now on.

        Where items can leave the filter, one more for the keys of all updates.
        """
        primary_key = (self.primary_key or PrimaryKey()).name
        parameters = self.query.rest_parameters(primary_key)
        wires = [
            self._wire(event, event, {} if event == "update" and self.reads_updates else parameters)
            for event in self.query.events
        ]
        if self._hears_of_all_updates:
            wires.append(self._wire(CHANGED, "update", self.query.rest_key(primary_key)))
        self._unconfirmed = {wire.uid for wire in wires}
        return wires

    def wire_uids(self) -> list[str]:
        """The uids under which the server knows this feed."""
        names: list[str] = [*self.query.events]
        if self._hears_of_all_updates:
            names.append(CHANGED)
        return [f"{self.uid}.{name}" for name in names]

    async def settled(self) -> None:
        """Wait until the server has confirmed.

        Raises:
            SubscriptionRefused: It refused instead.
        """
        await self._settled.wait()
        if self.error is not None:
            raise self.error

    def confirm(self, wire_uid: str) -> None:
        """The server accepted one of the wire subscriptions."""
        self._unconfirmed.discard(wire_uid)
        if not self._unconfirmed and self.state is FeedState.WAITING:
            self.error = None
            self._settle(FeedState.SUBSCRIBED)

    def refuse(self, error: SubscriptionRefused) -> None:
        """The feed is not to be had; tell every subscription, once."""
        if self.state is FeedState.REFUSED:
            return
        self.error = error
        self._settle(FeedState.REFUSED)
        for subscription in list(self.subscriptions):
            subscription.refused(error)

    def wait_again(self) -> None:
        """Nothing is confirmed any more: asked for anew, or the connection is gone."""
        self.state = FeedState.WAITING
        self.error = None
        self._settled.clear()
        self.leaving.gap()
        for subscription in self.subscriptions:
            subscription.gap()

    def report(self, error: DirectusRealtimeError) -> None:
        """Hand an error to every subscription."""
        for subscription in list(self.subscriptions):
            subscription.report(error)

    def receive(self, action: Action, data: list[Any]) -> None:
        """Hand a change message to every subscription, item by item.

        What is told of an item that is gone is kept in :attr:`late`: Directus reads the
        row before it sends, so it can send a create or an update after the delete.
        """
        for key, entry in self.keyed(action, data):
            if action == "delete":
                self._delete(key)
                continue
            if action == "update" and self._hears_of_all_updates:
                self.leaving.reported(key)
            if self._is_late(key):
                self.late[key] = "create" if self.late.get(key) == "create" else action
            else:
                self._hand_over(action, key, entry)

    def receive_changed(self, data: list[Any]) -> None:
        """Take note of items that changed, in the filter or not."""
        for key, _ in self.keyed("update", data):
            self.leaving.changed(key)

    def receive_current(self, action: Action, key: Key, row: dict[str, Any]) -> None:
        """Hand over an item that was just read, so that it is there for sure."""
        self.late.pop(key, None)
        self._deleted.discard(key)
        self._left.discard(key)
        self._hand_over(action, key, row)

    def receive_left(self, key: Key, row: dict[str, Any] | None) -> None:
        """Hand over that an item is not in the filter, with its row where it can be read."""
        if row is None:
            if key in self._deleted:
                return
            row = {(self.primary_key or PrimaryKey()).name: key}
        self._left.add(key)
        self.told.add(key)
        for subscription in self._listeners():
            subscription.receive_left(key, copied(row))

    def may_lose(self, key: Key) -> bool:
        """Whether anybody would be told that this item is not in the filter."""
        return any(subscription.may_lose(key) for subscription in self.subscriptions)

    def keyed(self, action: Action, data: list[Any]) -> list[tuple[Key, Any]]:
        """The entries of a message that are wanted, with their keys; each is noted as news."""
        entries = []
        for entry in data:
            try:
                key = self._key(action, entry)
            except BadFrame as error:
                self.report(error)
                continue
            self.news.add(key)
            if self._is_wanted(key):
                entries.append((key, entry))
        return entries

    @contextmanager
    def noting_changes(self) -> Iterator[set[Key]]:
        """The keys of the items of which news comes, or is handed over, while the block runs.

        News that is checked first is handed over some time after it came.
        """
        with self.news.taken() as changed, self.told.taken(changed):
            yield changed

    @property
    def _hears_of_all_updates(self) -> bool:
        return self.query.tells_leaving and not self.reads_updates

    def _is_late(self, key: Key) -> bool:
        return key in self.late or key in self._deleted or key in self._left

    def _wire(self, name: str, event: Action, query: dict[str, Any]) -> WireSubscription:
        return WireSubscription(f"{self.uid}.{name}", self.query.collection, event, query)

    def _delete(self, key: Key) -> None:
        self._deleted.add(key)
        self._left.discard(key)
        self.late.pop(key, None)
        self.leaving.deleted(key)
        self._hand_over("delete", key, None)

    def _settle(self, state: FeedState) -> None:
        self.state = state
        self._settled.set()
        for subscription in list(self.subscriptions):
            subscription.state_changed()

    def _hand_over(self, action: Action, key: Key, data: dict[str, Any] | None) -> None:
        self.told.add(key)
        subscriptions = self._listeners()
        for subscription in subscriptions:
            # What one does to its data is no business of the others.
            is_last = subscription is subscriptions[-1]
            subscription.receive(action, key, data if is_last else copied(data))

    def _listeners(self) -> list[ClientSubscription]:
        """Who is to be told; nobody once the feed was refused, though a read may still end."""
        return [] if self.state is FeedState.REFUSED else list(self.subscriptions)

    def _key(self, action: Action, entry: Any) -> Key:
        primary_key = self.primary_key or PrimaryKey()
        key = entry if action == "delete" else entry.get(primary_key.name)
        if not isinstance(key, int | str) or isinstance(key, bool):
            problem = f"An item of {self.query.collection} has no {primary_key.name}"
            raise BadFrame(problem, excerpt(_text(entry)))
        if action != "delete":
            self.primary_key = primary_key = primary_key.seen(key)
        return primary_key.canonical(key)

    def _is_wanted(self, key: Key) -> bool:
        """Whether a change is of the one item asked for: deletes come for every item."""
        return self.query.item is None or str(key) == str(self.query.item)


def _text(entry: Any) -> str:
    try:
        return json.dumps(entry)
    except RecursionError:
        return "(nested too deeply to be shown)"
