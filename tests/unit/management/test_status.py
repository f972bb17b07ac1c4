from __future__ import annotations

import json
import re
import socket
import uuid
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from directus_realtime import health
from directus_realtime.management.commands import directus_status
from directus_realtime.models import (
    ActivityCursor,
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    ListenerLease,
    ListenerProcess,
)
from tests.unit.listener.conftest import store_event

pytestmark = pytest.mark.django_db

HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def configured(settings: Any) -> None:
    settings.TIME_ZONE = "UTC"
    settings.DIRECTUS_REALTIME = {
        "default": {"URL": "https://cms.example.com", "TOKEN": "the-s3cret-token"}
    }


def ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def listener(role: str = "active", host: str = "web-1", pid: int = 42, age: float = 1) -> uuid.UUID:
    row = ListenerProcess.objects.create(
        host=host,
        pid=pid,
        aliases=["default"],
        role=role,
        started_at=ago(100),
        heartbeat_at=ago(age),
    )
    return row.id


def connected(age: float = 1, **values: Any) -> None:
    """A connection with a listener that wrote so many seconds ago."""
    given = {"state": "connected", "changed_at": ago(3600), "heartbeat_at": ago(age), **values}
    ConnectionStatus.objects.create(alias="default", **given)
    ListenerLease.objects.create(alias="default", holder=listener(age=age), token=3)


def run(*arguments: str) -> tuple[int, str]:
    """Exit status and output."""
    output = StringIO()
    try:
        call_command("directus_status", *arguments, stdout=output, stderr=output, no_color=True)
    except SystemExit as error:
        return int(error.code or 0), output.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, output.getvalue()


def rows(output: str) -> dict[str, str]:
    """The table, by the names of its rows."""
    return {line[2:16].strip(): line[16:] for line in output.splitlines()[1:]}


def test_a_healthy_connection() -> None:
    connected()
    listener("standby", "web-2", 7)
    at = datetime(2026, 11, 25, 12, 0, tzinfo=timezone.get_default_timezone())
    DirectusSubscription.objects.create(name="all", collection="articles", last_event_at=at)
    store_event(1, state="done")
    store_event(2, state="failed", received_at=ago(500))
    status, output = run()
    assert status == 0
    assert output.splitlines()[0] == "default  healthy"
    table = rows(output)
    assert table.pop("state").startswith("connected since 20")
    assert re.fullmatch(r"[1-9]\.\d s ago", table.pop("heartbeat"))
    assert table == {
        "active": "web-1:42, fencing number 3",
        "standing by": "web-2:7",
        "inbox": "lag 0.0 s; 0 waiting, 0 pending, 0 held, 0 delivering, 1 failed, 0 dead",
        "last event": "2026-11-25 12:00:00",
    }


def test_no_listener_ever_ran() -> None:
    status, output = run()
    assert status == 1
    table = rows(output)
    assert table["state"] == "disconnected since never"
    assert table["heartbeat"] == "never"
    assert table["active"] == "nobody"
    assert table["problem"] == (
        "The connection is disconnected. No listener is running. "
        "Start it: python manage.py directus_listen"
    )


def test_without_a_heartbeat_the_state_is_history() -> None:
    connected(age=11)
    status, output = run("--json")
    (found,) = json.loads(output)
    assert status == 1
    assert (found["state"], found["active"], found["ok"]) == ("disconnected", "", False)
    assert found["since"] == ConnectionStatus.objects.get().heartbeat_at.isoformat(
        timespec="milliseconds"
    ).replace("+00:00", "Z")
    assert run("--max-heartbeat-age", "20")[0] == 0


def test_a_connection_that_is_away_is_not_healthy_and_says_why() -> None:
    connected(state="reconnecting", reason="Cannot reach https://cms.example.com.")
    status, output = run()
    assert status == 1
    assert rows(output)["reason"] == "Cannot reach https://cms.example.com."
    assert "The connection is reconnecting. Cannot reach" in rows(output)["problem"]


@pytest.mark.parametrize("state", ["pending", "delivering"])
def test_lag_is_the_age_of_the_oldest_pending_event(state: str) -> None:
    connected()
    store_event(1, state=state, received_at=ago(70))
    store_event(2, state=state, received_at=ago(5))
    status, output = run()
    assert status == 1
    assert "lag 70." in rows(output)["inbox"]
    assert f"2 {state}" in rows(output)["inbox"]
    assert rows(output)["problem"] == (
        "The oldest pending event has waited for 70 s; 60 s are allowed."
    )
    assert run("--max-lag", "100")[0] == 0


