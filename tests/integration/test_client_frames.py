"""Frames that are not what Directus sends, and callbacks that fail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from directus_realtime.client import DirectusClient
from directus_realtime.events import Event
from directus_realtime.exceptions import (
    BadFrame,
    DirectusRealtimeError,
)
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.calling import create, titles, until_reconnected, within
from tests.integration.conftest import TIMEOUT, MakeClient

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
