from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from directus_realtime.listener.desired_subscriptions import (
    DesiredSubscription,
    desired_subscriptions,
    write_load,
    write_states,
    write_tallies,
)
from directus_realtime.listener.inbox_entry import Tally
from directus_realtime.models import DirectusSubscription

pytestmark = pytest.mark.django_db


def create(name: str = "all", **values: Any) -> DirectusSubscription:
    return DirectusSubscription.objects.create(**{"name": name, "collection": "articles", **values})


def names(alias: str = "default") -> list[str]:
    return sorted(wanted.name for wanted in desired_subscriptions(alias).values())


def test_enabled_rows_of_the_connection_are_wanted(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {**settings.DIRECTUS_REALTIME, "blog": {}}
    create("a")
    create("paused", enabled=False)
    create("elsewhere", connection="blog")
    assert names() == ["a"]
    assert names("blog") == ["elsewhere"]


def test_a_row_without_an_action_is_not_wanted() -> None:
    create(on_create=False, on_update=False, on_delete=False)
    assert names() == []


def test_what_a_row_asks_for() -> None:
    row = create(filter={"a": {"_eq": 1}}, fields=["id"], item="7", group="news")
    ((uid, wanted),) = desired_subscriptions("default").items()
    assert (wanted.uid, wanted.name, wanted.group) == (uid, "all", "news")
    assert wanted.query == row.to_query()


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


def test_a_load_that_a_person_asked_for_is_wanted_until_it_is_through() -> None:
    row = create("a", snapshot_of="again")  # and without a first load of its own
    asked = DesiredSubscription.of(row).snapshot_of
    assert asked
    write_load("a", 10, 100)
    row.refresh_from_db()
    assert (DesiredSubscription.of(row).snapshot_of, row.snapshot_done) == (asked, 10)
    write_load("a", 100, 100, snapshot_of=asked)
    row.refresh_from_db()
    assert (DesiredSubscription.of(row).snapshot_of, row.snapshot_done) == ("", 100)


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
