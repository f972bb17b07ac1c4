"""One subscription of a client: what it asks for, its state, and its events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import Any

from directus_realtime.client.rest import PrimaryKey
from directus_realtime.events import Action, Event
from directus_realtime.exceptions import BadFrame, DirectusRealtimeError, SubscriptionRefused
from directus_realtime.protocol.queries import Query, WireSubscription
from directus_realtime.protocol.redaction import excerpt

logger = logging.getLogger("directus_realtime.client")

EventCallback = Callable[[Event], None]
ErrorCallback = Callable[[DirectusRealtimeError], None]
StateCallback = Callable[[], None]


class SubscriptionState(StrEnum):
    """Where a subscription stands."""

    #: Not asked for yet, or not answered yet, or the connection is down.
    WAITING = "waiting"
    #: Confirmed by the server.
    SUBSCRIBED = "subscribed"
    #: Refused; :attr:`ClientSubscription.error` says why.
    REFUSED = "refused"


class ClientSubscription:
    """A subscription; iterate it for its events, or give ``on_event`` for a callback.

    Events that nobody has taken yet wait in memory, so a consumer that is slower than
    the changes for good needs a store of its own.

    Attributes:
        uid: Ours, stable over reconnects.
        name: In each event's ``subscription``.
        query: What is asked for.
        state: Where it stands.
        error: Why it was refused, else ``None``.
    """

    def __init__(
        self,
        uid: str,
        query: Query,
        *,
        name: str,
        connection: str,
        on_event: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_state: StateCallback | None = None,
    ) -> None:
        self.uid = uid
        self.name = name
        self.query = query
        self.state = SubscriptionState.WAITING
        self.error: SubscriptionRefused | None = None
        self.primary_key: PrimaryKey | None = None
        self._connection = connection
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._on_event = on_event or self._queue.put_nowait
        self._on_error = on_error
        self._on_state = on_state
        self._unconfirmed: set[str] = set()
        self._settled = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ClientSubscription {self.name!r} of {self.query.collection}: {self.state}>"

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._queue.get()) is not None:
            yield event

    # What the client calls

    def wire_subscriptions(self) -> list[WireSubscription]:
        """One ``subscribe`` for each wanted action; each must be confirmed from now on."""
        primary_key = self.primary_key or PrimaryKey()
        parameters = self.query.rest_parameters(primary_key.name)
        wires = [
            WireSubscription(f"{self.uid}.{event}", self.query.collection, event, parameters)
            for event in self.query.events
        ]
        self._unconfirmed = {wire.uid for wire in wires}
        return wires

    def wire_uids(self) -> list[str]:
        """The uids under which the server knows this subscription."""
        return [f"{self.uid}.{event}" for event in self.query.events]

    async def settled(self) -> None:
        """Wait until the subscription is confirmed.

        Raises:
            SubscriptionRefused: It was refused instead.
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
        """The subscription is not to be had; tell ``on_error``, once."""
        if self.state is not SubscriptionState.REFUSED:
            self.error = error
            self._settle(SubscriptionState.REFUSED)
            if self._on_error is not None:  # else whoever waits for settled() is told
                self.report(error)

    def wait_again(self) -> None:
        """Nothing is confirmed any more; asked for anew, or the connection is gone."""
        self.state = SubscriptionState.WAITING
        self._settled.clear()

    def report(self, error: DirectusRealtimeError) -> None:
        """Hand an error to ``on_error``; a log line where there is none."""
        if self._on_error is None:
            logger.warning("Subscription %s: %s", self.name, error)
            return
        try:
            self._on_error(error)
        except Exception:
            logger.exception("on_error of the subscription %s failed.", self.name)

    def receive(self, action: Action, data: list[Any]) -> None:
        """Turn a change message into events, one for each item."""
        for entry in data:
            try:
                event = self._event(action, entry)
            except BadFrame as error:
                self.report(error)
                continue
            if event is not None:
                self._hand_over(event)

    def close(self) -> None:
        """End the iteration."""
        self._queue.put_nowait(None)

    def _settle(self, state: SubscriptionState) -> None:
        self.state = state
        self._settled.set()
        if self._on_state is not None:
            self._on_state()

    def _hand_over(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:
            logger.exception("on_event of the subscription %s failed.", self.name)

    def _event(self, action: Action, entry: Any) -> Event | None:
        """The event of a row or a key; ``None`` for the delete of another item."""
        primary_key = self.primary_key or PrimaryKey()
        key = entry if action == "delete" else entry.get(primary_key.name)
        if not isinstance(key, int | str):
            problem = f"An item of {self.query.collection} has no {primary_key.name}"
            raise BadFrame(problem, excerpt(str(entry)))
        if action != "delete":
            self.primary_key = primary_key = primary_key.seen(key)
        key = primary_key.cast(key)
        # The server sends deletes to everyone, whatever the filter says.
        if self.query.item is not None and key != primary_key.cast(self.query.item):
            return None
        return Event(
            connection=self._connection,
            subscription=self.name,
            collection=self.query.collection,
            action=action,
            key=key,
            data=None if action == "delete" else entry,
        )
