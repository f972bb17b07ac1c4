from __future__ import annotations

from typing import Any

import httpx
import pytest

from directus_realtime.testing import FakeDirectus


async def data(rest: httpx.AsyncClient, path: str, **params: str) -> Any:
    answer = await rest.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def refusal(rest: httpx.AsyncClient, path: str, **params: str) -> tuple[int, str, str]:
    answer = await rest.get(path, params=params)
    [error] = answer.json()["errors"]
    return answer.status_code, error["extensions"]["code"], error["message"]


async def test_ping_answers_pong(rest: httpx.AsyncClient) -> None:
    assert (await rest.get("/server/ping")).text == "pong"


async def test_info_tells_a_stranger_nothing_about_the_socket(fake: FakeDirectus) -> None:
    async with httpx.AsyncClient(base_url=fake.url) as anonymous:
        assert set(await data(anonymous, "/server/info")) == {"project", "setupCompleted"}


async def test_info(rest: httpx.AsyncClient) -> None:
    info = await data(rest, "/server/info")
    assert info["version"] == "11.17.4"
    assert info["queryLimit"] == {"default": 100, "max": -1}
    assert info["websocket"]["heartbeat"] == 30
    assert info["websocket"]["rest"] == {"authentication": "handshake", "path": "/websocket"}


@pytest.mark.parametrize("options", [{"heartbeat_period": 0}])
async def test_info__heartbeat_switched_off(rest: httpx.AsyncClient) -> None:
    assert (await data(rest, "/server/info"))["websocket"]["heartbeat"] is False


async def test_wrong_token_is_refused(fake: FakeDirectus) -> None:
    headers = {"Authorization": "Bearer wrong"}
    async with httpx.AsyncClient(base_url=fake.url, headers=headers) as stranger:
        expected = (401, "INVALID_CREDENTIALS", "Invalid user credentials.")
        assert await refusal(stranger, "/items/articles") == expected


async def test_login_and_refresh(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    body = {"email": "editor@example.com", "password": "secret"}
    tokens = (await rest.post("/auth/login", json=body)).json()["data"]
    assert tokens["expires"] == 900_000
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = await rest.get("/users/me", params={"fields": "email"}, headers=headers)
    assert me.json() == {"data": {"email": "editor@example.com"}}

    again = {"refresh_token": tokens["refresh_token"], "mode": "json"}
    assert (await rest.post("/auth/refresh", json=again)).status_code == 200
    assert (await rest.post("/auth/refresh", json=again)).status_code == 401

    await fake.expire_tokens()
    expired = await rest.get("/users/me", headers=headers)
    assert expired.status_code == 401
    assert expired.json()["errors"][0]["extensions"]["code"] == "TOKEN_EXPIRED"


async def test_wrong_password_is_refused(rest: httpx.AsyncClient) -> None:
    body = {"email": "editor@example.com", "password": "wrong"}
    assert (await rest.post("/auth/login", json=body)).status_code == 401


async def test_fields_tell_the_primary_key(rest: httpx.AsyncClient) -> None:
    fields = await data(rest, "/fields/notes")
    [key] = [field for field in fields if field["schema"]["is_primary_key"]]
    assert (key["field"], key["type"], key["schema"]["data_type"]) == ("id", "uuid", "char")
    assert (await data(rest, "/fields/articles/id"))["schema"]["has_auto_increment"] is True


async def test_a_field_by_another_name(rest: httpx.AsyncClient) -> None:
    asked = {"alias": '{"called": "title"}', "limit": "1"}
    assert await data(rest, "/items/articles", fields="called", **asked) == [{"called": "one"}]
    both = await data(rest, "/items/articles", fields="title,called", **asked)
    assert both == [{"title": "one", "called": "one"}]
    (row,) = await data(rest, "/items/articles", fields="*,called", **asked)
    assert (row["title"], row["called"]) == ("one", "one")


async def test_all_fields_and_relations(rest: httpx.AsyncClient) -> None:
    fields = {(each["collection"], each["field"]): each for each in await data(rest, "/fields")}
    assert fields["articles", "id"]["schema"]["is_primary_key"] is True
    assert fields["notes", "id"]["type"] == "uuid"
    leads_to = {
        (each["collection"], each["field"]): each["related_collection"]
        for each in await data(rest, "/relations")
    }
    assert leads_to["articles", "author"] == "authors"
    assert leads_to["directus_activity", "user"] == "directus_users"


async def test_users(rest: httpx.AsyncClient) -> None:
    found = await data(rest, "/users", fields="email")
    assert {"email": "admin@example.com"} in found


async def test_collections(rest: httpx.AsyncClient) -> None:
    names = [each["collection"] for each in await data(rest, "/collections")]
    assert names == [
        *("authors", "articles", "notes"),
        *("directus_activity", "directus_users", "directus_notifications"),
    ]
    assert (await data(rest, "/collections/notes"))["collection"] == "notes"
    assert (await refusal(rest, "/collections/nothing"))[:2] == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"fields": "nothing"},
            (
                403,
                "FORBIDDEN",
                'You don\'t have permission to access field "nothing" in collection "articles" '
                "or it does not exist. Queried in root.",
            ),
        ),
        (
            {"filter[title][_bogus]": "1"},
            (
                400,
                "INVALID_QUERY",
                'Invalid query. "string" field type does not contain the "_bogus" filter operator.',
            ),
        ),
        ({"limit": "x"}, (400, "INVALID_QUERY", 'Invalid query. "limit" must be a number.')),
        (
            {"filter": "{x"},
            (400, "INVALID_QUERY", "Invalid query. Invalid JSON for filter object."),
        ),
    ],
)
async def test_bad_queries(
    rest: httpx.AsyncClient, params: dict[str, str], expected: tuple[int, str, str]
) -> None:
    assert await refusal(rest, "/items/articles", **params) == expected


