from __future__ import annotations

import json
import re
import socket
import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from directus_realtime import health_facts
from directus_realtime.management.commands import directus_status
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    ListenerLease,
    ListenerProcess,
    LogPosition,
    ParkedChange,
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


def level(output: str) -> str:
    return output.splitlines()[0].split("  ")[1]


def rows(output: str) -> dict[str, str]:
    """The table, by the names of its rows; of several notes, the last one."""
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
        "active": "web-1:42, fencing token 3",
        "standing by": "web-2:7",
        "doorbells": "socket",
        "inbox": "lag 0.0 s; 0 pending, 0 held, 0 delivering, 1 failed, 0 dead",
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
    since = f"{timezone.localtime(ConnectionStatus.objects.get().changed_at):%Y-%m-%d %H:%M:%S}"
    assert rows(output)["problem"] == (
        f"The connection has been reconnecting since {since}. Cannot reach https://cms.example.com."
    )


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
        "The oldest pending event has waited for 70 s; 60 s are allowed. "
        "Look for a slow or hanging receiver, or a missing worker."
    )
    assert run("--max-lag", "100")[0] == 0


@pytest.mark.parametrize("state", ["done", "merged", "failed", "held"])
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
    LogPosition.objects.create(alias="default", read_at=ago(1))
    DirectusSubscription.objects.create(
        name="behind", collection="x", state="subscribed", last_error="Not caught up: No right."
    )
    status, output = run()
    assert status == 1
    assert level(output) == "degraded"
    assert rows(output)["problem"] == (
        "The subscription behind: Not caught up: No right. Run directus_check for the details."
    )


def test_a_refused_subscription_is_a_failure() -> None:
    connected()
    DirectusSubscription.objects.create(
        name="bad", collection="x", state="refused", last_error="You may not"
    )
    status, output = run()
    assert status == 1
    assert level(output) == "failed"
    assert rows(output)["problem"] == (
        "The subscription bad is refused: You may not. Run directus_check for the details."
    )
    DirectusSubscription.objects.update(enabled=False)
    assert run()[0] == 0


AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def test_the_catch_up_is_shown() -> None:
    connected()
    LogPosition.objects.create(
        alias="default",
        problem="The token may not read directus_activity.",
        rows_done=120,
        rows_total=400,
        read_at=AT,
        gap_since=AT,
        gap_until=AT + timedelta(minutes=1),
        gap_recovered=True,
    )
    status, output = run()
    assert status == 0
    expected = "activity log read to its end 2026-11-25 12:00:00, now 120 of 400 rows"
    assert rows(output)["catch-up"] == expected
    assert "  The token may not read directus_activity." in output
    assert rows(output)["last gap"] == "2026-11-25 12:00:00 to 2026-11-25 12:01:00, recovered"
    assert rows(output)["note"] == ("Catching up: 120 of 400 rows of the activity log are read.")
    (found,) = json.loads(run("--json")[1])
    assert found["catch_up"]["rows_total"] == 400
    assert found["catch_up"]["caught_up_at"] == "2026-11-25T12:00:00Z"
    assert found["catch_up"]["gap_recovered"] is True


# The activity log


def subscribed(**values: Any) -> DirectusSubscription:
    return DirectusSubscription.objects.create(
        **{"name": "all", "collection": "articles", "state": "subscribed", **values}
    )


def test_a_log_that_is_not_read_is_a_failure() -> None:
    connected()
    LogPosition.objects.create(alias="default", read_at=ago(601))
    assert run()[0] == 0  # nothing is subscribed, so the log is not read
    subscribed()
    status, output = run()
    assert status == 1
    assert level(output) == "failed"
    assert re.fullmatch(
        r"The activity log was last read to its end 601 s ago, at 20[\d: -]+; 600 s are allowed\. "
        r"Changes are not delivered meanwhile\. The log of directus_listen says why\.",
        rows(output)["problem"],
    )
    assert run("--max-catch-up-age", "700", "--probe")[0] == 0


