from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from directus_realtime.client.activity_log import ActivityRow, IdRange
from directus_realtime.client.log_position import MOST_ASKED, Hole, Position

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def row(number: int) -> ActivityRow:
    moment = BEGAN + timedelta(seconds=number)
    return ActivityRow(number, "update", "articles", "1", moment)


def holes(position: Position) -> list[tuple[int, int]]:
    return [(hole.first, hole.last) for hole in position.holes]


def read(position: Position, *ids: int, now: float = 0.0) -> None:
    position.take(ids, [row(number) for number in ids], now)


def test_ids_that_are_left_out_are_holes_until_their_rows_come() -> None:
    position = Position(10)
    read(position, 11, 15, 20)
    assert (position.top, holes(position)) == (20, [(12, 14), (16, 19)])
    read(position, 13)
    assert holes(position) == [(12, 12), (14, 14), (16, 19)]
    read(position, 12, 14, 16, 17, 18, 19)
    assert holes(position) == []


def test_only_rows_in_holes_and_above_the_top_are_new() -> None:
    position = Position(10)
    read(position, 11, 15)
    assert [number for number in range(9, 18) if position.is_new(number)] == [12, 13, 14, 16, 17]


def test_what_was_not_read_is_the_holes_and_everything_above_the_top() -> None:
    position = Position(10)
    read(position, 13)
    assert position.unread() == [IdRange(11, 12), IdRange(14)]


def test_a_rolled_back_list_is_one_hole() -> None:
    position = Position(10)
    read(position, 10_011)
    assert holes(position) == [(11, 10_010)]


def query(position: Position, now: float) -> list[IdRange]:
    """Query the holes that are due; the answer has none of their rows."""
    ranges = position.due(now)
    position.record_query(ranges, now)
    return ranges


def test_a_hole_whose_query_failed_is_neither_dropped_nor_counted_as_read() -> None:
    position = Position(0)
    read(position, 3, now=100.0)
    assert position.due(150.0) == [IdRange(1, 2)]  # and the request fails
    assert position.due(150.0) == [IdRange(1, 2)]
    assert position.complete_until(200.0) == 100.0
    assert position.drop(before=140.0) == 0


def test_a_query_counts_for_what_is_left_of_a_hole() -> None:
    position = Position(0)
    read(position, 11, 13, now=100.0)
    ranges = position.due(150.0)
    read(position, 5, now=151.0)
    position.record_query(ranges, 150.0)
    assert holes(position) == [(1, 4), (6, 10), (12, 12)]
    assert {hole.asked_at for hole in position.holes} == {150.0}


def test_a_hole_that_was_not_queried_stays_due() -> None:
    position = Position(0)
    read(position, 11, 13, now=100.0)
    position.record_query([IdRange(12, 12)], 150.0)
    assert position.due(150.0) == [IdRange(1, 10)]


def test_a_hole_is_asked_for_with_growing_pauses() -> None:
    position = Position(0, [Hole(1, 1, 0.0, 0.0)])
    asked = []
    now = 0.0
    while now < 3600:
        now = position.next_due() or 0
        asked.append(now)
        assert query(position, now) == [IdRange(1, 1)]
        assert position.due(now) == []
    pauses = [round(after - before, 6) for before, after in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert (asked[0], max(pauses)) == (0.05, 30.0)
    assert len(asked) < 150


def test_a_hole_is_given_up_after_its_age_and_its_ids_are_counted() -> None:
    position = Position(0)
    read(position, 11, now=100.0)
    read(position, 21, now=200.0)
    query(position, 200.0)
    assert position.drop(before=150.0) == 10
    assert (holes(position), position.dropped) == ([(12, 20)], 10)


def test_a_hole_is_not_given_up_before_it_was_asked_for_at_that_age() -> None:
    position = Position(20, [Hole(1, 10, 100.0, 0.0), Hole(12, 12, 200.0, 0.0)])
    assert position.drop(before=150.0, number=15) == 0
    assert query(position, 200.0) == [IdRange(1, 10), IdRange(12, 12)]
    assert position.drop(before=150.0, number=15) == 11


def test_holes_that_are_due_soon_are_asked_for_with_those_that_are_due() -> None:
    """A list that was rolled back beside 900 other changes costs few looks at the log."""
    seen = [0.05 * number for number in range(900)]
    position = Position(9000, [Hole(10 * n, 10 * n + 5, at, at) for n, at in enumerate(seen)])
    looks, now = 0, seen[-1]
    while now < 3600.0:
        now = max(now, position.next_due() or 0.0)
        due_before = [hole for hole in position.holes if hole.due_at() <= now]
        asked = query(position, now)
        assert {hole.first for hole in due_before} <= {each.first for each in asked}
        assert position.due(now) == []
        looks += 1
    assert looks < 200


def test_all_holes_that_are_due_are_asked_for_however_many_there_are() -> None:
    position = Position(0)
    read(position, *range(2, 1000, 2), now=5.0)
    position.record_query(position.youngest(), 5.0)
    assert len(query(position, 6.0)) == len(position.holes) == 499


def test_holes_are_asked_for_at_once_where_the_clock_was_set_back() -> None:
    position = Position(0)
    read(position, 11, now=5000.0)
    assert query(position, 1400.0) == [IdRange(1, 10)]
    assert position.due(1400.0) == []


def test_holes_below_a_row_of_long_ago_are_given_up() -> None:
    position = Position(0)
    read(position, 11, 21)
    assert position.drop(before=0.0, number=11) == 10
    assert holes(position) == [(12, 20)]


def test_too_many_holes_become_fewer_without_losing_an_id() -> None:
    position = Position(0)
    read(position, *range(2, 5000, 2))
    assert len(position.holes) <= 1250
    assert all(position.is_new(number) for number in range(1, 4998, 2))


def test_the_last_rows_are_remembered_to_recognize_the_log() -> None:
    position = Position(0)
    read(position, *range(1, 30))
    assert [number for number, _ in position.anchors] == list(range(22, 30))


@given(st.lists(st.integers(1, 60), unique=True, max_size=60), st.integers(1, 7))
def test_every_id_is_new_exactly_once_whatever_the_order(ids: list[int], size: int) -> None:
    position = Position(0)
    seen: list[int] = []
    for start in range(0, len(ids), size):
        page = sorted(number for number in ids[start : start + size] if position.is_new(number))
        seen += page
        position.take(page, [row(number) for number in page], float(start))
    assert sorted(seen) == sorted(ids)
    missing = {number for first, last in holes(position) for number in range(first, last + 1)}
    assert missing == set(range(1, position.top)) - set(ids)


def test_a_log_is_complete_only_until_its_holes_were_asked_for() -> None:
    position = Position(0)
    read(position, 3, now=100.0)
    assert position.complete_until(200.0) == 100.0
    query(position, 150.0)
    assert position.complete_until(200.0) == 150.0
    read(position, 1, 2)
    assert position.complete_until(200.0) == 200.0


def test_the_youngest_holes_and_the_new_rows_fit_into_one_request() -> None:
    position = Position(0)
    read(position, *range(2, 1000, 2))
    young = position.youngest()
    assert len([*young, IdRange(position.top + 1)]) == MOST_ASKED
    assert young[-1] == IdRange(997, 997)
