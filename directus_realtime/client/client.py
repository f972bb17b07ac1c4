"""The client: one connection kept up, and the subscriptions on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from directus_realtime.client.credentials import AccessToken, make_credentials
from directus_realtime.client.driver import SocketDriver
from directus_realtime.client.failures import explain
from directus_realtime.client.feed import Feed, Feeds, SubscriptionState
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.rest import RestClient, ServerInfo
from directus_realtime.client.states import ConnectionState, StateChange, StateStream
from directus_realtime.client.subscription import (
    ClientSubscription,
    ErrorCallback,
    EventCallback,
    StateCallback,
)
from directus_realtime.client.system import SubscribeOptions, SystemCollections, known_gap
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    DirectusRealtimeError,
    EventFailed,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.filters import to_directus_filter
from directus_realtime.protocol import session as protocol
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.queries import Query, refuse_harmful
from directus_realtime.protocol.session import Session, SessionAction

if TYPE_CHECKING:
    from django.db.models import Q

logger = logging.getLogger("directus_realtime.client")

# At DEBUG the library prints every frame, and with it the token.
_wire_logger = logging.getLogger("directus_realtime.wire")
_wire_logger.setLevel(logging.WARNING)

#: Messages over this many times the size limit end the connection.
_HARD_LIMIT = 4


class DirectusClient(SystemCollections):
    """A connection to one Directus server that comes back by itself.

    Args:
        url: The server's URL, such as ``https://cms.example.com``.
        token: A static token; or give ``email`` and ``password``.
        email: E-mail address of a Directus user.
        password: Password of that user.
        name: Alias in each event's ``connection``.
        options: Timeouts, size limits, headers.
        on_error: Called with errors that belong to no subscription.

    Raises:
        ConnectionImpossible: No credentials were given.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        email: str | None = None,
        password: str | None = None,
        name: str = "default",
        options: ClientOptions | None = None,
        on_error: ErrorCallback | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.name = name
        self.options = options or ClientOptions()
        self.server: ServerInfo | None = None
        self.identity = ""
        self._credentials = make_credentials(token, email, password)
        self._rest: RestClient | None = None
        self._on_error = on_error
        self._change = StateChange(ConnectionState.DISCONNECTED, "", datetime.now(UTC))
        self._stream = StateStream()
        self._ready = asyncio.Event()
        self._subscriptions: dict[str, ClientSubscription] = {}
        self._feeds = Feeds()
        self._driver: SocketDriver | None = None
        self._last_heard_at: datetime | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._connected_once = False
        self._authenticated_at: float | None = None

    def __repr__(self) -> str:
        return f"<DirectusClient {self.name!r} {self.url} {self.state}>"

    async def __aenter__(self) -> Self:
        await self.connect()
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
        return self._change.state

    @property
    def reason(self) -> str:
        """Why it stands there; empty where there is nothing to say."""
        return self._change.reason

    @property
    def changed_at(self) -> datetime:
        """Since when; aware."""
        return self._change.at

    @property
    def is_connected(self) -> bool:
        """Whether the connection is authenticated."""
        return self.state is ConnectionState.CONNECTED

    @property
    def last_heard_at(self) -> datetime | None:
        """When the server was last heard on the socket; ``None`` before the first frame."""
        return self._driver.heard_at if self._driver else self._last_heard_at

    def states(self) -> AsyncIterator[StateChange]:
        """The current state first, then each change, until :meth:`disconnect`."""
        return self._stream.read(self._change)

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
        """
        if self._supervisor is None or self._supervisor.done():
            self._supervisor = asyncio.create_task(self._supervise(), name="directus-client")
        return self._supervisor

    async def connect(self) -> None:
        """Wait until the connection is authenticated; a server that is away is waited for.

        Raises:
            ConnectionImpossible: It cannot succeed, and the sentence says what to do.
        """
        supervisor = self.start()
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({supervisor, ready}, return_when=asyncio.FIRST_COMPLETED)
            if supervisor.done() and not self._ready.is_set():
                supervisor.result()
        finally:
            ready.cancel()

    async def disconnect(self) -> None:
        """Close the connection for good and leave no task behind; may be called twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        self._set_state(ConnectionState.DISCONNECTED)
        self.unsubscribe_all()
        self._stream.close()

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
            filter: A Directus filter, or a Django ``Q``. Directus sends deletes whatever
                the filter says.
            fields: Field names with dots for relations; the primary key comes with them.
            sort: Orders the rows inside one message.
            deep: Directus's ``deep``: queries of relations.
            alias: Directus's ``alias``: other names for fields.
            search: Only items that contain this text.
            item: Only the item with this key.
            uid: Of the subscription; made where none is given.
            name: In each event's ``subscription``; the collection where none is given.
            on_event: Called with each event; without it, iterate the subscription.
            on_error: Called with each error of this subscription.

        Raises:
            SubscriptionRefused: With the server's own sentence.
            ValueError: The uid is taken, the filter has an unknown operator, or ``limit``,
                ``offset`` or ``page`` was given.
        """
        refuse_harmful(harmful)
        query = Query(
            collection=collection,
            events=tuple(events),
            filter=to_directus_filter(filter),
            fields=tuple(fields),
            sort=tuple(sort),
            item=item,
            deep=deep or {},
            alias=alias or {},
            search=search,
        )
        subscription = self.add(
            query, uid=uid, name=name or collection, on_event=on_event, on_error=on_error
        )
        try:
            await subscription.feed.settled()
        except SubscriptionRefused:
            self.unsubscribe(subscription)
            raise
        return subscription

    async def subscribe_to_create(
        self, collection: str, **options: Unpack[SubscribeOptions]
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, for new items only."""
        options["events"] = ("create",)
        return await self.subscribe(collection, **options)

    async def subscribe_to_update(
        self, collection: str, **options: Unpack[SubscribeOptions]
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, for changed items only."""
        options["events"] = ("update",)
        return await self.subscribe(collection, **options)

    async def subscribe_to_delete(
        self, collection: str, **options: Unpack[SubscribeOptions]
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, for deleted items only."""
        options["events"] = ("delete",)
        return await self.subscribe(collection, **options)

    def add(
        self,
        query: Query,
        *,
        name: str,
        uid: str | None = None,
        on_event: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_state: StateCallback | None = None,
    ) -> ClientSubscription:
        """Like :meth:`subscribe`, without waiting: the subscription's state tells."""
        uid = uid or uuid.uuid4().hex[:12]
        if uid in self._subscriptions:
            raise ValueError(f"The uid {uid!r} is taken by another subscription.")
        feed = self._feeds.find(query) or self._start_feed(uid, query)
        subscription = ClientSubscription(
            uid,
            feed,
            name=name,
            connection=self.name,
            on_event=on_event,
            on_error=on_error,
            on_state=on_state,
        )
        feed.subscriptions.append(subscription)
        self._subscriptions[uid] = subscription
        return subscription

    def retry(self, subscription: ClientSubscription) -> None:
        """Ask again for a subscription that was refused."""
        feed = subscription.feed
        if feed.state is SubscriptionState.REFUSED:
            feed.wait_again()
            feed.primary_key = None
            if self.is_connected:
                self._activate(feed)

    def unsubscribe(self, subscription: ClientSubscription) -> None:
        """End a subscription; nothing of it is handed over from now on."""
        if self._subscriptions.pop(subscription.uid, None) is None:
            return
        feed = subscription.feed
        feed.subscriptions.remove(subscription)
        if not feed.subscriptions:
            self._feeds.remove(feed)
            self._unsubscribe_feed(feed)
        subscription.close()

    def unsubscribe_all(self) -> None:
        """End every subscription."""
        for subscription in self.subscriptions:
            self.unsubscribe(subscription)

    def _start_feed(self, uid: str, query: Query) -> Feed:
        feed = self._feeds.add(uid, query)
        if self.is_connected:
            self._activate(feed)
        return feed

    def _unsubscribe_feed(self, feed: Feed) -> None:
        if self._driver is not None:
            for uid in feed.wire_uids():
                self._driver.unsubscribe(uid)

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
        with self._explained():
            return await self._open_rest().read_items(collection, **parameters)

    async def read_item(self, collection: str, key: Key, **parameters: Any) -> Any:
        """Read one item over REST.

        Raises:
            RequestRefused: Directus answered with an error; ``FORBIDDEN`` also where there
                is no such item.
            ConnectionFailed: Directus could not be reached.
        """
        with self._explained():
            return await self._open_rest().read_item(collection, key, **parameters)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise explain(error, self.url) from None

    def _open_rest(self) -> RestClient:
        if self._rest is None:
            self._rest = RestClient(self.url, self._credentials, self.options)
        return self._rest

    # Keeping the connection up

    async def _supervise(self) -> None:
        delays = self.options.delays()
        try:
            while True:
                failure = await self._one_connection()
                if self._was_stable():
                    delays = self.options.delays()
                self._lose(failure)
                await asyncio.sleep(next(delays))
        finally:
            rest, self._rest = self._rest, None
            if rest is not None:
                await rest.aclose()

    async def _one_connection(self) -> ConnectionFailed:
        """Connect and work until the connection ends; the reason is returned.

        Raises:
            ConnectionImpossible: It has never worked and will not by itself. Once it
                has worked, the same error may heal (a renewed certificate, a token
                that is given back), so it is tried again like any other.
        """
        self._authenticated_at = None
        try:
            await self._connect_and_run()
        except (ConnectionFailed, RequestRefused, WebSocketException) as error:
            failure = explain(error, self.url)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = explain(error, self.url)
        finally:
            await self._stop_chores()
        if isinstance(failure, ConnectionImpossible) and not self._connected_once:
            self._set_state(ConnectionState.DISCONNECTED, str(failure))
            raise failure
        return failure

    async def _connect_and_run(self) -> None:
        rest = self._open_rest()
        self.server = await rest.server_info()
        self.identity = await rest.identity()
        token = await rest.access_token()
        async with self._open_socket(self.server, token) as socket:
            session = Session(
                ping_interval=self.options.ping_interval,
                pong_timeout=self.options.pong_timeout,
                reply_timeout=self.options.reply_timeout,
                authenticated=self.server.auth_mode == "strict",
                now=monotonic(),
            )
            driver = SocketDriver(socket, session, self._act, self.options.max_message_size)
            self._driver = driver
            try:
                if session.authenticated:
                    self._act(protocol.Authenticated())
                else:
                    driver.authenticate({"access_token": token.value})
                self._do(self._renew_token(driver, token))
                await driver.run()
            finally:
                self._last_heard_at = driver.heard_at
                self._driver = None

    @contextlib.asynccontextmanager
    async def _open_socket(
        self, server: ServerInfo, token: AccessToken
    ) -> AsyncIterator[ClientConnection]:
        if server.websocket_path is None:
            raise ConnectionImpossible(
                f"Directus at {self.url} has WebSockets switched off. "
                "Set WEBSOCKETS_ENABLED=true on the server and restart it."
            )
        # Only strict mode needs the token in the URL, where a proxy may log it.
        query = {"access_token": token.value} if server.auth_mode == "strict" else {}
        socket = await connect(
            websocket_url(self.url, server.websocket_path, query),
            additional_headers=dict(self.options.headers),
            ssl=self.options.ssl,
            open_timeout=self.options.connect_timeout,
            close_timeout=1,
            # The server never answers protocol pings; the session sends its own.
            ping_interval=None,
            compression=None,
            max_size=self.options.max_message_size * _HARD_LIMIT,
            logger=_wire_logger,
        )
        try:
            yield socket
        finally:
            await socket.close()

    async def _renew_token(self, driver: SocketDriver, token: AccessToken) -> None:
        """Authenticate anew on the same socket before the token runs out."""
        while token.renew_at is not None:
            await asyncio.sleep(max(token.renew_at - monotonic(), 0))
            token = await self._fresh_token(driver)

    async def _fresh_token(self, driver: SocketDriver) -> AccessToken:
        delays = self.options.delays()
        while True:
            try:
                token = await self._open_rest().access_token()
            except (httpx.HTTPError, RequestRefused, ConnectionFailed) as error:
                logger.warning("The token could not be renewed: %s", explain(error, self.url))
                await asyncio.sleep(next(delays))
            else:
                driver.authenticate({"access_token": token.value})
                return token

    def _was_stable(self) -> bool:
        since = self._authenticated_at
        return since is not None and monotonic() - since >= self.options.stable_after

    def _lose(self, failure: ConnectionFailed) -> None:
        for feed in self._feeds:
            if feed.state is SubscriptionState.SUBSCRIBED:
                feed.wait_again()
        self._set_state(ConnectionState.RECONNECTING, str(failure))

    def _set_state(self, state: ConnectionState, reason: str = "") -> None:
        if state is ConnectionState.CONNECTED:
            self._ready.set()
        else:
            self._ready.clear()
        if (state, reason) != (self._change.state, self._change.reason):
            self._change = StateChange(state, reason, datetime.now(UTC))
            self._stream.publish(self._change)

    # What the session says

    def _act(self, action: SessionAction) -> None:
        match action:
            case protocol.ItemsChanged(uid, event, data):
                if feed := self._feeds.of_wire(uid):
                    feed.receive(event, data)
            case protocol.Authenticated():
                self._authenticated()
            case protocol.Confirmed(uid):
                if feed := self._feeds.of_wire(uid):
                    feed.confirm(uid)
            case protocol.Refused(uid, code, message):
                if feed := self._feeds.of_wire(uid):
                    self._unsubscribe_feed(feed)  # it is had whole or not at all
                    feed.refuse(SubscriptionRefused(code, message))
            case protocol.SubscriptionError(uid, code, message):
                owner = self._feeds.of_wire(uid) if uid else None
                self._report(EventFailed(code, message), owner)
            case protocol.Ignored(error):
                self._report(error, None)
            case protocol.CredentialsExpired():
                if self._driver is not None:
                    self._do(self._reauthenticate(self._driver))
            case protocol.AuthenticationFailed(code, message):
                raise ConnectionFailed(
                    f"Directus at {self.url} refused the authentication on the WebSocket "
                    f"({code}: {message.rstrip('.')}), though the credentials are good for REST."
                )
            case _:
                pass

    def _authenticated(self) -> None:
        if self.is_connected:
            return  # a renewal on the same socket; its subscriptions go on
        self._authenticated_at = monotonic()
        self._connected_once = True
        self._set_state(ConnectionState.CONNECTED)
        for feed in self._feeds:
            if feed.state is SubscriptionState.WAITING:
                self._activate(feed)

    async def _reauthenticate(self, driver: SocketDriver) -> None:
        await self._fresh_token(driver)

    def _report(self, error: DirectusRealtimeError, feed: Feed | None) -> None:
        if feed is not None:
            feed.report(error)
        elif self._on_error is None:
            logger.warning("%s: %s", self.name, error)
        else:
            self._on_error(error)

    # Activating feeds

    def _activate(self, feed: Feed) -> None:
        if feed.primary_key is not None:
            self._send_subscribe(feed)
        else:
            self._do(self._check_and_subscribe(feed))

    async def _check_and_subscribe(self, feed: Feed) -> None:
        """Ask over REST what the socket would not tell, then subscribe."""
        rest = self._open_rest()
        try:
            primary_key = await rest.primary_key(feed.query.collection)
            await rest.check_query(feed.query, primary_key)
        except SubscriptionRefused as error:
            feed.refuse(error)
        except (httpx.HTTPError, ConnectionFailed) as error:
            feed.refuse(SubscriptionRefused("UNREACHABLE", str(explain(error, self.url))))
        else:
            feed.primary_key = primary_key
            self._warn_of_gaps(feed)
            self._send_subscribe(feed)

    def _warn_of_gaps(self, feed: Feed) -> None:
        collection = feed.query.collection
        if self.server and (gap := known_gap(collection, self.server.version)):
            logger.warning("%s  %s: %s", self.name, collection, gap)

    def _send_subscribe(self, feed: Feed) -> None:
        if self._driver is not None and feed in self._feeds:
            for wire in feed.wire_subscriptions():
                self._driver.subscribe(wire)

    # Tasks that live as long as the socket

    def _do(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_done)

    def _chore_done(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("An unexpected error in the client.", exc_info=error)

    async def _stop_chores(self) -> None:
        chores = list(self._chores)
        for task in chores:
            task.cancel()
        await asyncio.gather(*chores, return_exceptions=True)


def websocket_url(url: str, path: str, query: dict[str, str]) -> str:
    """The WebSocket's URL from the server's; a sub-path of the server is kept."""
    scheme, host, base, _, _ = urlsplit(url)
    scheme = "wss" if scheme == "https" else "ws"
    return urlunsplit((scheme, host, f"{base.rstrip('/')}{path}", urlencode(query), ""))
