from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.listener.desired_subscriptions import (
    DesiredSubscription,
    complete_load,
    desired_subscriptions,
    write_load,
)
from directus_realtime.models import DirectusSubscription

pytestmark = pytest.mark.django_db


def create(name: str = "all", **values: Any) -> DirectusSubscription:
    return DirectusSubscription.objects.create(**{"name": name, "collection": "articles", **values})


def names(alias: str = "default") -> list[str]:
    return sorted(each.name for each in desired_subscriptions(alias).values())


def test_enabled_rows_of_the_connection_are_desired(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {**settings.DIRECTUS_REALTIME, "blog": {}}
    create("a")
    create("paused", enabled=False)
    create("elsewhere", connection="blog")
    assert names() == ["a"]
    assert names("blog") == ["elsewhere"]


def test_a_row_without_an_action_is_not_desired() -> None:
    create(on_create=False, on_update=False, on_delete=False)
    assert names() == []


def test_what_a_row_asks_for() -> None:
    row = create(filter={"a": {"_eq": 1}}, fields=["id"], item="7", group="news")
    ((uid, desired),) = desired_subscriptions("default").items()
    assert (desired.uid, desired.name, desired.group) == (uid, "all", "news")
    assert desired.query == row.to_query()


def test_the_uid_is_stable() -> None:
    row = create()
    assert (
        DesiredSubscription.of(row).uid
        == DesiredSubscription.of(DirectusSubscription.objects.get()).uid
    )
    row.state, row.last_error, row.event_count = "refused", "no", 5
    assert (
        DesiredSubscription.of(row).uid
        == DesiredSubscription.of(DirectusSubscription.objects.get()).uid
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"collection": "authors"},
        {"on_delete": False},
        {"filter": {"a": {"_eq": 1}}},
        {"fields": ["id"]},
        {"item": "7"},
        {"group": "news"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_uid_changes_with_what_is_asked_for(change: dict[str, Any]) -> None:
    before = DesiredSubscription.of(create())
    DirectusSubscription.objects.update(**change)
    assert DesiredSubscription.of(DirectusSubscription.objects.get()).uid != before.uid


def test_two_rows_that_ask_for_the_same_have_their_own_uids() -> None:
    create("a")
    create("b")
    assert len(desired_subscriptions("default")) == 2


def test_a_uid_has_no_dot() -> None:
    # The client puts the action behind a dot.
    assert "." not in DesiredSubscription.of(create("a.b.c")).uid


@pytest.mark.parametrize("broken", [{"fields": 5}, {"filter": "oops"}])
def test_a_row_that_was_never_cleaned_takes_no_other_along(broken: dict[str, Any]) -> None:
    create("good")
    create("broken", **broken)
    assert "good" in names()


def test_a_load_that_a_person_asked_for_is_wanted_until_it_is_through() -> None:
    row = create("a", snapshot_of="again")  # and without a first load of its own
    asked = DesiredSubscription.of(row).snapshot_of
    assert asked
    write_load("a", 10, 100)
    row.refresh_from_db()
    assert (DesiredSubscription.of(row).snapshot_of, row.snapshot_done) == (asked, 10)
    complete_load(DesiredSubscription.of(row), 100, 2)
    row.refresh_from_db()
    assert (DesiredSubscription.of(row).snapshot_of, row.snapshot_done) == ("", 100)
    assert row.snapshot_deleted == 2


def test_a_load_that_was_requested_during_another_one_is_not_lost() -> None:
    first = DesiredSubscription.of(create("a", snapshot_of="again1"))
    row = DirectusSubscription.objects.get()
    row.snapshot_of = "again2"
    row.save()
    complete_load(first, 100, 0)
    row.refresh_from_db()
    assert DesiredSubscription.of(row).load_request == "again2"


def test_a_first_load_that_is_through_is_wanted_again_when_asked_for() -> None:
    row = create("a", snapshot=True)
    row.snapshot_of = DesiredSubscription.of(row).snapshot_of
    assert DesiredSubscription.of(row).snapshot_of == ""
    row.snapshot_of = "again"
    assert DesiredSubscription.of(row).snapshot_of


def test_a_load_under_way_forgets_what_was_loaded_before() -> None:
    row = create("a", snapshot=True, snapshot_of="another filter")
    write_load("a", 10, 100)
    row.refresh_from_db()
    assert row.snapshot_of == ""
