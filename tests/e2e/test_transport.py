"""A real Directus behind proxies: TLS with a private CA, a sub-path, headers, a forward proxy."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from directus_realtime.client import ClientOptions, DirectusClient
from directus_realtime.events import Event
from directus_realtime.exceptions import ConnectionImpossible
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import missing
from tests.helpers.certificates import Certificates, make_certificates
from tests.helpers.proxies import (
    GATE,
    ForwardProxy,
    ReverseProxy,
    run_nginx,
    run_tinyproxy,
)
from tests.helpers.site import Site
from tests.helpers.waiting import await_for

pytestmark = pytest.mark.e2e

TIMEOUT = 60.0  # seconds: a deadline, never a wait
OTHER_PATH = "/live"

Connect = Callable[..., Awaitable[DirectusClient]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@contextmanager
def _nginx(
    factory: pytest.TempPathFactory, server: DirectusServer, certificates: Certificates
) -> Iterator[ReverseProxy]:
    try:
        with run_nginx(factory.mktemp("nginx"), server.url, certificates) as proxy:
            yield proxy
    except FileNotFoundError:
        missing("nginx (Debian's package nginx-light)")


@pytest.fixture(scope="module")
def nginx(
    tmp_path_factory: pytest.TempPathFactory,
    directus_server: DirectusServer,
    certificates: Certificates,
) -> Iterator[ReverseProxy]:
    """nginx in front of the real Directus."""
    with _nginx(tmp_path_factory, directus_server, certificates) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def strict_server(directus_server: DirectusServer) -> Iterator[DirectusServer]:
    """A Directus in strict mode whose WebSocket is at a path of its own."""
    env = {"WEBSOCKETS_REST_AUTH": "strict", "WEBSOCKETS_REST_PATH": OTHER_PATH}
    with DirectusServer(env=env) as server, server.admin() as admin:
        admin.create_collection("articles", {"title": "string"})
        yield server


@pytest.fixture(scope="module")
def strict_nginx(
    tmp_path_factory: pytest.TempPathFactory,
    strict_server: DirectusServer,
    certificates: Certificates,
) -> Iterator[ReverseProxy]:
    """nginx in front of that one."""
    with _nginx(tmp_path_factory, strict_server, certificates) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def tinyproxy(
    tmp_path_factory: pytest.TempPathFactory, nginx: ReverseProxy
) -> Iterator[ForwardProxy]:
    """A forward proxy that lets through to nginx only."""
    try:
        with run_tinyproxy(tmp_path_factory.mktemp("tinyproxy"), nginx.port) as proxy:
            yield proxy
    except FileNotFoundError:
        missing("tinyproxy (Debian's package tinyproxy-bin)")


@pytest.fixture
async def connect(
    directus_server: DirectusServer, certificates: Certificates
) -> AsyncIterator[Connect]:
    """Makes connected clients that trust the CA and know the headers, unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def make(url: str, token: str = "", **given: Any) -> DirectusClient:
            options: dict[str, Any] = {
                "headers": GATE,
                "ssl": ssl.create_default_context(cafile=certificates.ca),
                "delays": lambda: itertools.repeat(0.05),
            }
            client = DirectusClient(
                url,
                token=token or directus_server.admin_token,
                options=ClientOptions(**options | given),
            )
            stack.push_async_callback(client.disconnect)
            await asyncio.wait_for(client.connect(), TIMEOUT)
            return client

        yield make


async def test_below_a_path_with_a_private_ca_and_headers(
    connect: Connect, nginx: ReverseProxy, directus: DirectusAdmin, directus_server: DirectusServer
) -> None:
    events: list[Event] = []
    client = await connect(nginx.url)
    await client.subscribe("articles", events=["create"], on_event=events.append)
    made = directus.create_item("articles", {"title": "through nginx"})["id"]
    await await_for(lambda: events, what="the event")
    assert (events[0].action, events[0].key) == ("create", made)
    assert (await client.read_item("articles", made))["title"] == "through nginx"
    await client.disconnect()  # nginx writes the line of a socket at its end
    await await_for(lambda: any('"GET /cms/websocket HTTP' in line for line in nginx.requests))
    assert directus_server.admin_token not in "".join(nginx.requests)


async def test_strict_mode_below_a_path_keeps_the_token_out_of_the_proxys_log(
    connect: Connect, strict_nginx: ReverseProxy, strict_server: DirectusServer
) -> None:
    events: list[Event] = []
    client = await connect(strict_nginx.url, strict_server.admin_token)
    assert client.server is not None
    assert (client.server.auth_mode, client.server.websocket_path) == ("strict", OTHER_PATH)
    await client.subscribe("articles", events=["create"], on_event=events.append)
    with strict_server.admin() as admin:
        admin.create_item("articles", {"title": "strict"})
    await await_for(lambda: events, what="the event")
    await client.disconnect()
    await await_for(lambda: any(f"/cms{OTHER_PATH}" in line for line in strict_nginx.requests))
    assert strict_server.admin_token not in "".join(strict_nginx.requests)


