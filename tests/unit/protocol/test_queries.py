from __future__ import annotations

import pytest

from directus_realtime.protocol.queries import OPERATORS, Query, WireSubscription, check_filter


def test_a_plain_query_asks_for_nothing_special() -> None:
    assert Query("articles").rest_parameters("id") == {}


def test_the_primary_key_is_always_among_the_fields() -> None:
    parameters = Query("articles", fields=("title", "author.name")).rest_parameters("slug")
    assert parameters == {"fields": ["slug", "title", "author.name"]}


def test_the_primary_key_is_asked_for_once() -> None:
    assert Query("a", fields=("title", "id")).rest_parameters("id") == {"fields": ["id", "title"]}


def test_an_item_is_a_filter_on_the_key() -> None:
    assert Query("a", item="7").rest_parameters("id") == {"filter": {"id": {"_eq": "7"}}}


def test_an_item_of_zero_is_an_item() -> None:
    assert Query("a", item=0).rest_parameters("id") == {"filter": {"id": {"_eq": 0}}}


def test_an_item_and_a_filter_are_both_asked_for() -> None:
    query = Query("a", filter={"status": {"_eq": "x"}}, item=7)
    assert query.rest_parameters("id") == {
        "filter": {"_and": [{"id": {"_eq": 7}}, {"status": {"_eq": "x"}}]}
    }


def test_sort_is_a_list() -> None:
    assert Query("a", sort=("-date", "id")).rest_parameters("id") == {"sort": ["-date", "id"]}


def test_the_message_without_a_query_has_none() -> None:
    # With QUERY_LIMIT_MAX set, only a message without a query brings a batch whole.
    assert WireSubscription("u.create", "articles", "create", {}).message() == {
        "type": "subscribe",
        "collection": "articles",
        "event": "create",
        "uid": "u.create",
    }


def test_the_message_with_a_query_asks_for_all_rows_of_a_batch() -> None:
    message = WireSubscription("u.update", "articles", "update", {"fields": ["id"]}).message()
    assert message["query"] == {"fields": ["id"], "limit": -1}
    assert message["event"] == "update"


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"status": {"_eq": "published"}},
        {"status": {"_in": ["a", "b"]}},
        {"status": {"_in": "a,b"}},
        {"id": {"_between": [1, 5]}},
        {"author": {"name": {"_contains": "Ann"}}},
        {"_and": [{"a": {"_eq": 1}}, {"_or": [{"b": {"_null": True}}, {}]}]},
        {"tags": {"_some": {"name": {"_eq": "x"}}}},
        {"tags": {"_none": {"name": {"_eq": "x"}}}},
        {"year(published_on)": {"_gte": 2024}},
        {"item:headings": {"text": {"_nempty": True}}},
        {"date": {"_lte": "$NOW"}},
    ],
)
def test_filters_that_directus_takes(condition: object) -> None:
    check_filter(condition)


@pytest.mark.parametrize("operator", sorted(OPERATORS - {"_between", "_nbetween", "_in", "_nin"}))
def test_every_operator_is_known(operator: str) -> None:
    check_filter({"field": {operator: "x"}})


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (None, "The filter must be an object"),
        ([], "The filter must be an object"),
        ('{"status": {}}', "The filter must be an object"),
        ({"status": "published"}, "The value of the field status must be an object"),
        ({"status": {"_is": 1}}, "_is is not a Directus filter operator."),
        ({"_nor": []}, "_nor is not a Directus filter operator."),
        ({"_and": {"a": {"_eq": 1}}}, "The value of _and must be a list of filters."),
        ({"_or": ["x"]}, "Each entry of _or must be an object"),
        ({"_and": [{"_or": [{"a": 1}]}]}, "The value of the field a must be an object"),
        ({"id": {"_in": 5}}, "The value of _in must be a list."),
        ({"id": {"_between": 5}}, "The value of _between must be a list."),
        ({"id": {"_between": [1]}}, "The value of _between must be a list of two values."),
        ({"id": {"_nbetween": [1, 2, 3]}}, "The value of _nbetween must be a list of two values."),
        ({"tags": {"_some": [1]}}, "The value of _some must be an object"),
        ({"author": {"name": {"_ex": 1}}}, "_ex is not a Directus filter operator."),
    ],
)
def test_a_filter_of_another_shape_is_named(condition: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        check_filter(condition)


def test_a_filter_that_is_nested_too_deep_is_a_value_error() -> None:
    condition: dict[str, object] = {"a": {"_eq": 1}}
    for _ in range(2000):
        condition = {"_and": [condition]}
    with pytest.raises(ValueError, match="nested"):
        check_filter(condition)
