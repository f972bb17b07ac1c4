"""Answers of the fake that are old, refused or broken, and sockets that are switched off."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from directus_realtime.testing import FakeCollection, FakeDirectus
from tests.unit.testing.conftest import Client, Open

CACHED = {"cache": True}


async def titles(rest: httpx.AsyncClient, method: str = "GET", query: str = "") -> list[str]:
    body = {} if method == "GET" else {"json": {}}
    answer = await rest.request(method, f"/items/articles{query}", **body)
    return [row["title"] for row in answer.json()["data"]]


@pytest.mark.parametrize("options", [CACHED])
class TestCache:
    async def test_get_is_old_and_search_is_not(
        self, rest: httpx.AsyncClient, fake: FakeDirectus
    ) -> None:
        assert await titles(rest) == ["one", "two"]
        await fake.update("articles", 1, {"title": "new"})
        assert await titles(rest) == ["one", "two"]
        assert await titles(rest, "SEARCH") == ["new", "two"]
        fake.forget_cache()
        assert await titles(rest) == ["new", "two"]

    @pytest.mark.parametrize("query", ["?limit=77", "?offset=0", "?sort=id", "?deep={}"])
    async def test_another_query_has_another_answer(
        self, rest: httpx.AsyncClient, fake: FakeDirectus, query: str
    ) -> None:
        await titles(rest)
        await fake.update("articles", 1, {"title": "new"})
        assert await titles(rest, query=query) == ["new", "two"]

    async def test_unknown_parameters_do_not_count(
        self, rest: httpx.AsyncClient, fake: FakeDirectus
    ) -> None:
        await titles(rest, query="?nonce=1")
        await fake.update("articles", 1, {"title": "new"})
        for same in ("?nonce=2", "?fields=*", "?search="):
            assert await titles(rest, query=same) == ["one", "two"]

    async def test_each_user_has_answers_of_his_own(
        self, rest: httpx.AsyncClient, fake: FakeDirectus
    ) -> None:
        await titles(rest)
        limited = {"Authorization": "Bearer limited"}
        answer = await rest.get("/items/articles", headers=limited)
        assert [row["title"] for row in answer.json()["data"]] == ["two"]
        wrong = await rest.get("/items/articles", headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401

    async def test_schema_is_old_too(self, rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
        before = (await rest.get("/fields/notes")).json()
        await fake.change_collection("notes", fields={})
        assert (await rest.get("/fields/notes")).json() == before
        assert (await rest.get("/fields/notes?limit=3")).json() != before

    async def test_refusals_are_not_kept(self, rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
        assert (await rest.get("/items/articles/3")).status_code == 403
        await fake.create("articles", {"title": "x"})
        assert (await rest.get("/items/articles/3")).status_code == 200

    async def test_header_tells(self, rest: httpx.AsyncClient) -> None:
        for _ in range(2):
            answer = await rest.get("/server/info")
            assert answer.headers["Cache-Control"] == "private, max-age=300"
        answer = await rest.request("SEARCH", "/items/articles", json={})
        assert answer.headers["Cache-Control"] == "no-cache"
        assert (await rest.get("/server/ping")).text == "pong"


async def test_without_a_cache_nothing_is_old(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    await titles(rest)
    await fake.update("articles", 1, {"title": "new"})
    assert await titles(rest) == ["new", "two"]
    assert (await rest.get("/items/articles")).headers["Cache-Control"] == "no-cache"
    fake.forget_cache()


@pytest.mark.parametrize("status", [405, 501])
async def test_refuse_search(rest: httpx.AsyncClient, fake: FakeDirectus, status: int) -> None:
    fake.refuse_search(status)
    answer = await rest.request("SEARCH", "/items/articles", json={})
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert await titles(rest) == ["one", "two"]
    fake.refuse_search(None)
    assert await titles(rest, "SEARCH") == ["one", "two"]


async def test_press(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    fake.press(2)
    for _ in range(2):
        answer = await rest.get("/items/articles")
        assert answer.status_code == 503
        [error] = answer.json()["errors"]
        assert error["message"] == 'Service "api" is unavailable. Under pressure.'
        assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert await titles(rest) == ["one", "two"]


async def asked(rest: httpx.AsyncClient, *keys: int, **query: Any) -> int:
    body = {"keys": keys, "query": query}
    return (await rest.request("SEARCH", "/items/articles", json=body)).status_code


async def test_spoil(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    fake.spoil("articles", 1)
    assert await asked(rest, 1, 2) == 500
    assert await asked(rest, 1) == 500
    assert await asked(rest, 2) == 200
    assert await asked(rest, 1, 2, filter={"id": {"_gt": 1}}) == 200
    assert (await rest.get("/items/articles")).status_code == 500
    fake.mend("articles", 1)
    assert await asked(rest, 1, 2) == 200


async def test_spoil_one_field(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    fake.spoil("articles", 1, "title")
    assert await asked(rest, 1, fields=["id", "status"]) == 200
    assert await asked(rest, 1, fields=["id", "title"]) == 500
    assert await asked(rest, 1) == 500


async def test_rows_without_a_key() -> None:
    permissions = FakeCollection(
        "directus_permissions",
        fields={"collection": "string"},
        items=[{"collection": "articles"}],
        keyless=[{"collection": "directus_fields", "system": True}],
    )
    async with (
        FakeDirectus([permissions]) as fake,
        httpx.AsyncClient(
            base_url=fake.url, headers={"Authorization": f"Bearer {fake.token}"}
        ) as rest,
    ):
        answer = await rest.request("SEARCH", "/permissions", json={"keys": [1, 2]})
    expected = [{"id": 1, "collection": "articles"}]
    assert answer.json() == {"data": [*expected, {"collection": "directus_fields", "system": True}]}


@pytest.mark.parametrize("options", [{"websockets": False}])
async def test_websockets_switched_off(
    fake: FakeDirectus, rest: httpx.AsyncClient, open_socket: Open
) -> None:
    assert (await rest.get("/server/info")).json()["data"]["websocket"] is False
    with pytest.raises(InvalidStatus) as caught:
        await open_socket()
    assert caught.value.response.status_code == 404
    assert (await rest.get("/websocket")).status_code == 404


@pytest.mark.parametrize("options", [{"heartbeat_period": 0}])
async def test_heartbeat_switched_off(client: Client) -> None:
    await client.send({"type": "ping", "uid": "a"})  # the answer would be the first
    answer = await client.ask({"type": "unsubscribe", "uid": "unknown"})
    assert answer == {"type": "subscription", "event": "unsubscribe", "uid": "unknown"}
