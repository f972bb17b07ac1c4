"""Parked changes are read again, each in its turn."""

from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.listener.follower import parked_changes
from directus_realtime.listener.follower.parked_changes import ParkedChanges
from directus_realtime.models import ParkedChange
from tests.helpers.manual_clock import ManualClock


def parked(number: int, clock: ManualClock) -> ParkedChange:
    return ParkedChange(
        connection="default",
        subscription_id=1,
        activity_id=number,
        collection="articles",
        key_json=str(number),
        action="update",
        changed_at=clock.now(),
        parked_at=clock.now(),
    )


def test_more_changes_than_are_read_at_a_time_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked_changes, "_AT_A_TIME", 2)
    clock = ManualClock()
    inbox: Any = None  # nothing is stored
    changes = ParkedChanges("default", inbox, clock, 3600)
    changes.add([parked(number, clock) for number in (5, 1, 3)])
    asked = []
    for _ in range(4):
        asked.append([change.item for change in changes.due(1)])
        assert changes.due(1) == []
        clock.advance(30)
    assert asked == [["1", "5"], ["3", "5"], ["1", "3"], ["1", "5"]]
