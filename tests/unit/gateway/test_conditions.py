from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.exceptions import QueryRefused
from directus_realtime.gateway.conditions import compile_filter

ROW = {
    "id": 7,
    "title": "A fine Day",
    "empty": "",
    "nothing": None,
    "price": "12.50",
    "stock": 3,
    "is_on": False,
    "at": "2026-11-26T12:00:00.000Z",
    "meta": {"a": 1},
    "author": {"name": "Ann", "age": None},
    "editor": None,
    "topic": 5,
    "tags": [{"name": "t"}],
}

PASSING: list[dict[str, Any]] = [
    {},
    {"id": {"_eq": 7}},
    {"id": 7},
    {"id": {"_gt": 6, "_lt": 8}},
    {"id": {"_in": [6, 7]}},
    {"id": {"_in": "6,7"}},
    {"id": {"_nin": [8]}},
    {"id": {"_nin": []}},
    {"id": {"_neq": 8}},
    {"id": {"_between": [7, 8]}},
    {"id": {"_nbetween": [8, 9]}},
    {"price": {"_gt": 9}},
    {"price": {"_eq": 12.5}},
    {"price": {"_eq": "12.50"}},
    {"at": {"_gte": "2026-11-26T13:00:00+01:00"}},
    {"at": {"_lt": "2026-11-27"}},
    {"is_on": {"_eq": False}},
    {"is_on": {"_neq": True}},
    {"nothing": {"_null": True}},
    {"nothing": {"_nnull": False}},
    {"title": {"_nnull": True}},
    {"title": {"_null": False}},
    {"meta": {"_nnull": True}},
    {"empty": {"_empty": True}},
    {"nothing": {"_empty": True}},
    {"title": {"_nempty": True}},
    {"title": {"_empty": False}},
    {"title": {"_contains": "fine"}},
    {"title": {"_icontains": "FINE"}},
    {"title": {"_starts_with": "A f"}},
    {"title": {"_istarts_with": "a F"}},
    {"title": {"_ends_with": "Day"}},
    {"title": {"_iends_with": "dAY"}},
    {"title": {"_ncontains": "rain"}},
    {"title": {"_nicontains": "rain"}},
    {"title": {"_nstarts_with": "fine"}},
    {"title": {"_niends_with": "fine"}},
    {"title": {"_contains": ""}},
    {"_and": []},
    {"_and": [{"id": 7}, {"stock": 3}]},
    {"_or": [{"id": 8}, {"stock": 3}]},
    {"_or": [{}]},
    {"id": {"_or": [{"_eq": 8}, {"_eq": 7}]}},
    {"author": {"name": {"_eq": "Ann"}}},
    {"author": {"age": {"_null": True}}},
    {"author": {"_nnull": True}},
    {"author": {"_or": [{"name": "Bob"}, {"name": "Ann"}]}},
    {"editor": {"name": {"_null": True}}},
    {"editor": {"team": {"name": {"_null": True}}}},
    {"editor": {"_null": True}},
    {"topic": 5},
]

