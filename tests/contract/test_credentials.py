"""Tokens and passwords, their end and their renewal: T20."""

from __future__ import annotations

import asyncio
import json
from time import monotonic
from typing import Any

import httpx
import pytest

from directus_realtime.client import DirectusClient
from directus_realtime.events import Event
from directus_realtime.exceptions import CredentialsRefused, RequestRefused
from directus_realtime.protocol.session import Session
from directus_realtime.testing import FakeDirectus
from tests.contract.conftest import MakeClient, OpenWire
from tests.contract.servers import PASSWORD, TOKEN_LIFE, FakeServer, Server
from tests.contract.watching import TIMEOUT, arrived, states_of, told
from tests.helpers.waiting import await_for

EXPIRED = {"code": "TOKEN_EXPIRED", "message": "Token expired."}


async def _log_in(server: Server, email: str, password: str) -> str:
    """An access token with an end."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/auth/login", json={"email": email, "password": password})
    return str(answer.raise_for_status().json()["data"]["access_token"])


async def test_wrong_credentials_are_impossible(server: Server) -> None:
    """Not tried again, and the sentence does not tell the token."""
    for credentials in (
        {"token": "wrong-token"},
        {"email": server.email, "password": "wrong-token"},
    ):
        client = DirectusClient(server.url, **credentials)
        with pytest.raises(CredentialsRefused) as refused:
            await asyncio.wait_for(client.connect(), TIMEOUT)
        assert "wrong-token" not in str(refused.value)
        assert client.state == "disconnected"
        await client.disconnect()


@pytest.mark.real_only
async def test_refused_log_ins_suspend_a_user(server: Server) -> None:
    """Why the client does not try a wrong password for ever: even the right one is refused then."""
    email, password = "suspended@example.com", "the right one"
    user = server.admin.request(
        "POST", "/users", {"email": email, "password": password, "status": "active"}
    )
    async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT) as http:
        wrong = {"email": email, "password": "a wrong one"}
        for _ in range(26):
            refused = await http.post("/auth/login", json=wrong)
            assert refused.status_code == 401
        right = await http.post("/auth/login", json={"email": email, "password": password})
    assert right.status_code == 401
    assert server.admin.request("GET", f"/users/{user['id']}")["status"] == "suspended"
    server.admin.request("DELETE", f"/users/{user['id']}")


@pytest.mark.real_only
async def test_a_wrong_password_or_token_of_the_client_suspends_nobody(server: Server) -> None:
    email, password, token = "wrong@example.com", "the right one", "the-right-token"
    user = server.admin.request(
        "POST",
        "/users",
        {"email": email, "password": password, "token": token, "status": "active"},
    )
    for wrong in ({"email": email, "password": "a wrong one"}, {"token": "a-wrong-token"}):
        for _ in range(30):
            client = DirectusClient(server.url, **wrong)
            with pytest.raises(CredentialsRefused):
                await asyncio.wait_for(client.connect(), TIMEOUT)
            await client.disconnect()
    assert server.admin.request("GET", f"/users/{user['id']}")["status"] == "active"
    await _log_in(server, email, password)
    server.admin.request("DELETE", f"/users/{user['id']}")


async def test_log_in_with_a_password(server: Server, make_client: MakeClient) -> None:
    """The token of the log-in serves REST and socket."""
    events: list[Event] = []
    client = await make_client(server, email=server.email, password=server.password)
    assert client.identity == server.email
    await client.subscribe("articles", on_event=events.append)
    made = server.admin.create_item("articles", {})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", made)]


async def test_a_log_in_is_renewed_on_the_same_socket(
    tuned_server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """Before it ends, twice; the subscriptions go on, and no state changes."""
    events: list[Event] = []
    started = monotonic()
    client = await make_client(
        tuned_server, email=tuned_server.email, password=tuned_server.password
    )
    await client.subscribe("articles", on_event=events.append)
    async with states_of(client) as states:
        tokens: list[str] = []

        def renewed() -> bool:
            tokens[:] = [each["access_token"] for each in said if each["type"] == "auth"]
            return len(set(tokens)) >= 3  # two of the same second are the same

        await await_for(renewed, what="two renewals")
        assert monotonic() - started > TOKEN_LIFE
        made = tuned_server.admin.create_item("articles", {})["id"]
        await arrived(events, 1)
        assert told(events) == [("create", made)]
        assert states == ["connected"]
    assert sum(each["type"] == "subscribe" for each in said) == 3


async def test_t20_after_the_end_of_the_token_nothing_is_handed_over(
    tuned_server: Server,
    make_client: MakeClient,
    wire_to: OpenWire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T20: 11 sends what the reader may not see; 10 and 12 send an error instead."""
    events: list[Event] = []
    token = await _log_in(tuned_server, tuned_server.reader_email, PASSWORD)
    client = await make_client(tuned_server, token=token)
    await client.subscribe("articles", on_event=events.append)
    # Served after our client, so what it hears, our client was sent before; and its token ends
    # after the one of our client.
    later = await _log_in(tuned_server, tuned_server.reader_email, PASSWORD)
    wire = await wire_to(tuned_server, later)
    await wire.subscribe("articles", event="create", uid="a")
    # Nobody authenticates again, so that the time between lasts.
    monkeypatch.setattr(Session, "authenticate", _nothing)
    frames = _note_frames(monkeypatch)
    assert (await wire.receive())["error"] == EXPIRED
    made = tuned_server.admin.create_item("articles", {"status": "draft"})["id"]
    leaked = await wire.receive()
    if tuned_server.major == 11:
        assert leaked["data"][0]["id"] == made
    else:
        assert leaked["error"]["code"] == "FORBIDDEN"
    heard, before = client.last_heard_at, len(frames)
    tuned_server.admin.create_item("articles", {"status": "draft"})
    await await_for(lambda: len(frames) > before, what="another message")
    assert events == []
    assert client.last_heard_at == heard  # what comes now does not count


