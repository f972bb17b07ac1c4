from __future__ import annotations

import pytest

from directus_realtime.client import doorbells
from directus_realtime.client.doorbells import LONG_PATIENCE, PATIENCE, RingBook
from tests.helpers.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def book(clock: ManualClock) -> RingBook:
    return RingBook(clock)


def test_a_read_that_begins_after_a_ring_answers_it(book: RingBook, clock: ManualClock) -> None:
    book.add("articles", 1, "update")
    book.answer([("articles", 1)], clock.monotonic())
    clock.advance(PATIENCE)
    assert book.take_due() == []


def test_a_ring_that_comes_while_its_item_is_read_is_not_answered(
    book: RingBook, clock: ManualClock
) -> None:
    read_from = clock.monotonic()
    clock.advance(0.01)
    book.add("articles", 1, "update")
    book.answer([("articles", 1)], read_from)
    clock.advance(PATIENCE)
    assert [(ring.key, ring.action) for ring in book.take_due()] == [(1, "update")]


def test_a_ring_waits_for_its_row_before_its_item_is_read(
    book: RingBook, clock: ManualClock
) -> None:
    book.add("articles", 1, "create")
    clock.advance(PATIENCE - 0.01)
    assert book.take_due() == []
    clock.advance(0.01)
    assert len(book.take_due()) == 1
    assert book.take_due() == []


def test_while_the_log_has_young_holes_a_ring_waits_longer(
    book: RingBook, clock: ManualClock
) -> None:
    book.add("articles", 1, "create")
    book.has_young_holes = True
    clock.advance(PATIENCE)
    assert book.take_due() == []
    assert book.wait() == LONG_PATIENCE - PATIENCE
    clock.advance(LONG_PATIENCE - PATIENCE)
    assert len(book.take_due()) == 1


def test_a_ring_whose_row_was_read_before_it_came_is_read_soon(
    book: RingBook, clock: ManualClock
) -> None:
    """The end of an upload rings long after its row, and has none of its own."""
    book.answer([("directus_files", "a")], clock.monotonic())
    clock.advance(5)
    book.has_young_holes = True
    book.add("directus_files", "a", "create")
    clock.advance(1.0)
    assert len(book.take_due()) == 1


def test_a_ring_waits_for_its_row_while_others_of_its_collection_come(
    book: RingBook, clock: ManualClock
) -> None:
    """A list is announced item by item before it is committed."""
    book.add("articles", 1, "update")
    book.add("notes", 1, "update")
    clock.advance(PATIENCE - 1)
    book.add("articles", 2, "update")
    clock.advance(1)
    assert [ring.collection for ring in book.take_due()] == ["notes"]
    clock.advance(PATIENCE - 1)
    assert [ring.key for ring in book.take_due()] == [1, 2]


def test_a_ring_does_not_wait_for_ever_where_its_collection_rings_all_the_time(
    book: RingBook, clock: ManualClock
) -> None:
    book.add("articles", 1, "update")
    for number in range(2, 62):
        assert book.take_due() == []
        clock.advance(1)
        book.add("articles", number, "update")
    assert [ring.key for ring in book.take_due()] == [1]


def test_a_second_ring_of_an_item_replaces_the_first(book: RingBook, clock: ManualClock) -> None:
    book.add("articles", 1, "create")
    clock.advance(5)
    book.add("articles", 1, "delete")
    clock.advance(PATIENCE - 5)
    assert book.take_due() == []
    clock.advance(5)
    assert [ring.action for ring in book.take_due()] == ["delete"]


def test_the_log_is_polled_at_once_for_a_ring_and_again_with_growing_pauses(
    book: RingBook, clock: ManualClock
) -> None:
    book.add("articles", 1, "update")
    book.poll_soon()
    pauses = []
    for _ in range(8):
        pauses.append(book.wait())
        clock.advance(book.wait() or 0)
        book.polled(clock.monotonic())
    assert pauses == pytest.approx([0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0])


def test_nothing_is_due_once_every_ring_is_answered(book: RingBook, clock: ManualClock) -> None:
    book.add("articles", 1, "update")
    book.poll_soon()
    book.answer([("articles", 1)], clock.monotonic())
    book.polled(clock.monotonic())
    assert book.wait() is None


def test_the_memory_is_bounded(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbells, "_MOST", 10)
    book = RingBook(clock)
    for number in range(100):
        book.add("articles", number, "update")
        book.answer([("notes", number)], 0.0)
    assert len(book) == 10
    assert len(book._rows) == 10


@pytest.mark.parametrize("has_young_holes", [False, True])
def test_an_item_that_rings_again_and_again_is_read_all_the_same(
    book: RingBook, clock: ManualClock, has_young_holes: bool
) -> None:
    book.has_young_holes = has_young_holes
    read = []
    for _ in range(30):
        book.add("articles", 1, "update")
        clock.advance(PATIENCE / 2)
        read += book.take_due()
    assert len(read) == 2
