"""What the server knows of: one query, shared by all subscriptions that ask the same."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from directus_realtime.client.rest import PrimaryKey
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import BadFrame, DirectusRealtimeError, SubscriptionRefused
from directus_realtime.protocol.queries import Query, WireSubscription
from directus_realtime.protocol.redaction import excerpt

if TYPE_CHECKING:
    from directus_realtime.client.subscription import ClientSubscription


class SubscriptionState(StrEnum):
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
    """

    def __init__(self, uid: str, query: Query) -> None:
        self.uid = uid
        self.query = query
        self.state = SubscriptionState.WAITING
        self.error: SubscriptionRefused | None = None
        self.primary_key: PrimaryKey | None = None
        self.subscriptions: list[ClientSubscription] = []
        #: Whether updates come without the query, and their items are read by key: a
        #: server with a query limit cuts a batch of updates, except where there is no query.
        self.reads_updates = False
        #: Held while the items of one message are read, so that messages keep their order.
        self.reading = asyncio.Lock()
        self._notes: dict[int, set[Key]] = {}
        self._unconfirmed: set[str] = set()
        self._settled = asyncio.Event()

    def wire_subscriptions(self) -> list[WireSubscription]:
        """One ``subscribe`` for each wanted action; each must be confirmed from now on."""
        primary_key = self.primary_key or PrimaryKey()
        parameters = self.query.rest_parameters(primary_key.name)
        wires = [
            WireSubscription(
                f"{self.uid}.{event}",
                self.query.collection,
                event,
                {} if event == "update" and self.reads_updates else parameters,
            )
            for event in self.query.events
        ]
        self._unconfirmed = {wire.uid for wire in wires}
        return wires

    def wire_uids(self) -> list[str]:
        """The uids under which the server knows this feed."""
        return [f"{self.uid}.{event}" for event in self.query.events]

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
        if not self._unconfirmed and self.state is SubscriptionState.WAITING:
            self.error = None
            self._settle(SubscriptionState.SUBSCRIBED)

    def refuse(self, error: SubscriptionRefused) -> None:
        """The feed is not to be had; tell every subscription, once."""
        if self.state is SubscriptionState.REFUSED:
            return
        self.error = error
        self._settle(SubscriptionState.REFUSED)
        for subscription in list(self.subscriptions):
            subscription.refused(error)

    def wait_again(self) -> None:
        """Nothing is confirmed any more: asked for anew, or the connection is gone."""
        self.state = SubscriptionState.WAITING
        self.error = None
        self._settled.clear()

    def report(self, error: DirectusRealtimeError) -> None:
        """Hand an error to every subscription."""
        for subscription in list(self.subscriptions):
            subscription.report(error)

    def receive(self, action: Action, data: list[Any]) -> None:
        """Hand a change message to every subscription, item by item."""
        for entry in data:
            try:
                key = self._key(action, entry)
            except BadFrame as error:
                self.report(error)
                continue
            for notes in self._notes.values():
                notes.add(key)
            if self._is_wanted(key):
                self._hand_over(action, key, None if action == "delete" else entry)

    @contextlib.contextmanager
    def noting_changes(self) -> Iterator[set[Key]]:
        """The keys that change live while the block runs."""
        notes: set[Key] = set()
        self._notes[id(notes)] = notes
        try:
            yield notes
        finally:
            del self._notes[id(notes)]

    def _settle(self, state: SubscriptionState) -> None:
        self.state = state
        self._settled.set()
        for subscription in list(self.subscriptions):
            subscription.state_changed()

    def _hand_over(self, action: Action, key: Key, data: dict[str, Any] | None) -> None:
        subscriptions = list(self.subscriptions)
        for subscription in subscriptions:
            # What one does to its data is no business of the others.
            is_last = subscription is subscriptions[-1]
            subscription.receive(action, key, data if is_last else copy.deepcopy(data))

    def _key(self, action: Action, entry: Any) -> Key:
        primary_key = self.primary_key or PrimaryKey()
        key = entry if action == "delete" else entry.get(primary_key.name)
        if not isinstance(key, int | str) or isinstance(key, bool):
            problem = f"An item of {self.query.collection} has no {primary_key.name}"
            raise BadFrame(problem, excerpt(json.dumps(entry)))
        if action != "delete":
            self.primary_key = primary_key = primary_key.seen(key)
        return primary_key.cast(key)

    def _is_wanted(self, key: Key) -> bool:
        """Whether a change is of the one item asked for: deletes come for every item."""
        return self.query.item is None or str(key) == str(self.query.item)
