"""A feed keeper on a scripted connection: what may happen, and how it must end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, cast

from directus_realtime.client.client_subscription import ClientSubscription
from directus_realtime.client.connection import Connection, ConnectionState
from directus_realtime.client.credentials import AccessToken, StaticToken
from directus_realtime.client.feed import CHANGED, Feed, FeedState
from directus_realtime.client.feeds import Feeds
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.rest import RestClient, ServerInfo
from directus_realtime.client.socket_driver import SocketDriver
from directus_realtime.events import Event
from directus_realtime.exceptions import (
    ConnectionFailed,
    DirectusRealtimeError,
    RequestRefused,
)
from directus_realtime.protocol.queries import Query
from directus_realtime.utils.system_clock import SystemClock
from tests.fuzz.checked_session import CheckedSession
from tests.fuzz.model_server import GOOD, SILENCE, WAITS, WAYS, Message, asked_by, error
from tests.fuzz.session_world import FORGERIES, LONG, forged
from tests.fuzz.virtual_loop import VirtualLoop

#: The first two ask for the same.
QUERIES: list[dict[str, Any]] = [
    {"collection": "articles", "fields": ("id", "title")},
    {"collection": "articles", "fields": ("title", "id")},
    {"collection": "articles", "filter": {"title": {"_eq": "x"}}},
    {"collection": "articles", "events": ("create",)},
    {"collection": "notes", "events": ("update", "delete")},
]
UIDS = ("a", "b", "a.create", "a-2")
WIRE_UIDS = [f"{uid}.{name}" for uid in UIDS for name in ("create", "update", "delete", CHANGED)]

OK = "ok"
REFUSED = "refused"
NOT_READY = "not ready"
UNREACHABLE = "unreachable"
OUTCOMES = (OK, REFUSED, NOT_READY, UNREACHABLE)

FIELDS = [{"field": "id", "type": "string", "schema": {"is_primary_key": True}}]
#: Turns of the loop until nothing is left to do.
_TURNS = 10
#: Enough for the last unsubscribes to go out, also where the rate limiter was in the way.
_LAST_STEPS = 40


class ScriptedRest(RestClient):
    """REST whose answers come when the script says so."""

    def __init__(self) -> None:
        self.info = ServerInfo("11.17.4")
        self._questions: list[tuple[str, asyncio.Future[Any]]] = []

    @property
    def questions(self) -> list[tuple[str, asyncio.Future[Any]]]:
        """What was asked for and has no answer yet."""
        self._questions = [entry for entry in self._questions if not entry[1].done()]
        return self._questions

    async def search(self, path: str, query: Any = None, **more: Any) -> Any:
        return await self.ask(path)

    async def get_fresh(self, path: str, parameters: Any = None) -> Any:
        return await self.ask(path)

    async def ask(self, path: str) -> Any:
        """Ask a question, and wait for its answer."""
        future = asyncio.get_running_loop().create_future()
        self._questions.append((path, future))
        return await future

    async def access_token(self) -> Any:
        return await self.ask("token")

    def forget_token(self) -> None:
        pass

    def answer(self, number: int, outcome: str) -> None:
        """Answer one of the questions, if there is one."""
        if not (questions := self.questions):
            return
        path, future = questions[number % len(questions)]
        if outcome == REFUSED and path != "token":
            future.set_exception(RequestRefused(403, "FORBIDDEN", "You don't have permission."))
        elif outcome == NOT_READY:
            future.set_exception(RequestRefused(503, "SERVICE_UNAVAILABLE", "Not ready."))
        elif outcome == UNREACHABLE:
            future.set_exception(ConnectionFailed("Connection refused"))
        elif path == "token":
            future.set_result(AccessToken("T"))
        else:
            future.set_result(FIELDS if path.startswith("/fields/") else [])


class ScriptedConnection(Connection):
    """A connection without a socket; its states and chores are the real ones."""

    def __init__(self, on_action: Callable[..., None], on_socket: Callable[[], None]) -> None:
        super().__init__(
            "http://cms.test",
            StaticToken("T"),
            ClientOptions(),
            on_action,
            _nothing,
            on_socket,
            SystemClock(),
        )
        self.scripted_rest = self._rest = ScriptedRest()

    def open(self, session: CheckedSession) -> None:
        """There is a socket."""
        self.driver = cast(SocketDriver, session)
        session.authenticate({"access_token": "T"})

    async def lose(self) -> None:
        """The socket is gone, and what was under way with it."""
        self.driver = None
        await self._stop_chores()
        self._set_state(ConnectionState.RECONNECTING, "lost")


def _nothing() -> None:
    """Ignore the changes of state."""


class KeeperWorld:
    """A client's subscriptions, its connections and the servers behind them.

    Args:
        refuses: Whether something may be refused, and has to be asked for again.

    Attributes:
        subscriptions: Those that somebody has, by uid.
        session: On the socket of now; ``None`` while there is none.
        events: How many events came.
    """

    def __init__(self, *, refuses: bool = True) -> None:
        self.subscriptions: dict[str, ClientSubscription] = {}
        self.session: CheckedSession | None = None
        self.events = 0
        self._refuses = refuses
        self._problems: list[str] = []
        self._loop = VirtualLoop()
        self._has_lied = False
        self._count = 0
        self._connection = ScriptedConnection(self._act, self._socket_changed)
        self._rest = self._connection.scripted_rest
        self._keeper = Feeds(self._connection, self._error)

    def close(self) -> None:
        """Leave no task behind."""
        try:
            self._loop.run_until_complete(self._connection.lose())
        finally:
            self._loop.close()

    def _do(self, work: Callable[[], Awaitable[None] | None]) -> None:
        """Let something happen in the loop, and what follows from it."""
        self._loop.run_until_complete(self._happen(work))

    async def _happen(self, work: Callable[[], Awaitable[None] | None]) -> None:
        self._tell_time()
        if (waiting := work()) is not None:
            await waiting
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def _tell_time(self) -> None:
        if self.session is not None:
            self.session.now = max(self.session.now, self._loop.time())

    # As in the client

    def _act(self, action: Any) -> None:
        self._keeper.handle(action)

    def _socket_changed(self) -> None:
        if self._connection.has_socket:
            self._keeper.activate()
        else:
            self._keeper.wait_again()

    def _error(self, error: DirectusRealtimeError) -> None:
        if not isinstance(error, DirectusRealtimeError):
            self._problems.append(repr(error))

    def add(self, uid: str, query: int) -> None:
        """Somebody wants a subscription."""
        if uid not in self.subscriptions:
            self._do(lambda: self._add(uid, Query(**QUERIES[query])))

    def _add(self, uid: str, query: Query) -> None:
        subscription = ClientSubscription(
            uid,
            self._keeper.get(uid, query),
            name=uid,
            connection="blog",
            on_event=lambda event: self._check_event(subscription, event),
            on_error=self._error,
        )
        subscription.feed.subscriptions.append(subscription)
        self.subscriptions[uid] = subscription

    def unsubscribe(self, uid: str) -> None:
        """Nobody wants it any more."""
        if subscription := self.subscriptions.pop(uid, None):
            subscription.feed.subscriptions.remove(subscription)
            self._do(lambda: self._keeper.release(subscription.feed))

    def retry(self, uid: str) -> None:
        """Somebody asks again."""
        if self._refuses and (subscription := self.subscriptions.get(uid)):
            self._do(lambda: self._keeper.retry(subscription.feed))

    # What may happen

    def connect(self) -> None:
        """There is a socket; the server is to authenticate it."""
        if self.session is None:
            self._has_lied = False
            now = self._loop.time()
            session = CheckedSession(self._connection._act, now, authenticated=False)
            self.session = session
            self._do(lambda: self._connection.open(session))

    def lose(self) -> None:
        """The socket is gone."""
        if self.session is not None:
            self.session = None
            self._do(self._connection.lose)

    def answer_rest(self, number: int, outcome: str) -> None:
        """REST answers one of its questions."""
        if outcome == REFUSED and not self._refuses:
            outcome = OK
        self._do(lambda: self._rest.answer(number, outcome))

    def answer(self, way: str) -> None:
        """The server answers its next request, one way or another."""
        if way != SILENCE and not self._refuses:
            way = GOOD
        if self.session is not None:
            self.receive(self.session.server.answer(way))

    def limit(self, wait: str) -> None:
        """The server's rate limiter drops its next request."""
        if self.session is not None:
            self.receive(self.session.server.limit(wait))

    def be_calm(self, steps: int) -> None:
        """For a while the server is sane."""
        for _ in range(steps):
            self._sane_step()

    def change(self, number: int) -> None:
        """Something changes that one of the server's subscriptions sees."""
        if self.session is not None and (served := sorted(self.session.server.subscriptions)):
            self._change(served[number % len(served)])

    def _change(self, wire_uid: str) -> None:
        if self.session is not None:
            self._count += 1
            self.receive(self.session.server.change(wire_uid, self._count))

    def expire(self) -> None:
        """The token runs out."""
        if self.session is not None:
            self.receive(self.session.server.expire())

    def fail_an_event(self, wire_uid: str | None) -> None:
        """An event cannot be read."""
        self.receive(error("FORBIDDEN", "You don't have permission to access this.", uid=wire_uid))

    def forge(self, what: str, wire_uid: str | None) -> None:
        """The server says what is not so; a made-up change could not be told from a true one."""
        is_refusal = what in ("error", "bad payload")
        if what != "change" and (self._refuses or not is_refusal):
            self._has_lied = True
            self.receive(forged(what, wire_uid, "0"))

    def receive(self, message: Message | None) -> None:
        """A message comes."""
        session = self.session
        if session is not None and message is not None:
            self._do(lambda: session.receive(message))

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._do(lambda: self._wait(self._loop.time() + seconds))

    async def _wait(self, end: float) -> None:
        session = self.session
        while session is not None and not session.is_over and session.deadline() <= end:
            await self._wait_for_deadline(session)
        await asyncio.sleep(max(end - self._loop.time(), 0))
        self._tell_time()

    async def _wait_for_deadline(self, session: CheckedSession) -> None:
        await asyncio.sleep(max(session.deadline() - self._loop.time(), 0))
        self._tell_time()
        session.wait_for_deadline()

    # What must hold

    def go_on(self) -> None:
        """After each step: end what has ended, and look at what there is."""
        assert not self._problems, self._problems[0]
        if self.session is not None and self.session.is_over:
            self.lose()
        feeds = self._feeds()
        assert len({feed.uid for feed in feeds}) == len(feeds), "two feeds share a uid"
        by_query = {_asked(feed.query) for feed in feeds}
        assert len(by_query) == len(feeds), "equal queries have two feeds"
        for feed in feeds:
            for subscription in feed.subscriptions:
                assert self.subscriptions[subscription.uid] is subscription
            if feed.state is FeedState.SUBSCRIBED:
                assert self.session is not None
                assert set(feed.wire_uids()) <= self.session.confirmed, "subscribed too early"

    def _feeds(self) -> list[Feed]:
        feeds = {id(entry.feed): entry.feed for entry in self.subscriptions.values()}
        return list(feeds.values())

    def _check_event(self, subscription: ClientSubscription, event: Event) -> None:
        # Noted, not raised: a subscription lets nothing out that its callback raises.
        self.events += 1
        if self.subscriptions.get(subscription.uid) is not subscription:
            self._problems.append("an event after the end")
        if subscription.state is FeedState.REFUSED:
            self._problems.append("an event after a refusal")
        wires = {wire.uid.rpartition(".")[2]: wire for wire in _wires(subscription.feed)}
        told_by = CHANGED if event.left_filter else event.action
        asked, _, _ = str(event.key).rpartition(" ")
        if told_by not in wires or asked != asked_by(wires[told_by].message()):
            self._problems.append(f"another's event: {event.key} for {subscription}")

    # How it must end

    def settle(self) -> None:
        """The server is sane again: every subscription is subscribed, in bounded time.

        What was refused is asked for again, as the listener does; where nothing was refused,
        the next connection must do.
        """
        if not self._refuses:
            self.lose()
        end = self._loop.time() + LONG
        while not self._is_settled():
            states = list(self.subscriptions.values())
            assert self._loop.time() <= end, f"pending for ever: {states}"
            for uid in self.subscriptions:
                self.retry(uid)
            self._sane_step()
        for _ in range(_LAST_STEPS):
            if self._server_agrees():
                break
            self._sane_step()
        self.go_on()
        self._check_agreement()

    def _sane_step(self) -> None:
        self.go_on()
        self.connect()
        session = self.session
        assert session is not None
        if self._rest.questions:
            self.answer_rest(0, OK)
        elif session.server.requests:
            self.answer(GOOD)
        else:
            self._do(lambda: self._wait_for_deadline(session))

    def _is_settled(self) -> bool:
        return (
            self.session is not None
            and not self.session.is_over
            and self._connection.is_authenticated
            and not self.session.server.requests
            and not self._rest.questions
            and all(feed.state is FeedState.SUBSCRIBED for feed in self._feeds())
        )

    def _server_agrees(self) -> bool:
        """Whether the server has one subscription for each action of each feed, and no other."""
        assert self.session is not None
        return self.session.server.subscriptions == self._wanted_messages()

    def _wanted_messages(self) -> dict[str, Message]:
        return {wire.uid: wire.message() for feed in self._feeds() for wire in _wires(feed)}

    def _check_agreement(self) -> None:
        session = self.session
        assert session is not None
        assert session.confirmed == self._wanted_messages().keys()
        if self._has_lied or session.server.is_fickle:
            return
        assert session.server.subscriptions == self._wanted_messages()
        for feed in self._feeds():
            self._read_on(feed)
            for wire_uid in feed.wire_uids():
                before = self.events
                self._change(wire_uid)
                self._read_on(feed)
                # A key that was never in the filter cannot leave it.
                is_about_all = wire_uid == f"{feed.uid}.{CHANGED}"
                told = 0 if is_about_all else len(feed.subscriptions)
                assert self.events - before == told, "an event is lost"
        assert not self._problems, self._problems[0]

    def _read_on(self, feed: Feed) -> None:
        """Let the client find out what left the filter."""
        for _ in range(_LAST_STEPS):
            if feed.leaving.is_idle:
                return
            self._sane_step()
        raise AssertionError("it never knows what left the filter")


