from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directus_realtime.database import DatabaseThread
from directus_realtime.exceptions import LeaseLost
from directus_realtime.listener import retention as retention_module
from directus_realtime.listener.retention import DailyPrune, Retention, prune_span
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.system_clock import SystemClock
from tests.unit.listener.conftest import store_event

OPEN = ["pending", "held", "delivering", "failed"]


@pytest.fixture(autouse=True)
def small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "CHUNK", 3)
    monkeypatch.setattr(retention_module, "_PAUSE", 0)


@pytest.fixture(autouse=True)
def configured(settings: Any) -> None:
    values = {"URL": "https://cms.example.com", "TOKEN": "x"}
    settings.DIRECTUS_REALTIME = {
        "default": values,
        "blog": {**values, "RETENTION_DAYS": 2},
        "archive": {**values, "RETENTION_DAYS": 0},
    }


def row(days: float, state: str = "done", alias: str = "default", **values: Any) -> InboxEvent:
    """A row that came in so many days ago, and was done at once."""
    at = timezone.now() - timedelta(days=days)
    done_at = at if state in {"done", "merged", "handled"} else None
    given = {"state": state, "connection": alias, "received_at": at, "done_at": done_at}
    return store_event(**{**given, **values})


def left() -> set[int]:
    return set(InboxEvent.objects.values_list("id", flat=True))


def prune(*arguments: str) -> str:
    output = StringIO()
    call_command("directus_prune", *arguments, stdout=output)
    return output.getvalue()


def fence_lost() -> None:
    raise LeaseLost(["default"])


@pytest.mark.django_db
def test_what_is_through_and_old_is_deleted() -> None:
    for _ in range(7):
        row(15), row(15, "merged"), row(15, "handled")
    kept = {row(13).pk, row(13, "merged").pk, row(13, "handled").pk}
    assert prune("--connection", "default") == "default: 21 deleted (older than 14 days)\n"
    assert left() == kept


@pytest.mark.django_db
@pytest.mark.parametrize("state", [*OPEN, "dead"])
def test_what_is_not_through_is_never_deleted(state: str) -> None:
    kept = {row(1000, state).pk for _ in range(5)}
    row(1000)
    assert prune("--days", "1").startswith("default: 1 deleted (older than 1 day)")
    assert left() == kept


def test_every_state_is_one_or_the_other() -> None:
    assert {*OPEN, "dead", "done", "merged", "handled"} == set(InboxState.values)


@pytest.mark.django_db
def test_dead_letters_are_deleted_only_when_asked_for() -> None:
    old, young, open_ = row(40, "dead"), row(20, "dead"), row(40, "failed")
    prune("--days", "1")
    assert left() == {old.pk, young.pk, open_.pk}
    said = prune("--connection", "archive", "--connection", "default", "--dead-days", "30")
    assert said == (
        "archive: 0 deleted (kept for ever, dead letters older than 30 days)\n"
        "default: 1 deleted (older than 14 days, dead letters older than 30 days)\n"
    )
    assert left() == {young.pk, open_.pk}


@pytest.mark.django_db
def test_a_row_counts_from_when_it_was_done() -> None:
    """One that waited long for a receiver is young, though it came in long ago."""
    kept = row(100, done_at=timezone.now())
    row(100)
    prune("--days", "14")
    assert left() == {kept.pk}


@pytest.mark.django_db
def test_each_connection_has_its_own_days() -> None:
    rows = {alias: row(5, alias=alias).pk for alias in ("default", "blog", "archive")}
    prune()
    assert left() == {rows["default"], rows["archive"]}
    assert "archive: 1 deleted (older than 3 days)" in prune("--days", "3")


@pytest.mark.django_db
def test_zero_days_keep_for_ever() -> None:
    row(1000)
    prune("--days", "0")
    assert len(left()) == 1


@pytest.mark.django_db
def test_a_dry_run_only_counts() -> None:
    for _ in range(4):
        row(15)
    assert "4 would be deleted" in prune("--dry-run")
    assert len(left()) == 4


@pytest.mark.parametrize("days", ["-1", "nan", "many"])
def test_days_must_be_a_number(days: str) -> None:
    with pytest.raises(CommandError, match="is not a number of days"):
        prune(f"--days={days}")


@pytest.mark.django_db
@pytest.mark.parametrize("days", [999_999, 10**10])
def test_more_days_than_there_were_keep_every_event(days: float) -> None:
    row(20_000)
    retention = Retention.of_days("default", days, now=timezone.now())
    assert prune_span(retention, dry_run=True) == (0, None)


@pytest.mark.django_db
def test_what_is_kept_is_not_walked_through() -> None:
    for _ in range(4):
        row(20)
    for _ in range(30):
        row(1)
    retention = Retention.of_days("default", 14, now=timezone.now())
    with CaptureQueriesContext(connection) as queries:
        position: int | None = 0
        spans = 0
        while position is not None:
            _, position = prune_span(retention, position)
            spans += 1
    assert spans == 3  # two with old rows, and the first without
    assert len([q for q in queries if q["sql"].startswith("DELETE")]) == 2


@pytest.mark.django_db
def test_a_span_follows_the_index() -> None:
    rows = InboxEvent.objects.filter(connection="default", id__gt=5).order_by("id")[:1000]
    assert "directus_inbox_follow" in rows.explain()


@pytest.mark.django_db(transaction=True)
async def test_the_listener_prunes_by_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asgiref.sync import sync_to_async

    caplog.set_level("INFO", "directus_realtime")
    for _ in range(5):
        await sync_to_async(row)(15)
    kept = await sync_to_async(row)(13)
    database = DatabaseThread("test")
    settings = [
        ConnectionSettings("default", "https://cms.example.com"),
        ConnectionSettings("archive", "https://cms.example.com", retention_days=0),
    ]
    await DailyPrune(database, settings, lambda: None, SystemClock()).prune()
    assert await sync_to_async(left)() == {kept.pk}
    assert caplog.messages == ["Pruned the inbox: 5 events that were through are deleted."]

    await sync_to_async(row)(15)
    with pytest.raises(LeaseLost):
        await DailyPrune(database, settings, fence_lost, SystemClock()).prune()
    assert len(await sync_to_async(left)()) == 2
    await database.aclose()
