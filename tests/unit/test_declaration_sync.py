from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Q

from directus_realtime import subscriptions
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.models import DirectusSubscription
from directus_realtime.subscriptions import Browsers, Subscription, register

pytestmark = pytest.mark.django_db


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
    with django_assert_num_queries(2):  # the rows, and the deletion of others
        sync_declared()


def test_a_row_whose_declaration_is_gone_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    declare("old")
    sync_declared()
    monkeypatch.setattr(subscriptions, "_declared", {})
    declare("new")
    sync_declared()
    assert [row.name for row in DirectusSubscription.objects.all()] == ["new"]


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


def test_migrate_shows_the_declarations() -> None:
    declare()
    call_command("migrate", verbosity=0)
    assert DirectusSubscription.objects.get().name == "published"
