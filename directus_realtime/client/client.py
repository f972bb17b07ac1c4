"""The client: one permanent connection and its subscriptions."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from directus_realtime.client.activity_log import ActivityLog
from directus_realtime.client.client_subscription import (
    ClientSubscription,
    DebounceBy,
    ErrorCallback,
    EventCallback,
    StateCallback,
    refuse_async,
)
from directus_realtime.client.connection import Connection, ConnectionState, StateChange
from directus_realtime.client.credentials import Token, make_credentials
from directus_realtime.client.doorbell_flows import DoorbellFlows
from directus_realtime.client.doorbells import SocketDoorbell
from directus_realtime.client.feeds import Feeds
from directus_realtime.client.items import (
    CurrentItems,
    ItemsRead,
    Newest,
    Page,
    Sample,
    read_by_keys,
    read_current,
    read_keys,
    read_newest,
    read_pages,
    read_sample,
)
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.options import ClientOptions, secret_in
from directus_realtime.client.rest import Accountability, ServerInfo
from directus_realtime.client.rest_messages import UNREADABLE, ServerClock
from directus_realtime.client.schema import Rights, Schema, read_schema
from directus_realtime.client.system_collections import (
    QueryOptions,
    SubscribeOptions,
    SystemCollections,
)
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    DirectusRealtimeError,
    EventFailed,
    SubscriptionRefused,
)
from directus_realtime.filters import to_directus_filter
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.queries import Query, listed, refuse_harmful
from directus_realtime.protocol.session import SessionAction
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

if TYPE_CHECKING:
    from django.db.models import Q


class DirectusClient(SystemCollections):
    """A connection to one Directus server that reconnects by itself.

    Methods that read or write over REST raise :class:`RequestRefused` where Directus answers with
    an error, and :class:`ConnectionFailed` where it cannot be reached.

    Args:
        url: The server's URL, for example ``https://cms.example.com``.
        token: A static token, or a callable without arguments that returns it and is called
            for each attempt to connect; or give ``email`` and ``password``.
        email: E-mail address of a Directus user.
        password: Password of that user.
        name: Value of each event's ``connection``.
        options: Timeouts, size limits, headers.
        on_error: Called with errors that belong to no subscription.
        on_socket: Called after each change of :attr:`socket_problem`.
        clock: Time, waiting and randomness; replaced by tests.

    Attributes:
        doorbell: Rings when items of watched collections change.

    Raises:
        ConnectionImpossible: No credentials were given, or the URL contains some.
        TypeError: ``on_error`` or ``on_socket`` is async.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        email: str | None = None,
        password: str | None = None,
        name: str = "default",
        options: ClientOptions | None = None,
        on_error: ErrorCallback | None = None,
        on_socket: Callable[[], None] | None = None,
        clock: SystemClock | None = None,
    ) -> None:
        refuse_async(on_error=on_error, on_socket=on_socket)
        if problem := secret_in(url):
            raise ConnectionImpossible(problem)
        self.url = url.rstrip("/")
        self.name = name
        self.options = options or ClientOptions()
        clock = clock or SystemClock()
        self._connection = Connection(
            self.url,
            make_credentials(token, email, password, clock),
            self.options,
            self._act,
            self._state_changed,
            self._socket_changed,
            clock,
        )
        self.doorbell = SocketDoorbell(self._connection)
        self._on_socket = on_socket
        self._feeds = Feeds(self._connection, on_error or self._log_error)
        self._subscriptions: dict[str, ClientSubscription] = {}
        self._log = EventLogger("directus_realtime.client", clock=clock, connection=name)
        self._ready = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<DirectusClient {self.name!r} {self.url} {self.state}>"

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.disconnect()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    # State

    @property
    def state(self) -> ConnectionState:
        """Current state of the connection."""
        return self._connection.change.state

    @property
    def reason(self) -> str:
        """Reason of the state as a sentence, or empty."""
        return self._connection.change.reason

    @property
    def changed_at(self) -> datetime:
        """Time of the last change of state; aware."""
        return self._connection.change.at

    @property
    def is_connected(self) -> bool:
        """Whether the connection is authenticated."""
        return self._connection.is_authenticated

    @property
    def has_socket(self) -> bool:
        """Whether the WebSocket is open and authenticated."""
        return self._connection.has_socket

    @property
    def socket_problem(self) -> str:
        """Reason why no WebSocket is open and authenticated; empty where one is."""
        return self._connection.socket_problem

    @property
    def last_heard_at(self) -> datetime | None:
        """Time of the server's last message while connected; ``None`` where none came."""
        return self._connection.last_heard_at

    @property
    def server(self) -> ServerInfo | None:
        """Description of the server; ``None`` until it was reached."""
        return self._connection.server

    @property
    def identity(self) -> str:
        """User of the token: an e-mail address, a name or an id; empty until it was read."""
        return self._connection.identity

    def states(self) -> AsyncIterator[StateChange]:
        """Yield the current state, then each change, until :meth:`disconnect`."""
        return self._connection.states()

    @property
    def subscriptions(self) -> list[ClientSubscription]:
        """All subscriptions, in any state."""
        return list(self._subscriptions.values())

    # Connection

    def start(self) -> asyncio.Task[None]:
        """Start to connect and reconnect in the background.

        Returns:
            The task of the connection. It ends by :meth:`disconnect`, or raises
            :class:`ConnectionImpossible`.

        Raises:
            RuntimeError: The client belongs to another event loop.
        """
        self._connection.bind_to_loop()
        if self._running is None or self._running.done():
            self._ready = asyncio.Event()  # the event loop may be another one by now
            self._running = asyncio.create_task(self._connection.run(), name="directus-client")
        return self._running

    async def connect(self) -> None:
        """Wait until the connection is authenticated, however long the server is unavailable.

        Raises:
            ConnectionImpossible: It cannot succeed; the sentence names the remedy.
            ConnectionFailed: :meth:`disconnect` was called in the meantime.
        """
        running = self.start()
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
            if running.cancelled():
                raise ConnectionFailed("The connection was ended before it was made.")
            if running.done() and not self._ready.is_set():
                running.result()
        finally:
            ready.cancel()

    def recheck(self) -> None:
        """Verify over REST, soon, that the server still accepts the credentials.

        Call it where a request was refused: the state becomes *reconnecting*, with the
        reason, if the server refuses the credentials or does not answer.
        """
        self._connection.recheck()

    async def log_in(self) -> str:
        """Verify the credentials over REST, without a WebSocket or a permanent connection.

        Returns:
            The identity: an e-mail address, a name or an id.

        Raises:
            ConnectionFailed: Directus could not be reached, or refused the credentials.
        """
        return await self._connection.log_in()

    async def disconnect(self) -> None:
        """Close the connection and end all tasks; may be called twice."""
        running, self._running = self._running, None
        await cancel_all([running])
        self.unsubscribe_all()
        await self._connection.aclose()

    # Subscriptions

    async def subscribe(
        self,
        collection: str,
        *,
        events: Iterable[Action] = ACTIONS,
        filter: dict[str, Any] | Q | None = None,
        fields: Iterable[str] = (),
        sort: Iterable[str] = (),
        deep: dict[str, Any] | None = None,
        alias: dict[str, str] | None = None,
        search: str = "",
        item: Key | None = None,
        snapshot: bool = False,
        debounce: float = 0,
        debounce_by: DebounceBy = "item",
        uid: str | None = None,
        name: str | None = None,
        on_event: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
        **harmful: Any,
    ) -> ClientSubscription:
        """Subscribe to the changes of a collection, and wait for the server's confirmation.

        Args:
            collection: For example ``articles`` or ``directus_users``.
            events: Any of ``create``, ``update``, ``delete``.
            filter: A Directus filter, or a Django ``Q``. With creates and updates, an item that
                was seen in the filter and leaves it comes as an update with ``left_filter``.
                Directus sends the deletes of all items; after ``snapshot``, those of items that
                were not in the filter are left out until the connection is lost.
            fields: Field names with dots for relations; the primary key comes with them.
            sort: Orders the rows inside one message.
            deep: Directus's ``deep``: queries of relations.
            alias: Directus's ``alias``: other names for fields.
            search: Only items that contain this text.
            item: Only the item with this key.
            snapshot: First deliver all matching items, before this returns; see :meth:`load`.
            debounce: Seconds; of the changes within them, only the last state of each item
                is delivered.
            debounce_by: ``item``, or ``subscription`` for one window for all of its items.
            uid: Identifier of the subscription; generated where none is given.
            name: Value of each event's ``subscription``; by default the collection.
            on_event: Called with each event; without it, iterate the subscription.
            on_error: Called with each error of this subscription.

        Raises:
            SubscriptionRefused: The server refused it, with its own sentence.
            ConnectionFailed: The client is neither connected nor connecting; or Directus could
                not be reached for the first load.
            ValueError: The uid is taken, no event or an unknown one is given, the filter has
                an unknown operator or something that cannot be sent, or ``limit``, ``offset``
                or ``page`` was given.
            TypeError: There is no such option, or a callback is async.
        """
        refuse_harmful(harmful, SubscribeOptions.__annotations__)
        events = listed("events", events)
        if not events or not set(events) <= set(ACTIONS):
            raise ValueError(f"events is {events!r}; choose from {', '.join(ACTIONS)}.")
        query = Query(
            collection=collection,
            events=events,
            filter=to_directus_filter(filter),
            fields=listed("fields", fields),
            sort=listed("sort", sort),
            item=item,
            deep=deep or {},
            alias=alias or {},
            search=search,
        )
        subscription = self.add(
            query,
            uid=uid,
            name=name or collection,
            on_event=on_event,
            on_error=on_error,
            debounce=debounce,
            debounce_by=debounce_by,
        )
        try:
            await self._settled(subscription)
            if snapshot:
                async for _ in self.load(subscription):
                    pass
        except BaseException:  # also a timeout of the caller
            self.unsubscribe(subscription)
            raise
        return subscription

    async def subscribe_to_create(
        self, collection: str, **options: Unpack[QueryOptions]
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, for new items only."""
        return await self.subscribe(collection, events=("create",), **options)

    async def subscribe_to_update(
        self, collection: str, **options: Unpack[QueryOptions]
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, for changed items only."""
        return await self.subscribe(collection, events=("update",), **options)

    async def subscribe_to_delete(
        self, collection: str, **options: Unpack[QueryOptions]
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, for deleted items only."""
        return await self.subscribe(collection, events=("delete",), **options)

    def add(
        self,
        query: Query,
        *,
        name: str,
        uid: str | None = None,
        on_event: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_state: StateCallback | None = None,
        debounce: float = 0,
        debounce_by: DebounceBy = "item",
    ) -> ClientSubscription:
        """Add a subscription without waiting for its confirmation.

        Args:
            query: The query.
            name: As in :meth:`subscribe`, like the other arguments.
            uid: Likewise.
            on_event: Likewise.
            on_error: Likewise.
            on_state: Called after each change of the subscription's state.
            debounce: As in :meth:`subscribe`.
            debounce_by: Likewise.

        Raises:
            ValueError: The uid is taken, or something in the query cannot be sent.
            TypeError: A callback is async.
        """
        refuse_async(on_event=on_event, on_error=on_error, on_state=on_state)
        uid = uid or uuid.uuid4().hex[:12]
        if uid in self._subscriptions:
            raise ValueError(f"The uid {uid!r} is taken by another subscription.")
        subscription = ClientSubscription(
            uid,
            self._feeds.get(uid, query),
            name=name,
            connection=self.name,
            on_event=on_event,
            on_error=on_error,
            on_state=on_state,
            debounce=debounce,
            debounce_by=debounce_by,
        )
        subscription.feed.subscriptions.append(subscription)
        self._subscriptions[uid] = subscription
        return subscription

    async def load(self, subscription: ClientSubscription) -> AsyncIterator[Page]:
        """Deliver all matching items as events with the origin ``snapshot``.

        Their action is ``update``, because the items are not new. An item that changes during
        the load is delivered by its live event only, because the loaded row may be older. No
        item is missed.

        Yields:
            Each page, after its delivery.

        Raises:
            SubscriptionRefused: The subscription was refused or ended.
        """
        feed = subscription.feed
        await feed.settled()
        primary_key = feed.primary_key or PrimaryKey()
        subscription.load_begins()
        with feed.noting_changes() as changed:
            async for page in read_pages(self._connection.rest, feed.query, primary_key):
                if subscription.is_ended:
                    raise SubscriptionRefused("UNSUBSCRIBED", "The subscription was ended.")
                for sentence in page.unreadable.values():
                    feed.report(EventFailed(UNREADABLE, sentence))
                for key, row in page.rows:
                    if key not in changed:
                        subscription.receive("update", key, row, "snapshot")
                yield page
        subscription.load_ends()

    async def read_current(
        self, subscription: ClientSubscription, keys: Sequence[Key]
    ) -> CurrentItems:
        """Read the present state of items by key, in the filter of a subscription or not.

        Nothing is delivered.

        Args:
            subscription: Subscription with the filter and the fields.
            keys: Any number of keys, with the type of the column.

        Raises:
            SubscriptionRefused: The subscription was refused.
        """
        feed = subscription.feed
        if feed.primary_key is None:
            await feed.settled()
        primary_key = feed.primary_key or PrimaryKey()
        return await read_current(self._connection.rest, subscription.query, primary_key, keys)

    def retry(self, subscription: ClientSubscription) -> None:
        """Request a subscription again that was refused."""
        self._feeds.retry(subscription.feed)

    def unsubscribe(self, subscription: ClientSubscription | str) -> None:
        """End a subscription; nothing of it is delivered from now on.

        Args:
            subscription: The subscription, or its uid. Ignored if it has ended already.
        """
        uid = subscription if isinstance(subscription, str) else subscription.uid
        found = self._subscriptions.get(uid)
        if found is None or subscription not in (uid, found):
            return  # another subscription may have the uid now
        del self._subscriptions[uid]
        found.feed.subscriptions.remove(found)
        self._feeds.release(found.feed)
        found.close()

    def unsubscribe_all(self) -> None:
        """End every subscription."""
        for subscription in self.subscriptions:
            self.unsubscribe(subscription)

    # REST

    async def read_items(self, collection: str, **parameters: Any) -> Any:
        """Read items over REST, all of them where no limit is given.

        Args:
            collection: For example ``articles``, or a system collection like ``directus_users``.
            parameters: Directus's query: ``fields``, ``filter`` (or a Django ``Q``), ``sort``,
                ``limit``, ``aggregate={"count": "*"}``, ``groupBy``, …

        Returns:
            A list of dicts; of one dict for an aggregate without ``groupBy``.
        """
        return await self._connection.rest.read_items(collection, **parameters)

    async def read_item(self, collection: str, key: Key, **parameters: Any) -> Any:
        """Read one item over REST.

        Raises:
            RequestRefused: ``FORBIDDEN`` also where there is no such item.
        """
        return await self._connection.rest.read_item(collection, key, **parameters)

    async def create_item(self, collection: str, data: Mapping[str, Any], **parameters: Any) -> Any:
        """Create an item over REST.

        Args:
            collection: For example ``articles``.
            data: The values of its fields; also dates, decimals and UUIDs.
            parameters: Directus's query for the returned item, for example ``fields``.

        Returns:
            The item; ``None`` where the token may not read it.

        Raises:
            ConnectionFailed: Directus could not be reached, or the connection was lost; then the
                item may have been created.
            ValueError: A value cannot be sent as JSON.
        """
        return await self._connection.rest.create_item(collection, data, **parameters)

    async def update_item(
        self, collection: str, key: Key, data: Mapping[str, Any], **parameters: Any
    ) -> Any:
        """Change fields of an item over REST.

        Args:
            collection: For example ``articles``.
            key: Key of the item.
            data: The new values, as for :meth:`create_item`.
            parameters: Directus's query for the returned item, for example ``fields``.

        Returns:
            The item; ``None`` where the token may not read it.

        Raises:
            RequestRefused: ``FORBIDDEN`` also where there is no such item.
            ValueError: A value cannot be sent as JSON.
        """
        return await self._connection.rest.update_item(collection, key, data, **parameters)

    async def delete_item(self, collection: str, key: Key) -> None:
        """Delete an item over REST."""
        await self._connection.rest.delete_item(collection, key)

    async def read_schema(self) -> Schema:
        """Read the collections that the token may see, with their fields and relations."""
        return await read_schema(self._connection.rest)

    async def check_query(self, query: Query) -> PrimaryKey:
        """Check that Directus answers a query, and return the primary key of its collection.

        Raises:
            SubscriptionRefused: It does not, with the server's own sentence.
        """
        rest = self._connection.rest
        primary_key = await rest.primary_key(query.collection)
        await rest.check_query(query, primary_key)
        return primary_key

    async def read_by_keys(
        self, query: Query, primary_key: PrimaryKey, keys: Iterable[Key]
    ) -> ItemsRead:
        """Read the items with these keys that match a query, in their present state."""
        return await read_by_keys(self._connection.rest, query, primary_key, keys)

    def read_pages(self, query: Query, primary_key: PrimaryKey) -> AsyncIterator[Page]:
        """Read every item that matches a query, once."""
        return read_pages(self._connection.rest, query, primary_key)

    def read_keys(self, query: Query, primary_key: PrimaryKey) -> AsyncIterator[list[Key]]:
        """Read the keys of every item that matches a query, each once."""
        return read_keys(self._connection.rest, query, primary_key)

    async def read_sample(self, query: Query, size: int = 10) -> Sample:
        """Count the items that match a query now, and read at most ``size`` of them.

        Raises:
            SubscriptionRefused: The collection does not exist, or the token may not see it.
        """
        return await read_sample(self._connection.rest, query, size)

    async def read_newest(self, query: Query, limit: int) -> Newest:
        """Read at most ``limit`` items of a query, the newest first; its ``sort`` is not used.

        Raises:
            SubscriptionRefused: The collection does not exist, or may not be read.
        """
        return await read_newest(self._connection.rest, query, limit)

    async def read_access(self, collection: str) -> str:
        """Return how much of a collection the token may read: ``full``, ``partial`` or ``none``."""
        return await self._connection.rest.read_access(collection)

    async def _settled(self, subscription: ClientSubscription) -> None:
        """Wait for the server's answer; it needs a connection, or an attempt at one."""
        running = self._running
        if running is None:
            raise ConnectionFailed(
                "The client is not connected: await connect() first, or use async with."
            )
        settled = asyncio.create_task(subscription.feed.settled())
        try:
            await asyncio.wait({running, settled}, return_when=asyncio.FIRST_COMPLETED)
            if not settled.done() and not running.cancelled():
                running.result()  # raises the reason why it was given up
            await settled
        finally:
            settled.cancel()

    @property
    def activity(self) -> ActivityLog:
        """Reader of Directus's activity log."""
        return ActivityLog(self._connection.rest)

    @property
    def rights(self) -> Rights:
        """Reader of the token's rights."""
        return Rights(self._connection.rest)

    @property
    def doorbell_flows(self) -> DoorbellFlows:
        """Manager of the Flows that ring a door."""
        return DoorbellFlows(self._connection.rest)

    @property
    def lets_search_through(self) -> bool:
        """Whether items are read by the method SEARCH; by GET where a proxy refuses it."""
        return self._connection.rest.lets_search_through

    async def cache_lifetime(self) -> float:
        """Return for how many seconds Directus answers GET from its cache; 0 without one."""
        return await self._connection.rest.cache_lifetime()

    @property
    def clock(self) -> ServerClock:
        """Estimate of the Directus server's clock."""
        return self._connection.rest.clock

    async def accountability(self, collection: str) -> Accountability:
        """Return what Directus logs of a collection's changes.

        Returns:
            ``all`` (activity and revisions), ``activity``, ``none``, or ``unknown`` where the
            token may not see it: it needs read on ``directus_collections``.
        """
        return await self._connection.rest.accountability(collection)

    # Callbacks of the connection

    def _act(self, action: SessionAction) -> None:
        if not self.doorbell.handle(action):
            self._feeds.handle(action)

    def _state_changed(self) -> None:
        if self.is_connected:
            self._ready.set()
        else:
            self._ready.clear()

    def _socket_changed(self) -> None:
        if self.has_socket:
            self.doorbell.subscribe_again()
            self._feeds.activate()
        else:
            self._feeds.wait_again()
        if self._on_socket is not None:
            self._on_socket()

    def _log_error(self, error: DirectusRealtimeError) -> None:
        text = str(error)
        self._log.repeated(text, "error", "%s  %s", self.name, error, error=text)
