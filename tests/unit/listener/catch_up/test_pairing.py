"""Rows of the activity log and live events: which belong together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from directus_realtime.client.activity import ActivityRow
from directus_realtime.events import Action
from directus_realtime.listener.catch_up.pairing import Interest, pair
from directus_realtime.models import InboxEvent
from directus_realtime.protocol.queries import Query
from tests.unit.listener.conftest import store_event

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALL = Interest("all", Query("articles"), after=0)


def row(number: int, item: str = "1", action: Action = "update", at: float = 0) -> ActivityRow:
    return ActivityRow(number, action, "articles", item, NOON + timedelta(seconds=at))


def live(key: int | str = 1, action: str = "update", at: float = 0, **values: Any) -> InboxEvent:
    return store_event(key, action=action, received_at=NOON + timedelta(seconds=at), **values)


def owed(rows: list[ActivityRow], *interests: Interest, ahead: float = 0) -> list[tuple[str, int]]:
    found = pair("default", rows, interests or (ALL,), timedelta(seconds=ahead))
    return [(entry.subscription, entry.row.id) for entry in found]


def activity_ids() -> list[int | None]:
    return list(InboxEvent.objects.order_by("id").values_list("activity_id", flat=True))


def test_a_live_event_has_the_row_of_its_item_and_action() -> None:
    live(1), live(2), live(1, "delete")
    assert owed([row(10), row(11, "2"), row(12, "1", "delete"), row(13, "3")]) == [("all", 13)]
    assert activity_ids() == [10, 11, 12]


def test_of_two_changes_and_one_event_the_later_change_is_owed() -> None:
    live(1)
    assert owed([row(10), row(11)]) == [("all", 11)]
    assert activity_ids() == [10]


def test_what_has_its_row_is_not_owed_again() -> None:
    live(1)
    assert owed([row(10)]) == []
    assert owed([row(10), row(11)]) == [("all", 11)]


def test_a_caught_up_event_is_known_by_its_row() -> None:
    live(1, origin="catch-up", activity_id=10)
    assert owed([row(10)]) == []


def test_a_replayed_event_covers_nothing() -> None:
    live(1, origin="replay", activity_id=10)
    assert owed([row(10)]) == [("all", 10)]


def test_an_event_that_came_in_before_the_change_is_not_its() -> None:
    live(1, at=-5)
    assert owed([row(10)]) == [("all", 10)]
    assert activity_ids() == [None]


def test_an_event_may_come_in_a_long_time_after_the_change() -> None:
    live(1, at=60)
    assert owed([row(10)]) == []


@pytest.mark.parametrize("ahead", [-40.0, 40.0])
def test_the_clocks_may_differ(ahead: float) -> None:
    live(1, at=0.01)
    live(2, at=-10)
    rows = [row(10, at=ahead), row(11, "2", at=ahead)]
    assert owed(rows, ahead=ahead) == [("all", 11)]


def test_keys_are_compared_as_text() -> None:
    live("a-uuid"), live(42)
    assert owed([row(10, "a-uuid"), row(11, "42")]) == []


def test_each_subscription_is_owed_its_own_event() -> None:
    creates = Interest("creates", Query("articles", events=("create",)), after=0)
    one = Interest("one", Query("articles", item=2), after=0)
    late = Interest("late", Query("articles"), after=11)
    others = Interest("others", Query("authors"), after=0)
    live(1, "create", subscription="creates")
    rows = [row(10, action="create"), row(11, "2"), row(12, "2")]
    assert owed(rows, creates, one, late, others) == [("one", 11), ("one", 12), ("late", 12)]


def test_other_connections_have_logs_of_their_own() -> None:
    live(1, connection="blog")
    assert owed([row(10)]) == [("all", 10)]
