from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.models import ConnectionStatus, DirectusSubscription, InboxEvent


def row(**values: Any) -> DirectusSubscription:
    return DirectusSubscription(**{"name": "all", "collection": "articles", **values})


def errors_of(subscription: DirectusSubscription) -> dict[str, list[str]]:
    try:
        subscription.clean()
    except ValidationError as error:
        return error.message_dict
    return {}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"filter": {"status": {"_eq": "published"}}},
        {"fields": ["id", "author.name", "*.*"]},
        {"on_create": False, "on_update": False},
        {"item": "42", "group": "news.live_1-a"},
        {"collection": "Été & co.#1?"},
    ],
)
def test_good_rows_are_clean(values: dict[str, Any]) -> None:
    assert errors_of(row(**values)) == {}


COLLECTION_ERROR = "Write the name of the collection alone, without a path."
FIELDS_ERROR = 'Fields must be a list of names such as ["title", "author.name"].'
GROUP_ERROR = (
    "Use fewer than 100 letters, digits, hyphens, underscores and dots (Channels allows no others)."
)


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        (
            {"connection": "blog"},
            {
                "connection": [
                    "There is no connection “blog” in DIRECTUS_REALTIME. Configured: default."
                ]
            },
        ),
        (
            {"on_create": False, "on_update": False, "on_delete": False},
            {"on_create": ["Choose at least one action."]},
        ),
        (
            {"filter": ["x"]},
            {"filter": ['The filter must be an object such as {"status": {"_eq": "x"}}.']},
        ),
        (
            {"filter": None},
            {"filter": ['The filter must be an object such as {"status": {"_eq": "x"}}.']},
        ),
        (
            {"filter": {"status": {"_is": "x"}}},
            {"filter": ["_is is not a Directus filter operator."]},
        ),
        ({"collection": "../flows/trigger/1"}, {"collection": [COLLECTION_ERROR]}),
        ({"collection": "directus_flows/trigger/1"}, {"collection": [COLLECTION_ERROR]}),
        ({"collection": "a\\b"}, {"collection": [COLLECTION_ERROR]}),
        ({"collection": ".."}, {"collection": [COLLECTION_ERROR]}),
        ({"fields": "id,title"}, {"fields": [FIELDS_ERROR]}),
        ({"fields": {"id": 1}}, {"fields": [FIELDS_ERROR]}),
        ({"fields": [5]}, {"fields": [FIELDS_ERROR]}),
        ({"fields": [""]}, {"fields": [FIELDS_ERROR]}),
        ({"fields": None}, {"fields": [FIELDS_ERROR]}),
        ({"group": "with space"}, {"group": [GROUP_ERROR]}),
        ({"group": "ä"}, {"group": [GROUP_ERROR]}),
        ({"group": "news\n"}, {"group": [GROUP_ERROR]}),
    ],
)
def test_each_mistake_has_its_sentence_at_its_field(
    values: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    assert errors_of(row(**values)) == errors


FORM_ERROR = "Write the permission as application.codename: articles.view_article."


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"browser_access": "public"}, {}),
        ({"browser_access": "signed_in", "browser_permission": "left over"}, {}),
        ({"browser_access": "permission"}, {"browser_permission": [FORM_ERROR]}),
        (
            {"browser_access": "permission", "browser_permission": "view_user"},
            {"browser_permission": [FORM_ERROR]},
        ),
        (
            {"browser_access": "function"},
            {
                "browser_access": [
                    "Only a subscription that is declared in code can have a function decide."
                ]
            },
        ),
        ({"browser_access": "function", "declared_in": "shop"}, {}),
    ],
)
def test_who_may_have_it_is_checked(values: dict[str, Any], errors: dict[str, list[str]]) -> None:
    assert errors_of(row(**values)) == errors


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("permission", "errors"),
    [
        ("auth.view_user", {}),
        ("auth.no_such", {"browser_permission": ["There is no permission “auth.no_such”."]}),
        ("shop.view_user", {"browser_permission": ["There is no permission “shop.view_user”."]}),
    ],
)
def test_a_permission_exists(permission: str, errors: dict[str, list[str]]) -> None:
    values = {"browser_access": "permission", "browser_permission": permission}
    assert errors_of(row(**values)) == errors
    # Whoever imports a row of an application that is not installed here still listens to it.
    row(**values).clean_query()


def test_all_mistakes_are_told_at_once() -> None:
    wrong = row(connection="x", on_create=False, on_update=False, on_delete=False, group="a b")
    assert set(errors_of(wrong)) == {"connection", "on_create", "group"}


def test_no_connection_configured_is_told(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {}
    assert errors_of(row())["connection"] == [
        "There is no connection “default” in DIRECTUS_REALTIME. Configured: –."
    ]


@pytest.mark.django_db
def test_a_name_is_taken_once() -> None:
    row().save()
    with pytest.raises(ValidationError) as caught:
        row().full_clean()
    assert list(caught.value.message_dict) == ["name"]


def test_the_query_of_a_row() -> None:
    query = row(on_update=False, filter={"a": {"_eq": 1}}, fields=["id"], item="7").to_query()
    assert query.collection == "articles"
    assert query.events == ("create", "delete")
    assert query.filter == {"a": {"_eq": 1}}
    assert query.fields == ("id",)
    assert query.item == "7"
    assert row().to_query().item is None


# Inbox


def event(**values: Any) -> Event:
    given = {
        "connection": "default",
        "subscription": "all",
        "collection": "articles",
        "action": "update",
        "key": 1,
        "data": {"id": 1},
    }
    return Event(**{**given, **values})


@pytest.mark.django_db
@pytest.mark.parametrize("key", [1, "1", 0, -5, 2**80, "a1-b2", "", "\0", "\ud800", "ä🙂"])
def test_a_key_keeps_its_type_and_value(key: int | str) -> None:
    stored = event(key=key)
    InboxEvent.from_event(stored).save()
    found = InboxEvent.objects.get().to_event()
    assert found.key == key
    assert type(found.key) is type(key)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"text": "a\0b"},
        {"text": "half a pair: \ud83d"},
        {"text": "🙂 ä \u2028", "ä": 1},
        {"number": 10**300, "small": 1e-300, "negative": -(2**70)},
        {"nested": [[{"a": [None, True, False, 0.1]}]]},
        {"body": "x" * 1_000_000},
    ],
)
def test_an_event_survives_the_inbox(data: dict[str, Any] | None) -> None:
    stored = event(data=data, action="delete" if data is None else "update", activity_id=5)
    InboxEvent.from_event(stored, "news").save()
    found = InboxEvent.objects.get()
    assert found.to_event() == stored
    assert found.group == "news"
    assert found.key_json.isascii()
    assert found.data_json.isascii()


# Connections


@pytest.mark.parametrize(
    ("age", "state", "reason"),
    [
        (0, "connected", "all is well"),
        (4, "connected", "all is well"),
        (
            6,
            "disconnected",
            "No listener is running. Start it: python manage.py directus_listen",
        ),
    ],
)
def test_the_state_of_a_connection_without_a_listener_is_history(
    age: int, state: str, reason: str
) -> None:
    now = timezone.now()
    status = ConnectionStatus(
        alias="default",
        state="connected",
        reason="all is well",
        changed_at=now,
        heartbeat_at=now - timedelta(seconds=age),
    )
    assert status.current_state == state
    assert status.current_reason == reason
    assert status.has_listener == (age < 5)


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    output = StringIO()
    call_command("makemigrations", "directus_realtime", check=True, dry_run=True, stdout=output)
    assert "No changes detected" in output.getvalue()
