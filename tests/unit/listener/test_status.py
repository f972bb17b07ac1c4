"""States and counts of subscriptions are written by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from directus_realtime.listener.inbox_entry import Tally
from directus_realtime.listener.status import write_states, write_tallies
from directus_realtime.models import DirectusSubscription

pytestmark = pytest.mark.django_db


def create(name: str = "all", **values: Any) -> DirectusSubscription:
    return DirectusSubscription.objects.create(**{"name": name, "collection": "articles", **values})


def test_states_are_written_by_name_and_connection() -> None:
    create("a")
    create("b", connection="blog")
    write_states(
        {"a": ("refused", "no"), "b": ("subscribed", ""), "gone": ("waiting", "")}, "default"
    )
    rows = {row.name: (row.state, row.last_error) for row in DirectusSubscription.objects.all()}
    assert rows == {"a": ("refused", "no"), "b": ("waiting", "")}


@pytest.mark.parametrize("error", ["half a pair \ud800", "nul \0", "x" * 100_000])
def test_whatever_the_server_says_can_be_written(error: str) -> None:
    create("a")
    write_states({"a": ("refused", error)}, "default")
    assert DirectusSubscription.objects.get().state == "refused"


def test_tallies_are_added_up() -> None:
    create("a", event_count=5)
    create("b")
    first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    write_tallies({"a": Tally(2, first), "gone": Tally(1, first)})
    write_tallies({"a": Tally(1, last)})
    a, b = DirectusSubscription.objects.order_by("name")
    assert (a.event_count, a.last_event_at) == (8, last)
    assert (b.event_count, b.last_event_at) == (0, None)
