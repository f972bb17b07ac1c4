from __future__ import annotations

import logging
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.urls import path

from directus_realtime.gateway import DirectusGateway, directus_gateway
from directus_realtime.gateway.browser_connections import SERVER_ERROR
from directus_realtime.gateway.routing import protected
from tests.integration.gateway.browsers import TIMEOUT, browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "t0ken-of-anna"
HOST = (b"host", b"shop.example.com")


@pytest.fixture
def user(db: Any) -> User:
    return User.objects.create_user("anna", "anna@example.com", "a-p4ssword")


@pytest.fixture
def client_cookie(user: User) -> tuple[bytes, bytes]:
    client = Client()
    client.force_login(user)
    return b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()


def by_token(token: str, scope: dict[str, Any]) -> User | None:
    return User.objects.first() if token == TOKEN else None


async def by_token_async(token: str, scope: dict[str, Any]) -> User | None:
    return await User.objects.afirst() if token == TOKEN else None


def failing(token: str, scope: dict[str, Any]) -> User | None:
    raise RuntimeError(f"the token {token} is odd")


@pytest.mark.parametrize("authenticate", [by_token, by_token_async])
async def test_a_token_says_who_a_browser_is(authenticate: Any, user: User) -> None:
    await offer(browser_access="signed_in")
    async with browsing(DirectusGateway.as_asgi(authenticate=authenticate)) as browser:
        assert (await browser.subscribe(uid="1"))["error"]["code"] == "FORBIDDEN"
        await browser.send({"type": "auth", "access_token": TOKEN, "uid": 3})
        assert await browser.next() == {"type": "auth", "status": "ok", "uid": 3}
        assert (await browser.subscribe(uid="1"))["event"] == "init"


@pytest.mark.parametrize(
    "credentials",
    [
        {"access_token": "another"},
        {"access_token": 5},
        {"email": "anna@example.com", "password": "a-p4ssword"},
        {},
    ],
)
async def test_a_refused_token_ends_the_connection(credentials: dict[str, Any], user: User) -> None:
    async with browsing(DirectusGateway.as_asgi(authenticate=by_token)) as browser:
        await browser.send({"type": "auth", **credentials})
        assert await browser.next() == {
            "type": "auth",
            "status": "error",
            "error": {"code": "AUTH_FAILED", "message": "Authentication failed."},
        }
        assert await browser.closed() == (4401, "The token is not accepted.")


def exiting(token: str, scope: dict[str, Any]) -> User | None:
    raise SystemExit(f"the token {token} is odd")


async def exiting_async(token: str, scope: dict[str, Any]) -> User | None:
    raise SystemExit(f"the token {token} is odd")