async def test_unknown_collection_and_item(rest: httpx.AsyncClient) -> None:
    unknown = await refusal(rest, "/items/nothing")
    assert unknown[:2] == (403, "FORBIDDEN")
    assert 'collection "nothing"' in unknown[2]
    assert (await refusal(rest, "/items/articles/99"))[2] == (
        "You don't have permission to access this."
    )
    assert (await refusal(rest, "/nothing"))[:2] == (404, "ROUTE_NOT_FOUND")


async def test_relation_is_followed(rest: httpx.AsyncClient) -> None:
    rows = await data(rest, "/items/articles", fields="id,author.name")
    assert rows == [{"id": 1, "author": {"name": "Annie"}}, {"id": 2, "author": None}]
    stars = await data(rest, "/items/articles/1", fields="*.*")
    assert stars["author"] == {"id": 1, "name": "Annie"}
    plain = await data(rest, "/items/articles/1")
    assert plain["author"] == 1


async def test_paging_and_meta(rest: httpx.AsyncClient) -> None:
    params = {"limit": "1", "page": "2", "sort": "-id", "fields": "id", "meta": "*"}
    answer = await rest.get("/items/articles", params=params)
    expected = {"meta": {"total_count": 2, "filter_count": 2}, "data": [{"id": 1}]}
    assert answer.json() == expected


async def test_aggregate(rest: httpx.AsyncClient) -> None:
    counted = await data(rest, "/items/articles", **{"aggregate[count]": "*"})
    assert counted == [{"count": 2}]
    highest = await data(rest, "/items/articles", **{"aggregate[max]": "id"})
    assert highest == [{"max": {"id": 2}}]


async def test_aggregate__in_groups(rest: httpx.AsyncClient) -> None:
    asked = {"aggregate[count]": "*", "groupBy[]": "status", "sort": "status"}
    groups = await data(rest, "/items/articles", **asked)
    assert groups == [{"status": "draft", "count": 1}, {"status": "published", "count": 1}]
    assert await data(rest, "/items/articles", **asked, limit="1") == groups[:1]
    unknown = {"aggregate[sum]": "price"}
    assert (await refusal(rest, "/items/articles", **unknown))[1] == "FORBIDDEN"


