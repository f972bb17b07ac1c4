"""Controls of a fake Directus: faults, activity log and collections."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection
from typing import Any

from directus_realtime.testing.fake.accounts import Accounts, FakeUser
from directus_realtime.testing.fake.fake_collection import ACTIVITY, USERS, FakeCollection, Key
from directus_realtime.testing.fake.rest import RestApi
from directus_realtime.testing.fake.server_state import Faults, RateLimit
from directus_realtime.testing.fake.socket_server import SocketServer
from directus_realtime.testing.fake.store import Change, Manner, Store


class FaultControl:
    """Faults of :class:`FakeDirectus`."""

    faults: Faults
    _accounts: Accounts
    _admin: FakeUser
    _rest: RestApi
    _sockets: SocketServer
    _store: Store

    async def cut(self, *, mid_frame: bool = False) -> None:
        """Abort every socket without a close frame; the client sees 1006.

        Args:
            mid_frame: Send the beginning of a text message first.
        """
        for connection in list(self._sockets.connections):
            connection.cut(mid_frame)

    def freeze(self) -> None:
        """Stop answering, on REST and sockets, but keep all connections open."""
        self.faults.thawed.clear()

    def thaw(self) -> None:
        """End :meth:`freeze`, and answer the messages received before."""
        self.faults.thawed.set()

    def refuse_tokens(self, refused: bool = True) -> None:
        """Refuse every token and password; open sockets are unchanged."""
        self._accounts.refusing = refused

    def change_token(self, token: str) -> None:
        """Replace the static token of the administrator; open sockets are unchanged."""
        self._admin.token = token

    async def expire_tokens(self) -> None:
        """Expire every access token and the authentication of every socket.

        Static tokens stay valid.
        """
        self._accounts.expire()
        for connection in list(self._sockets.clients):
            connection.expire()

    async def send_raw(self, content: str | bytes) -> None:
        """Send a text or binary message to every authenticated socket."""
        for connection in list(self._sockets.clients):
            connection.send(content)

    def delay_replies(self, seconds: float) -> None:
        """Delay every REST answer and every message by some seconds; 0 ends it."""
        self.faults.reply_delay = seconds

    def drop_next_subscribe_reply(self, count: int = 1) -> None:
        """Make the next subscriptions without an answer to the client."""
        self.faults.lost_subscribe_replies += count

    def hold_changes(self) -> None:
        """Hold the messages of creates and updates, with the present rows; deletes are sent.

        On a busy Directus a delete overtakes them, too: it needs no read of the database.
        """
        if self.faults.held_changes is None:
            self.faults.held_changes = []

    def release_changes(self) -> None:
        """End :meth:`hold_changes`, and send the held messages in order."""
        held, self.faults.held_changes = self.faults.held_changes or [], None
        for send in held:
            send()

    def reject_upgrades(self, status: int | None = 503) -> None:
        """Answer the upgrade to a WebSocket with this HTTP status; None ends it."""
        self.faults.upgrade_status = status

    def rate_limit(self, points: int | None, seconds: float = 1.0) -> None:
        """Limit each socket to a number of messages in a number of seconds; None ends it."""
        self.faults.rate_limit = None if points is None else RateLimit(points, seconds)

    async def suspend_user(self, email: str, suspended: bool = True) -> None:
        """Refuse a user's static token and log-ins; with False, accept them again.

        As in Directus, open sockets continue, and so does an access token until it expires.
        """
        user = self._accounts.user(email)
        user.status = "suspended" if suspended else "active"
        changed = {"status": user.status}
        self._store.commit(self._store.plan_update(USERS, [user.id], changed, Manner()))

    def refuse_search(self, status: int | None = 405) -> None:
        """Answer the method SEARCH with this HTTP status, as a proxy; None ends it."""
        self.faults.search_status = status

    def press(self, times: int = 1) -> None:
        """Answer a number of REST requests with 503 "Under pressure"."""
        self.faults.pressed = times

    def spoil(self, collection: str, key: Key, field: str | None = None) -> None:
        """Make an item unreadable: every answer with it is a 500.

        Args:
            collection: The collection.
            key: The key of the item.
            field: The unreadable field; the whole item if not given.
        """
        self._store.spoiled[collection, str(key)] = field

    def mend(self, collection: str, key: Key) -> None:
        """End :meth:`spoil` of an item."""
        self._store.spoiled.pop((collection, str(key)), None)

    def forget_cache(self) -> None:
        """Clear the response cache."""
        self._rest.cached.clear()


class LogControl:
    """Activity log and collections of :class:`FakeDirectus`."""

    _store: Store

    async def write_log(self, action: str, collection: str, item: object = "") -> int:
        """Write a row without a change of an item, and return its id.

        Args:
            action: For example ``login``, ``run`` or ``version_save``.
            collection: For example ``directus_users`` or ``directus_flows``.
            item: The key of the item that the row names.
        """
        row = self._store.log.entry(action, collection, item)
        self._store.log.add([row])
        self._store.emit([Change("create", ACTIVITY, (row["id"],))])
        return int(row["id"])

    def prune_log(self, until_id: int, actions: Collection[str] | None = None) -> None:
        """Remove rows of the activity log up to an id, as Directus's retention does.

        Args:
            until_id: The highest id to remove.
            actions: The actions of the rows to remove; all if not given.
        """
        self._store.log.prune(until_id, actions)

    def replace_log(self, until_id: int = 0) -> None:
        """Remove the rows of the activity log above an id, as a restored backup does.

        The ids are reused, for rows with other timestamps.
        """
        self._store.log.replace(until_id)

    def shift_clock(self, seconds: float) -> None:
        """Shift timestamps, ``$NOW`` and the header ``Date`` by seconds; negative ones: back."""
        self._store.clock.ahead += dt.timedelta(seconds=seconds)

    async def create_collection(self, collection: FakeCollection) -> None:
        """Add a collection, with rows of the log for it and its fields."""
        for _ in collection.fields:
            await self._log_field("create")
        self._store.schema.collections[collection.name] = collection
        self._store.open(collection)
        await self.write_log("create", "directus_collections", collection.name)

    async def delete_collection(self, name: str) -> None:
        """Remove a collection, its items, and their rows of the log."""
        self._store.drop(name)
        await self.write_log("delete", "directus_collections", name)

    async def change_collection(self, name: str, **changes: Any) -> None:
        """Change the definition of a collection; its items stay.

        New and removed fields and another accountability get rows in the log, another key or
        type of a field gets none, as in Directus.

        Args:
            name: The collection.
            **changes: Arguments of :class:`FakeCollection`, for example ``fields`` or
                ``key_type``.
        """
        old = self._store.schema[name]
        new = dataclasses.replace(old, items=(), **changes)
        self._store.redefine(new)
        for _ in new.fields.keys() - old.fields.keys():
            await self._log_field("create")
        for _ in old.fields.keys() - new.fields.keys():
            await self._log_field("delete")
        if new.accountability != old.accountability:
            await self.write_log("update", "directus_collections", name)

    async def _log_field(self, action: str) -> None:
        # Directus identifies a field by a number.
        await self.write_log(action, "directus_fields", self._store.log.last_id + 1)
