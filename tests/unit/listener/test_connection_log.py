from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest
from django.utils import timezone

from directus_realtime.client import ConnectionState
from directus_realtime.client.connection import StateChange
from directus_realtime.listener import connection_log as story_module
from directus_realtime.listener.connection_log import ConnectionLog

Wait = Callable[[float], None]


@dataclass
class StubClient:
    """What is told of a client."""

    url: str = "https://cms.example.com"
    identity: str = "django@example.com"
    server: Any = None
    reason: str = "Cannot reach https://cms.example.com"
    changed_at: datetime = field(default_factory=timezone.now)


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Wait:
    """Let time pass."""
    now = 1000.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(story_module, "monotonic", lambda: now)
    return wait


@pytest.fixture
def story(caplog: pytest.LogCaptureFixture) -> ConnectionLog:
    caplog.set_level("INFO", "directus_realtime")
    return ConnectionLog("default", cast("Any", StubClient()))


def change(state: ConnectionState, reason: str = "") -> StateChange:
    return StateChange(state, reason, timezone.now())


def reminders(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if "still reconnecting" in message]


def test_an_outage_is_mentioned_again_ever_more_seldom(
    story: ConnectionLog, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    story.tell(change(ConnectionState.RECONNECTING, "gone"))
    said = []
    for second in range(1, 4001):
        wait(1)
        story.remind()
        if len(reminders(caplog)) > len(said):
            said.append(second)
    assert said == [60, 180, 420, 900, 1800, 2700, 3600]
    assert reminders(caplog)[0].endswith(" s: Cannot reach https://cms.example.com")


def test_nothing_is_mentioned_once_it_is_back(
    story: ConnectionLog, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    story.tell(change(ConnectionState.RECONNECTING, "gone"))
    story.tell(change(ConnectionState.CONNECTED))
    wait(3600)
    story.remind()
    assert caplog.messages == [
        "default  reconnecting: gone",
        "default  connected to https://cms.example.com (Directus of an unknown version) "
        "as django@example.com",
    ]


def test_a_second_outage_is_mentioned_as_the_first_one_was(
    story: ConnectionLog, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        story.tell(change(ConnectionState.RECONNECTING, "gone"))
        wait(60)
        story.remind()
        story.tell(change(ConnectionState.CONNECTED))
    assert len(reminders(caplog)) == 2