def test_a_log_that_is_read_late_is_degraded_before_it_is_a_failure() -> None:
    connected()
    subscribed()
    LogPosition.objects.create(alias="default", read_at=ago(119))
    assert run()[0] == 0
    LogPosition.objects.update(read_at=ago(121))
    assert level(run()[1]) == "degraded"


@pytest.mark.parametrize("has_position", [True, False])
def test_a_log_that_was_never_read_is_a_failure(has_position: bool) -> None:
    connected(changed_at=ago(601))
    subscribed()
    if has_position:
        LogPosition.objects.create(alias="default")
    status, output = run()
    assert (status, level(output)) == (1, "failed")
    assert "at –; 600 s are allowed" in rows(output)["problem"]


def test_after_a_reconnect_the_log_has_time_to_be_read() -> None:
    connected(changed_at=ago(10))
    subscribed()
    LogPosition.objects.create(alias="default", read_at=ago(601))
    assert run()[0] == 0


NO_RIGHT = "The token may not read directus_activity"


def test_without_a_readable_log_the_connection_is_degraded() -> None:
    connected()
    subscribed(last_error="Socket only: it is not said twice.")
    LogPosition.objects.create(alias="default", problem=NO_RIGHT, read_at=ago(9000))
    status, output = run()
    assert (status, level(output)) == (1, "degraded")
    assert [line for line in output.splitlines() if line.startswith("  problem")] == [
        "  problem       All subscriptions are socket only: changes that the WebSocket does not "
        f"bring are lost. The activity log cannot be read: {NO_RIGHT}. Allow the token to read "
        "directus_activity: directus_check --explain-permissions."
    ]
    assert run("--probe")[0] == 0


def test_without_a_readable_log_and_a_socket_nothing_is_followed() -> None:
    connected(socket_problem="WebSockets are switched off.")
    subscribed()
    LogPosition.objects.create(alias="default", problem=NO_RIGHT)
    status, output = run("--probe")
    assert (status, level(output)) == (1, "failed")
    assert rows(output)["problem"].startswith(
        f"No changes are received. The activity log cannot be read: {NO_RIGHT}. "
        "The WebSocket does not announce changes: WebSockets are switched off."
    )


def test_a_subscription_that_is_socket_only_is_degraded_and_failed_without_a_socket() -> None:
    connected()
    subscribed(last_error="Socket only: Directus does not log the changes of articles.")
    LogPosition.objects.create(alias="default", read_at=ago(1))
    output = run()[1]
    assert level(output) == "degraded"
    assert rows(output)["problem"] == (
        "The subscription all is socket only: changes that the WebSocket does not bring are lost. "
        "Directus does not log the changes of articles. Run directus_check for the details."
    )
    ConnectionStatus.objects.update(socket_problem="The handshake timed out")
    output = run()[1]
    assert level(output) == "failed"
    assert rows(output)["problem"].endswith("announce changes: The handshake timed out.")


def test_a_lost_socket_is_a_note_while_the_log_is_read() -> None:
    connected(socket_problem="The handshake timed out")
    subscribed()
    LogPosition.objects.create(alias="default", read_at=ago(1))
    status, output = run()
    assert (status, level(output)) == (0, "healthy")
    assert rows(output)["note"] == (
        "The WebSocket does not announce changes: The handshake timed out. "
        "They are found by reading the activity log every 1 s."
    )


# Gaps


def gap(**values: Any) -> LogPosition:
    return LogPosition.objects.create(
        alias="default",
        **{
            "read_at": ago(1),
            "gap_since": AT,
            "gap_until": AT + timedelta(minutes=1),
            "gap_recovered": False,
            "gap_reason": "The activity log does not reach back that far",
            "gap_collections": ["articles", "authors"],
            **values,
        },
    )


