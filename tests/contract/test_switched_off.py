"""Servers with a cache of responses, without a heartbeat, without WebSockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.contract.conftest import OpenWire
from tests.contract.servers import Server


@pytest.fixture
def rest(quiet_server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {quiet_server.token}"}
    with httpx.Client(base_url=quiet_server.url, headers=headers, timeout=60) as client:
        yield client


def title(rest: httpx.Client, key: int, **params: Any) -> str:
    found: str = rest.get(f"/items/articles/{key}", params=params).json()["data"]["title"]
    return found


@pytest.fixture
def changed(quiet_server: Server, rest: httpx.Client) -> int:
    """An article that was read by GET, and changed afterwards."""
    key: int = quiet_server.admin.create_item("articles", {"title": "old"})["id"]
    assert title(rest, key) == "old"
    quiet_server.admin.request("PATCH", f"/items/articles/{key}", {"title": "new"})
    return key


def test_cached_answers_are_old(rest: httpx.Client, changed: int) -> None:
    """SEARCH is never cached; a header names the cache."""
    assert title(rest, changed) == "old"
    answer = rest.get(f"/items/articles/{changed}")
    assert answer.headers["Cache-Control"].startswith("private, max-age=")
    fresh = rest.request("SEARCH", "/items/articles", json={"keys": [changed]})
    assert fresh.json()["data"][0]["title"] == "new"
    assert fresh.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "parameter", [{"limit": 77}, {"sort": "id"}, {"deep": "{}"}, {"meta": "total_count"}]
)
def test_another_query_is_another_answer(
    rest: httpx.Client, changed: int, parameter: dict[str, Any]
) -> None:
    assert title(rest, changed, **parameter) == "new"


def test_unknown_parameters_are_no_other_query(
    rest: httpx.Client, changed: int, quiet_server: Server
) -> None:
    seen = title(rest, changed, nonce=1)
    quiet_server.admin.request("PATCH", f"/items/articles/{changed}", {"title": "newer"})
    assert title(rest, changed, nonce=2) == seen
    assert title(rest, changed, fields="*") == seen


def test_refusals_are_not_cached(rest: httpx.Client, quiet_server: Server) -> None:
    missing = "/items/labels/made-later"
    assert rest.get(missing).status_code == 403
    quiet_server.admin.create_item("labels", {"id": "made-later", "title": "x"})
    assert rest.get(missing).status_code == 200


def test_info_tells_of_the_heartbeat(rest: httpx.Client) -> None:
    assert rest.get("/server/info").json()["data"]["websocket"]["heartbeat"] is False


async def test_messages_that_are_answered_without_a_heartbeat(
    quiet_server: Server, wire_to: OpenWire
) -> None:
    """Everything but a ping, and that by Directus 10 alone."""
    wire = await wire_to(quiet_server)
    await wire.send({"type": "ping", "uid": "ping"})
    answer = await wire.ask({"type": "unsubscribe", "uid": "unknown"})
    if quiet_server.major == 10:
        assert answer == {"type": "pong", "uid": "ping"}
        answer = await wire.receive()
    assert answer == {"type": "subscription", "event": "unsubscribe", "uid": "unknown"}
    again = {"type": "auth", "access_token": quiet_server.token, "uid": "again"}
    assert await wire.ask(again) == {"type": "auth", "status": "ok", "uid": "again"}
    assert (await wire.subscribe(uid="a", event="create"))["event"] == "init"
    read = {"type": "items", "action": "read", "collection": "secrets", "uid": "read"}
    assert (await wire.ask(read))["uid"] == "read"


async def test_upgrade_without_websockets(rest_only_server: Server) -> None:
    info = rest_only_server.admin.request("GET", "/server/info")
    assert info["websocket"] is False
    for path in ("/websocket", "/other"):
        address = rest_only_server.url.replace("http", "ws", 1) + path
        with pytest.raises(InvalidStatus) as caught:
            await connect(address)
        response = caught.value.response
        assert response.status_code == 404
        assert b"ROUTE_NOT_FOUND" in bytes(response.body or b"")
