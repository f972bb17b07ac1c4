from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    MatchedItem,
)
from tests.helpers.admin import (
    form,
    run_action,
    said,
    subscription,
    url,
    user_who_may,
)

pytestmark = pytest.mark.django_db


def add(client: Client, **values: Any) -> Any:
    return client.post(url("directussubscription", "add"), form(**values), follow=True)


def errors(response: Any) -> dict[str, list[str]]:
    """The errors at the form's fields."""
    return dict(response.context["adminform"].form.errors)


def test_the_list_shows_what_is_listened_to(admin_client: Client, listener: Any) -> None:
    subscription(state="subscribed", event_count=1234, on_delete=False)
    page = admin_client.get(url("directussubscription")).content.decode()
    assert "articles" in page
    assert "create, update" in page
    assert '<span class="directus-state directus-state-subscribed">subscribed</span>' in page
    assert "1234" in page or "1,234" in page


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"state": "waiting"}, "waiting"),
        ({"state": "refused", "last_error": "You don't <may>"}, "refused"),
        ({"state": "subscribed", "enabled": False}, "paused"),
        ({"state": "subscribed", "connection": "blog"}, "no listener"),
    ],
)
def test_the_list_tells_the_state_as_it_is_now(
    admin_client: Client, listener: Any, values: dict[str, Any], shown: str
) -> None:
    subscription(**values)
    page = admin_client.get(url("directussubscription")).content.decode()
    assert f">{shown}</span>" in page
    if "last_error" in values:
        assert "You don&#x27;t &lt;may&gt;" in page
        assert "<may>" not in page


def test_a_dead_listener_is_told_with_the_way_out(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    subscription(state="subscribed")
    listener.heartbeat_at = timezone.now() - timedelta(seconds=6)
    listener.save()
    page = admin_client.get(url("directussubscription")).content.decode()
    assert "no listener" in page
    assert "python manage.py directus_listen" in page


@pytest.mark.parametrize("has_listener", [True, False])
def test_the_list_asks_no_more_questions_for_more_rows(
    admin_client: Client,
    django_assert_max_num_queries: Any,
    has_listener: bool,
    request: pytest.FixtureRequest,
) -> None:
    if has_listener:
        request.getfixturevalue("listener")
    for number in range(30):
        subscription(f"s{number}", declared_in="app" if number % 2 else "")
    with django_assert_max_num_queries(12):
        admin_client.get(url("directussubscription"))


@pytest.mark.parametrize("query", ["?enabled__exact=1", "?state__exact=refused", "?q=arti"])
def test_the_list_filters_and_searches(admin_client: Client, listener: Any, query: str) -> None:
    subscription(state="refused")
    response = admin_client.get(url("directussubscription") + query)
    assert response.status_code == 200
    assert response.context["cl"].result_count == 1


def test_a_subscription_is_added(admin_client: Client) -> None:
    response = add(
        admin_client,
        on_update=None,
        filter='{"status": {"_eq": "published"}}',
        fields='["id", "author.name"]',
        item="7",
        group="news",
    )
    row = DirectusSubscription.objects.get()
    assert (row.name, row.connection, row.collection) == ("new", "default", "articles")
    assert row.actions == ("create", "delete")
    assert row.filter == {"status": {"_eq": "published"}}
    assert row.fields == ["id", "author.name"]
    assert (row.item, row.group) == ("7", "news")
    assert row.enabled
    assert "No listener is running. Start it: python manage.py directus_listen" in said(response)


def test_with_a_listener_it_is_said_when_it_is_taken_up(
    admin_client: Client, listener: Any
) -> None:
    assert "The listener takes it up within 2 seconds." in said(add(admin_client))


def test_the_form_offers_the_configured_connections(admin_client: Client) -> None:
    page = admin_client.get(url("directussubscription", "add")).content.decode()
    assert '<option value="default" selected>default</option>' in page
    assert '<option value="blog">blog</option>' in page
    assert 'name="state"' not in page


def test_a_connection_that_is_no_longer_configured_is_still_shown(admin_client: Client) -> None:
    row = subscription(connection="gone")
    page = admin_client.get(url("directussubscription", "change", row.pk)).content.decode()
    assert '<option value="gone" selected>gone</option>' in page


@pytest.mark.parametrize("empty", ["", "null"])
def test_an_emptied_filter_and_emptied_fields_are_none(admin_client: Client, empty: str) -> None:
    add(admin_client, filter=empty, fields=empty)
    row = DirectusSubscription.objects.get()
    assert (row.filter, row.fields) == ({}, [])


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"name": ""}, "name", "This field is required."),
        ({"collection": ""}, "collection", "This field is required."),
        ({"connection": "x"}, "connection", "There is no connection “x” in DIRECTUS_REALTIME."),
        (
            {"on_create": None, "on_update": None, "on_delete": None},
            "on_create",
            "Choose at least one action.",
        ),
        ({"filter": "{status: 1}"}, "filter", "Enter a valid JSON."),
        ({"filter": "[1]"}, "filter", "The filter must be an object"),
        ({"filter": '{"a": {"_is": 1}}'}, "filter", "_is is not a Directus filter operator."),
        ({"fields": "id, title"}, "fields", "Enter a valid JSON."),
        ({"fields": '"id"'}, "fields", "Fields must be a list of names"),
        ({"fields": "[1]"}, "fields", "Fields must be a list of names"),
        ({"group": "a b"}, "group", "Use fewer than 100 letters"),
        ({"group": "x" * 100}, "group", "Ensure this value has at most 99 characters"),
        ({"item": "x" * 256}, "item", "Ensure this value has at most 255 characters"),
    ],
)
def test_a_mistake_is_told_at_its_field(
    admin_client: Client, values: dict[str, Any], field: str, sentence: str
) -> None:
    response = add(admin_client, **values)
    found = errors(response)
    assert list(found) == [field]
    assert found[field][0].startswith(sentence)
    assert not DirectusSubscription.objects.exists()