def test_a_gap_that_is_not_recovered_is_degraded_and_says_the_remedy() -> None:
    connected()
    gap()
    status, output = run()
    assert (status, level(output)) == (1, "degraded")
    assert rows(output)["last gap"] == (
        "2026-11-25 12:00:00 to 2026-11-25 12:01:00, not recovered (articles, authors)"
    )
    assert rows(output)["problem"] == (
        "Changes of articles, authors between 2026-11-25 12:00:00 and 2026-11-25 12:01:00 may have "
        "been missed: The activity log does not reach back that far. Load the items again "
        "(directus_load), or replay what the activity log has "
        "(directus_replay); then acknowledge the gap: on the page of the connection in the admin, "
        "or directus_status --connection default --acknowledge-gap"
    )


@pytest.mark.parametrize("recovered", [True, None])
def test_a_gap_that_is_recovered_or_not_yet_is_no_problem(recovered: bool | None) -> None:
    connected()
    gap(gap_recovered=recovered)
    assert run()[0] == 0


def test_a_gap_is_acknowledged() -> None:
    connected()
    gap()
    status, output = run("--connection", "default", "--acknowledge-gap")
    assert status == 0
    assert output.startswith("default  The last gap is acknowledged.\ndefault  healthy\n")
    assert ", not recovered, acknowledged 20" in rows(output)["last gap"]
    assert run()[0] == 0
    (found,) = json.loads(run("--json")[1])
    assert found["gap"]["acknowledged_at"] is not None
    assert found["gap"]["collections"] == ["articles", "authors"]
    assert found["gap"]["reason"] == "The activity log does not reach back that far"


def test_a_gap_is_acknowledged_once() -> None:
    connected()
    gap()
    run("--connection", "default", "--acknowledge-gap")
    acknowledged_at = LogPosition.objects.get().gap_acknowledged_at
    output = run("--connection", "default", "--acknowledge-gap")[1]
    assert output.startswith("default  There is no gap to acknowledge.\n")
    assert LogPosition.objects.get().gap_acknowledged_at == acknowledged_at


def test_a_gap_is_acknowledged_of_a_named_connection_only() -> None:
    gap()
    status, output = run("--acknowledge-gap")
    assert status == 2
    assert output == "Name the connection: --connection ALIAS --acknowledge-gap"
    assert LogPosition.objects.get().gap_acknowledged_at is None


def test_a_newer_gap_is_not_acknowledged_for_an_older_one() -> None:
    seen = gap()
    LogPosition.objects.update(gap_since=AT + timedelta(hours=1))
    assert not seen.acknowledge_gap()
    assert LogPosition.objects.get().gap_acknowledged_at is None


# Holes, parked changes, dropped ids


def test_holes_are_shown_and_are_no_problem() -> None:
    connected()
    holes = [[11, 20, AT.timestamp()], [31, 31, AT.timestamp() + 5]]
    LogPosition.objects.create(alias="default", read_at=ago(1), holes=holes)
    status, output = run()
    assert status == 0
    assert rows(output)["holes"] == "11 ids in 2 ranges, since 2026-11-25 12:00:00"
    (found,) = json.loads(run("--json")[1])
    assert found["holes"] == {
        "ids": 11,
        "ranges": 2,
        "since": "2026-11-25T12:00:00Z",
        "listed": [[11, 20], [31, 31]],
    }


def test_dropped_ids_are_noted_and_are_no_problem() -> None:
    connected()
    LogPosition.objects.create(alias="default", read_at=ago(1), dropped=10_000)
    status, output = run()
    assert status == 0
    assert rows(output)["dropped"] == "10000 ids"
    assert rows(output)["note"].startswith("10000 ids of the activity log never became visible")
    assert json.loads(run("--json")[1])[0]["dropped"] == 10_000


def parked(state: str, activity_id: int, **values: Any) -> ParkedChange:
    subscription = DirectusSubscription.objects.first() or subscribed()
    return ParkedChange.objects.create(
        **{
            "connection": "default",
            "subscription": subscription,
            "activity_id": activity_id,
            "collection": "articles",
            "key_json": "42",
            "action": "update",
            "changed_at": AT,
            "parked_at": AT,
            "state": state,
            **values,
        }
    )


