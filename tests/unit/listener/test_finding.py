"""Rows are found by their state, however many are done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directus_realtime.listener.catch_up.holding import let_go
from directus_realtime.listener.delivery import outcomes
from directus_realtime.listener.delivery.outcomes import BlockedItems
from tests.helpers.inbox import add_row

pytestmark = pytest.mark.django_db
ALIASES = ["default", "other"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it is SQLite that chose wrongly")
@pytest.mark.parametrize(
    "ask",
    [
        partial(outcomes.due_rows, ALIASES[:1], 10, with_retries=True),
        partial(outcomes.due_rows, ALIASES, 10, with_retries=True),
        partial(outcomes.next_due, ALIASES[:1]),
        partial(BlockedItems.read, ALIASES[:1]),
        partial(outcomes.take_back, ALIASES[:1]),
        partial(let_go, "default", {}, (), frozenset(), timezone.now()),
    ],
    ids=["due rows", "due rows of two", "next due", "blocked", "with workers", "waiting"],
)
def test_rows_that_are_done_are_not_walked_through(ask: Callable[[], Any]) -> None:
    with CaptureQueriesContext(connection) as queries:
        ask()
    assert len(queries) > 0
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plan = str(cursor.fetchall())
        assert "directus_inbox_state" in plan or "directus_inbox_retry" in plan, plan


def test_only_rows_of_the_connections_are_found() -> None:
    for alias in ALIASES:
        add_row(connection=alias)
    found = outcomes.due_rows(["other"], 10, with_retries=False)
    assert [row.connection for row in found] == ["other"]
