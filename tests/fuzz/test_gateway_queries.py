"""Whatever a browser asks: it is refused or understood, and shows nothing beyond the offer."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from directus_realtime.gateway.access import grant
from directus_realtime.gateway.browser_query import QueryRefused, parse_subscribe
from directus_realtime.gateway.browser_view import UNKNOWN, BrowserView, field_tree, narrow
from directus_realtime.gateway.conditions import compile_filter
from directus_realtime.gateway.offers import Offer
from tests.fuzz.profile import examples
from tests.fuzz.sql_filters import SqlArticles

ALL = ("create", "update", "delete")

# Any message

NAMES = [
    *("type", "collection", "event", "query", "uid", "item", "last_event_id", "fields", "filter"),
    *("sort", "limit", "search", "deep", "id", "title", "author", "name", "secret", "_and", "_or"),
    *("_eq", "_neq", "_in", "_nin", "_lt", "_gte", "_between", "_nbetween", "_null", "_nnull"),
    *("_empty", "_nempty", "_contains", "_nicontains", "_ends_with", "_some", "_regex", "_not"),
    *("year(at)", "author.name", "*", "", "$FOLLOW(a)"),
]
WORDS = [
    *("articles", "subscribe", "create", "update", "delete", "id,title", "*", "*.*", "-title"),
    *("$NOW", "$CURRENT_USER", "2026-11-26", "1.0", "12", "%", "\\", "\0", "\ud800", '{"id":1}'),
    *('{"_or":[{"title":{"_nnull":true}}]}', "author.name", "secret", "null", "true"),
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**64, 10**300, -1, 0])
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=2)
    ),
    max_leaves=12,
)
filters = st.recursive(
    values,
    lambda inner: (
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
        | st.fixed_dictionaries({"_or": st.lists(inner, max_size=3)})
    ),
    max_leaves=6,
)
queries = st.fixed_dictionaries(
    {}, optional={"fields": values, "filter": filters, "sort": values, "limit": values}
)
messages = st.fixed_dictionaries(
    {"type": st.just("subscribe"), "collection": st.just("articles")},
    optional={
        "query": queries | values,
        "event": st.sampled_from(ALL) | values,
        "uid": values,
        "item": values,
        "last_event_id": values,
    },
)


def offer(fields: tuple[str, ...]) -> Offer:
    return Offer("a", "default", "articles", "g", ALL, fields, {}, None, "public", "", 100)


def granted(offered: Offer, message: Any) -> BrowserView | QueryRefused:
    try:
        return grant([offered], parse_subscribe(message), None)
    except QueryRefused as error:
        return error


OFFERS = [offer(("id", "title", "author.name")), offer(()), offer(("*.*",))]


@given(message=messages | values, row=values, previous=values, offered=st.sampled_from(OFFERS))
@examples(200)
def test_any_message_is_refused_or_granted(
    message: Any, row: Any, previous: Any, offered: Offer
) -> None:
    view = granted(offered, message)
    if isinstance(view, QueryRefused):
        assert view.code in {"INVALID_PAYLOAD", "INVALID_QUERY", "FORBIDDEN"}
        assert 0 < len(json.dumps(view.message)) < 1000
        return
    hash(view.key)
    rows = [each for each in (row, previous) if isinstance(each, dict)]
    for each in rows:
        view.see("update", 1, each, rows[-1])
        view.see("delete", 1, None, each)
    view.select(rows)


# Fields

fields_of_people = st.sampled_from(["id", "title", "author", "tags", "meta", "*"])
paths = st.lists(fields_of_people, min_size=1, max_size=3).map(".".join)
field_lists = st.lists(paths, max_size=4)
shown_values = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.dictionaries(st.sampled_from(["id", "title", "author", "meta", "x"]), inner, max_size=4)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=10,
)
items = st.dictionaries(
    st.sampled_from(["id", "title", "author", "tags", "meta", "secret"]), shown_values
)


def is_part(part: Any, whole: Any) -> bool:
    """Whether a value has nothing that another one does not have."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_part(part[name], whole[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        rest = iter(whole)
        return all(any(is_part(entry, other) for other in rest) for entry in part)
    return bool(part == whole)


@given(offered=field_lists, asked=field_lists, item=items)
@examples(200)
def test_nothing_is_shown_beyond_the_offer(
    offered: list[str], asked: list[str], item: dict[str, Any]
) -> None:
    whole = field_tree(offered).project(item)
    assert is_part(whole, item)
    found = narrow(offered, asked)
    if found:
        assert is_part(field_tree(found).project(item), whole)
    assert field_tree(narrow(offered, ["*"]) or ["?"]).project(item) == whole


@given(offered=field_lists, path=st.lists(fields_of_people, min_size=1, max_size=3), item=items)
@examples(200)
def test_a_filter_looks_at_nothing_that_is_not_shown(
    offered: list[str], path: list[str], item: dict[str, Any]
) -> None:
    path = [name for name in path if name != "*"]
    tree = field_tree(offered)
    if not path or not tree.covers(tuple(path)):
        return
    filter_: Any = {"_null": True}
    for name in reversed(path):
        filter_ = {name: filter_}
    condition = compile_filter(filter_)
    assert condition.matches(item) == condition.matches(tree.project(item))


# Items

