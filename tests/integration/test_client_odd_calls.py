"""Calls to the client at odd moments, and with odd values."""

from __future__ import annotations

import asyncio
import logging
import logging.config
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from aiohttp import web

from directus_realtime.client import ConnectionState, DirectusClient
from directus_realtime.events import Event
from directus_realtime.exceptions import (
    ConnectionFailed,
    CredentialsRefused,
    SubscriptionRefused,
)
from directus_realtime.protocol.queries import Query
from directus_realtime.testing import FakeDirectus, run_in_thread
from tests.helpers.waiting import await_for
from tests.integration.conftest import PASSWORD, MakeClient, Stub
from tests.integration.listening import TOKEN
from tests.integration.test_client import create, titles, until_reconnected, within

RECONNECTING = ConnectionState.RECONNECTING


# What is asked for


async def test_a_filter_that_its_caller_changes_stays_what_was_asked_for(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    filter_ = {"status": {"_eq": "a"}}
    first = await within(client.subscribe("articles", filter=filter_))
    filter_["status"]["_eq"] = "b"
    second = await within(client.subscribe("articles", filter=filter_))
    await fake.cut()
    await fake.wait_for(lambda fake: not fake.subscriptions)
    await until_reconnected(client, fake, 8)
    await create(fake, "of a", status="a")
    await create(fake, "of b", status="b")
    assert await titles(first, 1) == ["of a"]
    assert await titles(second, 1) == ["of b"]
    client.unsubscribe(first)
    client.unsubscribe(second)
    await fake.wait_for(lambda fake: not fake.subscriptions)


async def test_a_time_in_a_filter_is_sent_as_a_text(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    await within(client.subscribe("articles", filter={"title": {"_neq": noon}}))
    (asked, *_) = [m for m in fake.received if m["type"] == "subscribe"]
    assert asked["query"]["filter"] == {"title": {"_neq": noon.isoformat()}}


@pytest.mark.parametrize("option", ["filter", "deep", "alias"])
async def test_what_cannot_be_sent_is_refused_at_once(client: DirectusClient, option: str) -> None:
    value: Any = {"title": {"_eq": object()}}
    with pytest.raises(ValueError, match="cannot be part of"):
        await within(client.subscribe("articles", **{option: value}))
    assert client.subscriptions == []


async def test_a_text_that_cannot_be_sent_leaves_nobody_waiting(client: DirectusClient) -> None:
    with pytest.raises(SubscriptionRefused, match="cannot be sent"):
        await within(client.subscribe("articles", search="\ud800"))


async def test_an_error_that_nobody_thought_of_leaves_nobody_waiting(
    client: DirectusClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*args: Any) -> None:
        raise LookupError("nobody thought of it")

    monkeypatch.setattr(client._connection.rest, "check_query", fail)
    with pytest.raises(SubscriptionRefused, match="LookupError"):
        await within(client.subscribe("articles"))
    await await_for(lambda: "nobody thought of it" in caplog.text)


async def test_what_was_refused_is_asked_for_again_by_the_next_who_wants_it(
    make_client: MakeClient, stub: Stub
) -> None:
    stub.on_socket = stub.answer
    client = make_client(stub.url)
    await within(client.connect())
    no = {"errors": [{"message": "No.", "extensions": {"code": "FORBIDDEN"}}]}
    stub.statuses["/items/articles"] = lambda: web.json_response(no, status=403)
    first = client.add(Query("articles"), name="first")
    await await_for(lambda: first.error)
    del stub.statuses["/items/articles"]
    second = await within(client.subscribe("articles"))
    assert first.state == second.state == "subscribed"


# The end


async def test_one_that_has_ended_does_not_end_the_next_with_its_uid(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    old = await within(client.subscribe("articles", uid="mine"))
    client.unsubscribe(old)
    new = await within(client.subscribe("articles", uid="mine"))
    client.unsubscribe(old)
    assert client.subscriptions == [new]
    await create(fake, "a")
    assert await titles(new, 1) == ["a"]


async def test_a_subscribe_that_is_ended_leaves_the_next_with_its_uid_alone(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    fake.drop_next_subscribe_reply()
    waiting = asyncio.create_task(client.subscribe("articles", uid="mine"))
    await fake.wait_for(lambda fake: fake.subscriptions)
    client.unsubscribe_all()
    new = client.add(Query("notes"), uid="mine", name="new")
    with pytest.raises(SubscriptionRefused, match="was ended"):
        await within(waiting)
    assert client.subscriptions == [new]


async def test_a_load_ends_with_its_subscription(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await fake.create("articles", [{"title": "x"} for _ in range(250)])
    keys: list[Any] = []

    def take(event: Event) -> None:
        keys.append(event.key)
        client.unsubscribe_all()

    with pytest.raises(SubscriptionRefused, match="was ended"):
        await within(client.subscribe("articles", snapshot=True, on_event=take))
    assert len(keys) == 1


async def test_an_on_state_that_fails_ends_nothing(
    client: DirectusClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("in on_state")

    subscription = client.add(Query("articles"), name="mine", on_state=fail)
    await fake.wait_for(lambda fake: len(fake.subscriptions) == 3)
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]
    assert "in on_state" in caplog.text


async def test_callbacks_that_meet_a_cancelled_task_end_nothing(
    make_client: MakeClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*what: Any) -> None:
        raise asyncio.CancelledError

    client = make_client(on_error=fail)
    await within(client.connect())
    client.add(Query("articles"), name="bad", on_event=fail, on_error=fail, on_state=fail)
    good = await within(client.subscribe("articles"))
    await fake.send_raw("garbage")
    await create(fake, "a")
    await create(fake, "b")
    assert await titles(good, 2) == ["a", "b"]
    assert fake.connections == 1
    for callback in ("on_error of the client", "on_event of", "on_state of"):
        assert callback in caplog.text


async def test_who_gave_up_a_subscribe_leaves_nothing_that_asks_on(
    make_client: MakeClient, stub: Stub
) -> None:
    stub.on_socket = stub.answer
    stub.statuses["/fields/articles"] = lambda: web.json_response({"data": "odd"})
    client = make_client(stub.url)
    await within(client.connect())
    before = asyncio.all_tasks()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.subscribe("articles"), 0.05)
    await await_for(lambda: asyncio.all_tasks() <= before)


async def test_who_waits_for_a_connection_is_told_that_it_was_ended(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await fake.stop_listening()
    client = make_client()
    connecting = asyncio.create_task(client.connect())
    await await_for(lambda: client.state is RECONNECTING)
    await client.disconnect()
    with pytest.raises(ConnectionFailed, match="was ended"):
        await within(connecting)


def test_a_client_may_be_used_in_one_event_loop_after_the_other() -> None:
    with run_in_thread(token=TOKEN) as fake:
        client = DirectusClient(fake.url, token=lambda: TOKEN)

        async def use() -> None:
            async with client:
                assert client.is_connected
                await asyncio.gather(
                    *(client.subscribe("articles", search=str(n)) for n in range(9))
                )

        for _ in range(3):
            asyncio.run(asyncio.wait_for(use(), 20))


# The connection


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


# Secrets


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
