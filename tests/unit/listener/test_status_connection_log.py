from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest
from django.utils import timezone

from directus_realtime.client import ConnectionState
from directus_realtime.client.connection import StateChange
from directus_realtime.listener.status import ConnectionLog
from tests.helpers.manual_clock import ManualClock


@dataclass
class StubClient:
    """What is told of a client."""

    name: str = "default"
    url: str = "https://cms.example.com"
    identity: str = "django@example.com"
    server: Any = None
    reason: str = "Cannot reach https://cms.example.com"
    changed_at: datetime = field(default_factory=timezone.now)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def connection_log(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> ConnectionLog:
    caplog.set_level("INFO", "directus_realtime")
    return ConnectionLog(cast("Any", StubClient()), clock)


def change(state: ConnectionState, reason: str = "") -> StateChange:
    return StateChange(state, reason, timezone.now())


def reminders(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if "still reconnecting" in message]


def test_an_outage_is_mentioned_again_ever_more_seldom(
    connection_log: ConnectionLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    connection_log.state_changed(change(ConnectionState.RECONNECTING, "gone"))
    said = []
    for second in range(1, 4001):
        clock.advance(1)
        connection_log.remind()
        if len(reminders(caplog)) > len(said):
            said.append(second)
    assert said == [60, 180, 420, 900, 1800, 2700, 3600]
    assert reminders(caplog)[0].endswith(" s: Cannot reach https://cms.example.com")


def test_nothing_is_mentioned_once_it_is_back(
    connection_log: ConnectionLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    connection_log.state_changed(change(ConnectionState.RECONNECTING, "gone"))
    connection_log.state_changed(change(ConnectionState.CONNECTED))
    clock.advance(3600)
    connection_log.remind()
    assert caplog.messages == [
        "default  reconnecting: gone",
        "default  connected to https://cms.example.com (Directus of an unknown version) "
        "as django@example.com",
    ]


def test_a_second_outage_is_mentioned_as_the_first_one_was(
    connection_log: ConnectionLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        connection_log.state_changed(change(ConnectionState.RECONNECTING, "gone"))
        clock.advance(60)
        connection_log.remind()
        connection_log.state_changed(change(ConnectionState.CONNECTED))
    assert len(reminders(caplog)) == 2
