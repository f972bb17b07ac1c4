"""Events that wait for the catch-up, in the inbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from directus_realtime.listener.catch_up.holding import Delivered, held_events, let_go, replace_held
from directus_realtime.models import InboxEvent, InboxState
from tests.unit.listener.conftest import store_event

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture(autouse=True)
def _now() -> None:
    """Each test has its own: what was caught up is remembered for two minutes only."""
    global NOW
    NOW = timezone.now()


def hold(key: int, row: int, **values: Any) -> InboxEvent:
    """An event that waits and belongs to a row of the log."""
    values = {"activity_id": row, "state": InboxState.WAITING, "received_at": NOW, **values}
    return store_event(key, f"held {row}", **values)


def catch_up(key: int, row: int, seconds_later: float = 1, **values: Any) -> InboxEvent:
    """An event that was made of a row of the log, after the held ones came in."""
    received_at = NOW + timedelta(seconds=seconds_later)
    values = {"origin": "catch-up", "activity_id": row, "received_at": received_at, **values}
    return store_event(key, f"made {row}", **values)


def held(rows: list[int]) -> list[tuple[int | None, bool]]:
    """Row of the log, and whether it is stale, of each held event."""
    found = held_events("default", {"all"}, rows)
    return [(each.row.activity_id, each.is_stale) for each in found]


def test_held_events_of_some_rows_come_in_the_order_of_the_log() -> None:
    for row in (12, 11, 13, 19):
        hold(row, row)
    store_event(2, activity_id=14)
    assert held([11, 12, 13, 14]) == [(11, False), (12, False), (13, False)]


def test_a_held_event_is_stale_once_its_item_was_caught_up() -> None:
    """It may have been on its way for long, so when it came in does not matter."""
    hold(1, 15)
    hold(2, 16)
    hold(3, 17)
    hold(4, 18)
    catch_up(1, 11)
    catch_up(2, 12, seconds_later=-1)
    catch_up(3, 13, subscription="other")
    catch_up(4, 14, seconds_later=-600)
    assert held([15, 16, 17, 18]) == [
        (15, True),
        (16, True),
        (17, False),
        (18, False),
    ]


def test_what_is_let_go_comes_behind_the_inbox_and_what_is_stale_is_dropped() -> None:
    stale, going = hold(1, 11), hold(2, 12)
    made = catch_up(1, 10)
    for _ in range(2):  # the answer of a commit can get lost
        replace_held([stale], [going], Delivered(None, None))
    rows = InboxEvent.objects.order_by("id")
    assert [(row.event_id, row.state) for row in rows] == [
        (made.event_id, InboxState.PENDING),
        (going.event_id, InboxState.PENDING),
    ]


@pytest.mark.parametrize(
    ("key", "seconds_later", "state"),
    [
        (1, 1, InboxState.WAITING),  # its row of the log is not read yet
        (1, -1, InboxState.PENDING),  # it has none
        (2, 1, InboxState.PENDING),
    ],
)
def test_an_event_of_an_item_that_was_caught_up_waits_for_its_row(
    key: int, seconds_later: float, state: str
) -> None:
    catch_up(1, 10)
    event = hold(key, 0, activity_id=None)
    looked_at = NOW - timedelta(seconds=seconds_later)
    stayed = let_go("default", {"all": Delivered(None, None)}, [], frozenset(), looked_at)
    assert stayed == (1 if state == InboxState.WAITING else 0)
    assert InboxEvent.objects.get(event_id=event.event_id).state == state
