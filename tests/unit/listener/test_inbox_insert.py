"""Rows get into the table as they are, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, transaction
from django.utils import timezone

from directus_realtime.listener.inbox_insert import insert
from directus_realtime.models import InboxEvent, InboxState
from tests.unit.listener.conftest import make_event

COLUMNS = [field.attname for field in InboxEvent._meta.concrete_fields if not field.primary_key]


def row(key: int | str = 1, columns: dict[str, Any] | None = None, **values: Any) -> InboxEvent:
    made = InboxEvent.from_event(make_event(key, **values), group="news")
    for name, value in (columns or {}).items():
        setattr(made, name, value)
    return made


def put(rows: list[InboxEvent], alias: str) -> int:
    with transaction.atomic(alias):
        return insert(rows, alias)


@pytest.mark.parametrize(
    "made",
    [
        row(),
        row("ä 💶", data={"text": "\x00 \ud800 ' % %s ü"}),
        row(action="delete", data=None, origin="catch-up", activity_id=2**40, left_filter=True),
        row(received_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
        row(
            columns={
                "state": InboxState.FAILED,
                "attempts": 3,
                "next_attempt_at": timezone.now() + timedelta(seconds=5),
                "failures": {"app.receiver": {"error": "no"}},
                "delivered": ["app.other"],
                "sent_at": timezone.now(),
            }
        ),
    ],
)
def test_a_row_is_in_the_table_as_it_was_made(made: InboxEvent, alias: str) -> None:
    assert put([row(2), made], alias) == 2
    stored = InboxEvent.objects.get(event_id=made.event_id)
    expected = {name: getattr(made, name) for name in COLUMNS}
    assert {name: getattr(stored, name) for name in COLUMNS} == expected


def test_rows_keep_their_order(alias: str) -> None:
    rows = [row(number) for number in range(700)]
    assert put(rows, alias) == 700
    keys = InboxEvent.objects.order_by("id").values_list("key_json", flat=True)
    assert list(keys) == [made.key_json for made in rows]


def test_an_event_that_is_in_the_table_stays_as_it_is(alias: str) -> None:
    first, second = row(1), row(2)
    put([first], alias)
    InboxEvent.objects.update(state="done")
    assert put([first, second], alias) == 1
    assert list(InboxEvent.objects.order_by("id").values_list("state", flat=True)) == [
        "done",
        "pending",
    ]


def test_no_rows_are_no_work(alias: str) -> None:
    assert put([], alias) == 0


def test_what_the_database_cannot_hold_is_its_error(alias: str) -> None:
    with pytest.raises((DataError, OverflowError)):
        put([row(activity_id=2**63)], alias)
    assert not InboxEvent.objects.exists()
