"""What stands before the WebSocket: its address, its answers, certificates."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from directus_realtime.client import DirectusClient
from directus_realtime.exceptions import (
    ConnectionImpossible,
    RequestRefused,
)
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.calling import DISCONNECTED, RECONNECTING, create, titles, within
from tests.integration.conftest import TOKEN, MakeClient, Stub

# What stands before the WebSocket


@pytest.mark.parametrize(
    ("status", "sentence"), [(403, "HTTP 403"), (429, "HTTP 429"), (503, "HTTP 503")]
)
async def test_a_refused_upgrade_that_may_heal_is_tried_again(
    make_client: MakeClient, fake: FakeDirectus, status: int, sentence: str
) -> None:
    fake.reject_upgrades(status)
    client = make_client()
    connecting = asyncio.create_task(client.connect())
    await await_for(lambda: client.state is RECONNECTING)
    assert sentence in client.reason
    fake.reject_upgrades(None)
    await within(connecting)


async def test_a_server_without_websockets_is_impossible_with_the_way_out(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    fake.reject_upgrades(404)
    with pytest.raises(ConnectionImpossible, match="WEBSOCKETS_ENABLED=true"):
        await within(make_client().connect())


async def test_a_server_that_says_that_it_has_no_websockets(
    make_client: MakeClient, stub: Stub
) -> None:
    info = {"project": {}, "version": "11.17.4", "websocket": False}
    stub.statuses["/server/info"] = lambda: web.json_response({"data": info})
    with pytest.raises(ConnectionImpossible, match="WEBSOCKETS_ENABLED=true"):
        await within(make_client(stub.url).connect())
    assert stub.upgrades == 0


@pytest.mark.parametrize("value", ["s3cret\n", "s3cr\xe9t", " s3cret", "s3\r\ncret"])
async def test_a_header_that_cannot_be_sent_is_told_without_its_value(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    """As one that was read from a file; it was shown as the reason, for ever."""
    client = make_client(headers={"X-Key": value})
    with pytest.raises(ConnectionImpossible, match="The value of X-Key contains") as caught:
        await within(client.connect())
    assert "s3" not in f"{caught.value!r} {client.reason} {caplog.text}"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@127.0.0.1:9",
        "ws://s3cret@127.0.0.1:9/directus",
        "http://127.0.0.1:9/?access_token=s3cret",
        "http://127.0.0.1:9#s3cret",
    ],
)
async def test_a_url_with_a_secret_is_refused_without_showing_it(url: str) -> None:
    """It would be in reprs, reasons and logs; and the password would take the token's place."""
    with pytest.raises(ConnectionImpossible, match="The URL ") as caught:
        DirectusClient(url, token=TOKEN)
    assert "s3cret" not in repr(caught.value)


