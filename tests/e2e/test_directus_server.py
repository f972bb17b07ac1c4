"""The real Directus that the end-to-end tests use, and whether the fake tells the same story."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from example_project.real_directus import DirectusAdmin, DirectusServer, DirectusUnavailable
from example_project.real_directus.directus_admin import DirectusAdminError
from tests.conftest import missing

pytestmark = pytest.mark.e2e

QUIET = 0.4  # seconds without a message: Directus has nothing more to say
RULE = {"status": {"_eq": "published"}}
ARTICLES = {"title": "string", "body": "text", "status": "string", "author": "integer"}
DATE_UPDATED = {"type": "timestamp", "meta": {"special": ["date-updated"]}}


@pytest.fixture(scope="module")
def server() -> Iterator[DirectusServer]:
    try:
        with DirectusServer() as server:
            yield server
    except DirectusUnavailable as reason:
        missing(str(reason))


@pytest.fixture(scope="module")
def admin(server: DirectusServer) -> Iterator[DirectusAdmin]:
    with server.admin() as admin:
        admin.create_collection("authors", {"name": "string"})
        admin.create_collection("articles", {**ARTICLES, "date_updated": DATE_UPDATED})
        admin.create_relation("articles", "author", "authors")
        admin.create_collection("notes", {"text": "string"}, "uuid")
        admin.create_item("authors", {"name": "Annie"})
        yield admin


def test_items(admin: DirectusAdmin) -> None:
    made = admin.create_items("articles", [{"title": "one"}, {"title": "two"}])
    keys = [item["id"] for item in made]
    assert admin.update_item("articles", keys[0], {"title": "ONE"})["title"] == "ONE"
    assert len(admin.update_items("articles", keys, {"status": "x"})) == 2
    assert [item["id"] for item in admin.read_items("articles", sort="id")] == keys
    admin.delete_item("articles", keys[0])
    admin.delete_items("articles", keys[1:])
    assert admin.read_items("articles") == []


def test_keys_of_other_types(admin: DirectusAdmin) -> None:
    assert len(admin.create_item("notes", {"text": "x"})["id"]) == 36
    admin.create_collection("labels", {}, "string")
    assert admin.create_item("labels", {"id": "red"}) == {"id": "red"}
    admin.delete_collection("labels")


def test_limited_user(admin: DirectusAdmin) -> None:
    permission = {"collection": "articles", "action": "read", "permissions": RULE, "fields": ["*"]}
    token = admin.create_limited_user([permission])
    admin.create_items("articles", [{"status": "draft"}, {"status": "published"}])
    with DirectusAdmin(admin.url, token) as limited:
        assert [item["status"] for item in limited.read_items("articles")] == ["published"]
        with pytest.raises(DirectusAdminError, match="403: FORBIDDEN"):
            limited.read_items("notes")


def test_restart_keeps_address_and_data(server: DirectusServer, admin: DirectusAdmin) -> None:
    admin.create_item("notes", {"id": "5f0c0b1e-7c1b-4a52-9f3e-8f8c1c1a1a11", "text": "kept"})
    before = (server.url, server.pid)
    server.restart()
    assert server.url == before[0]
    assert server.pid not in (None, before[1])
    assert "kept" in [note["text"] for note in admin.read_items("notes")]


def test_pause_and_resume(server: DirectusServer, admin: DirectusAdmin) -> None:
    server.pause()
    with pytest.raises(httpx.TimeoutException):
        httpx.get(f"{server.url}/server/ping", timeout=0.3)
    server.resume()
    assert httpx.get(f"{server.url}/server/ping", timeout=10).text == "pong"


def test_kill(server: DirectusServer, admin: DirectusAdmin) -> None:
    server.kill()
    assert server.pid is None
    with pytest.raises(DirectusAdminError, match="failed"):
        admin.read_items("articles")
    server.start()
    admin.read_items("articles")


@dataclass
class Side:
    """One of the two servers that are compared."""

    url: str
    token: str
    limited: str


@pytest.fixture
def real(server: DirectusServer, admin: DirectusAdmin) -> Side:
    permission = {"collection": "articles", "action": "read", "permissions": RULE, "fields": ["*"]}
    return Side(server.url, server.admin_token, admin.create_limited_user([permission]))


@pytest.fixture
async def pretended() -> AsyncIterator[Side]:
    collections = [
        FakeCollection("authors", fields={"name": "string"}, items=[{"name": "Annie"}]),
        FakeCollection(
            "articles",
            fields={**ARTICLES, "author": ("m2o", "authors"), "date_updated": "date-updated"},
        ),
        FakeCollection("notes", key_type="uuid", fields={"text": "string"}),
    ]
    limited = FakeUser("x@example.com", "x", token="limited", readable={"articles": RULE})
    async with FakeDirectus(collections, "admin", [limited]) as fake:
        yield Side(fake.url, "admin", "limited")


def subscribe(collection: str = "articles", **more: Any) -> dict[str, Any]:
    return {"type": "subscribe", "collection": collection, **more}


FIELDS = {"fields": ["id", "title", "author.name"]}
BOGUS = {"filter": {"title": {"_bogus": 1}}}
MESSAGES: list[Any] = [
    {"type": "ping"},
    {"type": "ping", "uid": 3},
    {"type": "xyz"},
    "no json",
    "[]",
    "{}",
    {"type": "ping", "uid": None},
    {"type": "auth"},
    {"type": "unsubscribe", "uid": "nothing"},
    subscribe(collection=5, uid="a"),
    subscribe(event="bogus", uid="a"),
    subscribe(query="s", uid="a"),
    subscribe(item=None, uid="a"),
    subscribe("nothing", uid="a"),
    subscribe("nothing", uid="a", event="create"),
    subscribe(item=999, uid="a"),
    subscribe(query=BOGUS, uid="a"),
    subscribe(query={"fields": ["nothing"]}, uid="a"),
    subscribe(query={"fields": ["author.nothing"]}, uid="a"),
    subscribe(query={"filter": "{x"}, uid="a"),
    subscribe(query={"fields": [5]}, uid="a"),
    subscribe(query={"aggregate": {"count": "*"}}, uid="a"),
    {"type": "unsubscribe"},
    subscribe(uid=7),
    subscribe(uid="fields", query={**FIELDS, "sort": ["-id"], "meta": "*"}),
    subscribe(uid="published", query={"fields": ["id"], "filter": RULE}),
    subscribe(uid="delete", event="delete"),
    subscribe(uid="bogus", event="update", query=BOGUS),
    subscribe(uid="limit", event="update", query={"fields": ["id"], "limit": 1}),
    subscribe(uid="offset", event="update", query={"fields": ["id"], "offset": 1}),
    subscribe(uid="item", item=1, query={"fields": ["id", "title"]}),
]
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "", {"id": 10, "title": "x", "author": 1}),
    ("POST", "", [{"id": 11, "status": "published"}, {"id": 12}]),
    ("PATCH", "/1", {"title": "y"}),
    ("PATCH", "/10", {"status": "published"}),
    ("PATCH", "/10", {"status": "draft"}),
    ("PATCH", "/999", {"title": "nobody"}),
    ("PATCH", "", {"keys": [12, 1], "data": {"title": "z"}}),
    ("PATCH", "", [{"id": 11, "title": "l"}, {"id": 12, "title": "m"}]),
    ("PATCH", "", {"query": {"filter": {"id": {"_gt": 10}}}, "data": {"title": "q"}}),
    ("DELETE", "/10", None),
    ("DELETE", "/999", None),
    ("DELETE", "", [11]),
    ("DELETE", "", {"query": {"filter": {"id": {"_eq": 12}}}}),
]
LIMITED: list[Any] = [
    subscribe(query={"fields": ["id"]}, uid="a"),
    subscribe("notes", uid="b"),
    subscribe("nothing", uid="c"),
    subscribe("notes", uid="d", event="create"),
    subscribe(item=1, uid="e"),
]


async def heard(socket: ClientConnection) -> list[str]:
    """Return what the server says until it is quiet, in an order that does not matter."""
    found = []
    while True:
        try:
            found.append(normal(await asyncio.wait_for(socket.recv(), QUIET)))
        except TimeoutError:
            return sorted(found)
        except ConnectionClosed:
            return [*sorted(found), f"closed {socket.close_code}"]


def normal(text: str | bytes) -> str:
    """Return a message without what differs from run to run."""
    message = json.dumps(json.loads(text), sort_keys=True)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", message)


async def story(side: Side) -> list[tuple[str, list[str]]]:
    """Return everything a server says in one long conversation."""
    told = []
    address = side.url.replace("http", "ws") + "/websocket"
    headers = {"Authorization": f"Bearer {side.token}"}

    async def say(socket: ClientConnection, message: Any) -> None:
        raw = message if isinstance(message, str) else json.dumps(message)
        await socket.send(raw)
        told.append((raw.replace(side.token, "T").replace(side.limited, "L"), await heard(socket)))

    async with httpx.AsyncClient(base_url=side.url, headers=headers, timeout=30) as rest:
        everything = {"query": {"filter": {"id": {"_gt": 0}}, "limit": -1}}
        await rest.request("DELETE", "/items/articles", json=everything)
        await rest.post("/items/articles", json={"id": 1, "title": "first", "status": "draft"})
        for bad in ({"type": "auth", "access_token": "wrong", "uid": 1}, "no json"):
            async with connect(address, ping_interval=None) as socket:
                await say(socket, bad)
        async with connect(address, ping_interval=None) as socket:
            await say(socket, {"type": "auth", "access_token": side.token, "uid": "u"})
            for message in MESSAGES:
                await say(socket, message)
            for method, path, body in CHANGES:
                answer = await rest.request(method, f"/items/articles{path}", json=body)
                told.append((f"{method} {path} {answer.status_code}", await heard(socket)))
            await say(socket, {"type": "auth", "access_token": "wrong", "uid": "again"})
        async with connect(address, ping_interval=None) as socket:
            await say(socket, {"type": "auth", "access_token": side.limited})
            for message in LIMITED:
                await say(socket, message)
            await rest.post("/items/notes", json={"text": "x"})
            await rest.delete("/items/articles/1")
            told.append(("limited", await heard(socket)))
    return told


async def test_the_fake_tells_the_same_story(real: Side, pretended: Side) -> None:
    expected, found = await asyncio.gather(story(real), story(pretended))
    assert found == expected