def _note_frames(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What comes in from now on."""
    frames: list[Any] = []
    receive = Session.receive

    def noting(self: Session, frame: Any, now: float) -> None:
        frames.append(frame)
        receive(self, frame, now)

    monkeypatch.setattr(Session, "receive", noting)
    return frames


def _nothing(*arguments: object) -> None:
    """Do not authenticate."""


@pytest.mark.fake_only
async def test_t20_between_the_end_and_the_next_authentication(
    server: Server, make_client: MakeClient
) -> None:
    """T20: a message in one breath with TOKEN_EXPIRED is dropped; later ones count again."""
    assert isinstance(server, FakeServer)
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", uid="mine", on_event=events.append)
    row = {"id": -1, "title": "not for you"}
    leak = {"type": "subscription", "event": "create", "data": [row], "uid": "mine.create"}

    async def expire_and_leak(fake: FakeDirectus) -> None:
        fake.received.clear()
        await fake.expire_tokens()
        await fake.send_raw(json.dumps(leak))

    def is_authenticated_again(fake: FakeDirectus) -> bool:
        return any(message["type"] == "auth" for message in fake.received)

    async with states_of(client) as states:
        server.fake.call(expire_and_leak)
        await await_for(lambda: server.fake.call(is_authenticated_again))
        made = server.admin.create_item("articles", {})["id"]
        await await_for(lambda: ("create", made) in told(events))
        assert told(events) == [("create", made)]
        assert client.is_connected
        assert "disconnected" not in states


@pytest.mark.fake_only
async def test_a_token_that_is_refused_later_is_a_state(
    server: Server, make_client: MakeClient
) -> None:
    """Once it has worked it may work again: waited for, with the reason, and not hammered."""
    assert isinstance(server, FakeServer)
    client = await make_client(server)
    subscription = await client.subscribe("articles")
    async with states_of(client) as states:
        server.fake.call(lambda fake: fake.refuse_tokens())
        try:
            server.fake.call(lambda fake: fake.cut())
            await await_for(lambda: "refused the credentials" in client.reason)
            assert client.state == "reconnecting"
        finally:
            server.fake.call(lambda fake: fake.refuse_tokens(False))
        await await_for(lambda: subscription.state == "subscribed")
        assert states[-1] == "connected"


@pytest.mark.real_only
async def test_t21_a_changed_token_leaves_the_socket_and_is_taken_up_by_rest(
    server: Server, make_client: MakeClient
) -> None:
    """T21: events go on, REST refuses the old token; a callable gives the new one."""
    events: list[Event] = []
    user = f"/users/{server.admin.request('GET', '/users', params=_by_email(server))[0]['id']}"
    secret = [server.reader_token]
    client = await make_client(server, token=lambda: secret[0])
    await client.subscribe("articles", events=["create"], on_event=events.append)
    server.admin.request("PATCH", user, {"token": "another-reader-token"})
    try:
        server.admin.create_item("articles", {"status": "published"})
        await arrived(events, 1)
        with pytest.raises(RequestRefused, match="credentials"):
            await client.read_items("articles", limit=1)
        secret[0] = "another-reader-token"
        assert await client.read_items("articles", limit=1)
        assert client.is_connected
    finally:
        server.admin.request("PATCH", user, {"token": server.reader_token})


def _by_email(server: Server) -> dict[str, str]:
    return {"filter[email][_eq]": server.reader_email}
