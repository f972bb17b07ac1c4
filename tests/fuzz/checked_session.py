"""A session that is watched: after each call, what it did is held against what it may do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sized

from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.session import (
    PING_INTERVAL,
    REPLY_TIMEOUT,
    Authenticated,
    AuthenticationFailed,
    Confirmed,
    CredentialsExpired,
    ItemsChanged,
    PeerSilent,
    Session,
    SessionAction,
    SubscribeRefused,
)
from tests.fuzz.model_server import Message, ModelServer


class CheckedSession:
    """A session on a model server, in the place of a driver.

    Args:
        handle: Called with each action, as a driver does.
        now: Seconds.
        authenticated: True where the server asks for no authentication.

    Attributes:
        server: The other end.
        now: Seconds.
        is_over: The connection has come to its end.
        confirmed: uids that are active.
        asked: uids that wait, and whether the latest ``subscribe`` was sent.
    """

    def __init__(
        self, handle: Callable[[SessionAction], None], now: float, *, authenticated: bool
    ) -> None:
        self.server = ModelServer(authenticated=authenticated)
        self.now = now
        self.is_over = False
        self.confirmed: set[str] = set()
        self.asked: dict[str, bool] = {}
        self._handle = handle
        self._session = Session(authenticated=authenticated, now=now)
        self._authenticated = authenticated
        self._uids: set[str] = set()
        self._wires: dict[str, Message] = {}
        self._on_its_way: Message | None = None
        self._sent_at = 0.0

    # What the client does

    def authenticate(self, credentials: dict[str, str]) -> None:
        """Send credentials."""
        self._session.authenticate(credentials, self.now)
        self._flush(None)

    def subscribe(self, wire: WireSubscription) -> None:
        """Ask for a subscription."""
        self._uids.add(wire.uid)
        message = wire.message()
        if wire.uid in self.confirmed or wire.uid in self.asked:
            assert message == self._wires[wire.uid], "a uid stands for two queries"
        self._wires[wire.uid] = message
        self.asked.setdefault(wire.uid, False)
        self._session.subscribe(wire, self.now)
        self._flush(None)

    def unsubscribe(self, uid: str) -> None:
        """End a subscription."""
        self._uids.add(uid)
        self.confirmed.discard(uid)
        self.asked.pop(uid, None)
        self._session.unsubscribe(uid, self.now)
        self._flush(None)

    # What happens

    def receive(self, message: Message | str | None) -> None:
        """A frame arrives."""
        if message is None or self.is_over:
            return
        frame = message if isinstance(message, str) else json.dumps(message)
        self._session.receive(frame, self.now)
        self._flush(_parsed(frame))

    def wait(self, seconds: float) -> None:
        """Time passes, and the driver notices each deadline on time."""
        end = self.now + seconds
        while not self.is_over and self.deadline() <= end:
            self.wait_for_deadline()
        self.now = max(self.now, end)

    def wait_late(self, seconds: float) -> None:
        """Time passes while the driver has no time to look."""
        self.now += seconds
        self._session.tick(self.now)
        self._flush(None)

    def wait_for_deadline(self) -> None:
        """Let time pass to the next deadline; what is due then gets done."""
        self.now = max(self.now, self.deadline())
        for _ in range(3):
            self._session.tick(self.now)
            self._flush(None)
            if self.is_over or self._session.next_deadline() > self.now:
                return
        raise AssertionError("a tick at the deadline leaves it where it was: a busy loop")

    def deadline(self) -> float:
        """When the session wants to be looked at."""
        deadline = self._session.next_deadline()
        assert math.isfinite(deadline)
        assert deadline <= self.now + PING_INTERVAL, "nothing would happen for ever"
        return deadline

    # What must hold

    def _flush(self, received: Message | None) -> None:
        actions = self._session.take_actions()
        frames = self._session.take_frames()
        assert len(actions) <= (3 if received is None else 1)
        assert len(frames) <= 3
        if received:
            self._note_answer(received)
        for action in actions:
            self._check_action(action, received)
        for frame in frames:
            self._check_frame(json.loads(frame))
            self.server.take(frame)
        self._check_size()
        for action in actions:
            if not self.is_over:
                self._handle(action)

    def _check_action(self, action: SessionAction, received: Message | None) -> None:
        match action:
            case Authenticated():
                self._authenticated = True
            case CredentialsExpired():
                self._authenticated = False
                # Its answer may be a refusal, so the request is repeated after the authentication.
                self._on_its_way = None
            case AuthenticationFailed() | PeerSilent():
                self._authenticated = False
                self.is_over = True
            case Confirmed(uid):
                assert self.asked.pop(uid, False), "confirmed what was not asked for"
                assert uid in self._session.active, "confirmed, and then nothing is let through"
                self.confirmed.add(uid)
            case SubscribeRefused(uid):
                assert self.asked.pop(uid, False), "refused what was not asked for"
                if received is not None:
                    assert received.get("status") == "error"
                    assert _uid(received) in (None, uid), "refused by another's error"
            case ItemsChanged(uid):
                assert self._authenticated, "changes while nobody knows who we are"
                assert uid in self.confirmed, "changes of what is not subscribed"

    def _check_frame(self, message: Message) -> None:
        if message["type"] not in ("subscribe", "unsubscribe"):
            return
        if self._on_its_way is not None:
            waited = self.now - self._sent_at
            assert waited > REPLY_TIMEOUT - 1e-6, "two requests are on their way"
        self._on_its_way, self._sent_at = message, self.now
        uid = message["uid"]
        if message["type"] == "subscribe":
            assert uid in self.asked, "asked for what nobody wants any more"
            assert message == self._wires[uid], "asked for what was wanted before"
            self.asked[uid] = True
        else:
            assert not self.asked.get(uid), "ended what is wanted"
            assert uid not in self.confirmed, "ended what is wanted"

    def _note_answer(self, received: Message) -> None:
        """Whether a frame may be the answer to the request that is on its way."""
        request = self._on_its_way
        if request is None:
            return
        is_subscribe = request["type"] == "subscribe"
        is_about = _uid(received) == request["uid"]
        if received.get("status") == "error":
            has_answer = is_subscribe and (is_about or _uid(received) is None)
            has_answer = has_answer or "REQUESTS_EXCEEDED" in str(received.get("error"))
        else:
            event = "init" if is_subscribe else "unsubscribe"
            has_answer = is_about and received.get("event") == event
        if has_answer:
            self._on_its_way = None

    def _check_size(self) -> None:
        assert self._session.active <= self.confirmed
        bound = 2 * len(self._uids) + 2
        for name, value in vars(self._session).items():
            if isinstance(value, Sized) and not isinstance(value, str):
                assert len(value) <= bound, f"{name} grows"


def _parsed(frame: str) -> Message:
    try:
        content = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _uid(message: Message) -> str | None:
    uid = message.get("uid")
    return None if uid is None else str(uid)