letters = st.text("abAB01 .%_", max_size=3)
plain_letters = st.text("abcd", max_size=3)
moments = st.sampled_from(["2026-01-01T00:00:00.000Z", "2026-01-02T10:30:00.000Z"])
authors = st.fixed_dictionaries(
    {"name": st.none() | letters, "age": st.none() | st.integers(-1, 2)}
)
PLAIN_OPERANDS: dict[str, Any] = {
    "stock": st.integers(-1, 2),
    "rate": st.sampled_from([0.1, 0.5, 1.0, 1]),
    "price": st.sampled_from([0, 1, 9.5, 10]),
    "title": plain_letters,
    "is_on": st.booleans(),
    "at": moments | st.sampled_from(["2026-01-01", "2026-01-01T01:00:00+01:00"]),
    "name": plain_letters,
    "age": st.integers(-1, 2),
}
OPERANDS: dict[str, Any] = {
    "stock": PLAIN_OPERANDS["stock"] | st.sampled_from(["1", "1.0", "x", True, 1.5]),
    "rate": PLAIN_OPERANDS["rate"] | st.sampled_from(["0.1", "0.10", "x"]),
    "price": PLAIN_OPERANDS["price"] | st.sampled_from(["9.5", "10.00", "10", "9", True]),
    "title": letters,
    "is_on": st.booleans() | st.sampled_from(["true", 1, 0, ""]),
    "at": PLAIN_OPERANDS["at"] | st.sampled_from([5, True]),
    "name": letters,
    "age": PLAIN_OPERANDS["age"] | st.sampled_from(["2", "x", False]),
}
TEXT_OPERATORS = [
    f"_{n}{i}{bare}"
    for n in ("", "n")
    for i in ("", "i")
    for bare in ("contains", "starts_with", "ends_with")
]


def articles(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    article = st.fixed_dictionaries(
        {
            "stock": st.none() | st.integers(-1, 2),
            "rate": st.none() | st.sampled_from([0.1, 0.5, 1.0]),
            "price": st.none() | st.sampled_from(["0.00", "9.50", "10.00", "1.00"]),
            "title": st.none() | texts,
            "is_on": st.none() | st.booleans(),
            "at": st.none() | moments,
            "author": st.none()
            | st.fixed_dictionaries(
                {"name": st.none() | texts, "age": st.none() | st.integers(-1, 2)}
            ),
        }
    )
    return st.lists(article, min_size=1, max_size=6).map(
        lambda rows: [{"id": number, **row} for number, row in enumerate(rows)]
    )


def operators(name: str, operands: dict[str, Any], least: int) -> st.SearchStrategy[Any]:
    operand, is_text = operands[name], name in ("title", "name")
    one = st.sampled_from(["_eq", "_neq", *([] if name == "is_on" else ["_lt", "_gte", "_lte"])])
    several = st.lists(operand, min_size=least, max_size=3)
    strategies = [
        st.dictionaries(one, operand, min_size=1, max_size=2),
        st.dictionaries(st.sampled_from(["_in", "_nin"]), several, min_size=1),
        st.dictionaries(st.sampled_from(["_null", "_nnull"]), st.booleans(), min_size=1),
        operand,
    ]
    if name != "is_on":
        ranges = st.sampled_from(["_between", "_nbetween"])
        bounds = st.lists(operand, min_size=2, max_size=2)
        strategies.append(st.dictionaries(ranges, bounds, min_size=1, max_size=1))
    if is_text:
        texts = st.sampled_from(TEXT_OPERATORS)
        strategies.append(st.dictionaries(texts, operand, min_size=1, max_size=1))
        flags = st.sampled_from(["_empty", "_nempty"])
        strategies.append(st.dictionaries(flags, st.booleans(), min_size=1, max_size=1))
    return st.one_of(strategies)


def article_filters(operands: dict[str, Any], least: int = 0) -> st.SearchStrategy[Any]:
    own = {name: operators(name, operands, least) for name in operands if name not in AUTHOR}
    related = {name: operators(name, operands, least) for name in AUTHOR}
    author = st.fixed_dictionaries({}, optional=related).filter(bool)
    leaves = st.one_of(
        [st.fixed_dictionaries({name: strategy}) for name, strategy in own.items()]
        + [st.fixed_dictionaries({"author": author})]
    )
    return st.recursive(
        leaves,
        lambda inner: st.dictionaries(
            st.sampled_from(["_and", "_or"]),
            st.lists(inner, min_size=least, max_size=3),
            min_size=1,
        ),
        max_leaves=5,
    )


AUTHOR = ("name", "age")


def seen_ids(filter_: dict[str, Any], rows: list[dict[str, Any]]) -> set[int]:
    view = BrowserView("a", "f", ALL, ("*", "author.*"), filter_, limit=100)
    seen = [view.see("update", row["id"], row, UNKNOWN) for row in rows]
    ids = {entry.data["id"] for entry in seen if entry is not None and isinstance(entry.data, dict)}
    assert ids == {row["id"] for row in view.select(rows)}
    return ids


@given(filter_=article_filters(OPERANDS), rows=articles(letters), like_is_exact=st.booleans())
@examples(200)
def test_a_view_shows_nothing_that_the_database_would_not(
    filter_: dict[str, Any], rows: list[dict[str, Any]], like_is_exact: bool
) -> None:
    try:
        seen = seen_ids(filter_, rows)
    except QueryRefused:
        return
    with closing(SqlArticles(rows, like_is_exact=like_is_exact)) as database:
        assert seen <= database.matching(filter_)


@given(filter_=article_filters(PLAIN_OPERANDS, least=1), rows=articles(plain_letters))
@examples(200)
def test_with_values_of_the_right_type_it_shows_all_that_the_database_would(
    filter_: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    with closing(SqlArticles(rows, like_is_exact=True)) as database:
        assert seen_ids(filter_, rows) == database.matching(filter_)