@pytest.mark.parametrize("state", ["done", "merged", "failed", "held", "waiting"])
def test_what_waits_for_something_else_is_no_lag(state: str) -> None:
    connected()
    store_event(1, state=state, received_at=ago(7000))
    assert run()[0] == 0


def test_a_debounced_event_lags_from_the_end_of_its_window() -> None:
    connected()
    row = store_event(1, state="pending", received_at=ago(600), next_attempt_at=ago(-100))
    assert "lag 0.0 s" in run()[1]
    InboxEvent.objects.filter(pk=row.pk).update(next_attempt_at=ago(30))
    assert "lag 30." in run()[1]


def test_what_a_worker_has_lags_from_when_it_was_handed_over(settings: Any) -> None:
    """Where no worker runs, it is handed over again and again, and stays on its way."""
    settings.DIRECTUS_REALTIME["default"]["TASK_TIMEOUT"] = 300
    connected()
    store_event(1, state="delivering", received_at=ago(900), next_attempt_at=ago(-210))
    store_event(2, state="delivering", received_at=ago(900), next_attempt_at=ago(-290))
    status, output = run()
    assert status == 1
    assert "lag 90." in rows(output)["inbox"]


@pytest.mark.parametrize("option", ["--max-lag", "--max-heartbeat-age", "--max-catch-up-age"])
def test_odd_numbers_of_seconds(option: str) -> None:
    connected()
    assert run(option, "inf")[0] == run(option, "1e300")[0] == 0
    for text in ("nan", "-1", "x"):
        status, output = run(f"{option}={text}")
        assert (status, f"'{text}' is not a number of seconds." in output) == (1, True)


def test_many_dead_letters_are_not_healthy() -> None:
    connected()
    store_event(1, state="dead")
    status, output = run()
    assert status == 0
    assert rows(output)["note"] == "Dead letters: 1. See the inbox in the admin."
    status, output = run("--max-dead", "0")
    assert status == 1
    assert rows(output)["problem"] == "Dead letters: 1; 0 are allowed. See the inbox in the admin."


def test_a_subscription_that_is_not_caught_up_is_not_healthy() -> None:
    connected()
    DirectusSubscription.objects.create(
        name="behind", collection="x", state="subscribed", last_error="Not caught up: No right."
    )
    status, output = run()
    assert status == 1
    assert rows(output)["problem"] == "The subscription behind: Not caught up: No right."


def test_a_refused_subscription_is_not_healthy() -> None:
    connected()
    DirectusSubscription.objects.create(
        name="bad", collection="x", state="refused", last_error="You may not."
    )
    status, output = run()
    assert status == 1
    assert rows(output)["problem"] == "The subscription bad is refused: You may not."
    DirectusSubscription.objects.update(enabled=False)
    assert run()[0] == 0


def test_the_catch_up_is_shown() -> None:
    connected()
    at = datetime(2026, 11, 25, 12, 0, tzinfo=timezone.get_default_timezone())
    ActivityCursor.objects.create(
        alias="default",
        problem="The token may not read directus_activity.",
        rows_done=120,
        rows_total=400,
        caught_up_at=at,
        gap_since=at,
        gap_until=at + timedelta(minutes=1),
        gap_recovered=False,
    )
    status, output = run()
    assert status == 0
    assert rows(output)["catch-up"] == "caught up 2026-11-25 12:00:00, 120 of 400 rows read"
    assert "  The token may not read directus_activity." in output
    assert rows(output)["last gap"] == ("2026-11-25 12:00:00 to 2026-11-25 12:01:00, not recovered")
    (found,) = json.loads(run("--json")[1])
    assert found["catch_up"]["rows_total"] == 400
    assert found["catch_up"]["gap_recovered"] is False


def test_a_catch_up_that_stands_is_not_healthy() -> None:
    connected()
    ActivityCursor.objects.create(alias="default", caught_up_at=ago(601))
    assert run()[0] == 0  # nothing is subscribed, so nobody reads the log
    DirectusSubscription.objects.create(name="all", collection="x", state="subscribed")
    status, output = run()
    assert status == 1
    assert rows(output)["problem"] == (
        "The activity log was last worked through 601 s ago; 600 s are allowed. See the log."
    )
    assert run("--max-catch-up-age", "700")[0] == 0


