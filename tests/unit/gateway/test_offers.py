from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from directus_realtime import subscriptions
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.gateway.offers import load_offers
from directus_realtime.models import DirectusSubscription
from directus_realtime.subscriptions import Browsers, Subscription, register

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "_declared", {})


def make(name: str, **values: Any) -> DirectusSubscription:
    given = {"collection": "articles", "browser_access": "public", **values}
    return DirectusSubscription.objects.create(name=name, **given)


def anyone(user: Any, subscription: Any, query: Any) -> bool:
    return True


def test_nothing_is_offered_by_default() -> None:
    DirectusSubscription.objects.create(name="a", collection="articles")
    register(Subscription("b", collection="articles"))
    sync_declared()
    assert load_offers() == []


def test_a_row_of_the_admin() -> None:
    make(
        "b",
        browser_access="permission",
        browser_permission="auth.view_user",
        browser_first_load=50,
        on_create=False,
        fields=["id"],
        filter={"a": {"_eq": 1}},
        item="7",
    )
    make("a", connection="default", group="own")
    first, second = load_offers()
    assert (first.name, first.group, first.access, first.item) == ("a", "own", "public", None)
    assert first.actions == ("create", "update", "delete")
    assert (second.access, second.permission, second.first_load) == (
        "permission",
        "auth.view_user",
        50,
    )
    assert (second.group, second.actions) == ("directus.articles", ("update", "delete"))
    assert (second.fields, second.filter, second.item) == (("id",), {"a": {"_eq": 1}}, "7")
    assert second.browsers is None


def test_it_takes_one_query(django_assert_num_queries: Any) -> None:
    make("a")
    make("b", browser_access="permission", browser_permission="no.such_permission")
    with django_assert_num_queries(1):
        assert len(load_offers()) == 2


@pytest.mark.parametrize(
    "values",
    [
        {"enabled": False},
        {"browser_access": "nobody"},
        {"browser_access": "function"},
        {"connection": "elsewhere"},
        {"fields": "id"},
        {"filter": {"a": {"_is": 1}}},
    ],
)
def test_rows_that_are_offered_to_nobody(values: dict[str, Any]) -> None:
    make("a", **values)
    assert load_offers() == []


def test_a_declaration_brings_its_functions() -> None:
    browsers = Browsers(anyone, rows=lambda user: {}, first_load=5)
    declaration = register(Subscription("a", collection="articles", browsers=browsers))
    sync_declared()
    (offer,) = load_offers()
    assert (offer.access, offer.first_load) == ("function", 5)
    assert offer.browsers is browsers
    assert offer.subscription is declaration


def test_a_text_is_short_for_browsers() -> None:
    register(Subscription("a", collection="articles", browsers="auth.view_user"))
    sync_declared()
    (offer,) = load_offers()
    assert (offer.access, offer.permission) == ("permission", "auth.view_user")


def test_a_process_without_the_declaration_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row alone says nothing of the items that a user may see."""
    browsers = Browsers("public", rows=lambda user: {"owner": user.pk})
    register(Subscription("a", collection="articles", browsers=browsers))
    sync_declared()
    monkeypatch.setattr(subscriptions, "_declared", {})
    assert load_offers() == []
    register(Subscription("a", collection="articles"))
    assert load_offers() == []


def test_a_declaration_that_is_not_written_down_offers_nothing() -> None:
    register(Subscription("a", collection="articles"))
    sync_declared()
    register(Subscription("a", collection="articles", browsers="public"))
    assert load_offers() == []
    sync_declared()
    assert len(load_offers()) == 1


def test_the_declaration_decides_against_its_row() -> None:
    register(Subscription("a", collection="articles", browsers="signed-in"))
    sync_declared()
    DirectusSubscription.objects.update(browser_access="public", browser_first_load=99)
    (offer,) = load_offers()
    assert (offer.access, offer.first_load) == ("signed_in", 0)


def test_a_declaration_says_nothing_of_a_row_of_the_admin_with_its_name() -> None:
    make("a", browser_access="signed_in")
    register(Subscription("a", collection="articles", browsers="public"))
    (offer,) = load_offers()
    assert (offer.access, offer.browsers) == ("signed_in", None)


def test_the_fingerprint_follows_what_is_offered() -> None:
    make("a")
    (offer,) = load_offers()
    assert load_offers()[0].fingerprint == offer.fingerprint
    changes: list[dict[str, Any]] = [
        {"fields": ("id",)},
        {"filter": {"a": {"_eq": 1}}},
        {"access": "signed_in"},
        {"permission": "a.b"},
        {"first_load": 1},
        {"group": "g"},
        {"actions": ("create",)},
        {"item": "1"},
        {"collection": "notes"},
    ]
    prints = {replace(offer, **change).fingerprint for change in changes}
    assert len(prints | {offer.fingerprint}) == len(changes) + 1
