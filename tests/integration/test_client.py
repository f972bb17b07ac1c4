"""The client against what a real server cannot be told to do: the connection."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from directus_realtime.client import ConnectionState, DirectusClient
from directus_realtime.testing import FakeDirectus
from directus_realtime.utils.backoff import full_jitter
from tests.helpers.waiting import await_for
from tests.integration.calling import (
    CONNECTED,
    DISCONNECTED,
    RECONNECTING,
    create,
    take,
    titles,
    until_reconnected,
    within,
)
from tests.integration.conftest import PASSWORD, TOKEN, MakeClient, Stub

# The plain way


async def test_events_of_all_three_actions(client: DirectusClient, fake: FakeDirectus) -> None:
    subscription = await within(client.subscribe("articles", name="mine"))
    await create(fake, "a")
    await fake.update("articles", [1], {"title": "b"})
    await fake.delete("articles", 1)
    events = await take(subscription, 3)
    assert [(e.action, e.key, (e.data or {}).get("title")) for e in events] == [
        ("create", 1, "a"),
        ("update", 1, "b"),
        ("delete", 1, None),
    ]
    assert {(e.subscription, e.connection, e.origin) for e in events} == {
        ("mine", "default", "live")
    }


async def test_a_batch_is_one_event_for_each_item(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await fake.create("articles", [{"title": "x"} for _ in range(150)])
    subscription = await within(client.subscribe("articles"))
    await fake.update("articles", list(range(1, 151)), {"title": "y"})
    assert [event.key for event in await take(subscription, 150)] == list(range(1, 151))


async def test_connected_means_authenticated(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client()
    assert client.state is DISCONNECTED
    await within(client.connect())
    assert client.state is CONNECTED
    assert fake.clients == 1
    assert client.identity == "admin@example.com"
    assert client.server is not None
    assert client.server.version == "11.17.4"


async def test_logs_in_with_a_password(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client(email="editor@example.com", password=PASSWORD)
    await within(client.connect())
    assert client.identity == "editor@example.com"


async def test_the_stream_of_states(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client()
    states: list[ConnectionState] = []
    has_begun = asyncio.Event()

    async def watch() -> None:
        async for change in client.states():
            states.append(change.state)
            has_begun.set()

    task = asyncio.create_task(watch())
    await has_begun.wait()
    await within(client.connect())
    await fake.cut()
    await await_for(lambda: states.count(CONNECTED) == 2)
    await client.disconnect()
    await within(task)
    assert states == [DISCONNECTED, CONNECTED, RECONNECTING, CONNECTED, DISCONNECTED]


async def test_a_stream_that_is_read_late_misses_nothing(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client()
    stream = client.states()
    await within(client.connect())
    states = [(await within(anext(stream))).state]
    if states[-1] is not CONNECTED:
        states.append((await within(anext(stream))).state)
    assert states[-1] is CONNECTED


# Losing the connection


@pytest.mark.parametrize("mid_frame", [False, True])
async def test_a_cut_socket_is_replaced_and_subscribed_once_with_the_same_uids(
    client: DirectusClient, fake: FakeDirectus, mid_frame: bool
) -> None:
    subscription = await within(client.subscribe("articles"))
    before = sorted(uid for _, _, uid in fake.subscriptions if uid)
    fake.received.clear()
    await fake.cut(mid_frame=mid_frame)
    await fake.wait_for(lambda fake: not fake.subscriptions)
    await until_reconnected(client, fake)
    assert sorted(uid for _, _, uid in fake.subscriptions if uid) == before
    asked = [message["uid"] for message in fake.received if message["type"] == "subscribe"]
    assert sorted(asked) == before
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]


async def test_many_cuts_leave_one_socket(client: DirectusClient, fake: FakeDirectus) -> None:
    subscription = await within(client.subscribe("articles"))
    for number in range(5):
        await fake.cut()
        await fake.wait_for(lambda fake: not fake.subscriptions)
        await until_reconnected(client, fake)
        await create(fake, str(number))
        assert await titles(subscription, 1) == [str(number)]
    assert fake.connections == 1


async def test_https_where_there_is_only_http_is_told(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(fake.url.replace("http:", "https:"))
    client.start()
    await await_for(lambda: "(no TLS is spoken there; is it http://?)" in client.reason)


async def test_a_server_that_is_away_is_waited_for(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(client.subscribe("articles"))
    await fake.stop_listening()
    await await_for(lambda: client.state is RECONNECTING and "Cannot reach" in client.reason)
    await fake.resume_listening()
    await until_reconnected(client, fake)
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]


async def test_a_server_that_is_away_at_first_is_waited_for(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await fake.stop_listening()
    client = make_client()
    connecting = asyncio.create_task(client.connect())
    await await_for(lambda: client.state is RECONNECTING)
    await fake.resume_listening()
    await within(connecting)
    assert client.is_connected


async def test_a_frozen_server_is_noticed(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client(ping_interval=0.05, pong_timeout=0.1, connect_timeout=0.2)
    await within(client.connect())
    fake.freeze()
    await await_for(lambda: client.state is RECONNECTING)
    fake.thaw()
    await await_for(lambda: client.is_connected)


async def test_a_disconnect_does_not_wait_for_a_frozen_server_and_leaves_nothing_open(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(ping_interval=0.05, pong_timeout=0.1)
    await within(client.connect())
    driver = client._connection.driver
    assert driver is not None
    fake.freeze()  # so it does not answer the close, either
    await await_for(lambda: client._connection.driver is None)
    await within(client.disconnect())
    assert driver._socket.transport.is_closing()
    fake.thaw()


async def test_a_quiet_connection_is_kept_without_protocol_pings(
    make_client: MakeClient,
) -> None:
    async with FakeDirectus(token=TOKEN, heartbeat_period=0.1) as fake:
        client = make_client(fake.url, ping_interval=60)
        await within(client.connect())

        def pongs() -> int:
            return sum(message == {"type": "pong"} for message in fake.received)

        await await_for(lambda: pongs() >= 4)
        assert fake.connections == 1
        assert client.is_connected
        await client.disconnect()


@pytest.mark.parametrize(("period", "keepalive"), [(30, "ping"), (0, "unsubscribe")])
async def test_its_own_messages_keep_it_alive(
    make_client: MakeClient, period: float, keepalive: str
) -> None:
    async with FakeDirectus(token=TOKEN, heartbeat_period=period) as fake:
        client = make_client(fake.url, ping_interval=0.02, pong_timeout=2)
        await within(client.connect())
        await await_for(lambda: sum(m["type"] == keepalive for m in fake.received) >= 5)
        assert client.is_connected
        assert fake.connections == 1
        await client.disconnect()


async def test_a_server_that_accepts_and_closes_is_not_hammered(
    stub: Stub, make_client: MakeClient
) -> None:
    delays: list[float] = []

    def counted() -> Any:
        for delay in full_jitter(base=0.02, ceiling=0.5):
            delays.append(delay)
            yield delay

    calls = itertools.count()
    client = make_client(stub.url, delays=lambda: (next(calls), counted())[1])
    client.start()
    await await_for(lambda: stub.upgrades >= 6)
    assert next(calls) == 1  # the delays have grown all the time
    assert len(delays) >= 5
    await client.disconnect()
    assert stub.upgrades <= len(delays) + 1  # each attempt has waited


async def test_after_a_stable_time_the_delays_begin_anew(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    calls = itertools.count()
    client = make_client(stable_after=0, delays=lambda: (next(calls), itertools.repeat(0.01))[1])
    await within(client.connect())
    await fake.cut()
    await fake.wait_for(lambda fake: [m["type"] for m in fake.received].count("auth") == 2)
    assert next(calls) == 2


async def test_an_answer_that_cannot_be_used_ends_no_connection_for_good(
    make_client: MakeClient, stub: Stub
) -> None:
    stub.on_socket = stub.answer
    client = make_client(stub.url)
    running = client.start()
    await within(client.connect())
    rest = {"authentication": "handshake", "path": "/\ud800"}
    info = {"project": {}, "version": "11", "websocket": {"rest": rest}}
    stub.statuses["/server/info"] = lambda: web.json_response({"data": info})
    await within(client._connection.driver._socket.close())  # type: ignore[union-attr]
    await await_for(lambda: client.state is RECONNECTING)
    await await_for(lambda: "/server/info" in client.reason)
    del stub.statuses["/server/info"]
    await await_for(lambda: client.is_connected)
    assert not running.done()


async def test_an_error_that_nobody_thought_of_ends_no_connection_for_good(
    client: DirectusClient,
    fake: FakeDirectus,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> Any:
        monkeypatch.undo()
        raise LookupError("nobody thought of it")

    monkeypatch.setattr(client._connection.rest, "server_info", fail)
    await fake.cut()
    await await_for(lambda: client.state is RECONNECTING and "LookupError" in client.reason)
    await await_for(lambda: client.is_connected)
    assert "nobody thought of it" in caplog.text


async def test_garbage_that_repeats_is_said_once_above_debug(
    client: DirectusClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "directus_realtime.client")
    for _ in range(3):
        await fake.send_raw("garbage")
    await await_for(lambda: caplog.text.count("garbage") == 3)
    levels = [record.levelname for record in caplog.records if "garbage" in record.getMessage()]
    assert levels == ["WARNING", "DEBUG", "DEBUG"]


async def test_delays_that_end_go_on_with_the_last(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    def delays() -> Iterator[float]:
        return iter([0.01, 0.02])

    client = make_client(delays=delays, stable_after=1000)
    states = client.states()
    await within(client.connect())
    for _ in range(4):
        await fake.cut()
        while (await within(anext(states))).state is not RECONNECTING:
            pass
        await await_for(lambda: client.is_connected)


# Disconnecting


def server_sockets(fake: FakeDirectus) -> int:
    """Every open connection of the server, REST included."""
    assert fake._runner is not None
    assert fake._runner.server is not None
    return len(fake._runner.server.connections)


async def test_disconnecting_leaves_no_socket_and_may_be_done_twice(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(client.subscribe("articles"))
    await within(client.disconnect())
    await within(client.disconnect())
    assert client.state is DISCONNECTED
    assert client.reason == ""
    assert client.subscriptions == []
    assert [event async for event in subscription] == []
    await await_for(lambda: server_sockets(fake) == 0)


async def test_disconnecting_before_connecting_is_fine(make_client: MakeClient) -> None:
    client = make_client()
    await client.disconnect()
    client.start()
    await client.disconnect()
    assert client.state is DISCONNECTED


async def test_disconnecting_while_reconnecting(client: DirectusClient, fake: FakeDirectus) -> None:
    await fake.stop_listening()
    await await_for(lambda: client.state is RECONNECTING)
    await within(client.disconnect())
    assert client.state is DISCONNECTED


async def test_connects_again_after_a_disconnect(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await client.disconnect()
    await within(client.connect())
    subscription = await within(client.subscribe("articles"))
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]


async def test_a_client_of_another_event_loop_is_told_as_that(client: DirectusClient) -> None:
    for use in (client.connect, lambda: client.read_items("articles")):
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await asyncio.to_thread(asyncio.run, use())
    assert await within(client.read_items("articles")) == []


async def test_a_client_that_was_disconnected_may_go_to_another_event_loop(
    make_client: MakeClient,
) -> None:
    client = make_client()

    async def session() -> None:
        async with client:
            await within(client.subscribe("articles"))

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, session())


async def test_a_read_without_a_connection_leaves_no_socket(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await create(fake, "a")
    client = make_client()
    (item,) = await within(client.read_items("articles", fields=["title"]))
    assert item == {"title": "a"}
    await client.disconnect()
    await await_for(lambda: server_sockets(fake) == 0)


async def test_a_context_that_was_not_entered_in_time_leaves_no_task(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await fake.stop_listening()
    client = make_client()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.__aenter__(), 0.1)
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "directus-client"]
