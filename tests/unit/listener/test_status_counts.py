from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from directus_realtime.listener import status
from directus_realtime.listener.inbox_entry import Tally
from directus_realtime.listener.status import KEPT
from directus_realtime.models import DirectusSubscription, EventCount

pytestmark = pytest.mark.django_db

#: Relative to the clock, because counts of another day are old and deleted.
THIS_MINUTE = timezone.now().replace(second=30, microsecond=0)


def count_by_minute(tallies: dict[str, Tally]) -> None:
    status.count_by_minute(tallies, timezone.now())


@pytest.fixture(autouse=True)
def subscriptions() -> None:
    for name in ("a", "b"):
        DirectusSubscription.objects.create(name=name, collection="articles", connection="blog")


def counts() -> set[tuple[Any, ...]]:
    return set(EventCount.objects.values_list("subscription", "connection", "minute", "events"))


def test_events_are_added_up_by_the_minute() -> None:
    count_by_minute({"a": Tally(3, THIS_MINUTE), "b": Tally(1, THIS_MINUTE)})
    count_by_minute({"a": Tally(2, THIS_MINUTE + timedelta(seconds=29))})
    count_by_minute({"a": Tally(7, THIS_MINUTE + timedelta(seconds=30))})
    minute = THIS_MINUTE.replace(second=0)
    assert counts() == {
        ("a", "blog", minute, 5),
        ("b", "blog", minute, 1),
        ("a", "blog", minute + timedelta(minutes=1), 7),
    }


def test_a_subscription_that_was_deleted_is_left_out() -> None:
    count_by_minute(
        {"gone": Tally(3, THIS_MINUTE), "a": Tally(1, THIS_MINUTE), "b": Tally(0, None)}
    )
    assert [row[0] for row in counts()] == ["a"]


def test_a_subscription_that_was_renamed_in_case_only_does_no_harm() -> None:
    count_by_minute({"a": Tally(3, THIS_MINUTE)})
    DirectusSubscription.objects.filter(name="a").update(name="A")
    count_by_minute({"A": Tally(2, THIS_MINUTE), "b": Tally(1, THIS_MINUTE)})
    assert [events for name, _, _, events in counts() if name == "a"] == [3]
    assert [events for name, _, _, events in counts() if name == "b"] == [1]


def test_old_counts_are_deleted_with_the_next_new_one() -> None:
    now = timezone.now()
    for age in (KEPT + timedelta(minutes=2), KEPT - timedelta(minutes=2)):
        EventCount.objects.create(subscription="b", connection="blog", minute=now - age, events=1)
    count_by_minute({"a": Tally(1, now)})
    assert sorted(EventCount.objects.values_list("subscription", flat=True)) == ["a", "b"]


def test_nothing_costs_nothing_and_many_cost_no_more_than_one(
    django_assert_num_queries: Any,
) -> None:
    with django_assert_num_queries(0):
        count_by_minute({})
    DirectusSubscription.objects.bulk_create(
        DirectusSubscription(name=f"s{n}", collection="articles") for n in range(100)
    )
    tallies = {f"s{n}": Tally(1, THIS_MINUTE) for n in range(100)}
    with django_assert_num_queries(4):
        count_by_minute(tallies)
    with django_assert_num_queries(3):
        count_by_minute(tallies)
    assert {row[3] for row in counts()} == {2}
