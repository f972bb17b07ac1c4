from __future__ import annotations

from directus_realtime.gateway.browser_connections import BrowserConnection, BrowserLimits
from directus_realtime.gateway.frames import PING, Frame
from tests.helpers.manual_clock import ManualClock

LIMITS = BrowserLimits(heartbeat=30, pong_timeout=10, max_unread=800)


class Recorded(BrowserConnection):
    """A browser that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(None, None, LIMITS, ManualClock())
        self.texts: list[str] = []

    def _write(self, text: str) -> None:
        self.texts.append(text)

    def _on_drop(self) -> None:
        assert self.closing is not None
        self.texts.append(f"end {self.closing[0]}")


def test_what_was_sent_before_an_answered_ping_is_read() -> None:
    connection = Recorded()
    connection.deliver(Frame("x" * 50))
    connection.ping(0.0)
    connection.deliver(Frame("y" * 30))
    assert connection.unread == 80 + PING.size
    connection.pong()
    assert connection.unread == 30


def test_a_pong_that_answers_nothing_means_nothing() -> None:
    connection = Recorded()
    connection.deliver(Frame("x" * 50))
    connection.pong()
    assert connection.unread == 50


def test_a_ping_is_sent_early_when_much_is_unread_but_only_one() -> None:
    connection = Recorded()
    for _ in range(3):
        connection.deliver(Frame("x" * 99))
    assert connection.texts.count(PING.text) == 1


def test_too_much_that_is_unread_is_the_end_and_nothing_follows() -> None:
    connection = Recorded()
    for _ in range(20):
        connection.deliver(Frame("x" * 99))
    assert connection.closing is not None
    assert connection.texts[-1] == "end 1013"
    assert sum(map(len, connection.texts[:-1])) <= LIMITS.max_unread


def test_a_heartbeat_that_is_not_answered_is_the_end() -> None:
    connection = Recorded()
    connection.ping(0.0)
    connection.tick(9.9)
    assert connection.closing is None
    connection.tick(10.0)
    assert connection.texts == [PING.text, "end 4408"]


def test_a_heartbeat_is_sent_when_it_is_time_to() -> None:
    connection = Recorded()
    connection.ping(100.0)
    connection.pong()
    connection.tick(129.9)
    assert connection.texts == [PING.text]
    connection.tick(130.0)
    assert connection.texts == [PING.text] * 2


def test_who_has_left_is_sent_nothing() -> None:
    connection = Recorded()
    connection.mark_left()
    connection.deliver(Frame("x"))
    connection.ping(0.0)
    assert connection.texts == []
