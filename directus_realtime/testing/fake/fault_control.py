"""Controls of a fake Directus: faults, and the activity log as a test needs it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection
from typing import Any

from directus_realtime.testing.fake.accounts import Accounts, FakeUser
from directus_realtime.testing.fake.faults import Faults, RateLimit
from directus_realtime.testing.fake.gateway import Gateway
from directus_realtime.testing.fake.rest import ResponseCache
from directus_realtime.testing.fake.schema import ACTIVITY, USERS, FakeCollection, Key
from directus_realtime.testing.fake.store import Change, Store


class FaultControl:
    """The part of :class:`FakeDirectus` that switches faults on and off."""

    faults: Faults
    _accounts: Accounts
    _admin: FakeUser
    _cache: ResponseCache | None
    _gateway: Gateway
    _store: Store

    async def cut(self, *, mid_frame: bool = False) -> None:
        """Abort every socket without a close frame; the client sees 1006.

        Args:
            mid_frame: Send the beginning of a text message first.
        """
        for connection in list(self._gateway.connections):
            connection.cut(mid_frame)

    def freeze(self) -> None:
        """Answer nothing any more, on REST and sockets, but keep all connections open."""
        self.faults.thawed.clear()

    def thaw(self) -> None:
        """End :meth:`freeze`; what came in meanwhile is answered now."""
        self.faults.thawed.set()

    def refuse_tokens(self, refused: bool = True) -> None:
        """Refuse every token and password from now on; open sockets stay as they are."""
        self._accounts.refusing = refused

    def change_token(self, token: str) -> None:
        """Give the administrator another static token; open sockets stay as they are."""
        self._admin.token = token

    async def expire_tokens(self) -> None:
        """End every access token now, and tell every socket that its token expired.

        Static tokens are good for authenticating again.
        """
        self._accounts.expire()
        for connection in list(self._gateway.clients):
            connection.expire()

    async def send_raw(self, content: str | bytes) -> None:
        """Send a text or binary message to every socket that was let in."""
        for connection in list(self._gateway.clients):
            connection.send(content)

    def delay_replies(self, seconds: float) -> None:
        """Hold back every REST answer and every message for so many seconds; 0 ends it."""
        self.faults.reply_delay = seconds

    def drop_next_subscribe_reply(self, count: int = 1) -> None:
        """Make the next subscriptions without telling the client."""
        self.faults.lost_subscribe_replies += count

    def hold_changes(self) -> None:
        """Hold back the messages of creates and updates, with the rows of now; deletes pass.

        On a busy Directus a delete overtakes them too: it needs no read of the database.
        """
        if self.faults.held_changes is None:
            self.faults.held_changes = []

    def release_changes(self) -> None:
        """End :meth:`hold_changes`, and send what was held back, in order."""
        held, self.faults.held_changes = self.faults.held_changes or [], None
        for send in held:
            send()

    def reject_upgrades(self, status: int | None = 503) -> None:
        """Answer the opening of a WebSocket with this HTTP status; None ends it."""
        self.faults.upgrade_status = status

    def rate_limit(self, points: int | None, seconds: float = 1.0) -> None:
        """Let each socket send only so many messages in so many seconds; None ends it."""
        self.faults.rate_limit = None if points is None else RateLimit(points, seconds)

    async def suspend_user(self, email: str, suspended: bool = True) -> None:
        """Refuse a user's static token and log-ins, as Directus does for ``suspended`` users.

        Open sockets go on, and so does an access token until it expires.

        Args:
            email: The e-mail address of the user.
            suspended: False makes the user active again.
        """
        user = self._accounts.user(email)
        user.status = "suspended" if suspended else "active"
        self._store.update(USERS, [([user.id], {"status": user.status})])

    def refuse_search(self, status: int | None = 405) -> None:
        """Answer the method SEARCH as a proxy that does not let it through.

        Args:
            status: The HTTP status; None ends it.
        """
        self.faults.search_status = status

    def press(self, times: int = 1) -> None:
        """Answer the next REST requests with 503 "Under pressure".

        Args:
            times: The number of requests.
        """
        self.faults.pressed = times

    def spoil(self, collection: str, key: Key, field: str | None = None) -> None:
        """Make an item unreadable: every answer that has it is a 500.

        Args:
            collection: The collection.
            key: The key of the item.
            field: The only field that cannot be read; without it the others can. The whole
                item if not given.
        """
        self._store.spoiled[collection, str(key)] = field

    def mend(self, collection: str, key: Key) -> None:
        """End :meth:`spoil` of an item."""
        self._store.spoiled.pop((collection, str(key)), None)

    def forget_cache(self) -> None:
        """Remove every answer from the cache of responses."""
        if self._cache is not None:
            self._cache.forget()


class LogControl:
    """The part of :class:`FakeDirectus` that is about the log and the collections."""

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
        self._store.tell([Change("create", ACTIVITY, (row["id"],))])
        return int(row["id"])

    def prune_log(self, until_id: int, actions: Collection[str] | None = None) -> None:
        """Remove rows of the activity log, as Directus's retention does.

        Args:
            until_id: The highest id to remove.
            actions: The actions whose rows are removed; all if not given.
        """
        self._store.log.prune(until_id, actions)

    def replace_log(self, until_id: int = 0) -> None:
        """Put the activity log back to an earlier state, as a restored backup does.

        Args:
            until_id: The highest id that stays. The ids above it are given again, to rows with
                other timestamps.
        """
        self._store.log.replace(until_id)

    def shift_clock(self, seconds: float) -> None:
        """Move the server's clock: timestamps, ``$NOW`` and the header ``Date``.

        Args:
            seconds: How far the clock goes ahead; a negative number sets it back.
        """
        self._store.clock.ahead += dt.timedelta(seconds=seconds)

    async def create_collection(self, collection: FakeCollection) -> None:
        """Add a collection, with rows of the log for it and its fields."""
        for _ in collection.fields:
            await self._log_field("create")
        self._store.schema.collections[collection.name] = collection
        self._store.open(collection)
        await self.write_log("create", "directus_collections", collection.name)

    async def delete_collection(self, name: str) -> None:
        """Remove a collection, its items, and every row of the log that is about them."""
        self._store.drop(name)
        await self.write_log("delete", "directus_collections", name)

    async def change_collection(self, name: str, **changes: Any) -> None:
        """Change what a collection is; its items stay.

        New and removed fields and another accountability have rows in the log, another key or
        type of a field has none, as in Directus.

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
        # Directus names a field by a number of its own.
        await self.write_log(action, "directus_fields", self._store.log.last_id + 1)
