"""Tokens that end, change and are refused, and log-ins; none is shown."""

from __future__ import annotations

import asyncio
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from directus_realtime.client import DirectusClient
from directus_realtime.exceptions import (
    ConnectionImpossible,
    CredentialsRefused,
)
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.calling import (
    DISCONNECTED,
    RECONNECTING,
    create,
    titles,
    until_reconnected,
    within,
)
from tests.integration.conftest import PASSWORD, TOKEN, MakeClient

# Tokens


async def test_a_token_that_expires_on_the_socket_is_sent_anew(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(client.subscribe("articles"))
    fake.received.clear()
    await fake.expire_tokens()
    await fake.wait_for(lambda fake: any(m["type"] == "auth" for m in fake.received))
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]
    assert fake.connections == 1
    assert client.is_connected


async def test_nothing_that_came_after_the_expiry_is_trusted(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(client.subscribe("articles", uid="s"))
    expired = '{"type":"auth","status":"error","error":{"code":"TOKEN_EXPIRED","message":""}}'
    row = (
        '{"type":"subscription","event":"create","data":[{"id":9,"title":"leak"}],"uid":"s.create"}'
    )
    fake.received.clear()
    await fake.send_raw(expired)
    await fake.send_raw(row)
    await fake.wait_for(lambda fake: any(m["type"] == "auth" for m in fake.received))
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]


async def test_a_log_in_whose_token_expires_early_is_renewed(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    """The server has other secrets after a restart, or our clock stood still in a sleep."""
    client = make_client(email="editor@example.com", password=PASSWORD)
    await within(client.connect())
    subscription = await within(client.subscribe("articles"))
    fake.received.clear()
    await fake.expire_tokens()
    await fake.wait_for(lambda fake: any(m["type"] == "auth" for m in fake.received))
    await until_reconnected(client, fake)
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]


async def test_a_log_in_is_renewed_before_it_expires(make_client: MakeClient) -> None:
    from directus_realtime.testing import FakeUser

    user = FakeUser("editor@example.com", PASSWORD)
    async with FakeDirectus(users=[user], access_token_ttl=0.5) as fake:
        client = make_client(fake.url, email="editor@example.com", password=PASSWORD)
        await within(client.connect())
        states: list[Any] = []
        await within(client.subscribe("articles", on_event=states.append))
        await fake.wait_for(
            lambda fake: sum(message["type"] == "auth" for message in fake.received) >= 4
        )
        await create(fake, "a")
        await await_for(lambda: states)
        assert fake.connections == 1
        await client.disconnect()


