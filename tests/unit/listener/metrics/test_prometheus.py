"""What Prometheus reads of the database: the health of the connections."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest

from directus_realtime.health import gather
from directus_realtime.health_facts import HealthThresholds
from directus_realtime.listener.metrics.counts import Counts
from directus_realtime.listener.metrics.prometheus import ListenerCollector
from directus_realtime.models import ConnectionStatus, LogPosition
from tests.helpers.admin import parked_change, subscription

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def connected(settings: Any) -> ConnectionStatus:
    settings.DIRECTUS_REALTIME = {"default": {"URL": "https://cms.example.com", "TOKEN": "x"}}
    now = timezone.now()
    return ConnectionStatus.objects.create(
        alias="default", state="connected", changed_at=now, heartbeat_at=now
    )


def served() -> dict[str, float]:
    """The series of the database, without the prefix and the connection."""
    registry = CollectorRegistry()
    sample = gather(["default"], HealthThresholds())
    registry.register(ListenerCollector(Counts(), lambda: sample))
    lines = generate_latest(registry).decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {
        name.removeprefix("directus_realtime_").replace('connection="default"', ""): float(value)
        for name, value in found.items()
    }


def levels() -> list[float]:
    found = served()
    return [found[f'health{{,level="{level}"}}'] for level in ("ok", "degraded", "failed")]


def test_the_level_is_1_and_the_others_are_0(connected: ConnectionStatus) -> None:
    assert levels() == [1, 0, 0]
    parked_change("unexplained")
    assert levels() == [0, 1, 0]
    ConnectionStatus.objects.update(state="reconnecting")
    assert levels() == [0, 0, 1]


def test_a_door_rings_while_it_has_no_problem(settings: Any) -> None:
    assert served()["door_rings{}"] == 0
    settings.DIRECTUS_REALTIME["default"]["DOOR_SECRET"] = "s3cret-of-the-door-0123456789abcdef"
    assert served()["door_rings{}"] == 1
    ConnectionStatus.objects.update(door_problem="It has not rung since the listener started.")
    assert served()["door_rings{}"] == 0


def test_the_socket_rings_while_connected_and_without_a_problem() -> None:
    assert served()["socket_rings{}"] == 1
    ConnectionStatus.objects.update(socket_problem="The handshake timed out.")
    assert served()["socket_rings{}"] == 0
    ConnectionStatus.objects.update(socket_problem="", state="reconnecting")
    assert served()["socket_rings{}"] == 0


def test_a_gap_is_unresolved_until_it_is_acknowledged() -> None:
    assert served()["unresolved_gap{}"] == 0
    now = timezone.now()
    position = LogPosition.objects.create(
        alias="default", gap_since=now - timedelta(minutes=1), gap_until=now, gap_recovered=False
    )
    assert served()["unresolved_gap{}"] == 1
    position.acknowledge_gap()
    assert served()["unresolved_gap{}"] == 0


def test_holes_dropped_ids_and_parked_changes_are_counted() -> None:
    LogPosition.objects.create(alias="default", holes=[[1, 10, 0], [20, 20, 0]], dropped=7)
    parked_change("unexplained")
    found = served()
    assert found["hole_ids{}"] == 11
    assert found["dropped_ids{}"] == 7
    assert found['parked_changes{,state="unexplained"}'] == 1
    assert found['parked_changes{,state="parked"}'] == 0


def test_the_log_is_not_late_where_nothing_is_subscribed() -> None:
    now = timezone.now()
    LogPosition.objects.create(alias="default", read_at=now)
    assert "caught_up_timestamp_seconds{}" not in served()
    subscription(state="subscribed")
    assert served()["caught_up_timestamp_seconds{}"] == pytest.approx(now.timestamp())
