from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from directus_realtime.client.rest_messages import ServerClock

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def answer(clock: ServerClock, ahead: float, at: float, took: float = 0.01) -> None:
    """An answer that the server makes at the end of the request, and that arrives at once."""
    sent_at = NOON + timedelta(seconds=at)
    received_at = sent_at + timedelta(seconds=took)
    made_at = received_at + timedelta(seconds=ahead)
    clock.note(format_datetime(made_at.replace(microsecond=0), usegmt=True), sent_at, received_at)


def test_without_an_answer_the_clocks_are_taken_for_the_same() -> None:
    assert ServerClock().ahead == timedelta()


@pytest.mark.parametrize("ahead", [-3600.0, -2.3, 0.0, 0.4, 75.5])
def test_one_answer_tells_it_to_the_second(ahead: float) -> None:
    clock = ServerClock()
    answer(clock, ahead, at=0.3)
    assert abs(clock.ahead.total_seconds() - ahead) <= 0.51


@pytest.mark.parametrize("ahead", [-2.3, 0.4])
def test_answers_at_other_fractions_of_a_second_tell_it_better(ahead: float) -> None:
    clock = ServerClock()
    for number in range(20):
        answer(clock, ahead, at=number * 1.05)
    assert abs(clock.ahead.total_seconds() - ahead) <= 0.05


def test_an_answer_that_was_held_up_on_its_way_back_does_not_mislead() -> None:
    clock = ServerClock()
    answer(clock, 0, at=0)
    made_at = format_datetime(NOON + timedelta(seconds=10), usegmt=True)
    clock.note(made_at, NOON + timedelta(seconds=10), NOON + timedelta(seconds=25))
    assert abs(clock.ahead.total_seconds()) <= 0.51


def test_a_clock_that_was_set_is_believed() -> None:
    clock = ServerClock()
    answer(clock, 0, at=0)
    answer(clock, 60, at=1)
    assert abs(clock.ahead.total_seconds() - 60) <= 0.51


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Wed, 25 Nov 2026 12:00:00 -0000",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Wed, 25 Nov 2026 99999999999999999999:00:00 GMT",
        "Wed, 25 Nov 2026 12:00:00 +99999999999999",
    ],
)
def test_a_date_that_says_nothing_is_left_alone(date: str) -> None:
    clock = ServerClock()
    clock.note(date, NOON, NOON)
    assert clock.ahead == timedelta()
