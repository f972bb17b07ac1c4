"""Staying connected, noticing the end, and coming back: T1, T2, T12, T23, T24."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from directus_realtime.events import Event
from tests.contract.conftest import MakeClient, OpenWire
from tests.contract.servers import OTHER_PATH, Server
from tests.contract.watching import arrived, states_of, told
from tests.helpers.waiting import await_for

SHORT = 0.3  # seconds to show that nothing comes


async def test_t1_the_server_leaves_protocol_pings_unanswered(
    server: Server, wire_to: OpenWire
) -> None:
    """T1: a PING frame gets no PONG; a ping message does."""
    wire = await wire_to(server)
    pong = await wire.socket.ping()
    assert await wire.ask({"type": "ping", "uid": "a"}) == {"type": "pong", "uid": "a"}
    assert not pong.done()


async def test_t1_our_client_pings_by_message_only(
    server: Server,
    make_client: MakeClient,
    said: list[dict[str, Any]],
    opened_sockets: list[ClientConnection],
) -> None:
    """T1: the library's keepalive is off; the session's pings get their pongs."""
    client = await make_client(server, ping_interval=0.1, pong_timeout=5)
    (socket,) = opened_sockets
    assert (socket.ping_interval, socket.keepalive_task) == (None, None)
    async with states_of(client) as states:
        await await_for(lambda: sum(each["type"] == "ping" for each in said) >= 4)
        heard = client.last_heard_at
        assert heard is not None
        await await_for(lambda: client.last_heard_at not in (None, heard), what="a pong")
        assert states == ["connected"]


async def test_t2_the_silent_are_closed_and_our_idle_client_stays(
    tuned_server: Server, make_client: MakeClient, said: list[dict[str, Any]], wire_to: OpenWire
) -> None:
    """T2: no message for two heartbeats ends a socket; pings or pongs alone keep it."""
    pinging = await make_client(tuned_server, ping_interval=0.4)
    answering = await make_client(tuned_server, ping_interval=60.0)
    silent = await wire_to(tuned_server)
    async with states_of(pinging) as pinged, states_of(answering) as answered:
        assert await silent.close_code() == 1005
        # One more heartbeat.
        before = sum(each["type"] == "pong" for each in said)
        await await_for(lambda: sum(each["type"] == "pong" for each in said) >= before + 2)
        assert pinged == answered == ["connected"]


async def test_t23_a_path_of_its_own_is_found(
    tuned_server: Server, make_client: MakeClient
) -> None:
    """T23: a wrong path is never answered, so our client asks the server for the right one."""
    wrong = tuned_server.websocket_url.replace(OTHER_PATH, "/websocket")
    with pytest.raises(TimeoutError):
        async with connect(wrong, open_timeout=SHORT):
            pass
    client = await make_client(tuned_server)
    assert client.server is not None
    assert client.server.websocket_path == OTHER_PATH


async def test_t24_a_killed_server_is_noticed_and_waited_for(
    server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """T24: no close frame; the same uids are subscribed again, and each change comes once.

    A client that was made while the server was away waits for it.
    """
    events: list[Event] = []
    client = await make_client(server)
    subscription = await client.subscribe("articles", uid="mine", on_event=events.append)
    first = {each["uid"] for each in said if each["type"] == "subscribe"}
    server.admin.create_item("articles", {"title": "before"})
    await arrived(events, 1)
    async with states_of(client) as states:
        await asyncio.to_thread(server.kill)
        await await_for(lambda: client.state == "reconnecting")
        assert not client.is_connected
        assert subscription.state == "waiting"
        assert client.reason
        said.clear()
        late = asyncio.create_task(make_client(server))
        await asyncio.to_thread(server.start)
        await await_for(lambda: subscription.state == "subscribed", what="the subscription")
        assert client.is_connected
        assert (await late).is_connected
        assert states[0] == "connected"
        assert states[-1] == "connected"
    again = [each["uid"] for each in said if each["type"] == "subscribe"]
    assert set(again) == first
    assert len(again) == len(first)
    made = server.admin.create_item("articles", {"title": "after"})["id"]
    server.admin.update_item("articles", made, {"title": "changed"})
    server.admin.delete_item("articles", made)
    await arrived(events, 4)
    assert told(events[1:]) == [("create", made), ("update", made), ("delete", made)]


async def test_t24_a_frozen_server_is_noticed_by_the_missing_pong(
    server: Server, make_client: MakeClient
) -> None:
    """T24: nothing ends and nothing is answered; only our own deadline tells."""
    events: list[Event] = []
    client = await make_client(server, ping_interval=0.2, pong_timeout=0.4, connect_timeout=1.0)
    subscription = await client.subscribe("articles", on_event=events.append)
    async with states_of(client) as states:
        server.freeze()
        try:
            await await_for(lambda: "reconnecting" in states, what="the loss to be noticed")
            assert client.reason
        finally:
            server.thaw()
        # A process that was stopped takes itself for overloaded at first, and answers 503.
        await await_for(lambda: subscription.state == "subscribed", what="the subscription")
    await await_for(lambda: client.is_connected)
    title = "after the frost"
    made = server.admin.create_item("articles", {"title": title})["id"]
    await await_for(lambda: ("create", made) in told(events))
    assert told(events).count(("create", made)) == 1


async def test_disconnect_is_quiet_and_may_be_repeated(
    server: Server, make_client: MakeClient
) -> None:
    """Nothing is left behind, and the same client can connect again."""
    before = asyncio.all_tasks()
    client = await make_client(server)
    await client.subscribe("articles")
    await client.disconnect()
    await client.disconnect()
    assert not client.is_connected
    assert client.state == "disconnected"
    await await_for(lambda: asyncio.all_tasks() <= before, what="the tasks to end")
    await client.connect()
    assert client.is_connected