def test_a_name_that_is_taken_is_told(admin_client: Client) -> None:
    subscription("new")
    assert "already exists" in errors(add(admin_client))["name"][0]


def test_a_subscription_is_changed_and_keeps_its_state(admin_client: Client) -> None:
    row = subscription("new", state="subscribed", event_count=5, last_error="e")
    page = url("directussubscription", "change", row.pk)
    assert admin_client.get(page).status_code == 200
    admin_client.post(page, form(collection="authors", state="refused", event_count="0"))
    row.refresh_from_db()
    assert row.collection == "authors"
    assert (row.state, row.event_count, row.last_error) == ("subscribed", 5, "e")


def test_a_declaration_cannot_be_forged(admin_client: Client) -> None:
    add(admin_client, declared_in="app")
    assert DirectusSubscription.objects.get().declared_in == ""


@pytest.fixture
def declared() -> DirectusSubscription:
    return subscription("declared", declared_in="app.directus_subscriptions")


def test_a_declared_row_is_shown_with_its_place(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    page = admin_client.get(url("directussubscription", "change", declared.pk)).content.decode()
    assert "app.directus_subscriptions" in page
    assert '<input type="text" name="collection"' not in page
    assert 'name="_save"' not in page


def test_a_declared_row_cannot_be_changed(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    page = url("directussubscription", "change", declared.pk)
    assert admin_client.post(page, form(collection="authors")).status_code == 403
    declared.refresh_from_db()
    assert declared.collection == "articles"


def test_a_declared_row_cannot_be_deleted(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    page = url("directussubscription", "delete", declared.pk)
    assert admin_client.post(page, {"post": "yes"}).status_code == 403
    run = {"action": "delete_selected", "_selected_action": [declared.pk], "post": "yes"}
    admin_client.post(url("directussubscription"), run)
    assert DirectusSubscription.objects.get() == declared


def test_a_row_of_the_admin_can_be_deleted(admin_client: Client) -> None:
    row = subscription()
    admin_client.post(url("directussubscription", "delete", row.pk), {"post": "yes"})
    assert not DirectusSubscription.objects.exists()


def test_what_is_remembered_of_items_is_not_listed_before_a_delete(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    row, other = subscription("first"), subscription("second")
    digests = [f"{number:064}" for number in range(1000)]
    MatchedItem.objects.bulk_create(
        MatchedItem(subscription=each, digest=d) for each in (row, other) for d in digests
    )
    with django_assert_max_num_queries(10):
        page = admin_client.get(url("directussubscription", "delete", row.pk)).content.decode()
    assert "first" in page
    assert "0001" not in page
    answer = run_action(admin_client, "directussubscription", "delete_selected", row, other)
    assert "0001" not in answer.content.decode()
    admin_client.post(url("directussubscription", "delete", row.pk), {"post": "yes"})
    assert list(DirectusSubscription.objects.all()) == [other]
    assert set(MatchedItem.objects.values_list("subscription", flat=True)) == {other.pk}


def test_of_a_declared_row_it_is_said_why_it_is_not_deleted(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    answer = run_action(
        admin_client, "directussubscription", "delete_selected", declared, subscription()
    )
    assert "declared, which is declared in code" in answer.content.decode()
    assert DirectusSubscription.objects.count() == 2


def test_disables_and_enables(admin_client: Client) -> None:
    first, second, other = subscription("a"), subscription("b"), subscription("c")
    response = run_action(admin_client, "directussubscription", "disable", first, second)
    assert said(response) == ["2 subscriptions are disabled."]
    enabled = DirectusSubscription.objects.filter(enabled=True)
    assert list(enabled.all()) == [other]
    response = run_action(admin_client, "directussubscription", "enable", first)
    assert said(response) == ["1 subscription is enabled."]
    assert set(enabled.all()) == {first, other}


def test_an_action_leaves_declared_rows_as_they_are(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    row = subscription()
    response = run_action(admin_client, "directussubscription", "disable", row, declared)
    assert said(response) == [
        "1 subscription is disabled.",
        "1 subscription is declared in code and was left as it is.",
    ]
    assert list(DirectusSubscription.objects.filter(enabled=True)) == [declared]


def test_actions_need_the_right_to_change(client: Client) -> None:
    client.force_login(user_who_may("view_directussubscription"))
    row = subscription()
    run_action(client, "directussubscription", "disable", row)
    row.refresh_from_db()
    assert row.enabled


def test_the_help_of_the_filter_says_what_happens_with_deletes(
    admin_client: Client, client: Client
) -> None:
    page = url("directussubscription", "add")
    assert "A delete carries no data that a filter could judge" in (
        admin_client.get(page).content.decode()
    )
    with translation.override(None):
        content = client.get(page, headers={"accept-language": "fr"}).content.decode()
    assert "Une suppression ne porte pas de données" in content
    # Those who may only look are told, too.
    row = subscription()
    client.force_login(user_who_may("view_directussubscription"))
    page = url("directussubscription", "change", row.pk)
    assert "A delete carries no data" in client.get(page).content.decode()
