"""Who tries to get what of an offer, and gets what."""

from __future__ import annotations

import logging
import re
import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db.models import Q

from directus_realtime.gateway.access import NOT_OFFERED, grant
from directus_realtime.gateway.browser_query import BrowserQuery, QueryRefused, parse_subscribe
from directus_realtime.gateway.browser_view import UNKNOWN, BrowserView, Seen
from directus_realtime.gateway.offers import Offer
from directus_realtime.subscriptions import Browsers, Subscription

ALL = ("create", "update", "delete")
MINE = {"id": 1, "title": "a", "owner": "me", "author": {"name": "Ann"}, "secret": "s"}
THEIRS = {"id": 2, "title": "b", "owner": "you", "author": {"name": "Bob"}, "secret": "t"}
SECRET = "token-abc"


def offer(browsers: Any = "public", **values: Any) -> Offer:
    fields = values.pop("fields", ("id", "title", "owner", "author.name"))
    given = Browsers(browsers) if isinstance(browsers, str) else browsers
    subscription = Subscription("offer", collection="articles", fields=fields, browsers=given)
    return Offer(
        **{
            "name": "offer",
            "connection": "default",
            "collection": "articles",
            "group": "directus.articles",
            "actions": ALL,
            "fields": fields,
            "filter": {},
            "item": None,
            "access": given.access,
            "permission": given.permission,
            "first_load": given.first_load,
            "subscription": subscription,
            **values,
        }
    )


def ask(
    offers: Offer | list[Offer], user: Any = None, collection: str = "articles", **m: Any
) -> BrowserView:
    subscribe = parse_subscribe({"type": "subscribe", "collection": collection, **m})
    return grant(offers if isinstance(offers, list) else [offers], subscribe, user)


def refusal(*args: Any, **message: Any) -> tuple[str, str]:
    with pytest.raises(QueryRefused) as caught:
        ask(*args, **message)
    return caught.value.code, caught.value.message


def answer_to(offered: Offer, user: Any) -> tuple[str, str] | None:
    """The refusal of a plain subscribe, or ``None``."""
    try:
        ask(offered, user)
    except QueryRefused as error:
        return error.code, error.message
    return None


def shown(view: BrowserView) -> list[Any]:
    """What a view shows of both items."""
    seen = [view.see("update", row["id"], row, UNKNOWN) for row in (MINE, THEIRS)]
    return [entry.data for entry in seen if entry is not None]


# Users


def yes(user: Any, subscription: Any, query: Any) -> bool:
    return True


def no(user: Any, subscription: Any, query: Any) -> bool:
    return False


def staff_only(user: Any, subscription: Any, query: Any) -> bool:
    return bool(user.is_staff)


def raising(user: Any, subscription: Any, query: Any) -> bool:
    raise PermissionError(SECRET)


@pytest.fixture
def users(db: None) -> dict[str, Any]:
    permission = Permission.objects.get(codename="view_user")
    granted = User.objects.create(username="granted")
    granted.user_permissions.add(permission)
    retired = User.objects.create(username="retired", is_active=False)
    retired.user_permissions.add(permission)
    return {
        "nobody": None,
        "anonymous": AnonymousUser(),
        "user": User.objects.create(username="user"),
        "granted": granted,
        "retired": retired,
        "staff": User.objects.create(username="staff", is_staff=True),
        "superuser": User.objects.create(username="superuser", is_superuser=True),
        "retired superuser": User.objects.create(
            username="root", is_superuser=True, is_active=False
        ),
    }


EVERYBODY = {
    *("nobody", "anonymous", "user", "granted", "retired", "staff"),
    *("superuser", "retired superuser"),
}


@pytest.mark.parametrize(
    ("allow", "let_in"),
    [
        ("public", EVERYBODY),
        ("signed-in", {"user", "granted", "staff", "superuser"}),
        ("auth.view_user", {"granted", "superuser"}),
        ("auth.no_such_permission", {"superuser"}),
        (yes, EVERYBODY),
        (no, set()),
        (staff_only, {"staff"}),
        (raising, set()),
    ],
)
def test_who_is_let_in(users: dict[str, Any], allow: Any, let_in: set[str]) -> None:
    offered = offer(Browsers(allow))
    answers = {name: answer_to(offered, user) for name, user in users.items()}
    found = {name for name, answer in answers.items() if answer is None}
    assert set(answers.values()) <= {None, ("FORBIDDEN", NOT_OFFERED)}
    assert found == let_in


