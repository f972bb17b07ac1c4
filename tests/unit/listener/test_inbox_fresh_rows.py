from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from directus_realtime.exceptions import LeaseLost
from directus_realtime.listener import inbox as fresh_module
from directus_realtime.listener.delivery import delivery_queue
from directus_realtime.listener.inbox import FreshRows, store
from directus_realtime.listener.inbox_entry import InboxEntry
from directus_realtime.models import InboxEvent
from directus_realtime.utils.system_clock import SystemClock
from tests.unit.listener.conftest import make_event, store_event

pytestmark = pytest.mark.django_db


def put(*keys: int, fresh: FreshRows, fence: Callable[[], None] = lambda: None) -> list[InboxEvent]:
    rows = [InboxEvent.from_event(make_event(key)) for key in keys]
    store([InboxEntry(row) for row in rows], fence, fresh)
    return rows


def due(fresh: FreshRows, limit: int = 10) -> list[InboxEvent]:
    return delivery_queue.due_rows(
        ["default"], limit, SystemClock(), with_retries=True, fresh=fresh
    )


def test_a_row_that_was_stored_just_now_is_not_read_again() -> None:
    fresh = FreshRows(["default"])
    (row,) = put(1, fresh=fresh)
    (found,) = due(fresh)
    assert found is row
    assert found == InboxEvent.objects.get()  # it has its primary key


def test_it_is_so_once() -> None:
    fresh = FreshRows(["default"])
    put(1, fresh=fresh)
    due(fresh)
    InboxEvent.objects.update(delivered=["app.receiver"])
    (found,) = due(fresh)
    assert found.delivered == ["app.receiver"]


class StoresMeanwhile(FreshRows):
    """A row is stored right behind the question whether there is any."""

    def __bool__(self) -> bool:
        there_are_some = bool(self._rows)
        if not InboxEvent.objects.exists():
            put(1, fresh=self)
        return there_are_some


def test_a_row_that_is_stored_while_the_table_is_read_is_given_away_once() -> None:
    fresh = StoresMeanwhile(["default"])
    (found,) = due(fresh)
    assert not fresh
    InboxEvent.objects.update(delivered=["app.receiver"])
    assert found.delivered == []
    (again,) = due(fresh)
    assert again.delivered == ["app.receiver"]


def test_the_table_says_what_is_next_and_in_which_order() -> None:
    fresh = FreshRows(["default"])
    retry = store_event(1, state="failed", next_attempt_at=timezone.now() - timedelta(seconds=1))
    first = store_event(2)
    second, gone, third = put(3, 4, 5, fresh=fresh)
    last = store_event(6)
    InboxEvent.objects.filter(event_id=gone.event_id).update(state="merged")
    assert due(fresh, limit=4) == [retry, first, second, third, last]


def test_rows_of_other_connections_and_debounced_ones_are_not_kept() -> None:
    fresh = FreshRows(["blog"])
    put(1, fresh=fresh)
    later = InboxEvent.from_event(make_event(connection="blog"))
    later.next_attempt_at = timezone.now()
    fresh.add([later])
    assert not fresh


def test_a_row_whose_transaction_failed_is_not_kept() -> None:
    fresh = FreshRows(["default"])

    def lost() -> None:
        assert fresh  # it was there before the commit
        raise LeaseLost(["default"])

    with pytest.raises(LeaseLost):
        put(1, fresh=fresh, fence=lost)
    assert not fresh


def test_rows_that_may_have_been_delivered_meanwhile_are_not_kept() -> None:
    fresh = FreshRows(["default"])
    rows = [InboxEntry(InboxEvent.from_event(make_event(key))) for key in (1, 2)]
    store(rows[:1])
    store(rows, fresh=fresh)  # the answer to a commit may get lost
    assert not fresh
    assert [row.key_json for row in due(fresh)] == ["1", "2"]


def test_no_more_rows_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_module, "LIMIT", 2)
    fresh = FreshRows(["default"])
    rows = put(1, 2, 3, fresh=fresh)
    found = due(fresh)
    assert found == [*rows[:2], InboxEvent.objects.get(key_json="3")]
    assert [a is b for a, b in zip(found, rows, strict=True)] == [True, True, False]


def test_no_more_text_is_kept_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five thousand events of a megabyte each would be as many gigabytes."""
    monkeypatch.setattr(fresh_module, "MOST_TEXT", 40)
    fresh = FreshRows(["default"])
    for _ in range(3):  # what is given away, or forgotten, makes room
        rows = put(1, 2, 3, fresh=fresh)
        assert len(rows[0].data_json) < 40 < 2 * len(rows[0].data_json)
        found = due(fresh)
        assert [a is b for a, b in zip(found, rows, strict=True)] == [True, True, False]
        InboxEvent.objects.all().delete()
        fresh.remove(put(4, fresh=fresh))
        InboxEvent.objects.all().delete()
