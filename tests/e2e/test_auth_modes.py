"""Directus's three ways of authenticating a WebSocket, found out by the client itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from directus_realtime.client import DirectusClient
from directus_realtime.exceptions import CredentialsRefused
from example_project.real_directus import DirectusServer
from tests.conftest import ARTICLE_FIELDS

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["handshake", "strict", "strict-with-own-cookie", "public"], scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[DirectusServer]:
    mode, _, own_cookie = request.param.partition("-")
    env = {"WEBSOCKETS_REST_AUTH": mode, "ACCESS_TOKEN_TTL": "4s"}
    if own_cookie:
        env["SESSION_COOKIE_NAME"] = "cms_session"
    with DirectusServer(env=env) as server:
        with server.admin() as admin:
            admin.create_collection("articles", ARTICLE_FIELDS)
        yield server


async def test_a_static_token_gets_events_and_leaves_no_trace(
    server: DirectusServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with DirectusClient(server.url, token=server.admin_token) as client:
        subscription = await client.subscribe("articles")
        with server.admin() as admin:
            item = admin.create_item("articles", {"title": "x"})
        event = await anext(aiter(subscription))
    assert (event.action, event.key) == ("create", item["id"])
    assert server.admin_token not in caplog.text
    assert server.admin_token not in repr(client)


async def test_a_password_login_outlives_its_access_token(server: DirectusServer) -> None:
    login = {"email": server.admin_email, "password": server.admin_password}
    async with DirectusClient(server.url, **login) as client:
        changes = client.states()
        assert (await anext(changes)).state == "connected"
        subscription = await client.subscribe("articles")
        events = aiter(subscription)
        with server.admin() as admin:
            # What passes here is the life of the access token, twice; not a condition.
            for _ in range(6):
                await asyncio.sleep(1)
                item = admin.create_item("articles", {"title": "x"})
                assert (await anext(events)).key == item["id"]
        assert client.is_connected
    assert (await anext(changes)).state == "disconnected"


async def test_a_wrong_token_is_refused(server: DirectusServer) -> None:
    client = DirectusClient(server.url, token="wrong")
    with pytest.raises(CredentialsRefused, match="refused the credentials"):
        await client.connect()
    await client.disconnect()