FAILING: list[dict[str, Any]] = [
    {"id": {"_eq": 8}},
    {"id": {"_in": []}},
    {"id": {"_in": [8]}},
    {"id": {"_nin": [7]}},
    {"id": {"_gt": 6, "_lt": 7}},
    {"id": {"_between": [8, 6]}},
    {"_or": []},
    {"_and": [{"id": 7}, {"_or": []}]},
    {"_or": [{"id": 8}, {"id": 9}]},
    {"_or": [{"_and": [{"id": 7}, {"id": 8}]}]},
    {"title": {"_contains": "FINE"}},
    {"title": {"_ncontains": "fine"}},
    # SQLite ignores case, PostgreSQL does not: no for both.
    {"title": {"_ncontains": "FINE"}},
    {"title": {"_null": True}},
    {"title": {"_empty": True}},
    {"empty": {"_nempty": True}},
    # NULL matches no comparison, a negated one neither.
    {"nothing": {"_eq": "a"}},
    {"nothing": {"_neq": "a"}},
    {"nothing": {"_nin": ["a"]}},
    {"nothing": {"_nin": []}},
    {"nothing": {"_lt": 1}},
    {"nothing": {"_nbetween": [1, 2]}},
    {"nothing": {"_contains": ""}},
    {"nothing": {"_ncontains": "a"}},
    {"editor": {"name": {"_neq": "Ann"}}},
    {"author": {"age": {"_gte": 0}}},
    # A field that is not there is not NULL either.
    {"missing": {"_null": True}},
    {"missing": {"_nnull": True}},
    {"missing": {"_empty": True}},
    {"missing": {"_neq": 1}},
    {"missing": {"_nin": []}},
    {"missing": {"name": {"_null": True}}},
    {"author": {"missing": {"_null": True}}},
    # What has another type is neither equal nor different.
    {"id": {"_eq": True}},
    {"id": {"_neq": "seven"}},
    {"id": {"_nin": [8, "seven"]}},
    {"id": {"_contains": "7"}},
    {"id": {"_ncontains": "8"}},
    {"id": {"_empty": True}},
    {"id": {"_nempty": True}},
    {"is_on": {"_eq": 0}},
    {"is_on": {"_neq": 1}},
    {"is_on": {"_lt": True}},
    {"meta": {"_neq": "a"}},
    {"meta": {"_nin": ["a"]}},
    {"meta": {"_gt": 0}},
    {"meta": {"_nempty": True}},
    {"tags": {"_ncontains": "x"}},
    # A bare key and a list are no related item.
    {"topic": {"name": {"_null": True}}},
    {"tags": {"name": {"_eq": "t"}}},
    {"tags": {"name": {"_null": True}}},
    {"title": {"length": {"_null": True}}},
]


@pytest.mark.parametrize("filter_", PASSING, ids=str)
def test_passes(filter_: dict[str, Any]) -> None:
    assert compile_filter(filter_).matches(ROW)


@pytest.mark.parametrize("filter_", FAILING, ids=str)
def test_does_not_pass(filter_: dict[str, Any]) -> None:
    assert not compile_filter(filter_).matches(ROW)


def nested(depth: int, name: str = "_and") -> dict[str, Any]:
    filter_: dict[str, Any] = {"id": {"_eq": 7}}
    for _ in range(depth):
        filter_ = {name: [filter_]} if name == "_and" else {name: filter_}
    return filter_


