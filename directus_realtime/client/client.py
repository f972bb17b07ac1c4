"""The client: one connection kept up, and the subscriptions on it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
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
from directus_realtime.utils.logs import Repetitions

if TYPE_CHECKING:
    from django.db.models import Q

logger = logging.getLogger("directus_realtime.client")


class DirectusClient(SystemCollections):
    """A connection to one Directus server that comes back by itself.

    Args:
        url: The server's URL, for example ``https://cms.example.com``.
        token: A static token, or a callable without arguments that returns it and is asked
            anew for each attempt to connect; or give ``email`` and ``password``.
        email: E-mail address of a Directus user.
        password: Password of that user.
        name: Alias in each event's ``connection``.
        options: Timeouts, size limits, headers.
        on_error: Called with errors that belong to no subscription.
        on_socket: Called after each change of :attr:`socket_problem`.

    Attributes:
        doorbell: Rings when items of watched collections change.

    Raises:
        ConnectionImpossible: No credentials were given, or the URL has some in it.
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
    ) -> None:
        refuse_async(on_error=on_error, on_socket=on_socket)
        if problem := secret_in(url):
            raise ConnectionImpossible(problem)
        self.url = url.rstrip("/")
        self.name = name
        self.options = options or ClientOptions()
        self._connection = Connection(
            self.url,
            make_credentials(token, email, password),
            self.options,
            self._act,
            self._state_changed,
            self._socket_changed,
        )
        self.doorbell = SocketDoorbell(self._connection)
        self._on_socket = on_socket
        self._feeds = Feeds(self._connection, on_error or self._log_error)
        self._subscriptions: dict[str, ClientSubscription] = {}
        self._repetitions = Repetitions()
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
        """Where the connection stands."""
        return self._connection.change.state

    @property
    def reason(self) -> str:
        """Why it stands there; empty where there is nothing to say."""
        return self._connection.change.reason

    @property
    def changed_at(self) -> datetime:
        """Since when; aware."""
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
        """Why no WebSocket is open and authenticated, as a sentence; empty where one is."""
        return self._connection.socket_problem

    @property
    def last_heard_at(self) -> datetime | None:
        """When the server was last heard while connected; ``None`` where it never was."""
        return self._connection.last_heard_at

    @property
    def server(self) -> ServerInfo | None:
        """What the server said of itself; ``None`` until it was reached."""
        return self._connection.server

    @property
    def identity(self) -> str:
        """Who the token is: an e-mail address, a name or an id; empty until that was asked."""
        return self._connection.identity

    def states(self) -> AsyncIterator[StateChange]:
        """The current state first, then each change, until :meth:`disconnect`."""
        return self._connection.changes.read(self._connection.change)

    @property
    def subscriptions(self) -> list[ClientSubscription]:
        """The subscriptions, whatever their state."""
        return list(self._subscriptions.values())

    # Connection

    def start(self) -> asyncio.Task[None]:
        """Begin to connect in the background, and keep at it.

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
        """Wait until the connection is authenticated; a server that is away is waited for.

        Raises:
            ConnectionImpossible: It cannot succeed, and the sentence says what to do.
            ConnectionFailed: :meth:`disconnect` was called meanwhile.
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
        """Verify the credentials over REST; no WebSocket is opened, and nothing is kept up.

        Returns:
            The identity: an e-mail address, a name or an id.

        Raises:
            ConnectionFailed: Directus could not be reached, or refused the credentials.
        """
        return await self._connection.log_in()

    async def disconnect(self) -> None:
        """Close the connection for good and leave no task behind; may be called twice."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
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
        """Ask for the changes of a collection, and wait until the server has confirmed.

        Args:
            collection: Such as ``articles`` or ``directus_users``.
            events: Any of ``create``, ``update``, ``delete``.
            filter: A Directus filter, or a Django ``Q``. Where creates and updates are asked
                for, an item that was seen in the filter and leaves it comes as an update with
                ``left_filter``. Directus sends deletes whatever the filter says; after
                ``snapshot``, those of items that were not in it are left out until the
                connection is lost.
            fields: Field names with dots for relations; the primary key comes with them.
            sort: Orders the rows inside one message.
            deep: Directus's ``deep``: queries of relations.
            alias: Directus's ``alias``: other names for fields.
            search: Only items that contain this text.
            item: Only the item with this key.
            snapshot: First hand over all items that match; see :meth:`load`. Returns once
                they were handed over.
            debounce: Seconds; of the changes within them, only the last state of each item
                is handed over.
            debounce_by: ``item``, or ``subscription`` for one window for all of its items.
            uid: Of the subscription; made where none is given.
            name: In each event's ``subscription``; the collection where none is given.
            on_event: Called with each event; without it, iterate the subscription.
            on_error: Called with each error of this subscription.

        Raises:
            SubscriptionRefused: With the server's own sentence.
            RequestRefused: The first load was answered with an error.
            ConnectionFailed: The client is not connected, nor about to be; or Directus could
                not be reached for the first load.
            ValueError: The uid is taken, no or an unknown event is asked for, the filter has
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
        except BaseException:  # a timeout of the caller leaves nothing behind, either
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
        remembers_items: bool = True,
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, without waiting: the subscription's state tells.

        Args:
            query: What to ask for.
            name: In each event's ``subscription``.
            uid: Of the subscription; made where none is given.
            on_event: Called with each event; without it, iterate the subscription.
            on_error: Called with each error of this subscription.
            on_state: Called after each change of its state.
            debounce: As in :meth:`subscribe`.
            debounce_by: As in :meth:`subscribe`.
            remembers_items: Whether to remember in memory which items were seen in the
                filter. With ``False``, for a caller with a memory of its own, every delete
                comes, and for every item that is found outside the filter after a change
                an update with ``left_filter``.

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
            remembers_items=remembers_items,
        )
        subscription.feed.subscriptions.append(subscription)
        self._subscriptions[uid] = subscription
        return subscription

    async def load(self, subscription: ClientSubscription) -> AsyncIterator[Page]:
        """Hand over all items that match, as events with the origin ``snapshot``.

        Their action is ``update``: receivers of new items must not take them for new.
        What changes meanwhile comes live, and is not handed over a second time with what
        may be an older state. An item comes at least once, none is missed in between.

        Yields:
            Each page, after it was handed over.

        Raises:
            SubscriptionRefused: The subscription is not to be had.
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached.
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

    async def load_keys(self, subscription: ClientSubscription) -> AsyncIterator[list[Key]]:
        """The keys of all items that match now, each once; nothing is handed over.

        Yields:
            Some of the keys.

        Raises:
            SubscriptionRefused: The subscription is not to be had.
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached.
        """
        primary_key = await self._primary_key(subscription)
        async for keys in read_keys(self._connection.rest, subscription.query, primary_key):
            yield keys

    async def read_current(
        self, subscription: ClientSubscription, keys: Sequence[Key]
    ) -> CurrentItems:
        """Read items by key as they are now, in the filter of a subscription or not.

        Nothing is handed over. With :meth:`noting_changes` around it one knows which of
        them changed meanwhile, so that what was read may be old.

        Args:
            subscription: Whose filter and fields to read with.
            keys: With the type of the column; any number of them.

        Raises:
            SubscriptionRefused: The subscription is not to be had.
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached.
        """
        primary_key = await self._primary_key(subscription)
        return await read_current(self._connection.rest, subscription.query, primary_key, keys)

    def noting_changes(self, subscription: ClientSubscription) -> AbstractContextManager[set[Key]]:
        """The keys of the items of which live news came while the block runs."""
        return subscription.feed.noting_changes()

    def retry(self, subscription: ClientSubscription) -> None:
        """Ask again for a subscription that was refused."""
        self._feeds.retry(subscription.feed)

    def unsubscribe(self, subscription: ClientSubscription | str) -> None:
        """End a subscription; nothing of it is handed over from now on.

        Args:
            subscription: It, or its uid. One that has ended already is left alone.
        """
        uid = subscription if isinstance(subscription, str) else subscription.uid
        found = self._subscriptions.get(uid)
        if found is None or subscription not in (uid, found):
            return  # ended already; the uid may be another's by now
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
            collection: Such as ``articles``, or a system collection such as ``directus_users``.
            parameters: Directus's query: ``fields``, ``filter`` (or a Django ``Q``), ``sort``,
                ``limit``, ``aggregate={"count": "*"}``, ``groupBy``, …

        Returns:
            A list of dicts; of one dict for an aggregate without ``groupBy``.

        Raises:
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached.
        """
        return await self._connection.rest.read_items(collection, **parameters)

    async def read_item(self, collection: str, key: Key, **parameters: Any) -> Any:
        """Read one item over REST.

        Raises:
            RequestRefused: Directus answered with an error; ``FORBIDDEN`` also where there
                is no such item.
            ConnectionFailed: Directus could not be reached.
        """
        return await self._connection.rest.read_item(collection, key, **parameters)

    async def create_item(self, collection: str, data: Mapping[str, Any], **parameters: Any) -> Any:
        """Make an item over REST.

        Args:
            collection: Such as ``articles``.
            data: The values of its fields; dates, decimals and UUIDs may be among them.
            parameters: Directus's query for what is returned, such as ``fields``.

        Returns:
            The item; ``None`` where the token may not read it.

        Raises:
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached; whether the item was made is not
                known where the connection was lost on the way.
            ValueError: A value cannot be sent as JSON.
        """
        return await self._connection.rest.create_item(collection, data, **parameters)

    async def update_item(
        self, collection: str, key: Key, data: Mapping[str, Any], **parameters: Any
    ) -> Any:
        """Change fields of an item over REST.

        Args:
            collection: Such as ``articles``.
            key: Of the item.
            data: The values that change, as for :meth:`create_item`.
            parameters: Directus's query for what is returned, such as ``fields``.

        Returns:
            The item; ``None`` where the token may not read it.

        Raises:
            RequestRefused: Directus answered with an error; ``FORBIDDEN`` also where there
                is no such item.
            ConnectionFailed: Directus could not be reached.
            ValueError: A value cannot be sent as JSON.
        """
        return await self._connection.rest.update_item(collection, key, data, **parameters)

    async def delete_item(self, collection: str, key: Key) -> None:
        """Delete an item over REST.

        Raises:
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached.
        """
        await self._connection.rest.delete_item(collection, key)

    async def read_schema(self) -> Schema:
        """The collections that the token may see, with their fields and relations.

        Raises:
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached.
        """
        return await read_schema(self._connection.rest)

    async def check_query(self, query: Query) -> PrimaryKey:
        """Check that Directus answers a query, and return the primary key of its collection.

        Raises:
            SubscriptionRefused: It does not, with the server's own sentence.
            RequestRefused: The server is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        rest = self._connection.rest
        primary_key = await rest.primary_key(query.collection)
        await rest.check_query(query, primary_key)
        return primary_key

    async def read_by_keys(
        self, query: Query, primary_key: PrimaryKey, keys: Iterable[Key]
    ) -> ItemsRead:
        """Read the items with these keys that match a query, in their present state.

        Raises:
            RequestRefused: Directus refuses the query, or is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        return await read_by_keys(self._connection.rest, query, primary_key, keys)

    def read_pages(self, query: Query, primary_key: PrimaryKey) -> AsyncIterator[Page]:
        """Read every item that matches a query, once.

        Raises:
            RequestRefused: Directus refuses the query, or is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        return read_pages(self._connection.rest, query, primary_key)

    def read_keys(self, query: Query, primary_key: PrimaryKey) -> AsyncIterator[list[Key]]:
        """Read the keys of every item that matches a query, each once.

        Raises:
            RequestRefused: Directus refuses the query, or is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        return read_keys(self._connection.rest, query, primary_key)

    async def read_sample(self, query: Query, size: int = 10) -> Sample:
        """The items that match now: their number, and some of them.

        Args:
            query: What a subscription would ask for.
            size: So many items at the most.

        Raises:
            SubscriptionRefused: The collection does not exist, or the token may not see it.
            RequestRefused: Directus answered with an error.
            ConnectionFailed: Directus could not be reached.
        """
        return await read_sample(self._connection.rest, query, size)

    async def read_newest(self, query: Query, limit: int) -> Newest:
        """Read the newest items as a subscription would see them, the newest first.

        Args:
            query: Of the subscription; its ``sort`` is not used.
            limit: How many items at the most.

        Raises:
            RequestRefused: Directus answered with an error.
            SubscriptionRefused: The collection does not exist, or may not be read.
            ConnectionFailed: Directus could not be reached.
        """
        return await read_newest(self._connection.rest, query, limit)

    async def read_access(self, collection: str) -> str:
        """How much of a collection the token may read: ``full``, ``partial`` or ``none``.

        Raises:
            RequestRefused: The server is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        return await self._connection.rest.read_access(collection)

    async def _settled(self, subscription: ClientSubscription) -> None:
        """Wait for the answer; without a connection, or an attempt at one, none would come."""
        running = self._running
        if running is None:
            raise ConnectionFailed(
                "The client is not connected: await connect() first, or use async with."
            )
        settled = asyncio.create_task(subscription.feed.settled())
        try:
            await asyncio.wait({running, settled}, return_when=asyncio.FIRST_COMPLETED)
            if not settled.done() and not running.cancelled():
                running.result()  # it was given up, and raises why
            await settled
        finally:
            settled.cancel()

    async def _primary_key(self, subscription: ClientSubscription) -> PrimaryKey:
        feed = subscription.feed
        if feed.primary_key is None:
            await feed.settled()
        return feed.primary_key or PrimaryKey()

    @property
    def activity(self) -> ActivityLog:
        """Directus's activity log."""
        return ActivityLog(self._connection.rest)

    @property
    def rights(self) -> Rights:
        """What the token may read."""
        return Rights(self._connection.rest)

    @property
    def lets_search_through(self) -> bool:
        """Whether items are read by the method SEARCH; a proxy may refuse it, then by GET."""
        return self._connection.rest.lets_search_through

    async def cache_lifetime(self) -> float:
        """Return for how many seconds Directus answers GET from its cache; 0 for not at all.

        Raises:
            RequestRefused: The server is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        return await self._connection.rest.cache_lifetime()

    @property
    def clock(self) -> ServerClock:
        """The Directus server's clock."""
        return self._connection.rest.clock

    async def accountability(self, collection: str) -> Accountability:
        """What Directus logs of a collection's changes.

        Returns:
            ``all`` (activity and revisions), ``activity``, ``none``, or ``unknown`` where
            the token may not see it: it needs read on ``directus_collections``.

        Raises:
            RequestRefused: The server is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        return await self._connection.rest.accountability(collection)

    # What the connection says

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
        logger.log(
            logging.WARNING if self._repetitions.first_within(str(error)) else logging.DEBUG,
            "%s  %s",
            self.name,
            error,
            extra={"event": "error", "connection": self.name, "error": str(error)},
        )