async def test_writes(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    async def write(method: str, path: str, body: Any = None) -> httpx.Response:
        return await rest.request(method, f"/items/articles{path}", json=body)

    made = await write("POST", "?fields=id,status", {"title": "three", "unknown": 1})
    assert made.json() == {"data": {"id": 3, "status": None}}
    many = await write("POST", "?fields=id", [{"title": "four"}, {"title": "five"}])
    assert many.json() == {"data": [{"id": 4}, {"id": 5}]}
    taken = await write("POST", "", {"id": 1})
    assert taken.json()["errors"][0]["extensions"]["code"] == "RECORD_NOT_UNIQUE"

    assert (await write("PATCH", "/1", {"title": "ONE"})).json()["data"]["title"] == "ONE"
    assert (await write("PATCH", "/99", {"title": "x"})).status_code == 204
    changed = await write("PATCH", "?fields=id", {"keys": [4, 5], "data": {"status": "x"}})
    assert changed.json() == {"data": [{"id": 4}, {"id": 5}]}
    each = await write("PATCH", "?fields=title", [{"id": 4, "title": "IV"}])
    assert each.json() == {"data": [{"title": "IV"}]}
    query = {"filter": {"status": {"_eq": "x"}}}
    found = await write("PATCH", "?fields=id", {"query": query, "data": {"status": "y"}})
    assert found.json() == {"data": [{"id": 4}, {"id": 5}]}
    assert (await write("PATCH", "", {"title": "x"})).status_code == 400

    assert (await write("DELETE", "/1")).status_code == 204
    assert (await write("DELETE", "", [2])).status_code == 204
    assert (await write("DELETE", "", {"keys": [3]})).status_code == 204
    assert (await write("DELETE", "", {"query": {"filter": {"id": {"_eq": 4}}}})).status_code == 204
    assert [row["id"] for row in fake.items("articles")] == [5]
    assert (await write("DELETE", "")).status_code == 400


async def test_date_updated_is_set_by_updates_only(fake: FakeDirectus) -> None:
    made = await fake.create("articles", {"title": "x"})
    assert made["date_updated"] is None
    await fake.update("articles", made["id"], {})
    assert fake.items("articles")[-1]["date_updated"].endswith("Z")


async def test_keys_of_other_types(fake: FakeDirectus) -> None:
    note = await fake.create("notes", {"text": "x"})
    assert len(note["id"]) == 36
    given = await fake.create("notes", {"id": "mine", "text": "y"})
    assert given["id"] == "mine"
    with pytest.raises(ValueError, match="has to be unique"):
        await fake.create("notes", {"id": "mine"})


async def test_activity_has_a_row_for_each_key(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    await fake.create("articles", [{"title": "three"}, {"title": "four"}])
    await fake.update("articles", [3, 4], {"title": "x"})
    await fake.update("articles", 99, {"title": "nobody is changed"})
    await fake.delete("articles", [3, 99])
    rows = await data(rest, "/activity", sort="id", fields="id,action,item")
    assert [(row["action"], row["item"]) for row in rows] == [
        ("create", "3"),
        ("create", "4"),
        ("update", "3"),
        ("update", "4"),
        ("delete", "3"),
        ("delete", "99"),
    ]
    later = await data(rest, "/activity", **{"filter[id][_gt]": "5", "limit": "-1"})
    assert [row["id"] for row in later] == [6]


async def test_limited_user(fake: FakeDirectus) -> None:
    headers = {"Authorization": "Bearer limited"}
    async with httpx.AsyncClient(base_url=fake.url, headers=headers) as rest:
        assert await data(rest, "/items/articles", fields="id") == [{"id": 2}]
        for path in ("/items/notes", "/activity", "/items/articles/1", "/fields/articles"):
            assert (await refusal(rest, path))[:2] == (403, "FORBIDDEN")
        assert 'perform "read"' in (await refusal(rest, "/collections/notes"))[2]
        assert (await rest.post("/items/articles", json={})).status_code == 403
        assert set(await data(rest, "/users/me")) == {"id"}


@pytest.mark.parametrize("options", [{"query_limit_max": 1}])
async def test_query_limit_max(rest: httpx.AsyncClient) -> None:
    assert len(await data(rest, "/items/articles", limit="-1")) == 1
    assert await refusal(rest, "/items/articles", limit="2") == (
        400,
        "INVALID_QUERY",
        'Invalid query. "limit" must be less than or equal to 1.',
    )
