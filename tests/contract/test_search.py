"""The method SEARCH, which no cache answers: by query, by key, and what it refuses."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.servers import Server

NOT_HERE = "You don't have permission to access this."


@pytest.fixture
def rest(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        yield client


def found(rest: httpx.Client, path: str, **body: Any) -> list[Any]:
    answer = rest.request("SEARCH", path, json=body)
    assert answer.status_code == 200, answer.text
    rows: list[Any] = answer.json()["data"]
    return rows


def refusal(rest: httpx.Client, path: str, content: str) -> tuple[int, str, str]:
    headers = {"Content-Type": "application/json"}
    answer = rest.request("SEARCH", path, content=content, headers=headers)
    [error] = answer.json()["errors"]
    return answer.status_code, error["extensions"]["code"], error["message"]


def made(server: Server, count: int) -> list[int]:
    items = [{"title": f"title {number}"} for number in range(count)]
    return [each["id"] for each in server.admin.request("POST", "/items/articles", items)]


def test_by_key(rest: httpx.Client, server: Server) -> None:
    """Missing keys are left out; the query still filters, sorts and limits."""
    keys = made(server, 3)
    ids = {"fields": ["id"]}
    expected = [{"id": key} for key in keys]
    assert found(rest, "/items/articles", keys=[*keys, keys[-1] + 1], query=ids) == expected
    assert found(rest, "/items/articles", keys=[]) == []
    assert found(rest, "/items/articles", keys=[], query={"limit": -1}) == []
    last = {**ids, "sort": ["-id"], "limit": 1}
    assert found(rest, "/items/articles", keys=keys, query=last) == expected[-1:]
    filtered = {**ids, "filter": {"title": {"_eq": "title 1"}}}
    assert found(rest, "/items/articles", keys=keys, query=filtered) == expected[1:2]


def test_limit_of_100_counts_only_without_keys(rest: httpx.Client, server: Server) -> None:
    keys = made(server, 101)
    assert len(found(rest, "/items/articles")) == 100
    assert len(found(rest, "/items/articles", query={"fields": ["id"]})) == 100
    assert len(found(rest, "/items/articles", keys=keys, query={"fields": ["id"]})) == 101
    assert len(found(rest, "/items/articles", keys=keys, query={"limit": 0})) == 101
    assert len(found(rest, "/items/articles", query={"limit": -1})) >= 101


def test_spellings_of_an_integer(rest: httpx.Client, server: Server) -> None:
    [key] = made(server, 1)
    spellings = [f"0{key}", f" {key} ", f"+{key}", f"{key}.0", f"{key}e0", hex(key)]
    for written in spellings:
        rows = found(rest, "/items/articles", keys=[written], query={"fields": ["id"]})
        assert rows == [{"id": key}], written


def test_keys_are_no_variables(rest: httpx.Client, server: Server) -> None:
    for key in ("$NOW", "true", "null"):
        server.admin.create_item("labels", {"id": key, "title": "x"})
    rows = found(rest, "/items/labels", keys=["$NOW", "true", "null", "$CURRENT_USER"])
    assert {row["id"] for row in rows} == {"$NOW", "true", "null"}


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/items/articles", "abc"),
        ("/items/articles", "1.5"),
        ("/activity", "abc"),
        ("/notifications", "abc"),
        ("/items/notes", "nope"),
        ("/items/notes", "{" + str(uuid.UUID(int=1)) + "}"),
    ],
)
def test_one_impossible_key_refuses_all(rest: httpx.Client, path: str, key: str) -> None:
    body = json.dumps({"keys": [str(uuid.UUID(int=2)) if "notes" in path else 1, key]})
    assert refusal(rest, path, body) == (403, "FORBIDDEN", NOT_HERE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"keys":[null]}', '"keys[0]" must be one of [string, number]'),
        ('{"keys":[1,true]}', '"keys[1]" must be one of [string, number]'),
        ('{"keys":[""]}', '"keys[0]" is not allowed to be empty'),
        ('{"keys":"1"}', '"keys" must be an array'),
        ('{"keys":[1],"other":2}', '"other" is not allowed'),
        ("[1]", '"value" must be of type object'),
        (json.dumps({"keys": ["x" * 100] * 12_000}), "request entity too large"),
    ],
)
def test_bad_bodies(rest: httpx.Client, content: str, reason: str) -> None:
    expected = (400, "INVALID_PAYLOAD", f"Invalid payload. {reason}.")
    assert refusal(rest, "/items/articles", content) == expected


def test_query_of_the_body_replaces_that_of_the_address(rest: httpx.Client, server: Server) -> None:
    keys = made(server, 2)
    address = {"fields": "id", "limit": "1"}
    both = {"keys": keys, "query": {"fields": ["title"]}}
    answer = rest.request("SEARCH", "/items/articles", params=address, json=both)
    assert answer.json()["data"] == [{"title": "title 0"}, {"title": "title 1"}]
    answer = rest.request("SEARCH", "/items/articles", params=address, json={"keys": keys})
    assert answer.json()["data"] == [{"id": keys[0]}]


def test_activity(rest: httpx.Client, server: Server) -> None:
    """Rows by range of ids, with the user who wrote them."""
    made(server, 1)
    newest = {"fields": ["id"], "sort": ["-id"], "limit": 1}
    [top] = found(rest, "/activity", query=newest)
    keys = made(server, 3)
    query = {"filter": {"id": {"_gt": top["id"]}}, "sort": ["id"], "limit": -1}
    fields = ["id", "action", "user", "collection", "item"]
    rows = found(rest, "/activity", query={**query, "fields": fields})
    assert [row["item"] for row in rows] == [str(key) for key in keys]
    assert {(row["action"], row["collection"]) for row in rows} == {("create", "articles")}
    [me] = {row["user"] for row in rows}
    assert me == server.admin.request("GET", "/users/me?fields=id")["id"]
    first, *_, last = [row["id"] for row in rows]
    within: Any = {"_or": [{"id": {"_between": [first, first]}}, {"id": {"_in": [last]}}]}
    chosen = found(rest, "/activity", query={"filter": within, "fields": ["id"], "sort": ["id"]})
    assert chosen == [{"id": first}, {"id": last}]
    assert [row["id"] for row in found(rest, "/activity", keys=[last, first])] == [first, last]


def test_collections(rest: httpx.Client) -> None:
    """By key, without a refusal of unknown ones; a query is ignored."""
    rows = found(rest, "/collections", keys=["articles", "directus_users", "gone"])
    assert {row["collection"] for row in rows} == {"articles", "directus_users"}
    every = {row["collection"] for row in found(rest, "/collections", query={"limit": 1})}
    assert {"articles", "labels", "secrets", "directus_activity"} < every
    assert found(rest, "/collections", keys=[]) == []


def test_users_are_found_by_query_and_not_by_key(rest: httpx.Client, server: Server) -> None:
    ids = {"fields": ["id"], "filter": {"email": {"_eq": server.reader_email}}}
    [reader] = found(rest, "/users", query=ids)
    everybody = found(rest, "/users", query={"fields": ["id"]})
    assert reader in everybody
    assert found(rest, "/users", keys=["nope"], query={"fields": ["id"]}) == everybody


@pytest.mark.parametrize(
    "path",
    [
        *("/fields", "/fields/articles", "/relations", "/server/info", "/server/ping"),
        *(
            "/settings",
            "/users/me",
            "/permissions/me",
            "/collections/articles",
            "/items/articles/1",
        ),
    ],
)
def test_not_everything_can_be_searched(rest: httpx.Client, path: str) -> None:
    expected = (404, "ROUTE_NOT_FOUND", f"Route {path} doesn't exist.")
    assert refusal(rest, path, '{"query":{}}') == expected