@pytest.mark.parametrize(
    ("status", "cursor"),
    [
        ({"changed_at": 10}, {}),  # it has only just come back
        ({}, {"problem": "The token may not read directus_activity"}),
        ({}, {"caught_up_at": None}),
    ],
)
def test_a_catch_up_that_cannot_come_through_is_no_problem_of_its_own(
    status: dict[str, Any], cursor: dict[str, Any]
) -> None:
    connected(**{name: ago(age) for name, age in status.items()})
    DirectusSubscription.objects.create(name="all", collection="x", state="subscribed")
    ActivityCursor.objects.create(alias="default", **{"caught_up_at": ago(601), **cursor})
    assert run()[0] == 0


def test_json_tells_the_same() -> None:
    connected()
    listener("standby", "web-2", 7)
    status, output = run("--json")
    (found,) = json.loads(output)
    assert status == 0
    assert found["ok"] is True
    assert found["active"] == "web-1:42"
    assert found["fencing_number"] == 3
    assert found["standing_by"] == ["web-2:7"]
    assert found["inbox"]["counts"]["pending"] == 0
    assert found["inbox"]["lag"] == 0
    assert 1 <= found["heartbeat_age"] < 5
    assert "the-s3cret-token" not in output


def test_one_connection_of_several(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {
        alias: {"URL": "https://cms.example.com", "TOKEN": "x"} for alias in ("default", "blog")
    }
    connected()
    store_event(1, state="pending", received_at=ago(500), connection="blog")
    assert run("--connection", "default")[0] == 0
    status, output = run("--json")
    assert status == 1
    assert [(found["alias"], found["ok"]) for found in json.loads(output)] == [
        ("default", True),
        ("blog", False),
    ]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_it_prints_the_same_in_every_language(settings: Any, arguments: tuple[str, ...]) -> None:
    store_event(1, received_at=ago(600))
    DirectusSubscription.objects.create(
        name="secret", collection="s", state="refused", last_error="You may not."
    )
    settings.LANGUAGE_CODE = "fr"
    with translation.override("fr"):
        _, output = run(*arguments)
    for text in (
        "The connection is disconnected. No listener is running. Start it:",
        "The oldest pending event has waited for 600 s; 60 s are allowed.",
        "The subscription secret is refused: You may not.",
    ):
        assert text in output


def test_a_database_that_is_away_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(health, "inbox_health", away)
    assert run() == (2, "The database cannot tell: connection refused Is the server running?")


def test_a_probe_has_no_listener_restarted_for_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(directus_status, "listeners_of_this_host", away)
    status, output = run("--this-host")
    assert status == 0
    assert "a restart would not help: connection refused Is the server running?" in output


@pytest.mark.parametrize("arguments", [(), ("--this-host",)])
def test_a_database_that_is_not_migrated_cannot_tell(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", list)
    status, output = run(*arguments)
    assert status == 2
    assert output.endswith("Run: python manage.py migrate")


def test_an_unknown_connection_cannot_be_told_of() -> None:
    assert run("--connection", "nowhere")[0] == 2


@pytest.mark.parametrize("role", ["active", "standby"])
def test_a_listener_on_this_machine_is_alive_whatever_it_does(role: str) -> None:
    listener(role, "web-2", 7)
    listener(role, HERE, 8, age=11)
    assert run("--this-host") == (1, "No listener on this machine is alive.\n")
    listener(role, HERE, 9)
    assert run("--this-host") == (0, f"{HERE}:9  {role}\n")
    assert json.loads(run("--this-host", "--json")[1]) == [{"host": HERE, "pid": 9, "role": role}]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads the plan as SQLite tells it")
def test_rows_that_are_through_are_not_counted() -> None:
    connected()
    with CaptureQueriesContext(connection) as queries:
        run()
    (counting,) = [q["sql"] for q in queries if "COUNT(" in q["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {counting}")
        plan = " ".join(str(line) for line in cursor.fetchall())
    assert "directus_inbox_state" in plan or "directus_inbox_retry" in plan
    assert "SCAN" not in plan
