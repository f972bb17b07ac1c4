"""Frames as they should not be, and what must hold for each; shared by all fuzzers here."""

from __future__ import annotations

import json
import random
import string
from typing import Any

from directus_realtime.client.client_subscription import ClientSubscription
from directus_realtime.client.feed import Feed
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Event
from directus_realtime.exceptions import BadFrame, DirectusRealtimeError
from directus_realtime.protocol import messages
from directus_realtime.protocol.queries import Query, WireSubscription
from directus_realtime.protocol.session import Ignored, Session, SessionAction
from directus_realtime.utils.redaction import EXCERPT_LENGTH

#: As Directus 10, 11 and 12 send them.
REAL_MESSAGES: list[dict[str, Any]] = [
    {"type": "auth", "status": "ok"},
    {"type": "auth", "status": "ok", "refresh_token": "R", "uid": "u1"},
    {
        "type": "auth",
        "status": "error",
        "error": {"code": "AUTH_FAILED", "message": "Authentication handshake failed."},
    },
    {
        "type": "auth",
        "status": "error",
        "error": {"code": "TOKEN_EXPIRED", "message": "Token expired."},
    },
    {
        "type": "auth",
        "status": "error",
        "error": {"code": "AUTH_TIMEOUT", "message": "Authentication timed out."},
    },
    {"type": "ping"},
    {"type": "pong", "uid": "ping-1"},
    {"type": "subscription", "event": "init", "uid": "u.create"},
    {"type": "subscription", "event": "init", "data": [{"id": 1}], "uid": "u.update"},
    {"type": "subscription", "event": "unsubscribe", "uid": "u.create"},
    {"type": "subscription", "event": "unsubscribe", "uid": 7},
    {
        "type": "subscription",
        "event": "create",
        "data": [{"id": 12554, "title": "raw1", "author": {"name": "Annie"}}],
        "uid": "u.create",
    },
    {
        "type": "subscription",
        "event": "update",
        "data": [{"id": "a"}, {"id": 2}],
        "uid": "u.update",
    },
    {"type": "subscription", "event": "update", "data": {"id": 157}, "uid": "u.update"},
    {"type": "subscription", "event": "delete", "data": ["12554"], "uid": "u.delete"},
    {"type": "subscription", "event": "delete", "data": [12555, 12556], "uid": "u.delete"},
    {"type": "subscription", "event": "delete", "data": "160", "uid": "u.delete"},
    {
        "type": "subscribe",
        "status": "error",
        "error": {"code": "FORBIDDEN", "message": "You don't have permission to access this."},
    },
    {
        "type": "subscribe",
        "status": "error",
        "error": {"code": "INVALID_COLLECTION", "message": "The collection does not exist."},
        "uid": "u.create",
    },
    {
        "type": "subscribe",
        "status": "error",
        "error": {"code": "INVALID_PAYLOAD", "message": "Validation error: event"},
    },
    {
        "type": "server",
        "status": "error",
        "error": {
            "code": "REQUESTS_EXCEEDED",
            "message": "Too many messages, retry after 1960ms.",
        },
    },
    {"type": "items", "action": "create", "collection": "articles", "data": {"id": 1}, "uid": "it"},
]

#: JSON, and what looks like it, that is put in the place of a value.
FRAGMENTS = [
    *("null", "true", "false", "0", "-0", "-1", "1.5", "1e999", "NaN", "-Infinity", '""', "[]"),
    *("{}", "[[]]", "[null]", "[true]", '{"id":true}', '{"id":null}', '{"id":1.0}', '{"id":[]}'),
    *('"\\ud800"', '"\\u0000"', '"a\\nb"', '"\\u2028"', '"²"', '"٣"', '"-"', '"init"', '"delete"'),
    *("9" * 19, "9" * 400, "9" * 4300, "9" * 5000, f'"{"9" * 400}"', f'"{"9" * 5000}"'),
    *(f'"retry after {number}ms"' for number in ("0", "1960", "9" * 16, "9" * 400, "9" * 5000)),
    *("[" * depth + "]" * depth for depth in (90, 900, 985, 20_000)),
    '{"id":' * 950 + "1" + "}" * 950,
]

#: Stands where a fragment comes.
PLACE = "\N{BLACK SQUARE}"


def to_text(message: object, fragments: list[str]) -> str:
    """A message as JSON, with the fragments where :data:`PLACE` stands."""
    text = json.dumps(message)
    for fragment in fragments:
        text = text.replace(json.dumps(PLACE), fragment, 1)
    return text


