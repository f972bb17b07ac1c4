from __future__ import annotations

import sys
from typing import Any

import pytest
from django.test import Client

from directus_realtime import Subscription, register
from directus_realtime.models import DirectusSubscription
from directus_realtime.subscriptions import _declared, _places
from tests.helpers.admin import form, said, subscription, url

pytestmark = pytest.mark.django_db


def add(client: Client, **values: Any) -> Any:
    return client.post(url("directussubscription", "add"), form(**values), follow=True)


def test_which_browsers_may_have_it_is_chosen(admin_client: Client) -> None:
    access = {"browser_access": "permission", "browser_permission": "auth.view_user"}
    add(admin_client, **access, browser_first_load="20")
    row = DirectusSubscription.objects.get()
    assert (row.browser_access, row.browser_permission) == ("permission", "auth.view_user")
    assert row.browser_first_load == 20


@pytest.mark.parametrize(
    ("permission", "sentence"),
    [
        ("", "Write the permission as application.codename: articles.view_article."),
        ("auth.nope", "There is no permission “auth.nope”."),
    ],
)
def test_a_permission_that_nobody_can_have_is_refused(
    admin_client: Client, permission: str, sentence: str
) -> None:
    response = add(admin_client, browser_access="permission", browser_permission=permission)
    found = response.context["adminform"].form.errors
    assert found == {"browser_permission": [sentence]}


def test_a_function_is_for_declarations_only(admin_client: Client) -> None:
    response = add(admin_client, browser_access="function")
    assert list(response.context["adminform"].form.errors) == ["browser_access"]
    page = admin_client.get(url("directussubscription", "add")).content.decode()
    assert '<option value="signed_in">' in page
    assert '<option value="function">' not in page


def test_another_subscription_of_the_collection_is_told_of(admin_client: Client) -> None:
    subscription("first", on_delete=False)
    told = said(add(admin_client, on_create=None))
    assert (
        "Another subscription has this collection, too: first. The receivers of articles are "
        "called for each of them that wants a change; event.subscription tells a receiver which "
        "one it is."
    ) in told


def test_of_many_others_some_are_named(admin_client: Client) -> None:
    for number in range(5):
        subscription(f"s-{number}")
    assert any("too: s-0, s-1, s-2, …. " in text for text in said(add(admin_client)))


@pytest.mark.parametrize(
    ("other", "new"),
    [
        ({"enabled": False}, {}),
        ({"collection": "authors"}, {}),
        ({"connection": "blog"}, {}),
        ({"on_update": False, "on_delete": False}, {"on_create": None}),
        ({}, {"enabled": None}),
    ],
    ids=str,
)
def test_others_that_bring_no_change_twice_are_not_told_of(
    admin_client: Client, other: dict[str, Any], new: dict[str, Any]
) -> None:
    subscription("first", **other)
    assert not any("subscription has" in text for text in said(add(admin_client, **new)))
    assert DirectusSubscription.objects.count() == 2


def test_a_declared_row_shows_file_and_line(admin_client: Client) -> None:
    line = sys._getframe().f_lineno + 1
    register(Subscription("from-code", collection="articles"))
    try:
        row = subscription("from-code", declared_in=__name__)
        page = admin_client.get(url("directussubscription", "change", row.pk)).content.decode()
    finally:
        del _declared["from-code"], _places["from-code"]
    assert f"<code>tests/unit/admin/test_subscription_admin_form.py:{line}</code>" in page


def test_a_declaration_that_this_process_does_not_know_shows_its_module(
    admin_client: Client,
) -> None:
    row = subscription(declared_in="other.directus_subscriptions")
    page = admin_client.get(url("directussubscription", "change", row.pk)).content.decode()
    assert "<code>other.directus_subscriptions</code>" in page
