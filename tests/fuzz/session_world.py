"""A session's whole conversation: what may happen, and how it must end."""

from __future__ import annotations

import random
from collections.abc import Callable

from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.session import (
    Confirmed,
    CredentialsExpired,
    SessionAction,
    SubscribeRefused,
)
from tests.fuzz.checked_session import CheckedSession
from tests.fuzz.model_server import (
    GOOD,
    WAITS,
    WAYS,
    Message,
    error,
    rate_limited,
)

UIDS = ["a.create", "a.update", "b.create"]
#: uids of messages that a server makes up; ``None`` for none.
FORGED_UIDS = [*UIDS, "x.create", "", None]
FORGERIES = ("init", "unsubscribe", "change", "error", "bad payload", "limit", "pong", "ok")
#: Longer than any wait that a server may ask for, in seconds.
LONG = 3600.0


class SessionWorld:
    """A client that keeps its subscriptions on one session after another.

    Attributes:
        states: ``asked``, ``confirmed`` or ``refused`` for each wanted uid.
    """

    def __init__(self, *, authenticated: bool) -> None:
        self.states: dict[str, str] = {}
        self._handshake = not authenticated
        self._has_lied = False
        self._expired = False
        self._count = 0
        self._connect(0.0)

    def _connect(self, now: float) -> None:
        self.session = CheckedSession(self._handle, now, authenticated=not self._handshake)
        self._has_lied = self._expired = False
        if self._handshake:
            self.session.authenticate({"access_token": "T"})
        for uid in self.states:
            self._ask(uid)

    def _ask(self, uid: str) -> None:
        self.states[uid] = "asked"
        self._count += 1
        query = {"filter": {"id": {"_eq": self._count}}}
        self.session.subscribe(WireSubscription(uid, "articles", "create", query))

    def _handle(self, action: SessionAction) -> None:
        match action:
            case Confirmed(uid):
                self.states[uid] = "confirmed"
            case SubscribeRefused(uid):
                self.states[uid] = "refused"
                self.session.unsubscribe(uid)  # as the feed keeper does
            case CredentialsExpired():
                self._expired = True

    # What may happen

    def subscribe(self, uid: str) -> None:
        """Somebody wants a subscription, anew or again after a refusal."""
        if self.states.get(uid, "refused") == "refused":
            self._ask(uid)

    def unsubscribe(self, uid: str) -> None:
        """Nobody wants it any more."""
        if self.states.pop(uid, None) is not None:
            self.session.unsubscribe(uid)

    def authenticate(self) -> None:
        """The token is renewed."""
        self.session.authenticate({"access_token": "T"})

    def answer(self, way: str) -> None:
        """The server answers its next request, one way or another."""
        self.session.receive(self.session.server.answer(way))

    def limit(self, wait: str) -> None:
        """The server's rate limiter drops its next request."""
        self.session.receive(self.session.server.limit(wait))

    def change(self, uid: str) -> None:
        """Something changes that a subscription sees."""
        self._count += 1
        self.session.receive(self.session.server.change(uid, self._count))

    def expire(self) -> None:
        """The token runs out."""
        self.session.receive(self.session.server.expire())

    def ping(self) -> None:
        """The server pings."""
        self.session.receive({"type": "ping"})

    def fail_an_event(self) -> None:
        """An event cannot be read; Directus 10 and 11 do not say whose."""
        self.session.receive(error("FORBIDDEN", "You don't have permission to access this."))

    def forge(self, what: str, uid: str | None, wait: str) -> None:
        """The server says what is not so."""
        self._has_lied = True
        self.session.receive(forged(what, uid, wait))

    def receive(self, frame: str) -> None:
        """Anything comes."""
        self._has_lied = True
        self.session.receive(frame)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.session.wait(seconds)

    def wait_late(self, seconds: float) -> None:
        """Time passes while the program is stopped."""
        self.session.wait_late(seconds)

    def wait_for_deadline(self) -> None:
        """Time passes to the next deadline."""
        self.session.wait_for_deadline()

    def be_calm(self, steps: int) -> None:
        """For a while the server is sane."""
        for _ in range(steps):
            self.go_on()
            self._sane_step()

    def lose(self) -> None:
        """The connection breaks; the next one is there at once."""
        self._connect(self.session.now)

    def go_on(self) -> None:
        """After each step: a connection that has ended is followed by the next one."""
        if self.session.is_over:
            self.lose()

    # How it must end

    def settle(self) -> None:
        """The server is sane again: every wanted uid is confirmed or refused, in bounded time."""
        end = self.session.now + LONG
        while not self._is_settled():
            assert self.session.now <= end, f"pending for ever: {self.states}"
            self.go_on()
            self._sane_step()
        self._check_agreement()

    def _sane_step(self) -> None:
        if self._expired:
            self._expired = False
            self.authenticate()
        if self.session.server.requests:
            self.answer(GOOD)
        else:
            self.wait_for_deadline()

    def _is_settled(self) -> bool:
        return (
            not self.session.is_over
            and not self._expired
            and not self.session.server.requests
            and "asked" not in self.states.values()
        )

    def _check_agreement(self) -> None:
        confirmed = {uid for uid, state in self.states.items() if state == "confirmed"}
        assert confirmed == self.session.confirmed
        if not self._has_lied and not self.session.server.is_fickle:
            assert confirmed <= self.session.server.subscriptions.keys()
        for uid in confirmed & self.session.server.subscriptions.keys():
            self.change(uid)


def forged(what: str, uid: str | None, wait: str) -> Message:
    """A message out of place."""
    match what:
        case "change":
            message: Message = {"type": "subscription", "event": "create", "data": [{"id": 1}]}
        case "error":
            message = error("FORBIDDEN", "You don't have permission to access this.")
        case "bad payload":
            message = error("INVALID_PAYLOAD", "Validation error.")
        case "limit":
            message = rate_limited(wait)
        case "pong":
            message = {"type": "pong"}
        case "ok":
            message = {"type": "auth", "status": "ok"}
        case _:
            message = {"type": "subscription", "event": what}
    return message if uid is None else {**message, "uid": uid}


def random_steps(world: SessionWorld, chance: random.Random) -> list[Callable[[], None]]:
    """Every step that may come, drawn from a source of chance; likelier ones more than once."""
    uid = chance.choice(UIDS)
    return [
        *[lambda: world.subscribe(uid)] * 3,
        *[lambda: world.unsubscribe(uid)] * 2,
        *[lambda: world.answer(GOOD)] * 5,
        *[lambda: world.answer(chance.choice(WAYS))] * 2,
        *[lambda: world.change(uid)] * 2,
        *[lambda: world.be_calm(chance.randrange(8))] * 2,
        *[lambda: world.wait(chance.choice((0.001, 1.0, 9.9, 30.0)))] * 2,
        world.authenticate,
        world.expire,
        world.ping,
        world.fail_an_event,
        world.wait_for_deadline,
        world.lose,
        lambda: world.wait_late(chance.choice((0.5, 12.0, 100.0))),
        lambda: world.limit(chance.choice(WAITS)),
        lambda: world.forge(
            chance.choice(FORGERIES), chance.choice(FORGED_UIDS), chance.choice(WAITS)
        ),
    ]