@pytest.mark.parametrize(
    "offers",
    [
        [],
        [offer(collection="notes")],
        [offer(connection="other")],
        [offer("signed-in")],
        [offer("auth.view_user")],
        [offer(Browsers(no))],
        [offer(access="nobody")],
        [offer(access="function", subscription=None)],
        [offer(access="")],
    ],
)
def test_what_does_not_exist_and_what_is_not_allowed_look_the_same(offers: list[Offer]) -> None:
    for message in ({}, {"query": {"fields": "nothing"}}, {"query": {"filter": {"secret": 1}}}):
        assert refusal(offers, **message) == ("FORBIDDEN", NOT_OFFERED)


def test_a_user_of_another_kind_without_permissions_is_not_let_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Visitor:
        is_authenticated = True

    assert shown(ask(offer("signed-in"), Visitor()))
    assert refusal(offer("auth.view_user"), Visitor()) == ("FORBIDDEN", NOT_OFFERED)
    assert "has_perm of the offer 'offer' failed, a no: AttributeError" in caplog.text


# Fields


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        (None, {"id": 1, "title": "a", "owner": "me", "author": {"name": "Ann"}}),
        ("*", {"id": 1, "title": "a", "owner": "me", "author": {"name": "Ann"}}),
        ("*.*", {"id": 1, "title": "a", "owner": "me", "author": {"name": "Ann"}}),
        ("title", {"title": "a"}),
        (["title", "author.name"], {"title": "a", "author": {"name": "Ann"}}),
        ("author.*", {"author": {"name": "Ann"}}),
    ],
)
def test_fields_are_narrowed(fields: Any, seen: dict[str, Any]) -> None:
    assert shown(ask(offer(), query={"fields": fields}))[0] == seen


@pytest.mark.parametrize(
    "query",
    [
        {"fields": "secret"},
        {"fields": "id,secret"},
        {"fields": "author"},
        {"fields": "author.salary"},
        {"fields": "title.length"},
        {"fields": "count(tags)"},
        {"filter": {"secret": {"_eq": "s"}}},
        {"filter": {"secret": {"_nnull": True}}},
        {"filter": {"_or": [{"id": 1}, {"secret": {"_starts_with": "s"}}]}},
        {"filter": {"_and": [{"_or": [{"_and": [{"secret": "s"}]}]}]}},
        {"filter": {"author": {"salary": {"_gt": 1}}}},
        {"filter": {"author": {"_nnull": True}}},
        {"filter": {"author": {"_eq": 7}}},
        {"sort": "secret"},
        {"sort": "-secret"},
        {"sort": "id,author.salary"},
    ],
)
def test_hidden_fields_are_neither_shown_nor_looked_at(query: dict[str, Any]) -> None:
    code, message = refusal(offer(), query=query)
    assert code == "FORBIDDEN"
    assert message.endswith("does not exist, or it is not offered to you.")
    assert message.startswith("The field ")


def test_a_filter_may_look_at_what_it_does_not_ask_for() -> None:
    view = ask(offer(), query={"fields": "id", "filter": {"owner": "you"}})
    assert shown(view) == [{"id": 2}]


def test_all_of_the_items_own_fields_are_offered_without_a_list() -> None:
    view = ask(offer(fields=()), query={"fields": "secret", "filter": {"secret": "t"}})
    assert shown(view) == [{"secret": "t"}]
    assert refusal(offer(fields=()), query={"fields": "author.name"})[0] == "FORBIDDEN"


# Actions, items, first load


def test_actions_are_narrowed() -> None:
    offered = offer(actions=("create", "update"))
    assert ask(offered).actions == ("create", "update")
    assert ask(offered, event="update").actions == ("update",)
    assert refusal(offered, event="delete") == ("FORBIDDEN", "delete is not offered to you.")


