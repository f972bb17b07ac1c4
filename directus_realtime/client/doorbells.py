"""Hints from the WebSocket that items of a collection changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from directus_realtime.client.connection import Connection
from directus_realtime.client.subscription import CALLBACK_FAILURES
from directus_realtime.events import Action
from directus_realtime.protocol import session as protocol
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.session import SessionAction

logger = logging.getLogger("directus_realtime.client")


@dataclass(frozen=True, slots=True)
class Ring:
    """A hint that items changed.

    Attributes:
        collection: Name of the collection.
        action: Action of the message; ``None`` where the server failed to send it.
        keys: Keys as Directus sent them; empty where they are not known.
    """

    collection: str
    action: Action | None
    keys: tuple[object, ...]


class SocketDoorbell:
    """Subscribes to the keys of all changes of some collections, on each socket again.

    Nothing is checked or read over REST: a ring says that something may have changed, and
    none may come for a change.

    Args:
        connection: The connection of which the sockets are used.

    Attributes:
        on_ring: Called with each ring, in the task that reads the socket; must not block.
    """

    def __init__(self, connection: Connection) -> None:
        self.on_ring: Callable[[Ring], None] | None = None
        self._connection = connection
        self._watched: dict[str, str] = {}
        self._by_uid: dict[str, str] = {}
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """The collections that the server refused on the current socket, with a sentence."""
        return MappingProxyType(self._problems)

    def watch(self, collections: Mapping[str, str]) -> None:
        """Make the watched collections equal to these.

        A collection that is watched already, by the same key, is not asked for again; one
        that was refused is, on the next socket.

        Args:
            collections: The name of each collection's primary key, by collection.
        """
        before, self._watched = self._watched, dict(collections)
        for collection in before.keys() - self._watched.keys():
            self._unsubscribe(collection)
        for collection, key_name in self._watched.items():
            if before.get(collection) != key_name:
                self._by_uid |= dict.fromkeys(_uids(collection).values(), collection)
                self._subscribe(collection)

    def subscribe_again(self) -> None:
        """Subscribe to all watched collections; a new socket is authenticated."""
        self._problems.clear()
        for collection in self._watched:
            self._subscribe(collection)

    def handle(self, action: SessionAction) -> bool:
        """Take a message of the session.

        Returns:
            Whether it belongs to the doorbell alone.
        """
        match action:
            case protocol.ItemsChanged(uid, event, data) if uid in self._by_uid:
                collection = self._by_uid[uid]
                self._ring(Ring(collection, event, self._keys(collection, event, data)))
            case protocol.Refused(uid, code, message) if uid in self._by_uid:
                self._refused(self._by_uid[uid], code, message)
            case protocol.SubscriptionError(str(uid)) if uid in self._by_uid:
                self._ring(Ring(self._by_uid[uid], None, ()))
            case protocol.Confirmed(uid) if uid in self._by_uid:
                pass
            case protocol.SubscriptionError(None) | protocol.Ignored():
                # Directus names no uid in most errors, so any collection may have changed.
                for collection in self._watched:
                    self._ring(Ring(collection, None, ()))
                return False
            case _:
                return False
        return True

    def _keys(self, collection: str, action: Action, data: list[Any]) -> tuple[object, ...]:
        if action == "delete":
            return tuple(data)
        key_name = self._watched[collection]
        return tuple(row[key_name] for row in data if row.get(key_name) is not None)

    def _ring(self, ring: Ring) -> None:
        if self.on_ring is None:
            return
        try:
            self.on_ring(ring)
        except CALLBACK_FAILURES:
            logger.exception(
                "on_ring of the client failed.",
                extra={"what": "callback-failed", "callback": "on_ring"},
            )

    def _refused(self, collection: str, code: str, message: str) -> None:
        self._problems[collection] = (
            f"Directus refused to announce changes of {collection} on the WebSocket "
            f"({code}: {message.rstrip('.')}). Check that the token may read the collection."
        )

    def _subscribe(self, collection: str) -> None:
        driver, server = self._connection.driver, self._connection.server
        if driver is None or not self._connection.has_socket:
            return
        keys_only = {"fields": [self._watched[collection]]}
        # With QUERY_LIMIT_MAX only an update without a query comes with all of its keys.
        is_cut = server is not None and server.query_limit > 0
        self._problems.pop(collection, None)
        for action, uid in _uids(collection).items():
            query = {} if is_cut and action == "update" else keys_only
            driver.subscribe(WireSubscription(uid, collection, action, query))

    def _unsubscribe(self, collection: str) -> None:
        self._problems.pop(collection, None)
        for uid in _uids(collection).values():
            del self._by_uid[uid]
            if self._connection.driver is not None:
                self._connection.driver.unsubscribe(uid)


def _uids(collection: str) -> dict[Action, str]:
    # Uids of feeds end with a dot and the action, so they are never equal to one of these.
    return {action: f"ring:{collection}:{action}" for action in ACTIONS}