async def test_strict_mode_takes_the_token_in_a_cookie(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeDirectus(token=TOKEN, auth_mode="strict") as fake:
        client = make_client(fake.url)
        await within(client.connect())
        subscription = await within(client.subscribe("articles"))
        await create(fake, "a")
        assert await titles(subscription, 1) == ["a"]
        await client.disconnect()
    assert "URL" not in caplog.text


async def test_a_token_in_the_url_is_warned_of_once(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In strict mode, a server whose cookie has another name takes it nowhere else."""
    monkeypatch.setattr(
        "directus_realtime.testing.fake.socket_server.SESSION_COOKIE", "cms_session"
    )
    async with FakeDirectus(token=TOKEN, auth_mode="strict") as fake:
        client = make_client(fake.url)
        with caplog.at_level(logging.DEBUG, "directus_realtime"):
            await within(client.connect())
            await fake.cut()
            await await_for(lambda: fake.requests.count("GET /server/info") == 2)
            await await_for(lambda: client.is_connected)
        await client.disconnect()
    warned = [each for each in caplog.records if getattr(each, "event", "") == "token-in-url"]
    assert [each.levelname for each in warned] == ["WARNING"]
    assert TOKEN not in caplog.text


async def test_a_path_of_its_own(make_client: MakeClient) -> None:
    async with FakeDirectus(token=TOKEN, websocket_path="/live") as fake:
        client = make_client(fake.url)
        await within(client.connect())
        assert fake.clients == 1
        await client.disconnect()


async def test_something_that_is_not_directus_is_impossible(
    make_client: MakeClient, stub: Stub
) -> None:
    page = "<html>Welcome</html>"
    stub.statuses["/server/info"] = lambda: web.Response(text=page, content_type="text/html")
    with pytest.raises(ConnectionImpossible, match="does not answer like Directus"):
        await within(make_client(stub.url).connect())


@pytest.mark.parametrize("path", ["/server/info", "/users/me"])
@pytest.mark.parametrize("data", [None, [], "x", {"project": {}, "websocket": 5}], ids=repr)
async def test_an_answer_of_another_shape_crashes_nothing(
    make_client: MakeClient, stub: Stub, path: str, data: Any
) -> None:
    stub.statuses[path] = lambda: web.json_response({"data": data})
    client = make_client(stub.url)
    running = client.start()
    await await_for(lambda: running.done() or client.state is not DISCONNECTED)
    if running.done():
        assert isinstance(running.exception(), ConnectionImpossible)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
async def test_a_server_that_is_not_ready_is_waited_for(
    make_client: MakeClient, stub: Stub, status: int
) -> None:
    stub.statuses["/server/info"] = lambda: web.Response(status=status, text="busy")
    client = make_client(stub.url)
    connecting = asyncio.create_task(client.connect())
    await await_for(lambda: client.state is RECONNECTING)
    assert f"HTTP {status}" in client.reason
    del stub.statuses["/server/info"]
    stub.on_socket = stub.answer
    await within(connecting)


async def test_the_url_of_a_websocket_is_refused(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(fake.websocket_url)
    with pytest.raises(ConnectionImpossible, match="is not a URL such as https://cms"):
        await within(client.connect())


async def test_a_redirect_of_rest_and_socket_is_followed(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{fake.url}{request.path_qs}")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", redirect)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        client = make_client(url)
        running = client.start()
        await await_for(lambda: running.done() or client.state is not DISCONNECTED)
        # A token must not follow to another host and port, so this may be refused, in words.
        if not client.is_connected:
            reason = client.reason or str(running.exception())
            assert "redirect" in reason.lower()
        await client.disconnect()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("url", ["cms.example.com", "ftp://cms", "http://", "http://127.0.0.1:x"])
async def test_a_url_that_is_none_is_impossible(make_client: MakeClient, url: str) -> None:
    with pytest.raises(ConnectionImpossible, match="is not a URL such as"):
        await within(make_client(url).connect())


async def test_a_read_that_is_refused(make_client: MakeClient, stub: Stub) -> None:
    stub.statuses["/items/articles"] = lambda: web.json_response({"errors": []}, status=400)
    with pytest.raises(RequestRefused):
        await within(make_client(stub.url).read_items("articles", limit=1))


# Certificates


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed but itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", f"{path}.key", "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
async def tls_stub(certificate: Path) -> AsyncIterator[Stub]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    async with Stub(context) as stub:
        stub.on_socket = stub.answer
        yield stub


async def test_a_certificate_that_nobody_knows_is_impossible_with_the_way_out(
    make_client: MakeClient, tls_stub: Stub
) -> None:
    with pytest.raises(ConnectionImpossible, match=r"self.signed certificate.* CA_FILE"):
        await within(make_client(tls_stub.url).connect())
    assert tls_stub.requests == []


async def test_a_certificate_for_another_name_is_impossible(
    make_client: MakeClient, tls_stub: Stub, certificate: Path
) -> None:
    url = tls_stub.url.replace("127.0.0.1", "localhost")
    trusting = ssl.create_default_context(cafile=certificate)
    with pytest.raises(ConnectionImpossible, match="localhost"):
        await within(make_client(url, ssl=trusting).connect())


async def test_a_private_ca_is_trusted_when_given(
    make_client: MakeClient, tls_stub: Stub, certificate: Path
) -> None:
    client = make_client(tls_stub.url, ssl=ssl.create_default_context(cafile=certificate))
    await within(client.connect())
    assert tls_stub.upgrades == 1


async def test_a_private_ca_does_not_disturb_a_plain_url(make_client: MakeClient) -> None:
    client = make_client(ssl=ssl.create_default_context())
    await within(client.connect())
    assert client.is_connected