def test_items_are_narrowed() -> None:
    assert ask(offer(), item=1).item == 1
    assert ask(offer(item="1")).item == "1"
    assert ask(offer(item="1"), item=1).item == "1"
    assert refusal(offer(item="1"), item=2)[0] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("offered", "asked", "limit"),
    [(0, None, 0), (0, 5, 0), (10, None, 10), (10, 5, 5), (10, 50, 10), (10, -1, 10), (10, 0, 0)],
)
def test_the_first_load_is_bounded(offered: int, asked: int | None, limit: int) -> None:
    given = offer(Browsers("public", first_load=offered))
    assert ask(given, query={"limit": asked}).limit == limit


# Several offers


def test_an_offer_is_found_by_its_name_and_by_its_collection() -> None:
    blog = offer(name="blog", connection="other")
    assert ask([offer(), blog], collection="blog").offer_name == "blog"
    assert ask([blog, offer()]).offer_name == "offer"
    assert refusal([blog]) == ("FORBIDDEN", NOT_OFFERED)


def test_the_first_offer_that_accepts_is_taken() -> None:
    offers = [
        offer(name="c", fields=("id", "title", "secret")),
        offer("signed-in", name="a"),
        offer(name="b", fields=("id",)),
    ]
    assert ask(offers).offer_name == "b"
    assert ask(offers, query={"fields": "secret"}).offer_name == "c"
    assert ask(offers, collection="c").offer_name == "c"


def test_a_name_goes_before_a_collection_of_that_name() -> None:
    offers = [offer(name="a"), offer(name="articles", collection="notes")]
    assert ask(offers).offer_name == "articles"


def test_the_refusal_is_that_of_an_offer_that_is_allowed() -> None:
    offers = [offer(name="a", fields=("id",)), offer("signed-in", name="b")]
    assert "'secret'" in refusal(offers, query={"fields": "secret"})[1]


# Rows of a user


class Member:
    is_authenticated = is_active = True

    def __init__(self, directus_id: Any) -> None:
        self.directus_id = directus_id


@pytest.mark.parametrize(
    "rows",
    [
        lambda user: {"owner": {"_eq": user.directus_id}},
        lambda user: {"owner": user.directus_id},
        lambda user: Q(owner=user.directus_id),
        lambda user: {"owner": {"_in": {user.directus_id}}},
    ],
)
def test_rows_of_a_user(rows: Any) -> None:
    offered = offer(Browsers("signed-in", rows=rows))
    view = ask(offered, Member("me"))
    assert [row["id"] for row in shown(view)] == [1]
    assert view.is_restricted
    assert view.see("delete", 1, None, MINE) == Seen("delete", 1)
    assert view.see("delete", 2, None, THEIRS) is None
    assert view.see("delete", 2, None, UNKNOWN) is None
    assert view.select([MINE, THEIRS]) == []
    assert ask(offered, Member("you")).key != view.key


@pytest.mark.parametrize(
    "filter_",
    [
        {"owner": "you"},
        {"owner": {"_neq": "me"}},
        {"_or": [{"owner": "you"}, {"id": {"_gt": 0}}]},
        {"_or": [{}]},
        {"_or": [{"_and": []}, {"id": {"_nnull": True}}]},
        {},
    ],
)
def test_no_filter_of_the_browser_takes_the_rows_away(filter_: dict[str, Any]) -> None:
    offered = offer(Browsers("public", rows=lambda user: {"owner": "me"}))
    view = ask(offered, query={"filter": filter_})
    assert THEIRS["id"] not in [row["id"] for row in shown(view)]
    assert view.is_restricted


def test_rows_hold_for_superusers_too(users: dict[str, Any]) -> None:
    offered = offer(Browsers("public", rows=lambda user: {"owner": "me"}))
    assert [row["id"] for row in shown(ask(offered, users["superuser"]))] == [1]


def test_all_rows() -> None:
    view = ask(offer(Browsers("public", rows=lambda user: {})))
    assert len(shown(view)) == 2
    assert not view.is_restricted


