"""The client against what a real server cannot be told to do."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import ssl
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from directus_realtime.client import ClientSubscription, ConnectionState, DirectusClient
from directus_realtime.client.backoff import full_jitter
from directus_realtime.events import Event
from directus_realtime.exceptions import (
    BadFrame,
    ConnectionFailed,
    ConnectionImpossible,
    CredentialsRefused,
    DirectusRealtimeError,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.conftest import PASSWORD, TIMEOUT, TOKEN, MakeClient, Stub

CONNECTED, RECONNECTING = ConnectionState.CONNECTED, ConnectionState.RECONNECTING
DISCONNECTED = ConnectionState.DISCONNECTED


async def within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, TIMEOUT)


async def take(subscription: ClientSubscription, count: int) -> list[Event]:
    """The next events of a subscription."""
    events: list[Event] = []
    async with asyncio.timeout(TIMEOUT):
        async for event in subscription:
            events.append(event)
            if len(events) == count:
                break
    return events


async def titles(subscription: ClientSubscription, count: int) -> list[Any]:
    return [(event.data or {}).get("title") for event in await take(subscription, count)]


async def create(fake: FakeDirectus, title: str, **values: Any) -> None:
    await fake.create("articles", {"title": title, **values})


async def until_reconnected(client: DirectusClient, fake: FakeDirectus, count: int = 3) -> None:
    await await_for(lambda: client.is_connected and len(fake.subscriptions) == count)


# The plain way


async def test_events_of_all_three_actions(client: DirectusClient, fake: FakeDirectus) -> None:
    subscription = await within(client.subscribe("articles", name="mine"))
    await create(fake, "a")
    await fake.update("articles", [1], {"title": "b"})
    await fake.delete("articles", 1)
    events = await take(subscription, 3)
    assert [(e.action, e.key, (e.data or {}).get("title")) for e in events] == [
        ("create", 1, "a"),
        ("update", 1, "b"),
        ("delete", 1, None),
    ]
    assert {(e.subscription, e.connection, e.origin) for e in events} == {
        ("mine", "default", "live")
    }


async def test_a_batch_is_one_event_for_each_item(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await fake.create("articles", [{"title": "x"} for _ in range(150)])
    subscription = await within(client.subscribe("articles"))
    await fake.update("articles", list(range(1, 151)), {"title": "y"})
    assert [event.key for event in await take(subscription, 150)] == list(range(1, 151))


async def test_connected_means_authenticated(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client()
    assert client.state is DISCONNECTED
    await within(client.connect())
    assert client.state is CONNECTED
    assert fake.clients == 1
    assert client.identity == "admin@example.com"
    assert client.server is not None
    assert client.server.version == "11.17.4"


async def test_logs_in_with_a_password(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client(email="editor@example.com", password=PASSWORD)
    await within(client.connect())
    assert client.identity == "editor@example.com"


async def test_the_stream_of_states(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client()
    states: list[ConnectionState] = []
    has_begun = asyncio.Event()

    async def watch() -> None:
        async for change in client.states():
            states.append(change.state)
            has_begun.set()

    task = asyncio.create_task(watch())
    await has_begun.wait()
    await within(client.connect())
    await fake.cut()
    await await_for(lambda: states.count(CONNECTED) == 2)
    await client.disconnect()
    await within(task)
    assert states == [DISCONNECTED, CONNECTED, RECONNECTING, CONNECTED, DISCONNECTED]


async def test_a_stream_that_is_read_late_misses_nothing(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client()
    stream = client.states()
    await within(client.connect())
    states = [(await within(anext(stream))).state]
    if states[-1] is not CONNECTED:
        states.append((await within(anext(stream))).state)
    assert states[-1] is CONNECTED


# Losing the connection


@pytest.mark.parametrize("mid_frame", [False, True])
async def test_a_cut_socket_is_replaced_and_subscribed_once_with_the_same_uids(
    client: DirectusClient, fake: FakeDirectus, mid_frame: bool
) -> None:
    subscription = await within(client.subscribe("articles"))
    before = sorted(uid for _, _, uid in fake.subscriptions if uid)
    fake.received.clear()
    await fake.cut(mid_frame=mid_frame)
    await fake.wait_for(lambda fake: not fake.subscriptions)
    await until_reconnected(client, fake)
    assert sorted(uid for _, _, uid in fake.subscriptions if uid) == before
    asked = [message["uid"] for message in fake.received if message["type"] == "subscribe"]
    assert sorted(asked) == before
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]


async def test_many_cuts_leave_one_socket(client: DirectusClient, fake: FakeDirectus) -> None:
    subscription = await within(client.subscribe("articles"))
    for number in range(5):
        await fake.cut()
        await fake.wait_for(lambda fake: not fake.subscriptions)
        await until_reconnected(client, fake)
        await create(fake, str(number))
        assert await titles(subscription, 1) == [str(number)]
    assert fake.connections == 1


async def test_https_where_there_is_only_http_is_told(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(fake.url.replace("http:", "https:"))
    client.start()
    await await_for(lambda: "(no TLS is spoken there; is it http://?)" in client.reason)


async def test_a_server_that_is_away_is_waited_for(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(client.subscribe("articles"))
    await fake.stop_listening()
    await await_for(lambda: client.state is RECONNECTING and "Cannot reach" in client.reason)
    await fake.resume_listening()
    await until_reconnected(client, fake)
    await create(fake, "after")
    assert await titles(subscription, 1) == ["after"]


async def test_a_server_that_is_away_at_first_is_waited_for(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await fake.stop_listening()
    client = make_client()
    connecting = asyncio.create_task(client.connect())
    await await_for(lambda: client.state is RECONNECTING)
    await fake.resume_listening()
    await within(connecting)
    assert client.is_connected


async def test_a_frozen_server_is_noticed(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client(ping_interval=0.05, pong_timeout=0.1, connect_timeout=0.2)
    await within(client.connect())
    fake.freeze()
    await await_for(lambda: client.state is RECONNECTING)
    fake.thaw()
    await await_for(lambda: client.is_connected)


async def test_a_quiet_connection_is_kept_without_protocol_pings(
    make_client: MakeClient,
) -> None:
    async with FakeDirectus(token=TOKEN, heartbeat_period=0.1) as fake:
        client = make_client(fake.url, ping_interval=60)
        await within(client.connect())

        def pongs() -> int:
            return sum(message == {"type": "pong"} for message in fake.received)

        await await_for(lambda: pongs() >= 4)
        assert fake.connections == 1
        assert client.is_connected
        await client.disconnect()


async def test_its_own_pings_keep_it_alive(make_client: MakeClient) -> None:
    async with FakeDirectus(token=TOKEN, heartbeat_period=0) as fake:
        client = make_client(fake.url, ping_interval=0.02, pong_timeout=2)
        await within(client.connect())
        await await_for(lambda: sum(m["type"] == "ping" for m in fake.received) >= 5)
        assert client.is_connected
        await client.disconnect()


async def test_a_server_that_accepts_and_closes_is_not_hammered(
    stub: Stub, make_client: MakeClient
) -> None:
    delays: list[float] = []

    def counted() -> Any:
        for delay in full_jitter(base=0.02, ceiling=0.5):
            delays.append(delay)
            yield delay

    calls = itertools.count()
    client = make_client(stub.url, delays=lambda: (next(calls), counted())[1])
    client.start()
    await await_for(lambda: stub.upgrades >= 6)
    assert next(calls) == 1  # the delays have grown all the time
    assert len(delays) >= 5
    await client.disconnect()
    assert stub.upgrades <= len(delays) + 1  # each attempt has waited


async def test_after_a_stable_time_the_delays_begin_anew(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    calls = itertools.count()
    client = make_client(stable_after=0, delays=lambda: (next(calls), itertools.repeat(0.01))[1])
    await within(client.connect())
    await fake.cut()
    await fake.wait_for(lambda fake: [m["type"] for m in fake.received].count("auth") == 2)
    assert next(calls) == 2


# Frames that are not what Directus sends

GARBAGE = {
    "not json": "hello",
    "empty": "",
    "cut json": '{"type":"subscription","event":"create","data":[',
    "not an object": "[1,2,3]",
    "null": "null",
    "no type": '{"event":"create"}',
    "unknown type": '{"type":"surprise"}',
    "unknown event": '{"type":"subscription","event":"surprise"}',
    "keys for rows": '{"type":"subscription","event":"create","data":[1],"uid":"s.create"}',
    "rows for keys": '{"type":"subscription","event":"delete","data":[{}],"uid":"s.delete"}',
    "no data": '{"type":"subscription","event":"update","uid":"s.update"}',
    "text for data": '{"type":"subscription","event":"create","data":"x","uid":"s.create"}',
    "error without error": '{"type":"subscribe","status":"error"}',
    "deep": "[" * 50_000,
    "deep object": '{"a":' * 50_000,
    "huge number": '{"type":"ping","n":' + "9" * 5000 + "}",
    "not a number": '{"type":"ping","n":NaN}',
    "binary": b"\x00\xff\xfe",
    "long": "x" * 100_000,
}


@pytest.fixture
def errors() -> list[DirectusRealtimeError]:
    return []


@pytest.fixture
async def observed(make_client: MakeClient, errors: list[DirectusRealtimeError]) -> DirectusClient:
    """A connected client that keeps its errors."""
    client = make_client(on_error=errors.append, max_message_size=200_000)
    await within(client.connect())
    return client


@pytest.mark.parametrize("frame", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_reported_and_its_neighbours_are_delivered(
    observed: DirectusClient,
    fake: FakeDirectus,
    errors: list[DirectusRealtimeError],
    frame: str | bytes,
) -> None:
    subscription = await within(observed.subscribe("articles", uid="s"))
    await create(fake, "before")
    await fake.send_raw(frame)
    await create(fake, "behind")
    assert await titles(subscription, 2) == ["before", "behind"]
    (error,) = errors
    assert isinstance(error, BadFrame)
    assert len(error.excerpt) <= 201
    assert len(str(error)) <= 300
    assert fake.connections == 1


async def test_a_message_over_the_limit_is_left_out_and_reported(
    observed: DirectusClient, fake: FakeDirectus, errors: list[DirectusRealtimeError]
) -> None:
    subscription = await within(observed.subscribe("articles"))
    await create(fake, "x" * 200_001)
    await create(fake, "behind")
    assert await titles(subscription, 1) == ["behind"]
    (error,) = errors
    assert "over MAX_MESSAGE_SIZE" in str(error)
    assert len(str(error)) <= 300


async def test_the_limit_counts_bytes(
    observed: DirectusClient, fake: FakeDirectus, errors: list[DirectusRealtimeError]
) -> None:
    subscription = await within(observed.subscribe("articles"))
    # Every one of the characters is three bytes; the fake sends them as they are.
    frame = json.dumps({"type": "items", "data": "€" * 100_000}, ensure_ascii=False)
    await fake.send_raw(frame)
    await create(fake, "behind")
    assert await titles(subscription, 1) == ["behind"]
    assert ["over MAX_MESSAGE_SIZE" in str(error) for error in errors] == [True]


async def test_a_message_far_over_the_limit_ends_the_connection_with_a_reason(
    observed: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(observed.subscribe("articles"))
    reasons: list[str] = []

    async def watch() -> None:
        async for change in observed.states():
            reasons.append(change.reason)

    task = asyncio.create_task(watch())
    await await_for(lambda: reasons)
    await fake.send_raw("x" * 900_000)
    await await_for(lambda: len(reasons) > 1 and observed.is_connected)
    assert "raise MAX_MESSAGE_SIZE" in reasons[1]
    await until_reconnected(observed, fake)
    await create(fake, "behind")
    assert await titles(subscription, 1) == ["behind"]
    task.cancel()


async def test_reports_show_no_secret(
    observed: DirectusClient, fake: FakeDirectus, errors: list[DirectusRealtimeError]
) -> None:
    await fake.send_raw('{"access_token":"hidden-1","event":"x"}')
    await fake.send_raw('["password", {"password": "hidden-1"}]')
    await await_for(lambda: len(errors) == 2)
    assert "hidden-1" not in " ".join(map(str, errors))


async def test_a_row_without_a_key_is_reported_without_its_secrets(
    observed: DirectusClient, fake: FakeDirectus
) -> None:
    own: list[DirectusRealtimeError] = []
    subscription = await within(observed.subscribe("articles", uid="s", on_error=own.append))
    row = {"title": "no key", "token": "hidden-1"}
    change = {"type": "subscription", "event": "create", "uid": "s.create"}
    rows = [{"id": 1, "title": "a"}, row, {"id": 2, "title": "b"}]
    await fake.send_raw(json.dumps({**change, "data": rows}))
    assert await titles(subscription, 2) == ["a", "b"]
    (error,) = own
    assert "An item of articles has no id" in str(error)
    assert "hidden-1" not in str(error)


async def test_a_key_of_thousands_of_digits_ends_nothing(
    observed: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(observed.subscribe("articles", uid="s"))
    change = {"type": "subscription", "event": "delete", "uid": "s.delete"}
    await fake.send_raw(json.dumps({**change, "data": ["1" * 5000]}))
    await create(fake, "behind")
    async with asyncio.timeout(TIMEOUT):
        async for event in subscription:
            if event.data:
                break
    assert fake.connections == 1


async def test_an_on_error_that_fails_ends_nothing(
    make_client: MakeClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    def on_error(error: DirectusRealtimeError) -> None:
        raise RuntimeError("in on_error")

    client = make_client(on_error=on_error)
    await within(client.connect())
    subscription = await within(client.subscribe("articles"))
    await fake.send_raw("garbage")
    await create(fake, "behind")
    assert await titles(subscription, 1) == ["behind"]
    assert "in on_error" in caplog.text


async def test_an_on_event_that_fails_ends_nothing(
    client: DirectusClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[Any] = []

    def on_event(event: Event) -> None:
        got.append(event.key)
        raise RuntimeError("in on_event")

    await within(client.subscribe("articles", on_event=on_event))
    await create(fake, "a")
    await create(fake, "b")
    await await_for(lambda: got == [1, 2])
    assert "in on_event" in caplog.text


async def test_subscriptions_that_ask_the_same_do_not_share_what_they_get(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    def change(event: Event) -> None:
        assert event.data is not None
        event.data["title"] = "changed by the first"

    await within(client.subscribe("articles", on_event=change))
    second = await within(client.subscribe("articles"))
    await create(fake, "a")
    assert await titles(second, 1) == ["a"]


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
    assert list(fake.requests) == ["GET /items/articles"] * 2
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


# Subscribing


async def test_a_subscribe_that_is_never_answered_is_refused(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(reply_timeout=0.1)
    await within(client.connect())
    fake.drop_next_subscribe_reply()
    with pytest.raises(SubscriptionRefused, match=r"did not answer the subscription within 0\.1 s"):
        await within(client.subscribe("articles"))
    await fake.wait_for(lambda fake: not fake.subscriptions)  # had whole or not at all
    subscription = await within(client.subscribe("articles"))
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]


async def test_a_collection_that_does_not_exist_is_refused_with_the_servers_sentence(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    with pytest.raises(SubscriptionRefused, match="permission") as caught:
        await within(client.subscribe("nothing"))
    assert caught.value.code == "FORBIDDEN"
    assert client.subscriptions == []
    assert fake.subscriptions == []


async def test_a_field_that_does_not_exist_is_refused(client: DirectusClient) -> None:
    with pytest.raises(SubscriptionRefused, match="nofield"):
        await within(client.subscribe("articles", fields=["nofield"]))


async def test_the_rate_limit_is_waited_out(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client()
    await within(client.connect())
    fake.rate_limit(2, 0.15)
    subscriptions = await within(
        asyncio.gather(*(client.subscribe("articles", filter={"id": {"_gt": n}}) for n in range(3)))
    )
    fake.rate_limit(None)
    assert len(fake.subscriptions) == 12
    assert len({uid for _, _, uid in fake.subscriptions}) == 12
    await create(fake, "a")
    assert await titles(subscriptions[0], 1) == ["a"]


async def test_a_filter_that_is_too_long_for_a_url_leaves_nobody_waiting(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    """Whether it is confirmed or refused, it has an answer."""
    many = {"id": {"_in": list(range(20_000))}}
    asking = asyncio.create_task(client.subscribe("articles", filter=many))
    done, _ = await asyncio.wait({asking}, timeout=TIMEOUT)
    asking.cancel()
    assert done
    if not isinstance(asking.exception(), SubscriptionRefused):
        await create(fake, "a")
        assert await titles(asking.result(), 1) == ["a"]


async def test_no_action_at_all_leaves_nobody_waiting(client: DirectusClient) -> None:
    with pytest.raises((ValueError, SubscriptionRefused)):
        await within(client.subscribe("articles", events=[]))


async def test_a_subscribe_that_was_given_up_leaves_no_subscription(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    fake.drop_next_subscribe_reply()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.subscribe("articles"), 0.2)
    assert client.subscriptions == []


async def test_a_subscribe_that_waits_ends_with_the_connection(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    fake.drop_next_subscribe_reply()
    waiting = asyncio.create_task(client.subscribe("articles"))
    await fake.wait_for(lambda fake: fake.subscriptions)
    await client.disconnect()
    done, _ = await asyncio.wait({waiting}, timeout=1)
    waiting.cancel()
    assert done


async def test_a_subscription_made_while_disconnected_is_had_later(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client()
    client.start()
    waiting = asyncio.create_task(client.subscribe("articles"))
    await asyncio.sleep(0)
    await within(client.connect())
    subscription = await within(waiting)
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]


async def test_a_subscribe_without_a_connection_waits_for_nothing(
    make_client: MakeClient,
) -> None:
    client = make_client()
    for _ in range(2):
        with pytest.raises(ConnectionFailed, match=r"not connected: await connect\(\) first"):
            await within(client.subscribe("articles"))
        assert client.subscriptions == []
        await within(client.connect())
        await within(client.disconnect())


async def test_a_subscribe_ends_with_a_connection_that_is_given_up(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    fake.refuse_tokens()
    client = make_client()
    client.start()
    for _ in range(2):  # while it is tried, and afterwards
        with pytest.raises(CredentialsRefused, match="Check TOKEN"):
            await within(client.subscribe("articles"))
    assert client.subscriptions == []


async def test_values_of_python_may_be_in_a_query(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    key = uuid.uuid4()
    await fake.create("notes", {"id": str(key), "title": "1.50"})
    subscription = await within(
        client.subscribe(
            "notes",
            filter={"title": {"_eq": Decimal("1.50")}, "id": {"_in": {key}}},
            item=key,  # type: ignore[arg-type]
            deep={"others": {"_filter": {"at": {"_lt": datetime(2024, 5, 1, tzinfo=UTC)}}}},
            snapshot=True,
        )
    )
    (event,) = await take(subscription, 1)
    assert (event.key, event.origin) == (str(key), "snapshot")


@pytest.mark.parametrize("what", ["events", "fields", "sort"])
async def test_a_text_is_not_taken_for_the_list_of_its_letters(
    client: DirectusClient, what: str
) -> None:
    options: Any = {what: "create"}
    with pytest.raises(ValueError, match=rf"{what} must be a list such as \['create'\]"):
        await within(client.subscribe("articles", **options))


async def test_an_option_that_does_not_exist_is_named_beside_those_that_do(
    client: DirectusClient,
) -> None:
    with pytest.raises(TypeError, match=r"no option 'query'.* events, filter, fields, sort, "):
        await within(client.subscribe("articles", query={"fields": ["id"]}))


async def test_async_callbacks_are_refused(client: DirectusClient, fake: FakeDirectus) -> None:
    async def callback(news: Any) -> None:
        """Nobody would await it."""

    for name in ("on_event", "on_error"):
        options: Any = {name: callback}
        with pytest.raises(TypeError, match=f"{name} must not be async"):
            await within(client.subscribe("articles", **options))
    with pytest.raises(TypeError, match="on_error must not be async"):
        DirectusClient(fake.url, token=TOKEN, on_error=callback)  # type: ignore[arg-type]
    assert client.subscriptions == []


async def test_a_refusal_after_a_reconnect_is_told_to_the_log_where_nobody_listens(
    make_client: MakeClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(reply_timeout=0.1)
    await within(client.connect())
    first = await within(client.subscribe("articles", name="first"))
    second = await within(client.subscribe("articles", name="second"))
    with pytest.raises(SubscriptionRefused):
        await within(client.subscribe("nothing", name="told by the exception"))
    fake.drop_next_subscribe_reply()
    await fake.cut()
    await await_for(lambda: first.state == second.state == "refused")
    told = [getattr(r, "subscription", "") for r in caplog.records if r.levelname == "WARNING"]
    assert told == ["first", "second"]
    assert "did not answer the subscription" in caplog.text


async def test_an_iteration_after_the_end_ends_too(client: DirectusClient) -> None:
    subscription = await within(client.subscribe("articles"))
    readers = [asyncio.create_task(anext(aiter(subscription), None)) for _ in range(2)]
    await asyncio.sleep(0)
    client.unsubscribe(subscription)
    assert await within(asyncio.gather(*readers)) == [None, None]
    assert await within(anext(aiter(subscription), None)) is None


async def test_a_uid_is_taken_once(client: DirectusClient) -> None:
    await within(client.subscribe("articles", uid="mine"))
    with pytest.raises(ValueError, match="'mine' is taken"):
        await within(client.subscribe("notes", uid="mine"))
    assert len(client.subscriptions) == 1


# Unsubscribing


async def test_unsubscribes_on_the_server(client: DirectusClient, fake: FakeDirectus) -> None:
    gone = await within(client.subscribe("articles"))
    kept = await within(client.subscribe("notes"))
    client.unsubscribe(gone)
    client.unsubscribe(gone)
    await fake.wait_for(lambda fake: {name for name, _, _ in fake.subscriptions} == {"notes"})
    assert [event async for event in gone] == []
    await fake.create("notes", {"title": "a"})
    assert await titles(kept, 1) == ["a"]


async def test_unsubscribes_all(client: DirectusClient, fake: FakeDirectus) -> None:
    await within(client.subscribe("articles"))
    await within(client.subscribe("notes"))
    client.unsubscribe_all()
    await fake.wait_for(lambda fake: not fake.subscriptions)
    assert client.subscriptions == []
    assert client.is_connected


async def test_what_was_unsubscribed_while_disconnected_is_not_asked_for_again(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    gone = await within(client.subscribe("articles"))
    await within(client.subscribe("notes"))
    await fake.stop_listening()
    await await_for(lambda: client.state is RECONNECTING)
    client.unsubscribe(gone)
    fake.received.clear()
    await fake.resume_listening()
    await until_reconnected(client, fake)
    asked = {m["collection"] for m in fake.received if m["type"] == "subscribe"}
    assert asked == {"notes"}


# Disconnecting


def server_sockets(fake: FakeDirectus) -> int:
    """Every open connection of the server, REST included."""
    assert fake._runner is not None
    assert fake._runner.server is not None
    return len(fake._runner.server.connections)


async def test_disconnecting_leaves_no_socket_and_may_be_done_twice(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(client.subscribe("articles"))
    await within(client.disconnect())
    await within(client.disconnect())
    assert client.state is DISCONNECTED
    assert client.reason == ""
    assert client.subscriptions == []
    assert [event async for event in subscription] == []
    await await_for(lambda: server_sockets(fake) == 0)


async def test_disconnecting_before_connecting_is_fine(make_client: MakeClient) -> None:
    client = make_client()
    await client.disconnect()
    client.start()
    await client.disconnect()
    assert client.state is DISCONNECTED


async def test_disconnecting_while_reconnecting(client: DirectusClient, fake: FakeDirectus) -> None:
    await fake.stop_listening()
    await await_for(lambda: client.state is RECONNECTING)
    await within(client.disconnect())
    assert client.state is DISCONNECTED


async def test_connects_again_after_a_disconnect(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await client.disconnect()
    await within(client.connect())
    subscription = await within(client.subscribe("articles"))
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]


async def test_a_client_of_another_event_loop_is_told_as_that(client: DirectusClient) -> None:
    for use in (client.connect, lambda: client.read_items("articles")):
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await asyncio.to_thread(asyncio.run, use())
    assert await within(client.read_items("articles")) == []


async def test_a_client_that_was_disconnected_may_go_to_another_event_loop(
    make_client: MakeClient,
) -> None:
    client = make_client()

    async def session() -> None:
        async with client:
            await within(client.subscribe("articles"))

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, session())


async def test_a_read_without_a_connection_leaves_no_socket(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await create(fake, "a")
    client = make_client()
    (item,) = await within(client.read_items("articles", fields=["title"]))
    assert item == {"title": "a"}
    await client.disconnect()
    await await_for(lambda: server_sockets(fake) == 0)


async def test_a_context_that_was_not_entered_in_time_leaves_no_task(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await fake.stop_listening()
    client = make_client()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.__aenter__(), 0.1)
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "directus-client"]


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
    monkeypatch.setattr("directus_realtime.testing.fake.gateway.SESSION_COOKIE", "cms_session")
    async with FakeDirectus(token=TOKEN, auth_mode="strict") as fake:
        client = make_client(fake.url)
        with caplog.at_level(logging.DEBUG, "directus_realtime"):
            await within(client.connect())
            await fake.cut()
            await await_for(lambda: fake.requests.count("GET /server/info") == 2)
            await await_for(lambda: client.is_connected)
        await client.disconnect()
    warned = [each for each in caplog.records if getattr(each, "what", "") == "token-in-url"]
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


async def test_directus_at_the_url_of_its_websocket_is_named(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(fake.websocket_url, connect_timeout=0.2)
    client.start()
    await await_for(lambda: "give its http or https URL, without /websocket" in client.reason)
    await client.disconnect()


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
