from __future__ import annotations

import pytest

from directus_realtime.client.doorbells import KNOCK_WINDOW, PATIENCE, DoorWatch, RingBook
from tests.helpers.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def book(clock: ManualClock) -> RingBook:
    return RingBook(clock)


@pytest.fixture
def door(clock: ManualClock) -> DoorWatch:
    return DoorWatch(clock)


def polls(book: RingBook, clock: ManualClock) -> list[float]:
    """When the log is polled until nothing is due, in seconds from now."""
    started, found = clock.monotonic(), []
    while (wait := book.wait()) is not None:
        clock.advance(wait)
        found.append(round(clock.monotonic() - started, 3))
        book.polled(clock.monotonic())
    return found


def test_a_knock_whose_row_is_there_is_polled_at_once_and_after_the_window(
    book: RingBook, clock: ManualClock
) -> None:
    book.knock()
    book.answer([], clock.monotonic())
    assert polls(book, clock) == [0, KNOCK_WINDOW]


def test_a_knock_without_a_row_is_polled_with_growing_pauses_until_patience_ends(
    book: RingBook, clock: ManualClock
) -> None:
    book.knock()
    found = polls(book, clock)
    assert found[:5] == [0, 0.05, 0.15, 0.35, 0.75]
    assert PATIENCE <= found[-1] < PATIENCE + 2
    assert len(found) < 12


def test_a_read_that_began_before_a_knock_does_not_answer_it(
    book: RingBook, clock: ManualClock
) -> None:
    read_from = clock.monotonic()
    clock.advance(0.01)
    book.knock()
    book.answer([], read_from)
    assert len(polls(book, clock)) > 5


def test_a_door_that_has_not_rung_announces_nothing(door: DoorWatch) -> None:
    assert door.problem() == "It has not rung since the listener started."


def test_a_row_and_its_knock_may_come_in_either_order(door: DoorWatch, clock: ManualClock) -> None:
    door.knocked("articles")
    clock.advance(4)
    door.found({"articles"})
    clock.advance(100)
    door.found({"articles"})
    clock.advance(4)
    door.knocked("articles")
    clock.advance(100)
    assert door.problem() == ""


def test_a_collection_whose_rows_come_without_a_knock_is_silent_until_it_knocks(
    door: DoorWatch, clock: ManualClock
) -> None:
    door.knocked("articles")
    clock.advance(100)
    door.found({"authors"})
    clock.advance(5)
    assert door.problem() == "It did not ring for changes of authors."
    door.knocked("articles")
    assert door.problem() == "It did not ring for changes of authors."
    door.knocked("authors")
    assert door.problem() == ""
