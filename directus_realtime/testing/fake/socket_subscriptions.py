"""Subscriptions of the sockets of a fake Directus, and the events they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from directus_realtime.testing.fake import socket_messages as messages
from directus_realtime.testing.fake.items_service import ItemsService
from directus_realtime.testing.fake.query import Query
from directus_realtime.testing.fake.refusals import ApiError, NoReplyError
from directus_realtime.testing.fake.server_state import Faults
from directus_realtime.testing.fake.socket_connection import SocketConnection
from directus_realtime.testing.fake.socket_messages import Message
from directus_realtime.testing.fake.store import Change, Store


@dataclass(eq=False)
class SocketSubscription:
    """One subscription of one socket."""

    connection: SocketConnection
    collection: str
    event: str | None = None
    item: str | None = None
    uid: str | None = None
    query: Query = field(default_factory=Query)

    def concerns(self, change: Change) -> bool:
        """Return whether the subscription gets the event of a change."""
        if self.collection != change.collection or self.event not in (None, change.action):
            return False
        # Compared without a cast: a number never equals the string of the subscription.
        return self.item is None or self.item in change.keys


class SocketSubscriptions:
    """All subscriptions of all sockets, in the order they were made."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self.active: list[SocketSubscription] = []
        self.store = store
        self.faults = faults

    def subscribe(self, connection: SocketConnection, message: Message) -> None:
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
        if not self.faults.loses_subscribe_reply():
            connection.send(answer)

    def unsubscribe(self, connection: SocketConnection, message: Message) -> None:
        """Answer an unsubscribe message; without a uid it ends all of the socket."""
        self.remove(connection, str(message["uid"]) if "uid" in message else None)
        answer = {"type": "subscription", "event": "unsubscribe"}
        connection.send(messages.with_uid(answer, message))

    def remove(self, connection: SocketConnection, uid: str | None = None) -> None:
        """Remove the subscriptions of a socket, or the one with a uid."""
        self.active = [
            each
            for each in self.active
            if each.connection is not connection or (uid is not None and each.uid != uid)
        ]

    def dispatch(self, changes: Sequence[Change]) -> None:
        """Send the events of the changes of one operation."""
        for subscription in list(self.active):
            for change in changes:
                if subscription.concerns(change):
                    self._send_event(subscription, change)

    def _register(self, connection: SocketConnection, message: Message) -> Message:
        name: str = message["collection"]
        is_known = name in self.store.schema
        if not is_known and not connection.access.is_admin:
            return messages.unknown_collection("subscribe", message)
        subscription = SocketSubscription(connection, name, event=message.get("event"))
        if "query" in message:
            subscription.query = Query.from_values(message["query"], self.store.clock)
        if "item" in message:
            subscription.item = str(message["item"])
        if "uid" in message:
            subscription.uid = str(message["uid"])
            # Directus ends the old one first, even if the new one is then refused.
            self.remove(connection, subscription.uid)
        if not is_known and subscription.event is None:
            raise NoReplyError
        data = messages.MISSING
        if subscription.event is None:
            service, query = self._service(subscription), subscription.query
            is_list = subscription.item is None
            data = service.read(query) if is_list else service.read_one(subscription.item, query)
        answer = self._message(subscription, "init", data)
        self.active.append(subscription)
        return answer

    def _send_event(self, subscription: SocketSubscription, change: Change) -> None:
        connection = subscription.connection
        try:
            data = self._event_data(subscription, change)
            if data == []:
                return
            message = self._message(subscription, change.action, data)
        except ApiError as refusal:
            connection.send(messages.error("subscribe", refusal.code, refusal.message))
            return
        if change.action != "delete" and self.faults.held_changes is not None:
            self.faults.held_changes.append(partial(connection.send, message))
        else:
            connection.send(message)

    def _event_data(self, subscription: SocketSubscription, change: Change) -> Any:
        if change.action == "delete":
            # Sent without a check of filter and rights.
            return list(change.keys) if subscription.item is None else subscription.item
        service, query = self._service(subscription), subscription.query
        if subscription.item is not None:
            return service.read_one(subscription.item, query)
        return service.read_keys(change.item_keys, query)

    def _message(self, subscription: SocketSubscription, event: str, data: Any) -> Message:
        message: Message = {"type": "subscription", "event": event}
        if data is not messages.MISSING:
            message["data"] = data
            if subscription.query.meta:
                message["meta"] = self._service(subscription).meta(subscription.query)
        return message if subscription.uid is None else {**message, "uid": subscription.uid}

    def _service(self, subscription: SocketSubscription) -> ItemsService:
        access = subscription.connection.access
        return ItemsService(self.store, subscription.collection, access)