def paths(value: object, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the values of a message are."""
    found = [prefix] if prefix else []
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for name, entry in entries:
        found += paths(entry, (*prefix, name))
    return found


def put(message: Any, path: tuple[Any, ...], value: object) -> None:
    """Put a value in the place of another."""
    *way, last = path
    for name in way:
        message = message[name]
    message[last] = value


def remove(message: Any, path: tuple[Any, ...]) -> None:
    """Take a value out."""
    *way, last = path
    for name in way:
        message = message[name]
    del message[last]


class FrameMaker:
    """Makes frames from a source of chance; Hypothesis has its own way of doing so."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._real = [json.dumps(message) for message in REAL_MESSAGES]

    def make(self) -> str | bytes:
        """A frame."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.02:
            return chance.randbytes(chance.randrange(60))
        if kind < 0.04:
            return "".join(chance.choices(string.printable + "é\u2028\U0001f600", k=20))
        text = json.dumps(self._value(3)) if kind < 0.1 else self._mutated()
        if chance.random() < 0.25:
            text = self._scratched(text)
        if chance.random() < 0.1:
            encoding = chance.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
            return text.encode(encoding, "replace")
        return text

    def _mutated(self) -> str:
        chance = self._chance
        message = json.loads(chance.choice(self._real))
        fragments = []
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            places = paths(message)
            if not places:
                break
            path = chance.choice(places)
            what = chance.random()
            if what < 0.15:
                remove(message, path)
            elif what < 0.5:
                put(message, path, self._value(2))
            elif what < 0.65:
                put(message, path, chance.choice(("u.create", "u.update", "u.delete", "x", 7)))
            else:
                put(message, path, PLACE)
                fragments.append(chance.choice(FRAGMENTS))
        return to_text(message, fragments)

    def _scratched(self, text: str) -> str:
        chance = self._chance
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.randrange(4))
        middle = chance.choice(("", '"', "{", "}", "[", "]", ",", ":", "\\", "\n", "\0", "é", "0"))
        return text[:start] + middle + ("" if chance.random() < 0.2 else text[end:])

    def _value(self, depth: int) -> Any:
        chance = self._chance
        kind = chance.randrange(9 if depth else 7)
        if kind == 7:
            return [self._value(depth - 1) for _ in range(chance.randrange(4))]
        if kind == 8:
            names = chance.choices(("id", "type", "event", "uid", "error", "x", ""), k=3)
            return {name: self._value(depth - 1) for name in names}
        return (
            None,
            True,
            chance.randrange(-9, 10**20),
            chance.random() * 10 ** chance.randrange(300),
            "",
            chance.choice(("create", "init", "error", "ok", "1", "-5", "²")),
            "".join(map(chr, chance.choices(range(0x3000), k=chance.randrange(8)))),
        )[kind]


# What must hold


class Watcher:
    """A feed with one subscription whose events and errors are kept."""

    def __init__(self, primary_key: PrimaryKey | None, item: int | str | None = None) -> None:
        self.events: list[Event] = []
        self.errors: list[DirectusRealtimeError] = []
        self.feed = Feed("u", Query("articles", item=item))
        self.feed.primary_key = primary_key
        subscription = ClientSubscription(
            "u",
            self.feed,
            name="mine",
            connection="blog",
            on_event=self.events.append,
            on_error=self.errors.append,
        )
        self.feed.subscriptions.append(subscription)

    def check(self, message: messages.Changed) -> None:
        """Hand a change message over and look at what comes out."""
        self.events.clear()
        self.errors.clear()
        self.feed.late.clear()
        self.feed.receive(message.action, message.data)
        for event in self.events:
            assert type(event.key) in (int, str), f"a key of type {type(event.key).__name__}"
            assert (event.data is None) is (event.action == "delete")
        for error in self.errors:
            assert isinstance(error, BadFrame)
            check_bad_frame(error)
        told, late = len(self.events) + len(self.errors), len(self.feed.late)
        if self.feed.query.item is None:  # late ones of the same item are one
            assert told == len(message.data) if not late else told + late <= len(message.data)


def check_bad_frame(error: BadFrame) -> None:
    """A bad frame is told of in one short line."""
    assert len(error.excerpt) <= EXCERPT_LENGTH + 1
    assert len(str(error).splitlines()) <= 1, "more than one line"


def check_decode(frame: str | bytes) -> messages.Message | None:
    """Decode a frame: a message, or a bad frame."""
    try:
        message = messages.decode(frame)
    except BadFrame as error:
        check_bad_frame(error)
        return None
    assert isinstance(message, messages.Message)
    return message


def check_receive(session: Session, frame: str | bytes, now: float) -> list[SessionAction]:
    """Hand a frame to a session and look at what comes out."""
    session.tick(now)
    session.take_frames()
    session.take_actions()
    session.receive(frame, now)
    actions = session.take_actions()
    assert len(actions) <= 1
    assert len(session.take_frames()) <= 3
    for action in actions:
        assert isinstance(action, SessionAction)
        if isinstance(action, Ignored):
            check_bad_frame(action.error)
    return actions


SESSION_STATES = ("new", "authenticating", "idle", "asking", "subscribed", "leaving", "expired")


def session_in(state: str) -> Session:
    """A session in a state; its uids are those of :data:`REAL_MESSAGES`."""
    session = Session(authenticated=state not in ("new", "authenticating"))
    if state == "authenticating":
        session.authenticate({"access_token": "T"}, 0)
    if state in ("asking", "subscribed", "leaving", "expired"):
        for action in messages.ACTIONS:
            session.subscribe(WireSubscription(f"u.{action}", "articles", action, {}), 0)
    if state in ("subscribed", "leaving", "expired"):
        for action in messages.ACTIONS:
            init = {"type": "subscription", "event": "init", "uid": f"u.{action}"}
            session.receive(json.dumps(init), 0)
    if state == "leaving":
        for action in messages.ACTIONS:
            session.unsubscribe(f"u.{action}", 0)
    if state == "expired":
        error = {"code": "TOKEN_EXPIRED", "message": "Token expired."}
        session.receive(json.dumps({"type": "auth", "status": "error", "error": error}), 0)
    session.take_frames()
    session.take_actions()
    return session


PRIMARY_KEYS = (
    None,
    PrimaryKey("id", "integer"),
    PrimaryKey("id", "string"),
    PrimaryKey("id"),
    PrimaryKey("title", "string"),
)
