from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import cast

import pytest

from directus_realtime.client.activity_log import ActivityLog, ActivityRow, IdRange, LogPage
from directus_realtime.client.log_position import Position
from directus_realtime.listener.follower import log_cursor
from directus_realtime.listener.follower.log_cursor import Continuity
from tests.unit.listener.follower.conftest import NOON, row


class Rows:
    """A log of rows that are at hand; a page has three of them."""

    def __init__(self, *rows: ActivityRow) -> None:
        self.rows = {each.id: each for each in rows}
        self.read: list[int] = []

    async def newest(self) -> ActivityRow | None:
        return self.rows[max(self.rows)] if self.rows else None

    async def count(self, ranges: Sequence[IdRange]) -> int:
        return len(self.rows)

    async def find(self, ids: Iterable[int]) -> dict[int, ActivityRow]:
        return {number: self.rows[number] for number in ids if number in self.rows}

    async def has_change_up_to(self, number: int) -> bool:
        return any(each.id <= number and each.action for each in self.rows.values())

    async def since(self, moment: datetime) -> ActivityRow | None:
        found = [each for each in self.rows.values() if each.timestamp >= moment]
        return min(found, key=lambda each: each.id, default=None)

    async def last_before(self, number: int) -> ActivityRow | None:
        found = [each for each in self.rows.values() if each.id < number]
        return max(found, key=lambda each: each.id, default=None)

    async def pages(self, ranges: Sequence[IdRange]) -> AsyncGenerator[LogPage, None]:
        (span,) = ranges
        found = [number for number in sorted(self.rows) if number >= span.first]
        found = [number for number in found if span.last is None or number <= span.last]
        for start in range(0, len(found) + 1, 3):
            ids = found[start : start + 3]
            self.read += ids
            yield LogPage([self.rows[number] for number in ids], ids, size=len(ids))


async def compare(rows: Rows, position: Position) -> Continuity:
    return await log_cursor.compare_continuity(
        cast(ActivityLog, rows), position, await rows.newest()
    )


async def begin(rows: Rows, since: datetime) -> Position:
    return await log_cursor.begin_position(
        cast(ActivityLog, rows), await rows.newest(), since, 1000.0
    )


def after(*numbers: int) -> Position:
    """The position after some rows were read."""
    position = Position()
    position.take(numbers, [row(number) for number in numbers], 0.0)
    return position


# The same log?


@pytest.mark.parametrize("more", [0, 5])
async def test_a_log_with_the_rows_that_were_read_is_the_same(more: int) -> None:
    rows = Rows(*(row(number) for number in range(1, 11 + more)))
    assert await compare(rows, after(*range(1, 11))) is Continuity.SAME


async def test_an_empty_log_that_was_never_read_is_the_same() -> None:
    assert await compare(Rows(), Position()) is Continuity.SAME


async def test_a_log_that_is_read_from_its_beginning_is_the_same() -> None:
    assert await compare(Rows(row(5)), Position()) is Continuity.SAME


@pytest.mark.parametrize("left", [[], [1, 2]])
async def test_a_log_that_ends_before_what_was_read_is_another(left: list[int]) -> None:
    rows = Rows(*(row(number) for number in left))
    assert await compare(rows, after(1, 2, 3)) is Continuity.ANOTHER


async def test_a_log_with_other_rows_under_the_same_ids_is_another() -> None:
    later = [row(number, timestamp=NOON + timedelta(days=1)) for number in range(2, 9)]
    assert await compare(Rows(row(1), *later), after(1, 2, 3)) is Continuity.ANOTHER


async def test_a_log_without_the_last_row_and_without_older_changes_was_pruned() -> None:
    assert await compare(Rows(row(7), row(8)), after(1, 2, 3)) is Continuity.PRUNED


async def test_an_older_change_shows_that_no_later_one_was_pruned() -> None:
    assert await compare(Rows(row(2), row(7)), after(1, 2, 3)) is Continuity.SAME


async def test_an_older_row_of_another_kind_shows_nothing() -> None:
    """Retention deletes the rows of each action by an age of its own."""
    login = row(2, None)  # type: ignore[arg-type]
    assert await compare(Rows(login, row(7)), after(1, 2, 3)) is Continuity.PRUNED


# Where to begin


async def test_a_new_position_is_at_the_end_of_the_log() -> None:
    rows = Rows(row(1), row(2), row(3))
    position = await begin(rows, NOON + timedelta(hours=1))
    assert (position.top, list(position.holes), rows.read) == (3, [], [])
    assert [number for number, _ in position.anchors] == [3]


async def test_an_empty_log_is_read_from_its_beginning() -> None:
    assert (await begin(Rows(), NOON)).top == 0


async def test_ids_that_an_open_transaction_may_have_are_holes() -> None:
    rows = Rows(*(row(number) for number in (1, 2, 5, 6, 9, 10)))
    position = await begin(rows, NOON + timedelta(seconds=5))
    assert position.top == 10
    assert [(hole.first, hole.last) for hole in position.holes] == [(3, 4), (7, 8)]


async def test_older_ids_are_no_holes() -> None:
    rows = Rows(*(row(number) for number in (1, 5, 6, 9)))
    position = await begin(rows, NOON + timedelta(seconds=6))
    assert [(hole.first, hole.last) for hole in position.holes] == [(7, 8)]


async def test_without_an_older_row_the_ids_before_the_first_one_may_be_open() -> None:
    position = await begin(Rows(row(3), row(4)), NOON)
    assert [(hole.first, hole.last) for hole in position.holes] == [(1, 2)]


async def test_a_log_that_was_pruned_has_no_long_hole_at_its_beginning() -> None:
    far = row(500_000, timestamp=NOON)
    position = await begin(Rows(far), NOON)
    (hole,) = position.holes
    assert (hole.last, hole.size) == (499_999, 1000)


async def test_a_new_position_looks_back_over_a_bounded_number_of_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_cursor, "_MOST_LOOKED_BACK", 4)
    rows = Rows(*(row(number) for number in range(1, 20)))
    assert (await begin(rows, NOON)).top == 19
    assert rows.read == [15, 16, 17, 18, 19]
