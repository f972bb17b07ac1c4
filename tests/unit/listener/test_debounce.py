"""Of the changes within a window, the last one is delivered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from directus_realtime.listener.inbox import store
from directus_realtime.listener.incoming import Debounce, Incoming
from directus_realtime.models import DebounceBy, InboxEvent
from tests.unit.listener.conftest import make_event

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def change(key: int, action: str = "update", *, after: float = 0, by: str = "item") -> Incoming:
    """A change so many seconds from now, in windows of a minute."""
    data = None if action == "delete" else {"id": key}
    at = NOW + timedelta(seconds=after)
    event = make_event(key, action=action, data=data, received_at=at)
    return Incoming(InboxEvent.from_event(event), Debounce(60, by))


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


def test_what_is_not_debounced_goes_its_way() -> None:
    store([change(1)])
    store([Incoming(InboxEvent.from_event(make_event(1)))])
    assert rows() == [("1", "update", "pending")] * 2
