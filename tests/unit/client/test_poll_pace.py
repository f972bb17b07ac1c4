from __future__ import annotations

import pytest

from directus_realtime.client.poll_pace import LONGEST, PollPace
from tests.helpers.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def pace(clock: ManualClock) -> PollPace:
    return PollPace(clock)


def test_lone_changes_are_polled_for_at_once(pace: PollPace, clock: ManualClock) -> None:
    for _ in range(20):
        assert pace.delay() == 0
        pace.polled()
        pace.found(1)
        clock.advance(0.2)


def test_the_distance_grows_with_the_number_of_changes_up_to_a_limit(
    pace: PollPace, clock: ManualClock
) -> None:
    delays = []
    for _ in range(12):
        pace.polled()
        pace.found(10)
        delays.append(pace.delay())
        clock.advance(0.05)
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0, LONGEST)


def test_after_a_second_without_changes_the_next_one_is_a_lone_one_again(
    pace: PollPace, clock: ManualClock
) -> None:
    pace.polled()
    pace.found(1000)
    assert pace.delay() == LONGEST
    clock.advance(1)
    pace.polled()
    assert pace.delay() == 0


def test_polls_that_find_nothing_are_no_load(pace: PollPace) -> None:
    for _ in range(1000):
        pace.polled()
        pace.found(0)
    assert pace.delay() == 0


def test_rings_without_rows_are_load_too(pace: PollPace, clock: ManualClock) -> None:
    pace.polled()
    for _ in range(10):
        pace.rang()
    assert pace.delay() == 0
    for _ in range(1000):
        pace.rang()
    assert pace.delay() == LONGEST
    clock.advance(1)
    assert pace.delay() == 0
