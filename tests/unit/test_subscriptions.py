from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import Q

from directus_realtime import subscriptions
from directus_realtime.subscriptions import Browsers, Subscription, declared, declared_at, register


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(subscriptions, "_declared", {})
    monkeypatch.setattr(subscriptions, "_places", {})
    return


def test_asks_for_all_actions_by_default() -> None:
    subscription = Subscription("all", collection="articles")
    assert subscription.query.events == ("create", "update", "delete")
    assert subscription.query.filter == {}
    assert subscription.query.fields == ()
    assert subscription.connection == "default"


def test_actions_are_in_the_order_of_a_life() -> None:
    events: Any = iter(["delete", "create"])
    subscription = Subscription("some", collection="articles", events=events)
    assert subscription.query.events == ("create", "delete")


def test_takes_a_q_and_a_directus_filter() -> None:
    given = {"status": {"_eq": "published"}}
    for filter_ in (Q(status="published"), given):
        assert Subscription("a", collection="b", filter=filter_).query.filter == given


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"events": []}, "asks for none of create, update, delete"),
        ({"events": ["updated"]}, "'updated' is no event"),
        ({"filter": Q(title__regex="x")}, "The lookup 'regex'"),
        ({"filter": {"a": {"_is": 1}}}, "_is is not"),
        ({"group": "with space"}, "The group name 'with space' is not legal"),
        ({"group": "x" * 100}, "is not legal"),
        ({"browsers": "everybody"}, "Browsers cannot be allowed by 'everybody'"),
        ({"browsers": True}, "The browsers of 'a' must be Browsers"),
        ({"browsers": len}, "must be Browsers"),
    ],
)
def test_a_wrong_part_is_named(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Subscription("a", **{"collection": "articles", **wrong})


def test_an_action_that_does_not_exist_is_named_beside_others() -> None:
    events: Any = ["create", "updated"]
    with pytest.raises(ValueError, match="updated"):
        Subscription("a", collection="articles", events=events)


@pytest.mark.parametrize(
    "wrong", [{"name": "x" * 101}, {"name": ""}, {"collection": ""}, {"collection": "x" * 101}]
)
def test_what_does_not_fit_into_the_table_is_an_error_at_once(wrong: dict[str, str]) -> None:
    given = {"name": "a", "collection": "articles", **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Subscription(given["name"], collection=given["collection"])


@pytest.mark.parametrize("what", ["fields", "events"])
def test_a_text_is_not_taken_for_the_list_of_its_letters(what: str) -> None:
    with pytest.raises(ValueError, match=rf"The {what} of 'a' must be a list such as \['create'\]"):
        Subscription("a", collection="articles", **{what: "create"})  # type: ignore[arg-type]


def test_registered_subscriptions_are_declared_with_their_module() -> None:
    subscription = register(Subscription("a", collection="articles"))
    assert declared() == {"a": (subscription, __name__)}


def test_a_declaration_has_a_place_without_the_folders_of_the_machine() -> None:
    line = sys._getframe().f_lineno + 1
    register(Subscription("a", collection="articles"))
    assert declared_at("a") == f"tests/unit/test_subscriptions.py:{line}"
    assert declared_at("nope") == ""


def test_a_declaration_in_a_package_has_the_file_of_the_package() -> None:
    caller: dict[str, Any] = {"__name__": "news.lists", "r": register, "S": Subscription}
    code = compile("r(S('b', collection='c'))", "/srv/site/news/lists/__init__.py", "exec")
    exec(code, caller)
    assert declared_at("b") == "news/lists/__init__.py:1"


def test_a_name_is_declared_by_one_module() -> None:
    register(Subscription("a", collection="articles"))
    other: dict[str, Any] = {"__name__": "other", "r": register, "S": Subscription}
    with pytest.raises(ValueError, match=rf"'a' is declared in {__name__} already"):
        exec("r(S('a', collection='authors'))", other)
    assert declared()["a"][0].query.collection == "articles"


def test_a_reloaded_module_declares_again() -> None:
    register(Subscription("a", collection="articles"))
    register(Subscription("a", collection="authors"))
    assert declared()["a"][0].query.collection == "authors"


def test_no_browser_has_it_by_default() -> None:
    assert Subscription("a", collection="b").browsers is None


def test_a_text_is_short_for_browsers() -> None:
    subscription = Subscription("a", collection="b", browsers="signed-in")
    assert subscription.browsers == Browsers("signed-in")


def test_the_repr_names_it() -> None:
    assert repr(Subscription("a", collection="b")) == "<Subscription 'a' of b>"
