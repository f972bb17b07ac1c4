"""Rows are found by their state, however many are done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directus_realtime.listener.debounce import end_windows, gather
from directus_realtime.listener.delivery import delivery_queue
from directus_realtime.listener.delivery.delivery_queue import BlockedItems
from directus_realtime.listener.inbox_entry import InboxEntry
from directus_realtime.models import InboxEvent
from directus_realtime.utils.system_clock import SystemClock
from tests.helpers.inbox import add_row
from tests.unit.listener.conftest import make_event

pytestmark = pytest.mark.django_db
ALIASES = ["default", "other"]
ON_SQLITE = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="it is SQLite that chose wrongly"
)


def plans(ask: Callable[[], Any]) -> list[str]:
    """How SQLite reads what a function asks for, query by query."""
    with CaptureQueriesContext(connection) as queries:
        ask()
    found = []
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            found.append(str(cursor.fetchall()))
    assert found
    return found


@ON_SQLITE
@pytest.mark.parametrize(
    "ask",
    [
        partial(delivery_queue.due_rows, ALIASES[:1], 10, SystemClock(), with_retries=True),
        partial(delivery_queue.due_rows, ALIASES, 10, SystemClock(), with_retries=True),
        partial(delivery_queue.next_due, ALIASES[:1]),
        partial(BlockedItems.read, ALIASES[:1]),
        partial(delivery_queue.reclaim_rows, ALIASES[:1]),
    ],
    ids=["due rows", "due rows of two", "next due", "blocked", "with workers"],
)
def test_rows_that_are_done_are_not_walked_through(ask: Callable[[], Any]) -> None:
    for plan in plans(ask):
        assert "directus_inbox_state" in plan or "directus_inbox_retry" in plan, plan


def overtake() -> None:
    event = make_event(origin="catch-up")
    gather([InboxEntry(InboxEvent.from_event(event), overtakes=True)], timezone.now())


@ON_SQLITE
@pytest.mark.parametrize(
    "ask", [overtake, partial(end_windows, "default", ["calm"], timezone.now())]
)
def test_open_debounce_windows_are_found_however_much_else_is_pending(
    ask: Callable[[], Any],
) -> None:
    for plan in plans(ask):
        assert "directus_inbox_retry" in plan, plan


def test_only_rows_of_the_connections_are_found() -> None:
    for alias in ALIASES:
        add_row(connection=alias)
    found = delivery_queue.due_rows(["other"], 10, SystemClock(), with_retries=False)
    assert [row.connection for row in found] == ["other"]