@pytest.mark.parametrize(
    ("authenticate", "error"),
    [(failing, "RuntimeError"), (exiting, "SystemExit"), (exiting_async, "SystemExit")],
)
async def test_a_failing_check_refuses_and_the_token_is_not_logged(
    authenticate: Any, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with browsing(DirectusGateway.as_asgi(authenticate=authenticate)) as browser:
        await browser.send({"type": "auth", "access_token": TOKEN})
        assert (await browser.next())["error"]["code"] == "AUTH_FAILED"
    assert f"The function authenticate failed: {error}" in caplog.text
    assert TOKEN not in caplog.text


async def test_another_token_changes_what_a_browser_may_see(user: User) -> None:
    other = await User.objects.acreate_superuser("root")
    await offer(browser_access="permission", browser_permission="auth.view_user")

    async def by_name(token: str, scope: dict[str, Any]) -> Any:
        return other if token == TOKEN else user

    async with browsing(DirectusGateway.as_asgi(authenticate=by_name)) as browser:
        await browser.send({"type": "auth", "access_token": TOKEN})
        await browser.next()
        await browser.subscribe(uid="1")
        await browser.send({"type": "auth", "access_token": "of anna"})
        assert (await browser.next())["error"]["code"] == "FORBIDDEN"
        assert await browser.next() == {"type": "auth", "status": "ok"}


async def test_a_browser_whose_rights_cannot_be_looked_at_is_let_go(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on with those of the user before."""

    async def recheck(*arguments: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("directus_realtime.gateway.gateway.recheck", recheck)
    await offer(browser_access="public")
    async with browsing(DirectusGateway.as_asgi(authenticate=by_token)) as browser:
        await browser.subscribe()
        await browser.send({"type": "auth", "access_token": TOKEN})
        assert (await browser.closed())[0] == SERVER_ERROR


# The site around it


async def test_the_session_says_who_a_browser_is(
    settings: Any, client_cookie: tuple[bytes, bytes]
) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    await offer(browser_access="signed_in")
    origin = (b"origin", b"https://shop.example.com")
    gateway = directus_gateway()
    async with browsing(gateway, headers=[HOST, origin, client_cookie]) as browser:
        assert (await browser.subscribe())["event"] == "init"
        await deliver(event(1))
        assert (await browser.next())["event"] == "create"
    async with browsing(gateway, headers=[HOST, origin]) as browser:
        assert (await browser.subscribe())["error"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        (b"https://shop.example.com", True),
        (b"http://shop.example.com:8000", True),
        (b"https://app.example.net", True),
        (b"https://evil.example.org", False),
        (b"https://shop.example.com.evil.org", False),
        (b"http://app.example.net", False),
        (b"null", False),
        (b"https://[", False),
        (b"", False),
        (None, True),
    ],
)
@pytest.mark.parametrize("host", ["shop.example.com", "*"])
async def test_pages_of_other_sites_are_refused(
    settings: Any, host: str, origin: bytes | None, is_let_in: bool
) -> None:
    """With ``*``, the pages of other sites are those of another host than the one asked for."""
    settings.ALLOWED_HOSTS = [host]
    headers = [HOST] if origin is None else [HOST, (b"origin", origin)]
    gateway = directus_gateway(origins=["https://app.example.net"])
    communicator = WebsocketCommunicator(gateway, "/directus/", headers=headers)  # type: ignore[no-untyped-call]
    connected, code = await communicator.connect(timeout=TIMEOUT)
    assert connected is is_let_in
    if is_let_in:
        await communicator.disconnect()
    else:
        assert code == 1000  # which servers answer with HTTP status 403


@pytest.mark.parametrize("origin", [b"https://shop.example.com", b"https://inner:8000"])
async def test_behind_a_proxy_the_host_that_was_asked_for_counts(
    settings: Any, origin: bytes
) -> None:
    settings.ALLOWED_HOSTS, settings.USE_X_FORWARDED_HOST = ["*"], True
    headers = [(b"host", b"inner:8000"), (b"x-forwarded-host", b"Shop.Example.com:443")]
    headers.append((b"origin", origin))
    communicator = WebsocketCommunicator(directus_gateway(), "/directus/", headers=headers)  # type: ignore[no-untyped-call]
    connected, _ = await communicator.connect(timeout=TIMEOUT)
    assert connected is (origin == b"https://shop.example.com")
    if connected:
        await communicator.disconnect()


@pytest.mark.parametrize("host", [b"[", b"", None])
async def test_a_host_that_is_none_lets_no_page_in(settings: Any, host: bytes | None) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    headers = [] if host is None else [(b"host", host)]
    headers.append((b"origin", b"null"))
    communicator = WebsocketCommunicator(directus_gateway(), "/directus/", headers=headers)  # type: ignore[no-untyped-call]
    assert not (await communicator.connect(timeout=TIMEOUT))[0]


async def test_the_gateway_lives_beside_consumers_of_a_site() -> None:
    from channels.routing import URLRouter

    router = URLRouter([path("other/", DirectusGateway.as_asgi())])  # type: ignore[arg-type]
    async with browsing(protected(router), path="/other/") as browser:
        assert await browser.is_silent()


@pytest.mark.usefixtures("often")
async def test_who_signs_out_gets_nothing_more(
    client_cookie: tuple[bytes, bytes], settings: Any
) -> None:
    await offer(browser_access="signed_in")
    async with browsing(directus_gateway(), headers=[HOST, client_cookie]) as browser:
        await browser.subscribe(uid="1")
        await SessionStore().model.objects.all().adelete()
        assert (await browser.next())["error"]["code"] == "FORBIDDEN"


@pytest.mark.usefixtures("often")
async def test_who_gets_another_password_gets_nothing_more(
    client_cookie: tuple[bytes, bytes], user: User
) -> None:
    await offer(browser_access="signed_in")
    async with browsing(directus_gateway(), headers=[HOST, client_cookie]) as browser:
        await browser.subscribe(uid="1")
        user.set_password("another")
        await user.asave()
        assert (await browser.next())["error"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("limits", [{"heartbeat": 0}, {"burst": "many"}, {"max_unread": True}])
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"The gateway's {next(iter(limits))} is"):
        directus_gateway(**limits)
