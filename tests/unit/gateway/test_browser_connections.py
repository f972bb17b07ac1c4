from __future__ import annotations

from directus_realtime.gateway.browser_connections import BrowserConnection
from directus_realtime.gateway.frames import PING, Frame
from directus_realtime.gateway.limits import BrowserLimits

LIMITS = BrowserLimits(heartbeat=30, pong_timeout=10, max_unread=800)


class Recorded(BrowserConnection):
    """A browser that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(None, None, LIMITS)
        self.texts: list[str] = []

    def _write(self, text: str) -> None:
        self.texts.append(text)

    def _end(self, code: int, reason: str) -> None:
        self.texts.append(f"end {code}")


def test_what_was_sent_before_an_answered_ping_is_read() -> None:
    member = Recorded()
    member.deliver(Frame("x" * 50))
    member.ping(0.0)
    member.deliver(Frame("y" * 30))
    assert member.unread == 80 + PING.size
    member.pong()
    assert member.unread == 30


def test_a_pong_that_answers_nothing_means_nothing() -> None:
    member = Recorded()
    member.deliver(Frame("x" * 50))
    member.pong()
    assert member.unread == 50


def test_a_ping_is_sent_early_when_much_is_unread_but_only_one() -> None:
    member = Recorded()
    for _ in range(3):
        member.deliver(Frame("x" * 99))
    assert member.texts.count(PING.text) == 1


def test_too_much_that_is_unread_is_the_end_and_nothing_follows() -> None:
    member = Recorded()
    for _ in range(20):
        member.deliver(Frame("x" * 99))
    assert member.closing is not None
    assert member.texts[-1] == "end 1013"
    assert sum(map(len, member.texts[:-1])) <= LIMITS.max_unread


def test_a_heartbeat_that_is_not_answered_is_the_end() -> None:
    member = Recorded()
    member.ping(0.0)
    member.tick(9.9)
    assert member.closing is None
    member.tick(10.0)
    assert member.texts == [PING.text, "end 4408"]


def test_a_heartbeat_is_sent_when_it_is_time_to() -> None:
    member = Recorded()
    member.ping(100.0)
    member.pong()
    member.tick(129.9)
    assert member.texts == [PING.text]
    member.tick(130.0)
    assert member.texts == [PING.text] * 2


def test_who_has_left_is_sent_nothing() -> None:
    member = Recorded()
    member.left()
    member.deliver(Frame("x"))
    member.ping(0.0)
    assert member.texts == []
