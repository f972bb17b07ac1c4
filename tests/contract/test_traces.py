"""The traces of a change in the log and on the socket, and rights that end."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.contract.conftest import OpenWire
from tests.contract.servers import PASSWORD, FakeServer, Server


def rows_of_the_log(server: Server, collection: str, key: object) -> list[tuple[str, str]]:
    """Action and item of the rows whose item contains the key."""
    query = {
        "filter": {"collection": {"_eq": collection}, "item": {"_contains": str(key)}},
        "fields": ["action", "item"],
        "sort": ["id"],
    }
    headers = {"Authorization": f"Bearer {server.token}"}
    address = f"{server.url}/activity"
    answer = httpx.request("SEARCH", address, json={"query": query}, headers=headers, timeout=60)
    return [(row["action"], row["item"]) for row in answer.json()["data"]]


async def test_the_key_is_repeated_as_it_was_written(server: Server, wire_to: OpenWire) -> None:
    """The row of the log has the text of the address, and so has the event of a delete."""
    key = server.admin.create_item("articles", {"id": 987_654, "title": "x"})["id"]
    wire = await wire_to(server)
    await wire.subscribe(uid="a", query={"fields": ["id", "title"], "limit": 1})
    server.admin.request("PATCH", f"/items/articles/0{key}", {"title": "y"})
    assert (await wire.receive())["data"] == [{"id": key, "title": "y"}]
    server.admin.request("DELETE", f"/items/articles/0{key}")
    assert (await wire.receive())["data"] == [f"0{key}"]
    assert rows_of_the_log(server, "articles", key) == [
        ("create", str(key)),
        ("update", f"0{key}"),
        ("delete", f"0{key}"),
    ]


async def test_unlogged_collection(server: Server, wire_to: OpenWire) -> None:
    """Its changes are told, and have no row."""
    wire = await wire_to(server)
    await wire.subscribe("secrets", uid="a", event="create", query={"fields": ["id"]})
    key = server.admin.create_item("secrets", {"title": "x"})["id"]
    assert (await wire.receive())["data"] == [{"id": key}]
    assert rows_of_the_log(server, "secrets", key) == []


async def test_silent_change(server: Server, wire_to: OpenWire) -> None:
    """A Flow that emits no events: a row, and nothing on the socket."""
    wire = await wire_to(server)
    await wire.subscribe(uid="a", event="create", query={"fields": ["title"]})
    server.change_silently("silent")
    server.admin.create_item("articles", {"title": "loud"})
    assert (await wire.receive())["data"] == [{"title": "loud"}]


def test_permissions_of_the_reader(server: Server) -> None:
    """Directus 10 has no such answer, Directus 12 no rule for the rows without a licence."""
    headers = {"Authorization": f"Bearer {server.reader_token}"}
    answer = httpx.get(f"{server.url}/permissions/me", headers=headers, timeout=60)
    if server.major == 10:
        assert (answer.status_code, answer.content) == (204, b"")
        return
    scope = "partial" if server.major == 11 else "full"
    nothing = {"access": "none"}
    assert answer.json()["data"] == {
        "articles": {
            "read": {"access": scope, "fields": ["*"]},
            **dict.fromkeys(("create", "update", "delete", "share"), nothing),
        }
    }


def set_status(server: Server, status: str) -> None:
    """Suspend the reader, or make the reader active again."""
    if isinstance(server, FakeServer):
        suspended = status == "suspended"
        server.fake.call(lambda fake: fake.suspend_user(server.reader_email, suspended))
        return
    query = f"filter[email][_eq]={server.reader_email}&fields=id"
    [user] = server.admin.request("GET", f"/users?{query}")
    server.admin.request("PATCH", f"/users/{user['id']}", {"status": status})


async def test_suspended_user(
    server: Server, wire_to: OpenWire, request: pytest.FixtureRequest
) -> None:
    """The static token is refused; an open socket and an access token go on."""

    def log_in() -> httpx.Response:
        login = {"email": server.reader_email, "password": PASSWORD}
        return httpx.post(f"{server.url}/auth/login", json=login, timeout=60)

    def ask(path: str, token: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(server.url + path, headers=headers, timeout=60)
        errors = answer.json().get("errors")
        return answer.status_code, errors and errors[0]["extensions"]["code"]

    tokens = log_in().json()["data"]
    wire = await wire_to(server, server.reader_token)
    await wire.subscribe(uid="a", event="create", query={"fields": ["title"]})
    request.addfinalizer(lambda: set_status(server, "active"))
    set_status(server, "suspended")

    for path in ("/items/articles", "/server/info", "/users/me"):
        assert ask(path, server.reader_token) == (401, "INVALID_CREDENTIALS")
    assert ask("/items/articles", tokens["access_token"]) == (200, None)
    assert log_in().status_code == 401
    server.admin.create_item("articles", {"title": "told", "status": "published"})
    assert (await wire.receive())["data"] == [{"title": "told"}]
    stranger = await wire.ask({"type": "auth", "access_token": server.reader_token})
    assert stranger["error"]["code"] == "AUTH_FAILED"
    set_status(server, "active")
    assert ask("/items/articles", server.reader_token) == (200, None)
