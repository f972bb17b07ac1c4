"""Of the changes within a window, the last one is delivered."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from directus_realtime.listener import inbox
from directus_realtime.listener.debounce import _OpenWindows, end_windows, gather
from directus_realtime.listener.inbox_entry import Debounce, InboxEntry
from directus_realtime.models import DebounceBy, InboxEvent
from tests.helpers.manual_clock import ManualClock
from tests.unit.listener.conftest import make_event

pytestmark = pytest.mark.django_db

CLOCK = ManualClock()
NOW = CLOCK.now()

store = partial(inbox.store, clock=CLOCK)


def change(key: int, action: str = "update", *, after: float = 0, by: str = "item") -> InboxEntry:
    """A change so many seconds from now, in windows of a minute."""
    data = None if action == "delete" else {"id": key}
    at = NOW + timedelta(seconds=after)
    event = make_event(key, action=action, data=data, received_at=at)
    return InboxEntry(InboxEvent.from_event(event), Debounce(60, by))


def at_once(
    key: int, action: str = "update", *, origin: str = "catch-up", **values: Any
) -> InboxEntry:
    """A change that has no window."""
    data = None if action == "delete" else {"id": key}
    event = make_event(key, action=action, data=data, origin=origin, received_at=NOW, **values)
    return InboxEntry(InboxEvent.from_event(event), overtakes=True)


def rows() -> list[tuple[str, str, str]]:
    found = InboxEvent.objects.order_by("id")
    return list(found.values_list("key_json", "action", "state"))


def ends() -> list[float]:
    """When the windows end that are open, in seconds from now."""
    open_rows = InboxEvent.objects.filter(state="pending").order_by("id")
    moments = open_rows.values_list("next_attempt_at", flat=True)
    return [(moment - NOW).total_seconds() for moment in moments if moment]


def test_a_later_change_takes_the_place_of_one_that_waits() -> None:
    store([change(1)])
    store([change(1, after=10)])
    assert rows() == [("1", "update", "merged"), ("1", "update", "pending")]
    assert ends() == [60]  # of the window that the first one began


def test_changes_that_are_stored_together_are_gathered_too() -> None:
    store([change(1), change(2, after=5), change(1, after=10)])
    assert rows() == [
        ("1", "update", "merged"),
        ("2", "update", "pending"),
        ("1", "update", "pending"),
    ]
    assert ends() == [65, 60]


def test_a_new_item_that_is_changed_at_once_is_told_as_new() -> None:
    store([change(1, "create")])
    store([change(1, "update", after=1)])
    assert rows()[-1] == ("1", "create", "pending")


def test_a_delete_is_told_as_one() -> None:
    store([change(1, "create"), change(1, "delete", after=1)])
    assert rows()[-1] == ("1", "delete", "pending")


def test_one_window_for_the_whole_subscription() -> None:
    store([change(1, by=DebounceBy.SUBSCRIPTION)])
    store([change(2, after=20, by=DebounceBy.SUBSCRIPTION)])
    assert ends() == [60, 60]


def test_a_window_that_has_ended_takes_nothing_more() -> None:
    store([change(1, after=-90)])
    store([change(1)])
    assert rows() == [("1", "update", "pending")] * 2
    assert ends() == [-30, 60]


def test_what_is_not_debounced_goes_its_way_and_pays_nothing() -> None:
    store([change(1)])
    with CaptureQueriesContext(connection) as queries:
        store([InboxEntry(InboxEvent.from_event(make_event(1)))])
    assert rows() == [("1", "update", "pending")] * 2
    reads = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert not [read for read in reads if "next_attempt_at" in read]


@pytest.mark.parametrize("by", DebounceBy.values)
@pytest.mark.parametrize("origin", ["catch-up", "snapshot", "replay"])
def test_what_has_no_window_takes_the_place_of_what_waits_for_the_end_of_one(
    origin: str, by: str
) -> None:
    store([change(1, by=by), change(2, by=by)])
    store([at_once(1, origin=origin)])
    assert rows() == [
        ("1", "update", "merged"),
        ("2", "update", "pending"),
        ("1", "update", "pending"),
    ]
    assert InboxEvent.objects.get(origin=origin).next_attempt_at is None
    assert ends() == [60]  # the other item's


def test_a_deleted_item_does_not_come_back_when_its_window_ends() -> None:
    store([change(1, "create")])
    store([at_once(1, "delete")])
    assert rows() == [("1", "create", "merged"), ("1", "delete", "pending")]


def test_what_is_stored_together_is_overtaken_too() -> None:
    store([change(1, "create"), at_once(1, "delete"), change(1, "create", after=1)])
    assert rows() == [
        ("1", "create", "merged"),
        ("1", "delete", "pending"),
        ("1", "create", "pending"),
    ]
    assert ends() == [61]  # a window of its own


def test_a_new_item_that_is_told_of_by_the_log_alone_is_told_as_new() -> None:
    store([change(1, "create")])
    store([at_once(1)])
    assert rows()[-1] == ("1", "create", "pending")


@pytest.mark.parametrize("make", [change, at_once])
def test_an_item_that_leaves_the_filter_is_not_told_as_new(make: Any) -> None:
    store([change(1, "create")])
    leaving = make(1)
    leaving.row.left_filter = True
    store([leaving])
    assert rows() == [("1", "create", "merged"), ("1", "update", "pending")]


def test_other_subscriptions_wait_on() -> None:
    other = change(1)
    other.row.subscription = "other"
    store([other, change(1)])
    store([at_once(1)])
    found = InboxEvent.objects.order_by("id").values_list("subscription", "state")
    assert list(found) == [("other", "pending"), ("all", "merged"), ("all", "pending")]


def test_an_event_that_is_stored_once_more_overtakes_nothing() -> None:
    """What came in after it was stored is newer."""
    made = at_once(1)
    store([made])
    store([change(1)])
    store([InboxEntry(InboxEvent.from_event(made.row.to_event()), overtakes=True)])
    assert rows() == [("1", "update", "pending")] * 2
    assert ends() == [60]


def test_what_delivery_has_come_to_meanwhile_stays_as_delivery_left_it() -> None:
    store([change(1)])
    overtaking = at_once(1)
    windows = _OpenWindows([overtaking.row], NOW, None)
    windows.add(overtaking.row, None)
    InboxEvent.objects.update(state="failed")
    windows.write()
    assert rows() == [("1", "update", "failed")]


def test_what_came_in_while_an_item_was_read_is_newer_than_what_was_read() -> None:
    store([change(1, after=-20), change(2, "delete", after=-10)])
    read_at = NOW - timedelta(seconds=15)
    gather([at_once(1, origin="replay"), at_once(2, origin="replay")], NOW, read_at=read_at)
    assert rows() == [("1", "update", "merged"), ("2", "delete", "pending")]


def test_the_windows_of_a_subscription_that_has_none_any_more_end() -> None:
    other = change(2)
    other.row.subscription = "other"
    elsewhere = change(3)
    elsewhere.row.connection = "elsewhere"
    store([change(1), other, elsewhere])
    end_windows("default", ["other"], NOW)
    open_rows = InboxEvent.objects.exclude(next_attempt_at=None)
    assert set(open_rows.values_list("key_json", flat=True)) == {"2", "3"}
    assert set(InboxEvent.objects.values_list("state", flat=True)) == {"pending"}
