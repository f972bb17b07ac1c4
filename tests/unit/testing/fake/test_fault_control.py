from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from directus_realtime.testing import FakeDirectus
from tests.unit.testing.conftest import Client, Open

SHORT = 0.05  # seconds to show that nothing comes


async def test_cut(client: Client, fake: FakeDirectus) -> None:
    await fake.cut()
    assert await client.close_code() == 1006
    await fake.wait_for(lambda fake: fake.connections == 0)


async def test_cut_in_the_middle_of_a_frame(client: Client, fake: FakeDirectus) -> None:
    await fake.cut(mid_frame=True)
    assert await client.close_code() == 1006


async def test_cut_ends_subscriptions(client: Client, fake: FakeDirectus) -> None:
    await client.subscribe(uid="a")
    await fake.cut()
    await fake.wait_for(lambda fake: not fake.subscriptions)


async def test_freeze_and_thaw(client: Client, fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    fake.freeze()
    await client.send({"type": "ping"})
    asking = asyncio.create_task(rest.get("/server/ping"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.socket.recv(), SHORT)
    assert not asking.done()
    fake.thaw()
    assert await client.receive() == {"type": "pong"}
    assert (await asking).text == "pong"


async def test_frozen_fake_can_be_stopped(client: Client, fake: FakeDirectus) -> None:
    fake.freeze()
    await client.send({"type": "ping"})
    await asyncio.wait_for(fake.stop(), 20)


async def test_refuse_tokens(
    fake: FakeDirectus, open_socket: Open, rest: httpx.AsyncClient
) -> None:
    fake.refuse_tokens()
    client = await open_socket(None)
    answer = await client.ask({"type": "auth", "access_token": "admin"})
    assert answer["error"]["code"] == "AUTH_FAILED"
    assert (await rest.get("/users/me")).status_code == 401
    fake.refuse_tokens(False)
    assert (await rest.get("/users/me")).status_code == 200


async def test_send_raw(client: Client, fake: FakeDirectus) -> None:
    await fake.send_raw("not json")
    assert await client.socket.recv() == "not json"
    await fake.send_raw(b"\x00")
    assert await client.socket.recv() == b"\x00"


async def test_delay_replies(client: Client, fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    fake.delay_replies(SHORT)
    started = time.monotonic()
    await client.ask({"type": "ping"})
    assert time.monotonic() - started >= SHORT
    started = time.monotonic()
    await rest.get("/server/ping")
    assert time.monotonic() - started >= SHORT


async def test_drop_next_subscribe_reply(client: Client, fake: FakeDirectus) -> None:
    fake.drop_next_subscribe_reply()
    await client.send({"type": "subscribe", "collection": "articles", "uid": "a"})
    assert await client.until_pong() == []
    assert fake.subscriptions == [("articles", None, "a")]
    assert (await client.subscribe(uid="b"))["uid"] == "b"


@pytest.mark.parametrize("status", [403, 503])
async def test_reject_upgrades(fake: FakeDirectus, open_socket: Open, status: int) -> None:
    fake.reject_upgrades(status)
    with pytest.raises(InvalidStatus) as caught:
        await open_socket()
    assert caught.value.response.status_code == status
    fake.reject_upgrades(None)
    await open_socket()


async def test_stop_and_resume_listening(
    client: Client, fake: FakeDirectus, open_socket: Open, rest: httpx.AsyncClient
) -> None:
    url = fake.url
    await rest.get("/server/ping")
    await fake.stop_listening()
    assert await client.close_code() == 1006
    with pytest.raises(OSError, match=r"refused|failed"):
        await open_socket()
    with pytest.raises(httpx.ConnectError):
        await rest.get("/server/ping")
    await fake.resume_listening()
    assert fake.url == url
    await open_socket()
    assert (await rest.get("/server/ping")).text == "pong"


async def test_rate_limit(client: Client, fake: FakeDirectus) -> None:
    fake.rate_limit(2, 60)
    for _ in range(2):
        assert await client.ask({"type": "ping"}) == {"type": "pong"}
    refused = await client.ask({"type": "subscribe", "collection": "articles", "uid": "a"})
    assert (refused["type"], refused["error"]["code"]) == ("server", "REQUESTS_EXCEEDED")
    assert refused["error"]["message"].startswith("Too many messages, retry after ")
    assert "uid" not in refused
    assert fake.subscriptions == []
    fake.rate_limit(None)
    assert await client.ask({"type": "ping"}) == {"type": "pong"}


async def test_wrong_path_hangs(fake: FakeDirectus) -> None:
    with pytest.raises(TimeoutError):
        await connect(fake.websocket_url + "x", open_timeout=SHORT)


async def test_hold_changes(client: Client, fake: FakeDirectus) -> None:
    await client.subscribe(uid="a")
    fake.hold_changes()
    made = await fake.create("articles", {"title": "x"})
    fake.hold_changes()
    await fake.update("articles", made["id"], {"title": "y"})
    await fake.delete("articles", made["id"])
    assert (await client.receive())["event"] == "delete"
    fake.release_changes()
    fake.release_changes()
    late = [await client.receive() for _ in range(2)]
    assert [(each["event"], each["data"][0]["title"]) for each in late] == [
        ("create", "x"),
        ("update", "y"),
    ]
    await fake.create("articles", {"title": "z"})
    assert (await client.receive())["event"] == "create"


async def test_received_keeps_no_secrets(client: Client, fake: FakeDirectus) -> None:
    await client.send({"type": "subscribe", "collection": "articles"})
    await fake.wait_for(lambda fake: len(fake.received) == 2)
    assert list(fake.received) == [
        {"type": "auth", "access_token": "***"},
        {"type": "subscribe", "collection": "articles"},
    ]
    assert "admin" not in repr(fake)


async def test_wait_for__times_out(fake: FakeDirectus) -> None:
    with pytest.raises(TimeoutError):
        await fake.wait_for(lambda fake: fake.connections, timeout=SHORT)


async def test_counts(client: Client, open_socket: Open, fake: FakeDirectus) -> None:
    await open_socket(None)
    await fake.wait_for(lambda fake: fake.connections == 2)
    assert fake.clients == 1


async def test_started_again_with_its_items() -> None:
    fake = FakeDirectus()
    async with fake:
        await fake.create("articles", {"title": "x"})
        url = fake.url
    async with fake:
        assert fake.url == url
        assert [item["title"] for item in fake.items("articles")] == ["x"]
