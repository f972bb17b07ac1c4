"""A client that is connected over REST, with the WebSocket as an option beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from directus_realtime.client import DirectusClient, Ring
from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.protocol.queries import Query
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from tests.helpers.waiting import await_for
from tests.integration.calling import CONNECTED, RECONNECTING, create, titles, within
from tests.integration.conftest import PASSWORD, TOKEN, MakeClient, Stub


@pytest.fixture
def make(make_client: MakeClient) -> Callable[..., DirectusClient]:
    """Makes clients whose socket is optional."""

    def make(url: str = "", **values: Any) -> DirectusClient:
        return make_client(url, socket="optional", **values)

    return make


def info(websocket: Any) -> Callable[[], web.Response]:
    data = {"project": {}, "version": "11.17.4", "websocket": websocket}
    return lambda: web.json_response({"data": data})


async def reads(client: DirectusClient) -> Any:
    """The state is an honest one: REST answers."""
    return await within(client.read_items("articles"))


# No socket


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_a_refused_upgrade_neither_prevents_nor_ends_the_connection(
    make: MakeClient, fake: FakeDirectus, status: int
) -> None:
    changed: list[bool] = []
    fake.reject_upgrades(status)
    client = make(on_socket=lambda: changed.append(client.has_socket))
    await within(client.connect())
    changes = client.states()
    await await_for(lambda: "HTTP" in client.socket_problem or "WebSocket" in client.socket_problem)
    assert client.is_connected
    assert client.identity
    assert not client.has_socket
    assert await reads(client) == []
    fake.reject_upgrades(None)
    await await_for(lambda: client.has_socket)
    assert client.socket_problem == ""
    assert changed[-1]
    assert not any(changed[:-1])
    await client.disconnect()
    assert not client.has_socket
    assert [change.state async for change in changes] == ["connected", "disconnected"]


async def test_a_handshake_without_an_answer_neither_prevents_nor_ends_the_connection(
    make: MakeClient, stub: Stub
) -> None:
    released = asyncio.Event()

    async def hang(socket: web.WebSocketResponse) -> None:
        await released.wait()

    stub.on_socket = hang
    client = make(stub.url, reply_timeout=0.05)
    await within(client.connect())
    await await_for(lambda: stub.upgrades >= 3)
    assert "did not answer within" in client.socket_problem
    assert client.state is CONNECTED
    await client.disconnect()
    released.set()


async def test_credentials_that_the_socket_alone_refuses_do_not_end_the_connection(
    make: MakeClient, stub: Stub
) -> None:
    async def refuse(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        error = {"code": "AUTH_FAILED", "message": "Authentication handshake failed."}
        await socket.send_json({"type": "auth", "status": "error", "error": error})

    stub.on_socket = refuse
    client = make(stub.url)
    await within(client.connect())
    await await_for(lambda: stub.upgrades >= 3)
    await await_for(lambda: "AUTH_FAILED" in client.socket_problem)
    assert client.state is CONNECTED


async def test_a_server_without_websockets_is_checked_again_from_time_to_time(
    make: MakeClient, stub: Stub
) -> None:
    stub.statuses["/server/info"] = info(websocket=False)
    stub.on_socket = stub.answer
    client = make(stub.url, socket_recheck_interval=0.01)
    await within(client.connect())
    await await_for(lambda: stub.requests.count("/server/info") >= 4)
    assert stub.upgrades == 0
    assert "WEBSOCKETS_ENABLED=true" in client.socket_problem
    assert client.state is CONNECTED
    del stub.statuses["/server/info"]
    await await_for(lambda: client.has_socket)


async def test_a_server_without_websockets_is_not_asked_all_the_time(
    make: MakeClient, stub: Stub
) -> None:
    stub.statuses["/server/info"] = info(websocket=False)
    client = make(stub.url, delays=lambda: iter([0.0]))
    await within(client.connect())
    await await_for(lambda: client.socket_problem)
    for _ in range(50):  # requests over the same loop, that would run beside others
        await reads(client)
    assert stub.requests.count("/server/info") == 1


async def test_a_server_that_cannot_be_reached_is_waited_for(
    make: MakeClient, fake: FakeDirectus
) -> None:
    await fake.stop_listening()
    client = make()
    connecting = asyncio.create_task(client.connect())
    await await_for(lambda: client.state is RECONNECTING)
    assert client.socket_problem == client.reason
    await fake.resume_listening()
    await within(connecting)


async def test_refused_credentials_are_impossible(make: MakeClient) -> None:
    with pytest.raises(ConnectionImpossible, match="Check TOKEN"):
        await within(make(token="wrong").connect())


# A lost socket


async def test_a_lost_socket_is_no_lost_connection(make: MakeClient, fake: FakeDirectus) -> None:
    sockets: list[bool] = []
    client = make(on_socket=lambda: sockets.append(client.has_socket))
    changes = client.states()
    await within(client.connect())
    await await_for(lambda: client.has_socket)
    await fake.cut()
    await await_for(lambda: sockets == [True, False, True])
    await client.disconnect()
    states = [change.state async for change in changes]
    assert states == ["disconnected", "connected", "disconnected"]


async def test_rest_is_asked_at_once_when_the_socket_is_lost(
    make: MakeClient, fake: FakeDirectus
) -> None:
    client = make(delays=lambda: iter([0.01]))
    await within(client.connect())
    await await_for(lambda: client.has_socket)
    await fake.stop_listening()
    await await_for(lambda: client.state is RECONNECTING)
    assert "Cannot reach" in client.reason
    assert client.socket_problem == client.reason
    await fake.resume_listening()
    await await_for(lambda: client.is_connected and client.has_socket)


async def test_what_the_server_says_of_itself_is_read_again_after_a_loss(
    make: MakeClient, stub: Stub
) -> None:
    stub.on_socket = stub.answer
    client = make(stub.url)
    await within(client.connect())
    await await_for(lambda: client.has_socket)
    stub.statuses["/server/info"] = info(websocket=False)
    await within(client._connection.driver._socket.close())  # type: ignore[union-attr]
    await await_for(lambda: "WEBSOCKETS_ENABLED=true" in client.socket_problem)
    assert client.is_connected


async def test_a_frozen_server_is_noticed(make: MakeClient, fake: FakeDirectus) -> None:
    client = make(ping_interval=0.05, pong_timeout=0.1, connect_timeout=0.2)
    await within(client.connect())
    await await_for(lambda: client.has_socket)
    fake.freeze()
    await await_for(lambda: client.state is RECONNECTING)
    fake.thaw()
    await await_for(lambda: client.has_socket)


# Credentials that end


@pytest.mark.parametrize("socket", ["optional", "required"])
async def test_a_recheck_finds_out_that_the_credentials_are_refused(
    make_client: MakeClient, fake: FakeDirectus, socket: str
) -> None:
    client = make_client(socket=socket)
    await within(client.connect())
    await await_for(lambda: client.has_socket)
    fake.change_token("another")
    client.recheck()
    await await_for(lambda: client.state is RECONNECTING)
    await await_for(lambda: "Check TOKEN" in client.reason)
    assert not client.has_socket
    fake.change_token(TOKEN)
    await await_for(lambda: client.is_connected and client.has_socket)


@pytest.mark.parametrize("socket", ["optional", "required"])
async def test_a_recheck_of_a_good_connection_changes_nothing(
    make_client: MakeClient, stub: Stub, socket: str
) -> None:
    stub.on_socket = stub.answer
    client = make_client(stub.url, socket=socket)
    client.recheck()
    await within(client.connect())
    await await_for(lambda: client.has_socket)
    changed_at = client.changed_at
    asked = stub.requests.count("/users/me")
    client.recheck()
    await await_for(lambda: stub.requests.count("/users/me") == asked + 1)
    await reads(client)
    assert client.changed_at == changed_at
    assert stub.upgrades == 1


async def test_an_ended_token_is_renewed_on_the_socket_and_the_connection_stays(
    make: MakeClient, fake: FakeDirectus
) -> None:
    problems: list[str] = []
    client = make(
        email="editor@example.com",
        password=PASSWORD,
        on_socket=lambda: problems.append(client.socket_problem),
    )
    changes = client.states()
    await within(client.connect())
    subscription = client.add(Query("articles"), name="articles")
    await await_for(lambda: len(fake.subscriptions) == 3)
    await fake.expire_tokens()
    await await_for(lambda: problems[-2:] == ["The access token has ended.", ""])
    await within(subscription.feed.settled())
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]
    assert fake.connections == 1
    await client.disconnect()
    states = [change.state async for change in changes]
    assert states == ["disconnected", "connected", "disconnected"]


async def test_an_ended_token_is_renewed_without_a_socket(
    make: MakeClient, fake: FakeDirectus
) -> None:
    fake.reject_upgrades(403)
    client = make(email="editor@example.com", password=PASSWORD)
    await within(client.connect())
    await fake.expire_tokens()
    assert await reads(client) == []
    assert client.is_connected


# Subscriptions


async def test_a_subscription_waits_for_the_socket(make: MakeClient, fake: FakeDirectus) -> None:
    fake.reject_upgrades(403)
    client = make()
    await within(client.connect())
    subscribing = asyncio.create_task(client.subscribe("articles"))
    await await_for(lambda: client.subscriptions)
    await await_for(lambda: "HTTP 403" in client.socket_problem)
    assert client.subscriptions[0].state == "waiting"
    fake.reject_upgrades(None)
    subscription = await within(subscribing)
    await create(fake, "one")
    assert await titles(subscription, 1) == ["one"]
    await fake.cut()
    await fake.wait_for(lambda fake: sum(m["type"] == "auth" for m in fake.received) == 2)
    await await_for(lambda: subscription.state == "subscribed" and len(fake.subscriptions) == 3)
    await create(fake, "two")
    assert await titles(subscription, 1) == ["two"]


async def test_a_primary_key_is_read_again_for_each_socket(
    make_client: MakeClient, stub: Stub
) -> None:
    """A collection may be made again with another key while the client is not looking."""
    stub.on_socket = stub.answer
    client = make_client(stub.url)
    await within(client.connect())
    subscription = await within(client.subscribe("articles"))
    key = {"field": "code", "type": "string", "schema": {"is_primary_key": True}}
    stub.statuses["/fields/articles"] = lambda: web.json_response({"data": [key]})
    await within(client._connection.driver._socket.close())  # type: ignore[union-attr]
    await await_for(lambda: stub.upgrades == 2 and subscription.state == "subscribed")
    row = {"type": "subscription", "event": "create", "data": [{"code": "A1"}]}
    driver = client._connection.driver
    assert driver is not None
    driver._session.receive(json.dumps({**row, "uid": f"{subscription.feed.uid}.create"}), 0)
    driver._flush()
    event = await within(anext(aiter(subscription)))
    assert event.key == "A1"


# The doorbell


async def test_rings_for_the_watched_collections(make: MakeClient, fake: FakeDirectus) -> None:
    rings: asyncio.Queue[Ring] = asyncio.Queue()
    client = make()
    client.doorbell.on_ring = rings.put_nowait
    client.doorbell.watch({"articles": "id"})
    await within(client.connect())
    subscription = await within(client.subscribe("articles"))
    await await_for(lambda: len(fake.subscriptions) == 6)
    item = await fake.create("articles", {"title": "one"})
    assert await within(rings.get()) == Ring("articles", "create", (item["id"],))
    await fake.update("articles", item["id"], {"title": "two"})
    assert await within(rings.get()) == Ring("articles", "update", (item["id"],))
    await fake.delete("articles", item["id"])
    assert (await within(rings.get())).action == "delete"
    assert await titles(subscription, 3) == ["one", "two", None]
    client.doorbell.watch({})
    await await_for(lambda: len(fake.subscriptions) == 3)
    await create(fake, "three")
    assert await titles(subscription, 1) == ["three"]
    assert rings.empty()


@pytest.fixture
async def restricted() -> AsyncIterator[FakeDirectus]:
    """A server of which the editor may read the articles only."""
    articles = FakeCollection("articles", fields={"title": "string"})
    editor = FakeUser("editor@example.com", PASSWORD, readable={"articles": {}})
    async with FakeDirectus([articles], TOKEN, [editor]) as fake:
        yield fake


async def test_rings_on_each_new_socket_and_asks_again_for_what_was_refused(
    restricted: FakeDirectus, make: MakeClient
) -> None:
    fake = restricted
    rings: asyncio.Queue[Ring] = asyncio.Queue()
    client = make(fake.url, email="editor@example.com", password=PASSWORD)
    client.doorbell.on_ring = rings.put_nowait
    await within(client.connect())
    await await_for(lambda: client.has_socket)
    client.doorbell.watch({"articles": "id", "gone": "id"})
    await await_for(lambda: client.doorbell.problems)
    assert list(client.doorbell.problems) == ["gone"]
    await fake.cut()
    await fake.wait_for(lambda fake: sum(m.get("collection") == "gone" for m in fake.received) == 6)
    await await_for(lambda: client.doorbell.problems and len(fake.subscriptions) == 3)
    await create(fake, "one")
    assert (await within(rings.get())).collection == "articles"