def test_a_parked_change_is_noted() -> None:
    connected()
    LogPosition.objects.create(alias="default", read_at=ago(1))
    parked("parked", 1)
    status, output = run()
    assert status == 0
    assert rows(output)["parked"] == "1 parked, 0 unexplained"
    assert rows(output)["note"].startswith("1 logged change is parked: its item was not found")


def test_an_unexplained_change_is_degraded() -> None:
    connected()
    LogPosition.objects.create(alias="default", read_at=ago(1))
    parked("unexplained", 1, parked_at=AT + timedelta(minutes=1))
    parked("unexplained", 2)
    parked("parked", 3)
    parked("unexplained", 4, connection="blog")
    status, output = run()
    assert (status, level(output)) == (1, "degraded")
    assert rows(output)["parked"] == "1 parked, 2 unexplained"
    assert rows(output)["problem"].startswith(
        "2 logged changes are unexplained, the oldest since 2026-11-25 12:00:00: the items were "
    )
    assert run("--probe")[0] == 0
    (found,) = json.loads(run("--json")[1])
    assert (found["parked"], found["unexplained"]) == (1, 2)
    assert [each["activity_id"] for each in found["parked_changes"]] == [2, 1, 3]
    assert found["parked_changes"][0] == {
        "state": "unexplained",
        "subscription": "all",
        "activity_id": 2,
        "collection": "articles",
        "key": 42,
        "action": "update",
        "changed_at": "2026-11-25T12:00:00Z",
        "parked_at": "2026-11-25T12:00:00Z",
        "reason": "",
    }


# A standby that could not log in


def test_a_standby_that_could_not_log_in_is_degraded() -> None:
    connected()
    standby = listener("standby", "web-2", 7)
    problems = {"default": "Directus refused the credentials.", "blog": "Elsewhere."}
    ListenerProcess.objects.filter(pk=standby).update(problems=problems)
    status, output = run()
    assert (status, level(output)) == (1, "degraded")
    assert rows(output)["problem"] == (
        "The listener web-2:7 stands by and could not log in, so it cannot take over: "
        "Directus refused the credentials."
    )
    (found,) = json.loads(run("--json")[1])
    assert found["standby_problems"] == {"web-2:7": "Directus refused the credentials."}
    ListenerProcess.objects.filter(pk=standby).update(heartbeat_at=ago(11))
    assert run()[0] == 0


# The level


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("ok", 0, 0)),
        ({"last_error": "Not caught up: No right."}, ("degraded", 1, 0)),
        ({"state": "refused", "last_error": "You may not."}, ("failed", 1, 1)),
    ],
)
def test_a_probe_fails_on_a_failure_alone(
    values: dict[str, Any], expected: tuple[str, int, int]
) -> None:
    connected()
    LogPosition.objects.create(alias="default", read_at=ago(1))
    subscribed(**values)
    status, output = run("--json")
    (found,) = json.loads(output)
    assert (found["level"], status, run("--probe")[0]) == expected
    assert found["ok"] is (expected[0] == "ok")


def test_the_worst_problem_gives_the_level() -> None:
    connected(state="reconnecting", reason="Cannot reach it.")
    gap()
    output = run()[1]
    assert level(output) == "failed"
    assert output.count("  problem ") == 2


def test_json_tells_the_same() -> None:
    connected()
    listener("standby", "web-2", 7)
    status, output = run("--json")
    (found,) = json.loads(output)
    assert status == 0
    assert found["ok"] is True
    assert found["active"] == "web-1:42"
    assert found["fencing_token"] == 3
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
        "The subscription secret is refused: You may not. Run",
    ):
        assert text in output


def test_a_database_that_is_away_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(health_facts, "inbox_health", away)
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
    (counting,) = [
        q["sql"]
        for q in queries
        if "COUNT(" in q["sql"] and "directus_realtime_inboxevent" in q["sql"]
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {counting}")
        plan = " ".join(str(line) for line in cursor.fetchall())
    assert "directus_inbox_state" in plan or "directus_inbox_retry" in plan
    assert "SCAN" not in plan
