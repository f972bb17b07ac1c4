"""Users of the fake whose rights are limited, change or end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from directus_realtime.testing import FakeDirectus, FakeUser
from tests.unit.testing.conftest import Open

LOG_FIELDS = ["id", "action", "collection", "item", "timestamp"]


@pytest.fixture
def limited() -> FakeUser:
    return FakeUser(
        "reader@example.com",
        "secret",
        token="limited",
        readable={"articles": {"status": {"_eq": "published"}}, "directus_activity": {}},
        fields={"directus_activity": LOG_FIELDS},
    )


@pytest.fixture
async def rest(fake: FakeDirectus) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer limited"}
    async with httpx.AsyncClient(base_url=fake.url, headers=headers) as rest:
        yield rest


async def search(rest: httpx.AsyncClient, path: str, **query: Any) -> httpx.Response:
    return await rest.request("SEARCH", path, json={"query": query})


async def test_permissions(rest: httpx.AsyncClient) -> None:
    mine = (await rest.get("/permissions/me")).json()["data"]
    nothing = {each: {"access": "none"} for each in ("create", "update", "delete", "share")}
    assert mine == {
        "articles": {"read": {"access": "partial", "fields": ["*"]}, **nothing},
        "directus_activity": {"read": {"access": "full", "fields": LOG_FIELDS}, **nothing},
    }


async def test_permissions_of_others(fake: FakeDirectus) -> None:
    async with httpx.AsyncClient(base_url=fake.url) as anybody:
        assert (await anybody.get("/permissions/me")).json() == {"data": {}}
        admin = {"Authorization": "Bearer admin"}
        mine = (await anybody.get("/permissions/me", headers=admin)).json()["data"]
    everything = {"access": "full", "fields": ["*"]}
    assert mine["notes"] == dict.fromkeys(
        ("read", "create", "update", "delete", "share"), everything
    )


async def test_star_gives_what_may_be_read(rest: httpx.AsyncClient, fake: FakeDirectus) -> None:
    await fake.create("articles", {"title": "x"})
    [row] = (await search(rest, "/activity")).json()["data"]
    assert set(row) == set(LOG_FIELDS)


@pytest.mark.parametrize(
    "query",
    [
        {"fields": ["id", "user"]},
        {"filter": {"user": {"_null": True}}},
        {"filter": {"_or": [{"user": {"_null": True}}]}},
        {"sort": ["-user"]},
        {"aggregate": {"count": ["user"]}},
    ],
)
async def test_other_fields_are_refused_by_name(
    rest: httpx.AsyncClient, query: dict[str, Any]
) -> None:
    answer = await search(rest, "/activity", **query)
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["message"] == (
        'You don\'t have permission to access field "user" in collection "directus_activity" '
        "or it does not exist. Queried in root."
    )


async def test_rights_change_at_once(rest: httpx.AsyncClient, limited: FakeUser) -> None:
    limited.fields = {}
    assert (await search(rest, "/activity", fields=["user"])).status_code == 200
    limited.readable = {"articles": {}}
    assert (await search(rest, "/activity")).status_code == 403
    mine = (await rest.get("/permissions/me")).json()["data"]
    assert list(mine) == ["articles"]
    assert mine["articles"]["read"]["access"] == "full"


async def test_suspended_user(
    rest: httpx.AsyncClient, fake: FakeDirectus, open_socket: Open
) -> None:
    socket = await open_socket("limited")
    await socket.subscribe(uid="a")
    body = {"email": "reader@example.com", "password": "secret"}
    tokens = (await rest.post("/auth/login", json=body)).json()["data"]
    await fake.suspend_user("reader@example.com")

    for path in ("/items/articles", "/server/info", "/permissions/me"):
        answer = await rest.get(path)
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["extensions"] == {"code": "INVALID_CREDENTIALS"}
    assert (await search(rest, "/items/articles")).status_code == 401
    assert (await rest.post("/auth/login", json=body, headers={})).status_code == 401
    again = {"refresh_token": tokens["refresh_token"]}
    assert (await rest.post("/auth/refresh", json=again)).status_code == 401
    refused = await (await open_socket(None)).ask({"type": "auth", "access_token": "limited"})
    assert refused["error"]["code"] == "AUTH_FAILED"

    issued = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await rest.get("/items/articles", headers=issued)).status_code == 200
    await fake.update("articles", 2, {"title": "still told"})
    assert (await socket.receive())["data"][0]["title"] == "still told"
    statuses = {row["email"]: row["status"] for row in fake.items("directus_users")}
    assert statuses["reader@example.com"] == "suspended"

    await fake.suspend_user("reader@example.com", False)
    assert (await rest.get("/items/articles")).status_code == 200


async def test_suspending_a_stranger_names_the_users(fake: FakeDirectus) -> None:
    with pytest.raises(KeyError, match=r"its users are admin@example\.com, reader@example"):
        await fake.suspend_user("nobody@example.com")
