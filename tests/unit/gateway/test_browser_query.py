from __future__ import annotations

import json
from typing import Any

import pytest

from directus_realtime.gateway.browser_query import (
    BrowserQuery,
    QueryRefused,
    SubscribeRequest,
    parse_subscribe,
    parse_uid,
)

ALL = ("create", "update", "delete")


def parsed(**message: Any) -> SubscribeRequest:
    return parse_subscribe({"type": "subscribe", "collection": "articles", **message})


def test_a_bare_subscribe_asks_for_everything() -> None:
    assert parsed() == SubscribeRequest("articles", BrowserQuery(ALL, ("*",), {}, (), None, None))


def test_an_event_alone_asks_for_no_data() -> None:
    subscribe = parsed(event="update")
    assert subscribe.query.events == ("update",)
    assert not subscribe.wants_data


def test_a_query_as_the_official_client_sends_it() -> None:
    query = {
        "fields": "id,title,author.name",
        "filter": '{"status":{"_eq":"published"}}',
        "sort": "-date_created,id",
        "limit": "20",
    }
    assert parsed(query=query, uid="1").query == BrowserQuery(
        ALL,
        ("id", "title", "author.name"),
        {"status": {"_eq": "published"}},
        ("-date_created", "id"),
        20,
    )


def test_a_query_as_people_write_it() -> None:
    query = {"fields": ["id", "title, body"], "filter": {"id": 1}, "sort": ["id"], "limit": 0}
    assert parsed(query=query).query == BrowserQuery(
        ALL, ("id", "title", "body"), {"id": 1}, ("id",), 0
    )


@pytest.mark.parametrize(
    "query", [{}, {"limit": -1}, {"fields": []}, {"filter": None, "deep": None}]
)
def test_nothing_is_everything(query: dict[str, Any]) -> None:
    assert parsed(query=query).query == BrowserQuery()


@pytest.mark.parametrize(
    ("uid", "answered"), [("a", "a"), (7, "7"), (7.0, "7"), ("", ""), (-1, "-1"), ("ä🙂", "ä🙂")]
)
def test_a_uid_is_answered_as_text(uid: Any, answered: str) -> None:
    assert parsed(uid=uid).uid == answered
    assert parse_uid({"uid": uid}) == answered


def test_no_uid_is_none() -> None:
    assert parsed().uid is None


def test_item_and_last_event() -> None:
    assert parsed(item=5).query.item == 5
    assert parsed(item="a-b").query.item == "a-b"
    assert parsed(last_event_id="x").last_event_id == "x"
    assert parsed(last_event_id="").last_event_id is None
    assert parsed(last_event_id=None).last_event_id is None


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"collection": 5}, '"collection" must be the name of one, not 5'),
        ({"collection": ""}, '"collection" must be'),
        ({"collection": None}, '"collection" must be the name of one, not null'),
        ({"collection": "x" * 256}, '"collection" must be'),
        ({"event": None}, '"event" must be create, update or delete, not null'),
        ({"event": "read"}, "not 'read'"),
        ({"event": ["create"]}, "not a list"),
        ({"uid": None}, '"uid" must be a text or a whole number, not null'),
        ({"uid": {}}, "not an object"),
        ({"uid": True}, "not true"),
        ({"uid": 1.5}, "not 1.5"),
        ({"uid": float("inf")}, "not inf"),
        ({"uid": 10**5000}, "a number of that size"),
        ({"uid": "x" * 256}, '"uid" must be'),
        ({"uid": "\ud800"}, '"uid" must be'),
        ({"item": None}, '"item" must be'),
        ({"item": [1]}, '"item" must be'),
        ({"item": False}, '"item" must be'),
        ({"query": None}, '"query" must be an object, not null'),
        ({"query": "fields=id"}, '"query" must be an object'),
        ({"query": []}, '"query" must be an object'),
        ({"last_event_id": 5}, '"last_event_id" must be the id of an event, not 5'),
        ({"last_event_id": "x" * 256}, '"last_event_id" must be'),
    ],
)
def test_a_message_of_another_shape(message: dict[str, Any], sentence: str) -> None:
    with pytest.raises(QueryRefused, match=sentence) as caught:
        parsed(**message)
    assert caught.value.code == "INVALID_PAYLOAD"


@pytest.mark.parametrize("message", [None, [], "x", 5, True])
def test_no_message_at_all(message: Any) -> None:
    with pytest.raises(QueryRefused) as caught:
        parse_subscribe(message)
    assert caught.value.code == "INVALID_PAYLOAD"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"search": "x"}, "'search' is not possible"),
        ({"deep": {"tags": {"_limit": 1}}}, "'deep' is not possible"),
        ({"alias": {"a": "b"}}, "'alias' is not possible"),
        ({"aggregate": {"count": "*"}}, "'aggregate' is not possible"),
        ({"group": ["a"]}, "'group' is not possible"),
        ({"groupBy": ["a"]}, "'groupBy' is not possible"),
        ({"offset": 1}, "'offset' is not possible"),
        ({"page": 1}, "'page' is not possible"),
        ({"meta": "*"}, "'meta' is not possible"),
        ({"version": "draft"}, "'version' is not possible"),
        ({"x" * 9999: 1}, "is not possible"),
        ({"fields": 5}, "fields must be a list of field names, not 5"),
        ({"fields": [5]}, "fields must be a list"),
        ({"fields": {"0": "id"}}, "not an object"),
        ({"fields": ["x" * 256]}, "is not the name of a field"),
        ({"fields": [f"f{n}" for n in range(201)]}, "fields has more than 200 names"),
        ({"sort": True}, "sort must be a list"),
        ({"sort": ",".join(f"f{n}" for n in range(21))}, "sort has more than 20 names"),
        ({"sort": ["+" * n + "title" for n in range(21)]}, "sort has more than 20 names"),
        ({"limit": -2}, "limit must be a whole number, not -2"),
        ({"limit": "ten"}, "not 'ten'"),
        ({"limit": "--5"}, "not '--5'"),
        ({"limit": "9" * 5000}, "limit must be"),
        ({"limit": 1.5}, "limit must be"),
        ({"limit": True}, "limit must be"),
        ({"limit": []}, "limit must be"),
        ({"filter": "{"}, "The filter is not JSON"),
        ({"filter": "[" * 100_000}, "The filter is not JSON"),
        ({"filter": '"x"'}, "must be an object"),
        ({"filter": [{"id": 1}]}, "must be an object"),
        ({"filter": 5}, "must be an object"),
        ({"filter": {"a": {"_regex": "x"}}}, "'_regex' cannot be evaluated"),
        ({"filter": {"a": {"_eq": "$NOW"}}}, "write the value itself"),
        ({"filter": {"_or": [{"a": n} for n in range(200)]}}, "more than 100 operators"),
        ({"filter": {"_or": [{"_and": []} for _ in range(200)]}}, "more than 100 operators"),
        ({"filter": {"_and": [{} for _ in range(101)]}}, "more than 100 operators"),
        ({"filter": {"a": {"_in": list(range(3000))}}}, "more than 2000 values"),
        ({"filter": {"a": {"_in": ",".join(map(str, range(3000)))}}}, "more than 2000 values"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_query_that_is_not_possible(query: dict[str, Any], sentence: str) -> None:
    with pytest.raises(QueryRefused, match=sentence) as caught:
        parsed(query=query)
    assert caught.value.code == "INVALID_QUERY"
    assert len(caught.value.message) < 200


def test_many_values_are_possible() -> None:
    given = {"id": {"_in": list(range(2000))}}
    assert parsed(query={"filter": json.dumps(given)}).query.filter == given
