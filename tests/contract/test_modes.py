"""The three ways to authenticate, chapter 1: handshake is what the other tests use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from directus_realtime.client import DirectusClient
from directus_realtime.events import Event
from directus_realtime.exceptions import CredentialsRefused
from tests.contract.conftest import MakeClient
from tests.contract.servers import Server
from tests.contract.watching import TIMEOUT, arrived, told


@pytest.mark.parametrize("how", ["token", "password"])
async def test_strict_mode_without_the_token_in_the_url(
    how: str,
    rate_limited_server: Server,
    make_client: MakeClient,
    address: dict[str, str],
    said: list[dict[str, Any]],
    opened_sockets: list[ClientConnection],
) -> None:
    """The server wants the token with the upgrade; ours goes into a cookie."""
    server = rate_limited_server
    events: list[Event] = []
    who = {"email": server.email, "password": server.password} if how == "password" else {}
    with pytest.raises(InvalidStatus):
        await connect(server.websocket_url)
    client = await make_client(server, headers=address, **who)
    assert client.server is not None
    assert client.server.auth_mode == "strict"
    await client.subscribe("articles", events=["create"], on_event=events.append)
    made = server.admin.create_item("articles", {})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", made)]
    assert [socket.request.path for socket in opened_sockets if socket.request] == ["/websocket"]
    assert not any(message["type"] == "auth" for message in said)


async def test_public_mode(
    public_server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """The socket is open to anybody; ours authenticates all the same."""
    events: list[Event] = []
    client = await make_client(public_server, token=public_server.reader_token)
    assert client.server is not None
    assert client.server.auth_mode == "public"
    await client.subscribe("articles", events=["create"], on_event=events.append)
    made = public_server.admin.create_item("articles", {"status": "published"})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", made)]
    assert said[0]["type"] == "auth"


async def test_t20_in_public_mode_a_wrong_token_is_never_sent(
    public_server: Server, said: list[dict[str, Any]]
) -> None:
    """T20: on 11 a refused authentication opens everything, so REST is asked first."""
    client = DirectusClient(public_server.url, token="wrong")
    with pytest.raises(CredentialsRefused):
        await asyncio.wait_for(client.connect(), TIMEOUT)
    await client.disconnect()
    assert said == []
