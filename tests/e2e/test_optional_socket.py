"""Real servers and proxies that let no WebSocket through, or answer no ping."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from pathlib import Path
from typing import Any

import pytest

from directus_realtime.client import ClientOptions, DirectusClient, Ring
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import ARTICLE_FIELDS, missing
from tests.helpers.certificates import make_certificates
from tests.helpers.proxies import GATE, SUB_PATH, run_nginx
from tests.helpers.waiting import await_for

pytestmark = pytest.mark.e2e

TIMEOUT = 60.0  # seconds: a deadline, never a wait


def optional(**values: Any) -> ClientOptions:
    """The socket is optional, and attempts come after each other quickly."""
    given: dict[str, Any] = {"socket": "optional", "delays": lambda: itertools.repeat(0.05)}
    return ClientOptions(**given | values)


async def test_a_server_without_websockets_is_read_over_rest_until_it_has_some(
    tmp_path: Path,
) -> None:
    rings: list[Ring] = []
    off = DirectusServer(env={"WEBSOCKETS_ENABLED": "false"}, workdir=tmp_path)
    on = DirectusServer(port=off.port, workdir=tmp_path)
    with off:
        with off.admin() as admin:
            admin.create_collection("articles", ARTICLE_FIELDS)
        client = DirectusClient(off.url, token=off.admin_token, options=optional())
        client.doorbell.on_ring = rings.append
        client.doorbell.watch({"articles": "id"})
        await asyncio.wait_for(client.connect(), TIMEOUT)
        try:
            await await_for(lambda: "WEBSOCKETS_ENABLED=true" in client.socket_problem)
            assert client.is_connected
            assert await client.read_items("articles") == []
            off.stop()
            client.recheck()  # as whatever reads over REST does when that fails
            await await_for(lambda: "Cannot reach" in client.reason)
            with on:
                await await_for(lambda: client.has_socket and _confirmed(client) == 3)
                with on.admin() as admin:
                    key = admin.create_item("articles", {"title": "x"})["id"]
                await await_for(lambda: rings)
                assert rings == [Ring("articles", "create", (key,))]
        finally:
            await client.disconnect()


def _confirmed(client: DirectusClient) -> int:
    """The subscriptions that the server has confirmed on the socket."""
    driver = client._connection.driver
    return len(driver._session.active) if driver is not None else 0


async def test_a_server_with_its_heartbeat_off_keeps_its_socket() -> None:
    env = {"WEBSOCKETS_HEARTBEAT_ENABLED": "false"}
    options = ClientOptions(ping_interval=0.1, pong_timeout=2)
    with DirectusServer(env=env) as server, server.admin() as admin:
        admin.create_collection("articles", ARTICLE_FIELDS)
        async with DirectusClient(server.url, token=server.admin_token, options=options) as client:
            assert client.server is not None
            assert client.server.heartbeat == 0
            subscription = await client.subscribe("articles")
            driver, changed_at = client._connection.driver, client.changed_at
            assert driver is not None
            await await_for(lambda: driver._session._pings >= 40)  # 4 s: twice the timeout
            assert client._connection.driver is driver
            assert client.changed_at == changed_at
            key = admin.create_item("articles", {"title": "x"})["id"]
            assert (await anext(aiter(subscription))).key == key


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [("return 403;", "HTTP 403"), ("proxy_pass {upstream}/websocket;", "WebSocket")],
    ids=["refuses", "strips the upgrade"],
)
async def test_a_proxy_that_lets_no_websocket_through(
    directus_server: DirectusServer,
    tmp_path_factory: pytest.TempPathFactory,
    rule: str,
    sentence: str,
) -> None:
    folder = tmp_path_factory.mktemp("nginx")
    certificates = make_certificates(folder)
    rule = rule.format(upstream=directus_server.url)
    rules = f"location = {SUB_PATH}/websocket {{ {rule} }}"
    try:
        with run_nginx(folder, directus_server.url, certificates, rules) as proxy:
            await _is_connected_without_a_socket(
                directus_server, proxy.url, certificates.ca, sentence
            )
    except FileNotFoundError:
        missing("nginx (Debian's package nginx-light)")


async def _is_connected_without_a_socket(
    server: DirectusServer, url: str, ca: Path, sentence: str
) -> None:
    context = ssl.create_default_context(cafile=ca)
    options = optional(ssl=context, headers=GATE, connect_timeout=5)
    async with DirectusClient(url, token=server.admin_token, options=options) as client:
        await await_for(lambda: sentence in client.socket_problem)
        assert client.is_connected
        assert isinstance(await client.read_items("articles"), list)


async def test_a_collection_made_again_with_another_key_is_followed_after_a_reconnect(
    directus_server: DirectusServer, directus: DirectusAdmin
) -> None:
    directus.create_collection("parts", {"title": "string"})
    options = ClientOptions(delays=lambda: itertools.repeat(0.05))
    async with DirectusClient(
        directus_server.url, token=directus_server.admin_token, options=options
    ) as client:
        subscription = await client.subscribe("parts")
        directus.delete_collection("parts")
        code = {"field": "code", "type": "string", "schema": {"is_primary_key": True}}
        title = {"field": "title", "type": "string"}
        parts = {"collection": "parts", "schema": {}, "fields": [code, title]}
        directus.request("POST", "/collections", parts)
        driver = client._connection.driver
        assert driver is not None
        await driver._socket.close()
        await await_for(lambda: client._connection.driver not in (None, driver))
        await await_for(lambda: subscription.state == "subscribed")
        directus.create_item("parts", {"code": "A1", "title": "one"})
        assert (await anext(aiter(subscription))).key == "A1"
    directus.delete_collection("parts")