def test_a_uuid_is_compared_as_directus_writes_it() -> None:
    key = uuid.uuid4()
    offered = offer(Browsers("public", rows=lambda user: {"owner": key}))
    assert ask(offered).see("update", 1, {"owner": str(key)}, UNKNOWN) is not None


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (lambda user: user.no_such_thing, "rows of the offer 'offer' failed, a no: AttributeError"),
        (lambda user: 1 / 0, "failed, a no: ZeroDivisionError"),
        (lambda user: int(SECRET), "failed, a no: ValueError"),
        (lambda user: None, "counts as no: it returned NoneType, not a filter or a Q"),
        (lambda user: True, "it returned bool, not a filter"),
        (lambda user: [], "it returned list"),
        (lambda user: {"owner": None}, "its filter cannot be evaluated \\(_eq never matches null"),
        (lambda user: {"owner": {"_neq": None}}, "_neq never matches null"),
        (lambda user: {"owner": {"_in": [None]}}, "_in never matches null"),
        (lambda user: Q(owner=None), "'owner' is compared with None; write owner__isnull=True"),
        (lambda user: ~Q(owner=None), "'owner' is compared with None"),
        (lambda user: Q(id=1) | Q(owner=None), "'owner' is compared with None"),
        (lambda user: Q(title__regex="x"), "The lookup 'regex'"),
        (lambda user: {"title": {"_regex": "x"}}, "'_regex' cannot be evaluated"),
        (lambda user: {"tags": {"_some": {"id": 1}}}, "'_some' cannot be evaluated"),
        (lambda user: {"owner": "$CURRENT_USER"}, "write the value itself"),
        (lambda user: {"owner": object()}, "cannot be sent to Directus"),
        (lambda user: {"secret": "s"}, "'secret' is not among the fields of the subscription"),
        (lambda user: Q(author__salary=1), "'author.salary' is not among the fields"),
    ],
)
def test_rows_that_cannot_be_used_show_nothing(
    rows: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    offered = offer(Browsers("public", rows=rows))
    assert refusal(offered, Member("me")) == ("FORBIDDEN", NOT_OFFERED)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("directus_realtime.gateway", logging.ERROR)
    assert re.search(reason, record.getMessage())
    assert SECRET not in caplog.text


# Functions


def by(function: Any, **values: Any) -> Offer:
    return offer(Browsers(function, first_load=10), **values)


def test_a_function_gets_the_user_the_subscription_and_the_narrowed_query() -> None:
    seen: list[Any] = []

    def allow(user: Any, subscription: Any, query: Any) -> bool:
        seen.append((user, subscription, query))
        return True

    offered, member = by(allow, actions=("create", "update")), Member("me")
    ask(offered, member, query={"sort": "id"})
    fields = ("id", "title", "owner", "author.name")
    query = BrowserQuery(("create", "update"), fields, {}, ("id",))
    assert seen == [(member, offered.subscription, query)]


def only_titles(user: Any, subscription: Any, query: BrowserQuery) -> BrowserQuery:
    return replace(query, fields=("id", "title"))


def not_owner(user: Any, subscription: Any, query: BrowserQuery) -> BrowserQuery:
    return replace(query, fields=tuple(name for name in query.fields if name != "owner"))


def only_mine(user: Any, subscription: Any, query: BrowserQuery) -> BrowserQuery:
    return replace(query, filter={"_and": [{"owner": "me"}, query.filter]})


def test_a_function_narrows_fields() -> None:
    assert shown(ask(by(only_titles)))[0] == {"id": 1, "title": "a"}
    assert "owner" not in shown(ask(by(not_owner)))[0]


@pytest.mark.parametrize("function", [only_titles, not_owner])
@pytest.mark.parametrize(
    "query",
    [
        {"filter": {"owner": "me"}},
        {"fields": "id", "filter": {"owner": "me"}},
        {"sort": "owner"},
    ],
)
def test_what_a_function_hides_is_not_looked_at(function: Any, query: dict[str, Any]) -> None:
    code, message = refusal(by(function), query=query)
    assert (code, "'owner'" in message) == ("FORBIDDEN", True)


def test_whoever_asks_only_for_what_a_function_hides_gets_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert refusal(by(not_owner), query={"fields": "owner"}) == ("FORBIDDEN", NOT_OFFERED)
    assert "it returned the fields ()" in caplog.text


def test_a_function_narrows_items() -> None:
    view = ask(by(only_mine), query={"filter": {"_or": [{"owner": "you"}, {"id": 1}]}})
    assert [row["id"] for row in shown(view)] == [1]
    assert view.is_restricted
    assert view.see("delete", 2, None, UNKNOWN) is None


def test_the_browsers_own_filter_does_not_lift_the_functions() -> None:
    """Not even the same one: who has no right to an item learns nothing of its delete."""

    def mine(user: Any, subscription: Any, query: BrowserQuery) -> BrowserQuery:
        return replace(query, filter={"owner": {"_eq": "me"}})

    view = ask(by(mine), query={"filter": {"owner": {"_eq": "me"}}})
    assert view.see("delete", 2, None, UNKNOWN) is None


def test_a_function_and_rows_both_hold() -> None:
    browsers = Browsers(only_mine, rows=lambda user: Q(id__gt=1))
    assert shown(ask(offer(browsers))) == []


def test_a_function_narrows_actions_items_and_the_first_load() -> None:
    def less(user: Any, subscription: Any, query: BrowserQuery) -> BrowserQuery:
        return replace(query, events=("update", "delete"), item=2, limit=1, filter=Q(id=2))

    view = ask(by(less))
    assert (view.actions, view.item, view.limit) == (("update", "delete"), 2, 1)
    assert view.filter == {"id": {"_eq": 2}}
    assert ask(by(less), event="delete").actions == ("delete",)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (1, "it returned int, not True, False or a query"),
        ("yes", "it returned str"),
        (Q(id=1), "it returned Q"),
        ({"id": 1}, "it returned dict"),
        (BrowserQuery(fields=()), "it returned the fields ()"),
        (BrowserQuery(fields="title"), "it returned the fields 'title'"),  # type: ignore[arg-type]
        (BrowserQuery(fields=("secret",)), "beyond the subscription"),
        (BrowserQuery(events=()), "beyond the subscription"),
        (BrowserQuery(sort=("secret",)), "beyond the subscription"),
        (BrowserQuery(filter={"secret": 1}), "'secret' is not among the fields"),
        (BrowserQuery(filter={"title": {"_regex": "x"}}), "cannot be evaluated"),
        (BrowserQuery(filter=None), "it returned NoneType, not a filter"),  # type: ignore[arg-type]
        (BrowserQuery(fields=(5,)), "failed, a no: AttributeError"),  # type: ignore[arg-type]
        (BrowserQuery(limit="x"), "failed, a no: TypeError"),  # type: ignore[arg-type]
    ],
)
def test_an_answer_that_cannot_be_used_is_a_no(
    answer: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert refusal(by(lambda user, subscription, query: answer)) == ("FORBIDDEN", NOT_OFFERED)
    assert reason in caplog.text


def test_none_is_a_plain_no(caplog: pytest.LogCaptureFixture) -> None:
    assert refusal(by(lambda user, subscription, query: None)) == ("FORBIDDEN", NOT_OFFERED)
    assert not caplog.records


def test_an_error_of_a_function_is_logged_without_what_it_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert refusal(by(raising)) == ("FORBIDDEN", NOT_OFFERED)
    (record,) = caplog.records
    assert "allow of the offer 'offer' failed, a no: PermissionError" in record.getMessage()
    assert "in raising" in record.getMessage()
    assert record.exc_info is None
    assert SECRET not in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_function_that_exits_is_a_no(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def exiting(*args: Any) -> Any:
        raise error

    assert refusal(by(exiting)) == ("FORBIDDEN", NOT_OFFERED)
    assert f"a no: {type(error).__name__}" in caplog.text


def test_an_async_function_that_looks_plain_is_a_no(caplog: pytest.LogCaptureFixture) -> None:
    async def later() -> bool:
        return True

    assert refusal(by(lambda user, subscription, query: later()))[1] == NOT_OFFERED
    assert "it is async; it must be a plain function" in caplog.text


def test_a_function_that_says_no_hides_that_there_is_an_offer() -> None:
    for query in ({"fields": "secret"}, {"filter": {"secret": 1}}, {"fields": "id"}):
        assert refusal(by(no), query=query) == ("FORBIDDEN", NOT_OFFERED)
        assert refusal([], query=query) == ("FORBIDDEN", NOT_OFFERED)