async def test_a_refused_token_is_impossible_with_the_way_out(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(token="wrong-s3cret")
    with pytest.raises(CredentialsRefused, match="Check TOKEN") as caught:
        await within(client.connect())
    assert "wrong-s3cret" not in str(caught.value)
    assert client.state is DISCONNECTED
    assert fake.connections == 0


async def test_a_refused_password_is_impossible_with_the_way_out(
    make_client: MakeClient,
) -> None:
    client = make_client(email="editor@example.com", password="wrong-s3cret")
    with pytest.raises(CredentialsRefused, match="Check EMAIL and PASSWORD") as caught:
        await within(client.connect())
    assert "wrong-s3cret" not in str(caught.value)


async def test_a_token_that_is_refused_later_may_be_given_back(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await within(client.subscribe("articles"))
    fake.refuse_tokens()
    await fake.cut()
    await await_for(lambda: client.state is RECONNECTING and "refused" in client.reason)
    fake.refuse_tokens(False)
    await until_reconnected(client, fake)


async def test_a_token_that_was_changed_is_taken_up_by_the_next_attempt(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(token=lambda: secret[0])
    secret = [TOKEN]
    await within(client.connect())
    await within(client.subscribe("articles"))
    fake.change_token("another-s3cret")
    secret[0] = "another-s3cret"
    await fake.cut()
    await fake.wait_for(lambda fake: not fake.subscriptions)
    await until_reconnected(client, fake)


async def test_a_token_that_was_changed_is_taken_up_by_a_read(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(token=lambda: secret[0])
    secret = [TOKEN]
    await within(client.connect())
    fake.change_token("another-s3cret")
    secret[0] = "another-s3cret"
    fake.requests.clear()
    assert await within(client.read_items("articles", limit=1)) == []
    assert list(fake.requests) == ["SEARCH /items/articles"] * 2
    assert client.is_connected


@pytest.mark.parametrize("is_called", [True, False])
async def test_a_refused_token_is_tried_once_for_each_delay(
    make_client: MakeClient,
    fake: FakeDirectus,
    is_called: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = 0

    def delays() -> Iterator[float]:
        nonlocal steps
        while True:
            steps += 1
            yield 0.01

    client = make_client(token=(lambda: TOKEN) if is_called else TOKEN, delays=delays)
    await within(client.connect())
    fake.change_token("another-s3cret")
    fake.requests.clear()
    await fake.cut()
    await await_for(lambda: steps >= 10)
    assert client.state is RECONNECTING
    assert "refused the credentials" in client.reason
    assert "Check TOKEN" in client.reason
    asked = list(fake.requests)
    assert set(asked) == {"GET /server/info"}
    assert len(asked) <= steps
    assert fake.connections == 0
    fake.change_token(TOKEN)
    await await_for(lambda: client.is_connected)
    assert TOKEN not in caplog.text


async def test_a_callable_that_fails_is_waited_for(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    def read() -> str:
        return vault["s3cret-name"]

    vault: dict[str, str] = {}
    client = make_client(token=read)
    client.start()
    await await_for(lambda: client.state is RECONNECTING)
    assert client.reason == "There is no token: the callable of TOKEN raised KeyError."
    assert not fake.requests
    vault["s3cret-name"] = TOKEN
    await await_for(lambda: client.is_connected)


async def test_what_a_callable_returns_must_be_a_token(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(token=lambda: f"{TOKEN}\n")
    with pytest.raises(ConnectionImpossible, match="callable of TOKEN: It contains") as caught:
        await within(client.connect())
    assert TOKEN not in str(caught.value) + client.reason
    assert not fake.requests


@pytest.mark.parametrize("token", [f"{TOKEN}\n", "töken-s3cret", "a\0s3cret"])
async def test_a_token_that_cannot_be_sent_is_impossible_and_not_shown(
    make_client: MakeClient, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConnectionImpossible) as caught:
        make_client(token=token)
    assert "s3cret" not in str(caught.value) + caplog.text


async def test_no_token_is_in_any_log(
    make_client: MakeClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    client = make_client()
    await within(client.connect())
    await within(client.subscribe("articles"))
    await fake.send_raw("garbage")
    await fake.cut()
    await fake.wait_for(lambda fake: not fake.subscriptions)
    await until_reconnected(client, fake)
    await client.disconnect()
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(client)


# Log-ins


async def test_those_who_ask_together_renew_a_log_in_once(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    requests: list[str] = []

    async def note(request: httpx.Request) -> None:
        requests.append(request.url.path)

    client = make_client(email="editor@example.com", password=PASSWORD)
    await within(client.connect())
    client._connection.rest._http.event_hooks = {"request": [note]}
    client._connection.rest.forget_token()
    await within(asyncio.gather(*(client.read_items("articles") for _ in range(5))))
    assert [path for path in requests if path.startswith("/auth")] == ["/auth/refresh"]


async def test_those_who_ask_together_are_refused_together(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    """Directus suspends a user after some log-ins that failed."""
    requests: list[str] = []

    async def note(request: httpx.Request) -> None:
        requests.append(request.url.path)

    client = make_client(email="editor@example.com", password="another")
    client._connection.rest._http.event_hooks = {"request": [note]}
    reads = [client.read_items("articles") for _ in range(5)]
    found = await within(asyncio.gather(*reads, return_exceptions=True))
    assert {type(each) for each in found} == {CredentialsRefused}
    assert requests == ["/auth/login"]
    with pytest.raises(CredentialsRefused):
        await within(client.read_items("articles"))
    assert len(requests) == 2


# Logs


@pytest.fixture
def _logging() -> Iterator[None]:
    """Put back what logging.config changes."""
    root, package = logging.getLogger(), logging.getLogger("directus_realtime")
    before = [(each, each.level, list(each.handlers), each.propagate) for each in (root, package)]
    yield
    for each, level, handlers, propagate in before:
        each.setLevel(level)
        each.handlers[:] = handlers
        each.propagate = propagate


@pytest.mark.usefixtures("_logging")
async def test_a_configuration_of_logging_brings_no_token_into_it(
    make_client: MakeClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = list(logging.getLogger().handlers)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "loggers": {"directus_realtime": {"level": "DEBUG"}},
        }
    )
    logging.getLogger().handlers[:] = handlers
    caplog.set_level("DEBUG")
    client = make_client()
    await within(client.connect())
    await client.disconnect()
    assert TOKEN not in caplog.text