async def test_a_certificate_that_is_not_accepted(connect: Connect, nginx: ReverseProxy) -> None:
    with pytest.raises(ConnectionImpossible) as caught:
        await connect(nginx.url, ssl=None)
    assert str(caught.value) == (
        f"The certificate of {nginx.url} is not accepted (unable to get local issuer "
        "certificate). Use a URL that the certificate names, or give the CA in the setting "
        "CA_FILE."
    )


async def test_a_header_that_the_proxy_misses(connect: Connect, nginx: ReverseProxy) -> None:
    with pytest.raises(ConnectionImpossible, match=r"HTTP 403.*HEADERS"):
        await connect(nginx.url, headers={})


async def test_through_a_forward_proxy_with_a_password(
    connect: Connect,
    nginx: ReverseProxy,
    tinyproxy: ForwardProxy,
    directus: DirectusAdmin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    events: list[Event] = []
    before = len(tinyproxy.tunnels)
    client = await connect(nginx.url, proxy=tinyproxy.url)
    await client.subscribe("articles", events=["create"], on_event=events.append)
    made = directus.create_item("articles", {"title": "through both"})["id"]
    await await_for(lambda: events, what="the event")
    assert events[0].key == made
    # One tunnel for REST, one for the WebSocket.
    assert len(tinyproxy.tunnels) - before == 2
    assert ForwardProxy.password not in caplog.text


async def test_through_the_proxy_of_the_environment(
    connect: Connect,
    nginx: ReverseProxy,
    tinyproxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", tinyproxy.url)
    before = len(tinyproxy.tunnels)
    client = await connect(nginx.url)
    assert len(tinyproxy.tunnels) - before == 2
    await client.disconnect()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    await connect(nginx.url)
    assert len(tinyproxy.tunnels) - before == 2


@pytest.mark.parametrize("who", ["", "proxy-user:wr0ng-s3cret@"])
async def test_a_proxy_that_does_not_accept_the_password(
    connect: Connect, nginx: ReverseProxy, tinyproxy: ForwardProxy, who: str
) -> None:
    url = tinyproxy.address.replace("://", f"://{who}")
    with pytest.raises(ConnectionImpossible, match="Put the right ones into PROXY") as caught:
        await connect(nginx.url, proxy=url)
    assert f"The proxy {tinyproxy.address} does not accept" in str(caught.value)
    assert "wr0ng-s3cret" not in str(caught.value)


async def test_a_proxy_that_does_not_allow_the_address(
    connect: Connect, directus_server: DirectusServer, tinyproxy: ForwardProxy
) -> None:
    url = directus_server.url.replace("http:", "https:")
    with pytest.raises(ConnectionImpossible, match=r"does not allow connections to https.*403"):
        await connect(url, proxy=tinyproxy.url)


async def test_a_proxy_that_is_away_is_named_without_its_password(
    connect: Connect, nginx: ReverseProxy
) -> None:
    client = DirectusClient(
        nginx.url, token="t", options=ClientOptions(proxy="http://u:p4ss@127.0.0.1:9")
    )
    client.start()
    await await_for(lambda: client.reason, what="a reason")
    reason = client.reason
    await client.disconnect()
    assert reason == (
        f"Cannot reach {nginx.url} through the proxy http://127.0.0.1:9 (Connection refused)."
    )


def test_the_listener_and_the_check_through_all_of_it(
    make_site: Callable[..., Site],
    nginx: ReverseProxy,
    tinyproxy: ForwardProxy,
    certificates: Certificates,
    directus: DirectusAdmin,
    directus_server: DirectusServer,
    tmp_path: Path,
) -> None:
    site = make_site(
        {
            "DIRECTUS_URL": nginx.url,
            "DIRECTUS_TOKEN": directus_server.admin_token,
            "DIRECTUS_CA_FILE": str(certificates.ca),
            "DIRECTUS_HEADERS": json.dumps(GATE),
            "DIRECTUS_PROXY": tinyproxy.url,
        }
    )
    site.subscribe(fields=["id", "title"])
    check = site.start("directus_check")
    assert check.wait() == 0, check.output
    listener = site.listen("--verbosity", "2")
    made = directus.create_item("articles", {"title": "through all of it"})["id"]
    (received,) = site.wait_for_received(1)
    assert received["key"] == made
    for output in (check.output, listener.output):
        for secret in (ForwardProxy.password, directus_server.admin_token, *GATE.values()):
            assert secret not in output
