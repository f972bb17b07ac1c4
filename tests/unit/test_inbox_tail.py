from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from directus_realtime import inbox_tail
from directus_realtime.inbox_tail import InboxTail
from directus_realtime.models import InboxEvent
from tests.helpers.manual_clock import ManualClock
from tests.unit.test_layers import mark_sent, store

pytestmark = pytest.mark.django_db(transaction=True)


class Tail:
    """A tail that is read ten times a second."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tail = InboxTail(self.clock, batch=500)
        self.tail.follow(["default"])

    def store_debounced(self, count: int, **values: Any) -> list[InboxEvent]:
        """Rows whose window ends in an hour."""
        rows = [store(str(n), sent=False, key=n) for n in range(count)]
        pks = [row.pk for row in rows]
        later = self.clock.now() + timedelta(hours=1)
        InboxEvent.objects.filter(pk__in=pks).update(next_attempt_at=later, **values)
        return rows

    def sent(self, reads: int = 1) -> list[str]:
        """Titles of the rows that were sent."""
        titles = []
        for _ in range(reads):
            self.clock.advance(0.1)
            for row in self.tail.read(list):
                data = row.to_event().data
                assert data is not None
                titles.append(data["title"])
        return titles


def test_rows_that_wait_for_their_window_are_not_read_again_and_again() -> None:
    """Thousands of them, ten times a second, would cost a web process more than a core."""
    tail = Tail()
    tail.store_debounced(10)
    assert tail.sent() == []
    with CaptureQueriesContext(connection) as queries:
        assert tail.sent(reads=40) == []
    assert len(queries) <= 40 + 2  # new rows; and twice, whether a window was closed early


def test_rows_are_found_when_their_window_ends_or_has_ended_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox_tail, "_CHUNK", 2)
    tail = Tail()
    rows = tail.store_debounced(5)
    assert tail.sent() == []
    for row in rows:
        mark_sent(row)
    assert tail.sent(reads=25) == ["0", "1", "2", "3", "4"]
    (row,) = tail.store_debounced(1)
    assert tail.sent() == []
    mark_sent(row)
    monkeypatch.setattr(inbox_tail, "CHECK_WINDOWS_EVERY", 7200.0)
    assert tail.sent() == []
    tail.clock.advance(3600)
    assert tail.sent() == ["0"]


def test_what_a_worker_has_is_looked_for_each_time() -> None:
    tail = Tail()
    (row,) = tail.store_debounced(1, state="delivering")
    for _ in range(3):
        assert tail.sent() == []
    mark_sent(row)
    assert tail.sent() == ["0"]


def test_a_tail_reads_no_more_than_its_batches() -> None:
    tail = InboxTail(ManualClock(), batch=2, batches=2)
    tail.follow(["default"])
    rows = [store(str(number)) for number in range(5)]
    assert [row.pk for row in tail.read(list)] == [row.pk for row in rows[:4]]
    assert [row.pk for row in tail.read(list)] == [rows[4].pk]


def test_rows_whose_conversion_fails_are_read_again() -> None:
    tail = Tail()
    store("a")

    def fails(rows: list[InboxEvent]) -> None:
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError):
        tail.tail.read(fails)
    assert tail.sent() == ["a"]