@pytest.mark.parametrize(
    ("filter_", "sentence"),
    [
        ([], "must be an object"),
        (None, "must be an object"),
        ("x", "must be an object"),
        ({"_and": {}}, "_and must be a list"),
        ({"_or": None}, "_or must be a list"),
        ({"_or": [5]}, "must be an object"),
        ({"_not": []}, "'_not' cannot be evaluated"),
        ({"_eq": 5}, "'_eq' cannot be evaluated"),
        ({"tags": {"_some": {"id": 1}}}, "'_some' cannot be evaluated"),
        ({"tags": {"_none": {"id": 1}}}, "'_none' cannot be evaluated"),
        ({"title": {"_regex": "^a"}}, "'_regex' cannot be evaluated"),
        ({"title": {"_nnnull": True}}, "'_nnnull' cannot be evaluated"),
        ({"title": {"_nnempty": True}}, "'_nnempty' cannot be evaluated"),
        ({"title": {"_ieq": "a"}}, "'_ieq' cannot be evaluated"),
        ({"area": {"_intersects": {}}}, "'_intersects' cannot be evaluated"),
        ({"year(at)": {"_eq": 2026}}, "'year\\(at\\)' is not the name of a field"),
        ({"$FOLLOW(a,b)": {"id": 1}}, "is not the name of a field"),
        ({"*": {"_eq": 1}}, "'\\*' is not the name of a field"),
        ({"author.name": {"_eq": 1}}, "'author.name' is not the name of a field"),
        ({"item:pages": {"title": 1}}, "is not the name of a field"),
        ({"": {"_eq": 1}}, "'' is not the name of a field"),
        ({"title": {}}, "The filter of 'title' has no operator"),
        ({"title": []}, "_eq cannot be compared with a list"),
        ({"title": None}, "_eq never matches null; use _null"),
        ({"title": {"_neq": None}}, "_neq never matches null"),
        ({"id": {"_in": [1, None]}}, "_in never matches null"),
        ({"id": {"_nin": [[1]]}}, "_nin cannot be compared with a list"),
        ({"id": {"_in": 5}}, "The value of _in must be a list, not 5"),
        ({"id": {"_in": {"0": 1}}}, "must be a list, not an object"),
        ({"id": {"_between": [1]}}, "a list of two values"),
        ({"id": {"_between": [1, 2, 3]}}, "a list of two values"),
        ({"id": {"_gt": {"_eq": 1}}}, "_gt cannot be compared with an object"),
        ({"id": {"_lt": float("nan")}}, "_lt cannot be compared with nan"),
        ({"id": {"_eq": 10**400}}, "cannot be compared with a number of that size"),
        ({"title": {"_null": "false"}}, "The value of _null must be true or false, not 'false'"),
        ({"title": {"_null": None}}, "must be true or false, not null"),
        ({"title": {"_nempty": 1}}, "must be true or false, not 1"),
        ({"title": {"_contains": 5}}, "The value of _contains must be a text, not 5"),
        ({"title": {"_ncontains": ["a"]}}, "must be a text, not a list"),
        ({"title": {"_ncontains": "100%"}}, "_ncontains cannot be evaluated here with %"),
        ({"title": {"_nistarts_with": "a_"}}, "cannot be evaluated here with %"),
        ({"title": {"_contains": "a\\b"}}, "cannot be evaluated here with %"),
        ({"at": {"_gt": "$NOW"}}, "'\\$NOW' cannot be evaluated here; write the value itself"),
        ({"at": {"_gt": "$NOW(-1 day)"}}, "write the value itself"),
        ({"owner": {"_in": ["$CURRENT_USER"]}}, "write the value itself"),
        ({"owner": {"_eq": "$CURRENT_USER.id"}}, "write the value itself"),
        ({"owner": "$CURRENT_ROLE"}, "write the value itself"),
        ({"title": {"_contains": "$CURRENT_USER"}}, "write the value itself"),
        ({"_and": [{"_or": [{"title": {"_regex": "x"}}]}]}, "'_regex' cannot be evaluated"),
        (nested(30), "nested deeper than 20 levels"),
        (nested(30, "author"), "nested deeper than 20 levels"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_evaluated_is_refused(filter_: Any, sentence: str) -> None:
    with pytest.raises(QueryRefused, match=sentence) as caught:
        compile_filter(filter_)
    assert caught.value.code == "INVALID_QUERY"


def test_no_depth_exhausts_the_stack() -> None:
    for name in ("_and", "author"):
        with pytest.raises(QueryRefused, match="nested deeper"):
            compile_filter(nested(30_000, name))


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(QueryRefused) as caught:
        compile_filter({"x" * 10_000 + "()": 1})
    assert len(caught.value.message) < 120


def test_depth_that_is_allowed() -> None:
    assert compile_filter(nested(19)).matches(ROW)


def test_a_text_that_only_begins_with_a_dollar_is_a_text() -> None:
    assert compile_filter({"price": {"_eq": "$5"}}).matches({"price": "$5"})


def test_what_a_filter_looks_at_and_costs() -> None:
    condition = compile_filter(
        {
            "_or": [{"id": {"_in": [1, 2, 3]}}, {"author": {"name": {"_eq": "x", "_neq": "y"}}}],
            "editor": {"_null": True},
        }
    )
    assert condition.paths == {("id",), ("author", "name"), ("editor",)}
    assert (condition.size, condition.values) == (5, 6)


@pytest.mark.parametrize("row", [{}, {"id": []}, {"id": {"_eq": 7}}, {"id": "7.0"}])
def test_an_odd_item_passes_nothing(row: dict[str, Any]) -> None:
    assert not compile_filter({"id": {"_eq": 8}}).matches(row)
    assert not compile_filter({"id": {"deep": {"_neq": 8}}}).matches(row)
