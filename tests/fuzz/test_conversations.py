from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.fuzz import keeper_world, session_world
from tests.fuzz.keeper_world import KeeperWorld
from tests.fuzz.model_server import WAITS, WAYS
from tests.fuzz.profile import examples
from tests.fuzz.session_world import SessionWorld
from tests.fuzz.test_frames import mutated_messages

uids = st.sampled_from(session_world.UIDS)
ways = st.sampled_from(WAYS)
waits = st.sampled_from(WAITS)
forgeries = st.sampled_from(session_world.FORGERIES)
seconds = st.sampled_from([0.0, 0.001, 1.0, 9.9, 30.0]) | st.floats(0, 200)


class SessionConversation(RuleBasedStateMachine):
    """A session against a server that does what it likes, and is sane in the end."""

    world: SessionWorld
    is_sound = False

    def step(self, happen: Callable[[], None]) -> None:
        self.is_sound = False
        happen()
        self.world.go_on()
        self.is_sound = True

    def teardown(self) -> None:
        if self.is_sound:
            self.world.settle()

    @initialize(authenticated=st.booleans())
    def begin(self, authenticated: bool) -> None:
        self.world = SessionWorld(authenticated=authenticated)
        self.is_sound = True

    @rule(uid=uids)
    def subscribe(self, uid: str) -> None:
        self.step(lambda: self.world.subscribe(uid))

    @rule(uid=uids)
    def unsubscribe(self, uid: str) -> None:
        self.step(lambda: self.world.unsubscribe(uid))

    @rule(steps=st.integers(1, 8))
    def be_calm(self, steps: int) -> None:
        self.step(lambda: self.world.be_calm(steps))

    @rule()
    def authenticate(self) -> None:
        self.step(self.world.authenticate)

    @rule(way=ways)
    def answer(self, way: str) -> None:
        self.step(lambda: self.world.answer(way))

    @rule(wait=waits)
    def limit(self, wait: str) -> None:
        self.step(lambda: self.world.limit(wait))

    @rule(uid=uids)
    def change(self, uid: str) -> None:
        self.step(lambda: self.world.change(uid))

    @rule()
    def expire(self) -> None:
        self.step(self.world.expire)

    @rule()
    def ping(self) -> None:
        self.step(self.world.ping)

    @rule()
    def fail_an_event(self) -> None:
        self.step(self.world.fail_an_event)

    @rule(what=forgeries, uid=st.sampled_from(session_world.FORGED_UIDS), wait=waits)
    def forge(self, what: str, uid: str | None, wait: str) -> None:
        self.step(lambda: self.world.forge(what, uid, wait))

    @rule(frame=mutated_messages())
    def receive(self, frame: str) -> None:
        self.step(lambda: self.world.receive(frame))

    @rule(passed=seconds)
    def wait(self, passed: float) -> None:
        self.step(lambda: self.world.wait(passed))

    @rule(passed=seconds)
    def wait_late(self, passed: float) -> None:
        self.step(lambda: self.world.wait_late(passed))

    @rule()
    def wait_for_deadline(self) -> None:
        self.step(self.world.wait_for_deadline)

    @rule()
    def lose(self) -> None:
        self.step(self.world.lose)


class KeeperConversation(RuleBasedStateMachine):
    """A feed keeper through losses, refusals and silence; all is subscribed in the end."""

    is_sound = True
    refuses = True

    def __init__(self) -> None:
        super().__init__()
        self.world = KeeperWorld(refuses=self.refuses)

    def step(self, happen: Callable[[], None]) -> None:
        self.is_sound = False
        happen()
        self.world.go_on()
        self.is_sound = True

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.world.settle()
        finally:
            self.world.close()

    @initialize(
        wanted=st.lists(st.integers(0, len(keeper_world.QUERIES) - 1), max_size=3),
        steps=st.integers(0, 40),
    )
    def begin(self, wanted: list[int], steps: int) -> None:
        for uid, query in zip(keeper_world.UIDS, wanted, strict=False):
            self.world.add(uid, query)
        self.step(lambda: self.world.be_calm(steps))

    @rule(
        uid=st.sampled_from(keeper_world.UIDS),
        query=st.integers(0, len(keeper_world.QUERIES) - 1),
    )
    def add(self, uid: str, query: int) -> None:
        self.step(lambda: self.world.add(uid, query))

    @rule(uid=st.sampled_from(keeper_world.UIDS))
    def unsubscribe(self, uid: str) -> None:
        self.step(lambda: self.world.unsubscribe(uid))

    @rule(uid=st.sampled_from(keeper_world.UIDS))
    def retry(self, uid: str) -> None:
        self.step(lambda: self.world.retry(uid))

    @rule()
    def connect(self) -> None:
        self.step(self.world.connect)

    @rule()
    def lose(self) -> None:
        self.step(self.world.lose)

    @rule(number=st.integers(0, 3), outcome=st.sampled_from(keeper_world.OUTCOMES))
    def answer_rest(self, number: int, outcome: str) -> None:
        self.step(lambda: self.world.answer_rest(number, outcome))

    @rule(way=ways)
    def answer(self, way: str) -> None:
        self.step(lambda: self.world.answer(way))

    @rule(wait=waits)
    def limit(self, wait: str) -> None:
        self.step(lambda: self.world.limit(wait))

    @rule(steps=st.integers(1, 20))
    def be_calm(self, steps: int) -> None:
        self.step(lambda: self.world.be_calm(steps))

    @rule(number=st.integers(0, 11))
    def change(self, number: int) -> None:
        self.step(lambda: self.world.change(number))

    @rule()
    def expire(self) -> None:
        self.step(self.world.expire)

    @rule(wire_uid=st.none() | st.sampled_from(keeper_world.WIRE_UIDS))
    def fail_an_event(self, wire_uid: str | None) -> None:
        self.step(lambda: self.world.fail_an_event(wire_uid))

    @rule(what=forgeries, wire_uid=st.none() | st.sampled_from(keeper_world.WIRE_UIDS))
    def forge(self, what: str, wire_uid: str | None) -> None:
        self.step(lambda: self.world.forge(what, wire_uid))

    @rule(passed=seconds)
    def wait(self, passed: float) -> None:
        self.step(lambda: self.world.wait(passed))


class UnrefusedConversation(KeeperConversation):
    """Nothing is refused: after silence and losses the next connection has all of it again."""

    refuses = False


TestSessionConversation = SessionConversation.TestCase
TestSessionConversation.settings = examples(400)
TestKeeperConversation = KeeperConversation.TestCase
TestKeeperConversation.settings = examples(300)
TestUnrefusedConversation = UnrefusedConversation.TestCase
TestUnrefusedConversation.settings = examples(200)