def _asked(query: Query) -> str:
    """What a query asks for; the order of fields is of no account."""
    return repr((query.collection, query.events, query.filter, sorted(query.fields)))


def _wires(feed: Feed) -> list[Any]:
    """What a feed asks for, on a copy: asking makes it wait for confirmation."""
    copy = Feed(feed.uid, feed.query)
    copy.primary_key = feed.primary_key
    return copy.wire_subscriptions()


def random_steps(world: KeeperWorld, chance: random.Random) -> list[Callable[[], None]]:
    """Every step that may come, drawn from a source of chance; likelier ones more than once."""
    uid, wire_uid = chance.choice(UIDS), chance.choice(WIRE_UIDS)
    return [
        *[lambda: world.add(uid, chance.randrange(len(QUERIES)))] * 4,
        *[lambda: world.unsubscribe(uid)] * 2,
        *[lambda: world.retry(uid)] * 2,
        *[world.connect] * 3,
        *[lambda: world.answer_rest(chance.randrange(4), OK)] * 5,
        *[lambda: world.answer(GOOD)] * 8,
        *[lambda: world.be_calm(chance.randrange(16))] * 3,
        *[lambda: world.change(chance.randrange(12))] * 3,
        lambda: world.answer_rest(chance.randrange(4), chance.choice(OUTCOMES)),
        lambda: world.answer(chance.choice(WAYS)),
        lambda: world.limit(chance.choice(WAITS)),
        lambda: world.wait(chance.choice((0.001, 1.0, 9.9, 30.0))),
        lambda: world.fail_an_event(chance.choice((wire_uid, None))),
        lambda: world.forge(chance.choice(FORGERIES), chance.choice((wire_uid, None))),
        world.expire,
        world.lose,
    ]
