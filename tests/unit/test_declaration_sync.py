from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Q

from directus_realtime import subscriptions
from directus_realtime.declaration_sync import rows_as_declared, sync_declared
from directus_realtime.listener.desired_subscriptions import (
    desired_subscriptions,
    valid_subscriptions,
)
from directus_realtime.listener.follower.gaps import open_gap
from directus_realtime.models import DirectusSubscription, ListenerLease, LogPosition
from directus_realtime.subscriptions import Browsers, Subscription, register

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "_declared", {})


def declare(name: str = "published", **values: Any) -> None:
    register(Subscription(name, **{"collection": "articles", **values}))


def test_a_declaration_becomes_a_row() -> None:
    declare(
        events=["create", "delete"],
        filter=Q(status="published"),
        fields=["id", "title"],
        item=42,
        group="news",
    )
    sync_declared()
    row = DirectusSubscription.objects.get()
    assert (row.name, row.connection, row.collection) == ("published", "default", "articles")
    assert (row.on_create, row.on_update, row.on_delete) == (True, False, True)
    assert row.filter == {"status": {"_eq": "published"}}
    assert row.fields == ["id", "title"]
    assert (row.item, row.group) == ("42", "news")
    assert row.enabled
    assert row.declared_in == __name__


@pytest.mark.parametrize(
    ("browsers", "written"),
    [
        (None, ("nobody", "", 0)),
        ("public", ("public", "", 0)),
        (Browsers("signed-in", first_load=9), ("signed_in", "", 9)),
        (Browsers("auth.view_user"), ("permission", "auth.view_user", 0)),
        (Browsers(lambda user, subscription, query: True), ("function", "", 0)),
    ],
)
def test_whose_browsers_may_have_it_is_written_down(browsers: Any, written: Any) -> None:
    declare(browsers="auth.add_user")
    sync_declared()
    declare(browsers=browsers)
    sync_declared()
    row = DirectusSubscription.objects.get()
    assert (row.browser_access, row.browser_permission, row.browser_first_load) == written


def test_a_changed_declaration_changes_the_row_and_keeps_its_state() -> None:
    declare()
    sync_declared()
    DirectusSubscription.objects.update(state="subscribed", event_count=7)
    declare(collection="authors", fields=["name"])
    sync_declared()
    row = DirectusSubscription.objects.get()
    assert (row.collection, row.fields) == ("authors", ["name"])
    assert (row.state, row.event_count) == ("subscribed", 7)


def test_a_row_that_was_changed_behind_our_back_is_put_right() -> None:
    declare()
    sync_declared()
    DirectusSubscription.objects.update(enabled=False, on_delete=False)
    sync_declared()
    row = DirectusSubscription.objects.get()
    assert row.enabled
    assert row.on_delete


def test_an_unchanged_declaration_writes_nothing(django_assert_num_queries: Any) -> None:
    declare(filter={"a": {"_in": [1, 2]}}, item="x")
    sync_declared()
    with django_assert_num_queries(1):  # the rows
        sync_declared()


def followed(name: str = "published", **values: Any) -> DirectusSubscription:
    """Declare and follow a subscription; its connection is read up to 9, with a hole."""
    declare(name, **values)
    sync_declared()
    LogPosition.objects.update_or_create(
        alias="default", defaults={"top": 9, "holes": [[5, 6, 0.0]], "read_at": MOMENT}
    )
    row = DirectusSubscription.objects.get(name=name)
    row.followed_from, row.followed_in, row.state = 1, "default/articles", "subscribed"
    row.save()
    return row


def test_a_row_whose_declaration_is_missing_is_kept_with_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    row = followed("old")
    subscriptions._declared.clear()
    declare("new", collection="pages")
    (departure,) = sync_declared()
    assert (departure.connection, departure.collection) == ("default", "articles")
    assert "'old' is no longer declared" in departure.reason
    orphan = DirectusSubscription.objects.get(pk=row.pk)
    assert orphan.orphaned_at is not None
    assert (orphan.followed_from, orphan.unread) == (1, [[5, 6], [10, None]])
    assert [each.name for each in valid_subscriptions("default")] == ["new"]
    assert "directus_prune --orphaned" in caplog.text


def test_an_orphan_is_announced_once_and_continues_when_it_is_declared_again() -> None:
    row = followed()
    subscriptions._declared.clear()
    assert len(sync_declared()) == 1
    assert sync_declared() == []
    declare()
    assert sync_declared() == []
    again = DirectusSubscription.objects.get(pk=row.pk)
    assert (again.orphaned_at, again.unread) == (None, [[5, 6], [10, None]])


def test_a_listener_of_another_connection_leaves_the_rows_alone() -> None:
    row = followed()
    subscriptions._declared.clear()
    assert sync_declared([]) == []
    assert DirectusSubscription.objects.get(pk=row.pk).orphaned_at is None


