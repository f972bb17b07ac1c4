"""Events that wait for the catch-up, in the inbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from directus_realtime.listener.catch_up import holding
from directus_realtime.listener.catch_up.holding import (
    DOUBT,
    Delivered,
    RecentChanges,
    held_events,
    let_go,
    recent_changes,
    replace_held,
    stale_events,
)
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


def held(rows: list[int]) -> list[int | None]:
    """Row of the log of each held event."""
    return [row.activity_id for row in held_events("default", {"all"}, rows)]


def test_held_events_of_some_rows_come_in_the_order_of_the_log() -> None:
    for row in (12, 11, 13, 19):
        hold(row, row)
    store_event(2, activity_id=14)
    assert held([11, 12, 13, 14]) == [11, 12, 13]


def test_a_held_event_is_stale_once_its_item_was_caught_up() -> None:
    """It may have been on its way for long, so when it came in does not matter."""
    lately, now = hold(1, 15), hold(2, 16)
    hold(3, 17)
    caught_up = RecentChanges()
    caught_up.add(("all", "1"))
    caught_up.add(("other", "3"))
    rows = held_events("default", {"all"}, [15, 16, 17])
    assert stale_events(rows, {"2"}, caught_up) == [lately, now]


def test_what_was_caught_up_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(holding, "monotonic", lambda: now)
    changes = RecentChanges()
    for key in "121":
        changes.add(("all", key))
        now += 1
    now = 1000.0 + DOUBT + 1
    assert ("all", "1") in changes
    assert ("all", "2") not in changes
    assert changes.current() == {("all", "1")}
    now += DOUBT
    changes.add(("all", "3"))
    assert changes.current() == {("all", "3")}


def test_a_new_listener_finds_what_was_caught_up_lately() -> None:
    since = NOW - timedelta(seconds=DOUBT)
    long_ago = since - timedelta(seconds=1)
    catch_up(1, 10, seconds_later=-600, state=InboxState.DONE, done_at=long_ago)
    catch_up(2, 11, seconds_later=-600, state=InboxState.DONE, done_at=NOW)
    catch_up(3, 12, state=InboxState.DONE, done_at=NOW)
    # It was held for long, and let go behind the others.
    store_event(4, received_at=long_ago, state=InboxState.DONE, done_at=NOW)
    catch_up(5, 13)
    catch_up(6, 14, connection="other")
    assert set(recent_changes("default", since)) == {("all", "3"), ("all", "5")}


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
    event = hold(key, 0, activity_id=None)
    looked_at = NOW - timedelta(seconds=seconds_later)
    delivered = {"all": Delivered(None, None)}
    stayed = let_go("default", delivered, [], frozenset(), frozenset({("all", "1")}), looked_at)
    assert stayed == (1 if state == InboxState.WAITING else 0)
    assert InboxEvent.objects.get(event_id=event.event_id).state == state


@pytest.mark.parametrize("delivered", [{}, {"all": Delivered(None, None)}], ids=["gone", "there"])
def test_what_is_let_go_takes_the_place_of_what_waits_for_its_debounce_window(
    delivered: dict[str, Delivered],
) -> None:
    end = NOW + timedelta(seconds=60)
    waiting = store_event(1, "old", next_attempt_at=end, received_at=NOW)
    going = hold(1, 0, activity_id=None)
    let_go("default", delivered, [], frozenset(), frozenset(), NOW)
    assert list(InboxEvent.objects.order_by("id").values_list("event_id", "state")) == [
        (waiting.event_id, InboxState.MERGED),
        (going.event_id, InboxState.PENDING),
    ]
