"""Subscriptions of a fake Directus: who is told of which change, and in what words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from directus_realtime.testing.fake import messages
from directus_realtime.testing.fake.accounts import Access
from directus_realtime.testing.fake.errors import UNKNOWN_COLLECTION, ApiError, NoReplyError
from directus_realtime.testing.fake.faults import Faults
from directus_realtime.testing.fake.messages import Message
from directus_realtime.testing.fake.query import Query
from directus_realtime.testing.fake.reader import Reader
from directus_realtime.testing.fake.store import Change

if TYPE_CHECKING:
    from directus_realtime.testing.fake.connection import Connection


@dataclass(eq=False)
class Subscription:
    """One subscription of one socket."""

    connection: Connection
    collection: str
    event: str | None = None
    item: str | None = None
    uid: str | None = None
    query: Query = field(default_factory=Query)

    def answer(self, message: Message) -> Message:
        """Return a message of this subscription."""
        answer = {"type": "subscription", **message}
        return answer if self.uid is None else {**answer, "uid": self.uid}


class Subscriptions:
    """All subscriptions of all sockets, in the order they were made.

    Args:
        reader: What to read the rows with.
        faults: The switches of the server.
    """

    def __init__(self, reader: Reader, faults: Faults) -> None:
        self.active: list[Subscription] = []
        self._reader = reader
        self._faults = faults

    def subscribe(self, connection: Connection, message: Message) -> None:
        """Answer a subscribe message."""
        reason = messages.subscribe_problem(message)
        if reason is not None:
            connection.send(messages.error("subscribe", "INVALID_PAYLOAD", reason))
            return
        try:
            answer = self._register(connection, message)
        except ApiError as refusal:
            answer = messages.error("subscribe", refusal.code, refusal.message)
        except NoReplyError:
            return
        if not self._faults.loses_subscribe_reply():
            connection.send(answer)

    def unsubscribe(self, connection: Connection, message: Message) -> None:
        """Answer an unsubscribe message; without a uid it ends everything of the socket."""
        uid = str(message["uid"]) if "uid" in message else None
        self._drop(connection, uid)
        connection.send(
            messages.with_uid({"type": "subscription", "event": "unsubscribe"}, message)
        )

    def forget(self, connection: Connection) -> None:
        """End the subscriptions of a socket that is gone."""
        self._drop(connection, None)

    def dispatch(self, changes: Sequence[Change]) -> None:
        """Tell the subscribers of the changes of one operation."""
        for subscription in list(self.active):
            for change in changes:
                if _concerns(subscription, change):
                    self._tell(subscription, change)

    def _register(self, connection: Connection, message: Message) -> Message:
        name: str = message["collection"]
        known = name in self._reader.store.schema
        if not known and not connection.access.is_admin:
            return messages.error(
                "subscribe",
                "INVALID_COLLECTION",
                UNKNOWN_COLLECTION,
                message.get("uid", messages.MISSING),
            )
        subscription = Subscription(connection, name, event=message.get("event"))
        if "query" in message:
            subscription.query = self._reader.query(message["query"])
        if "item" in message:
            subscription.item = str(message["item"])
        if "uid" in message:
            subscription.uid = str(message["uid"])
            # Directus ends the old one first, even if the new one is then refused.
            self._drop(connection, subscription.uid)
        if not known and subscription.event is None:
            raise NoReplyError
        first = {"event": "init"} if subscription.event else self._first_answer(subscription)
        self.active.append(subscription)
        return subscription.answer(first)

    def _drop(self, connection: Connection, uid: str | None) -> None:
        self.active = [
            each
            for each in self.active
            if each.connection is not connection or (uid is not None and each.uid != uid)
        ]

    def _first_answer(self, subscription: Subscription) -> Message:
        access, name = subscription.connection.access, subscription.collection
        data: Any
        if subscription.item is None:
            data = self._reader.read_query(access, name, subscription.query)
        else:
            data = self._reader.read_one(access, name, subscription.item, subscription.query)
        return self._with_meta(subscription, {"event": "init", "data": data})

    def _tell(self, subscription: Subscription, change: Change) -> None:
        connection = subscription.connection
        try:
            data = self._event_data(subscription, change, connection.access)
            if data == []:
                return
            event = self._with_meta(subscription, {"event": change.action, "data": data})
        except ApiError as refusal:
            connection.send(messages.error("subscribe", refusal.code, refusal.message))
            return
        message = subscription.answer(event)
        if change.action != "delete" and self._faults.held_changes is not None:
            self._faults.held_changes.append(partial(connection.send, message))
        else:
            connection.send(message)

    def _event_data(self, subscription: Subscription, change: Change, access: Access) -> Any:
        name, query = subscription.collection, subscription.query
        if change.action == "delete":
            # Sent without a look at filter or rights.
            return list(change.keys) if subscription.item is None else subscription.item
        if subscription.item is not None:
            return self._reader.read_one(access, name, subscription.item, query)
        return self._reader.read_keys(access, name, change.item_keys, query)

    def _with_meta(self, subscription: Subscription, event: Message) -> Message:
        if not subscription.query.meta:
            return event
        access = subscription.connection.access
        meta = self._reader.meta(access, subscription.collection, subscription.query)
        return {**event, "meta": meta}


def _concerns(subscription: Subscription, change: Change) -> bool:
    if subscription.collection != change.collection:
        return False
    if subscription.event not in (None, change.action):
        return False
    # Compared without a cast: a number never equals the string of the subscription.
    return subscription.item is None or subscription.item in change.keys