def test_a_renamed_declaration_keeps_its_row(caplog: pytest.LogCaptureFixture) -> None:
    row = followed("old", filter={"a": {"_eq": 1}})
    subscriptions._declared.clear()
    declare("new", filter={"a": {"_eq": 1}}, group="news")
    declare("another", filter={"a": {"_eq": 2}})
    caplog.set_level("INFO")
    assert sync_declared() == []
    assert DirectusSubscription.objects.get(pk=row.pk).name == "new"
    assert DirectusSubscription.objects.get(pk=row.pk).followed_from == 1
    assert DirectusSubscription.objects.count() == 2
    assert "'old' is declared as 'new' now" in caplog.text


def test_a_declaration_with_another_name_and_query_is_another_one() -> None:
    followed("old", filter={"a": {"_eq": 1}})
    subscriptions._declared.clear()
    declare("new", filter={"a": {"_eq": 2}})
    (departure,) = sync_declared()
    assert departure.collection == "articles"
    assert DirectusSubscription.objects.get(name="new").followed_from is None


def test_a_declaration_of_another_collection_leaves_the_previous_one() -> None:
    followed()
    declare(collection="pages")
    (departure,) = sync_declared()
    assert departure.collection == "articles"
    assert departure.reason == "the subscription 'published' follows pages of default instead"


def test_a_departure_is_stored_as_an_open_gap() -> None:
    followed()
    open_gap("default", "one", ["pages"])
    open_gap("default", "two", ["articles"])
    stored = LogPosition.objects.get()
    assert (stored.gap_since, stored.gap_until, stored.gap_recovered) == (MOMENT, None, False)
    assert stored.gap_reason == "one; two"
    assert stored.gap_collections == ["articles", "pages"]


def test_a_connection_that_was_never_followed_has_no_gap() -> None:
    open_gap("default", "one", ["pages"])
    assert not LogPosition.objects.exists()


def test_rows_of_the_admin_stay() -> None:
    DirectusSubscription.objects.create(name="mine", collection="notes")
    declare()
    sync_declared()
    assert DirectusSubscription.objects.get(name="mine").collection == "notes"


def test_a_row_of_the_admin_wins_over_a_declaration_of_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    DirectusSubscription.objects.create(name="published", collection="notes")
    declare()
    declare("other")
    sync_declared()
    rows = {row.name: row for row in DirectusSubscription.objects.all()}
    assert rows["published"].collection == "notes"
    assert rows["published"].declared_in == ""
    assert rows["other"].declared_in == __name__
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        f"The subscription 'published', declared in {__name__}, is left out: the admin has one "
        "of that name. Rename one of them."
    )


def test_a_declaration_may_be_renamed_in_case_only() -> None:
    declare("published")
    sync_declared()
    subscriptions._declared.clear()
    declare("Published")
    sync_declared()
    assert DirectusSubscription.objects.get().name == "Published"


@pytest.mark.skipif(connection.vendor != "mysql", reason="others take them for two")
def test_a_declaration_whose_name_the_database_takes_for_another_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    DirectusSubscription.objects.create(name="published", collection="notes")
    for name in ("Published", "Other", "other"):
        declare(name)
    sync_declared()
    assert set(DirectusSubscription.objects.values_list("name", flat=True)) == {
        "published",
        "Other",
    }
    assert [record.event for record in caplog.records] == ["declaration-left-out"] * 2  # type: ignore[attr-defined]
    assert "takes its name for that of 'published'" in caplog.text


def test_a_declaration_for_a_connection_that_is_not_configured_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    declare(connection="nowhere")
    sync_declared()
    assert "nowhere" in caplog.text


def test_migrate_shows_the_declarations_before_the_first_listen() -> None:
    declare()
    call_command("migrate", verbosity=0)
    assert DirectusSubscription.objects.get().name == "published"


def test_migrate_leaves_the_rows_of_a_listener_alone() -> None:
    row = followed()
    ListenerLease.objects.create(alias="default")
    subscriptions._declared.clear()
    declare("published", collection="pages")
    declare("new")
    call_command("migrate", verbosity=0)
    (kept,) = DirectusSubscription.objects.all()
    assert (kept.pk, kept.collection) == (row.pk, "articles")


def test_the_rows_as_declared_are_not_saved() -> None:
    row = followed()
    declare("published", collection="pages")
    declare("new")
    DirectusSubscription.objects.create(name="mine", collection="notes")
    shown = {each.name: each.collection for each in rows_as_declared("default")}
    assert shown == {"published": "pages", "new": "articles", "mine": "notes"}
    assert DirectusSubscription.objects.get(pk=row.pk).collection == "articles"
    assert DirectusSubscription.objects.count() == 2


def test_an_invalid_row_keeps_its_place_in_the_log() -> None:
    row = followed()
    DirectusSubscription.objects.filter(pk=row.pk).update(filter=["no filter"])
    assert desired_subscriptions("default") == {}
    assert DirectusSubscription.objects.get(pk=row.pk).unread == [[5, 6], [10, None]]
