"""The listener, in this process, against what a real server cannot be told to do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.listener import status
from directus_realtime.listener.listener import Listener
from directus_realtime.models import ConnectionStatus, DirectusSubscription, InboxEvent
from directus_realtime.settings import ConnectionSettings
from directus_realtime.signals import (
    directus_connection_changed,
    directus_event,
    directus_gap_detected,
    directus_subscription_failed,
)
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import POLL_INTERVAL, await_for
from tests.integration.conftest import TOKEN, Stub

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT = 10.0


class Received:
    """What the receivers of the test got."""

    def __init__(self) -> None:
        self.titles: list[Any] = []
        self.states: list[str] = []
        self.gaps: list[dict[str, Any]] = []
        self.refusals: list[tuple[str, str]] = []

    def event(self, event: Event, **kwargs: Any) -> None:
        self.titles.append((event.data or {}).get("title"))

    def state(self, state: str, **kwargs: Any) -> None:
        self.states.append(state)

    def gap(self, since: Any, until: Any, recovered: bool, **kwargs: Any) -> None:
        self.gaps.append({"since": since, "until": until, "recovered": recovered})

    def refusal(self, sender: str, subscription: str, error: str, **kwargs: Any) -> None:
        self.refusals.append((subscription, error))


@pytest.fixture
async def received() -> AsyncIterator[Received]:
    received = Received()
    connected = [
        (directus_event, received.event),
        (directus_connection_changed, received.state),
        (directus_gap_detected, received.gap),
        (directus_subscription_failed, received.refusal),
    ]
    for signal, receiver in connected:
        signal.connect(receiver)
    yield received
    for signal, receiver in connected:
        signal.disconnect(receiver)


def connection(url: str, **values: Any) -> ConnectionSettings:
    return ConnectionSettings(**{"alias": "default", "url": url, "token": TOKEN, **values})


@asynccontextmanager
async def listening(*connections: ConnectionSettings) -> AsyncIterator[asyncio.Task[None]]:
    stopping = asyncio.Event()
    task = asyncio.create_task(Listener(connections).run(stopping))
    try:
        yield task
    finally:
        stopping.set()
        await asyncio.wait_for(task, TIMEOUT)


async def subscribe(name: str = "all", **values: Any) -> DirectusSubscription:
    return await DirectusSubscription.objects.acreate(
        **{"name": name, "collection": "articles", **values}
    )


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until a condition about the database is true."""
    async with asyncio.timeout(TIMEOUT):
        # The database tells nobody of a change.
        while not await sync_to_async(condition)():  # noqa: ASYNC110
            await asyncio.sleep(POLL_INTERVAL)


def state_is(name: str, state: str) -> Callable[[], bool]:
    return lambda: DirectusSubscription.objects.filter(name=name, state=state).exists()


async def create(fake: FakeDirectus, title: str) -> None:
    await fake.create("articles", {"title": title})


async def until_subscribed(fake: FakeDirectus, count: int = 3) -> None:
    await fake.wait_for(lambda fake: len(fake.subscriptions) == count, TIMEOUT)


async def test_a_change_becomes_a_signal(fake: FakeDirectus, received: Received) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
    row = await InboxEvent.objects.aget()
    assert row.state == "done"
    assert received.states == ["connected", "disconnected"]
    status = await ConnectionStatus.objects.aget()
    assert (status.state, status.version) == ("disconnected", "11.17.4")


async def test_stopping_in_the_middle_of_a_burst_loses_nothing_and_raises_nothing(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        for number in range(300):
            await create(fake, str(number))
        await await_for(lambda: received.titles)
    stored = [row.to_event() async for row in InboxEvent.objects.order_by("id")]
    titles = [(event.data or {})["title"] for event in stored]
    assert titles == [str(number) for number in range(len(titles))]
    assert received.titles == titles[: len(received.titles)]


async def test_subscriptions_change_on_the_same_socket(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await subscribe("more", collection="notes", on_delete=False)
        await until_subscribed(fake, 5)
        await DirectusSubscription.objects.filter(pk=row.pk).aupdate(enabled=False)
        await until_subscribed(fake, 2)
        await DirectusSubscription.objects.all().adelete()
        await until_subscribed(fake, 0)
        assert [message["type"] for message in fake.received].count("auth") == 1


async def test_a_subscription_made_anew_under_its_old_name_shows_its_state(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until(state_is("all", "subscribed"))
        await DirectusSubscription.objects.all().adelete()
        await until_subscribed(fake, 0)
        await subscribe()
        await until_subscribed(fake)
        await until(state_is("all", "subscribed"))


async def test_a_refused_subscription_is_told_and_takes_no_other_along(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe("bad", fields=["nofield"])
    await subscribe("good")
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until(state_is("bad", "refused"))
        await until(state_is("good", "subscribed"))
        bad = await DirectusSubscription.objects.aget(name="bad")
        assert "nofield" in bad.last_error
        assert received.refusals == [("bad", bad.last_error)]
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])


async def test_garbage_is_counted_and_its_neighbours_are_delivered(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "before")
        for frame in ("garbage", "[]", '{"type":"x"}', b"\xff", '{"token":"hidden-1"}'):
            await fake.send_raw(frame)
        await create(fake, "behind")
        await await_for(lambda: received.titles == ["before", "behind"])
        await until(lambda: ConnectionStatus.objects.filter(errors=5).exists())
    assert "The frame is not JSON: garbage" in caplog.text
    assert "hidden-1" not in caplog.text


async def test_a_lost_connection_is_a_gap(fake: FakeDirectus, received: Received) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await fake.cut()
        await await_for(lambda: len(received.gaps) == 1)
    (gap,) = received.gaps
    assert gap["since"] < gap["until"]
    assert not gap["recovered"]
    assert received.states == ["connected", "reconnecting", "connected", "disconnected"]


async def test_an_expired_token_is_a_gap(fake: FakeDirectus, received: Received) -> None:
    """Directus drops, or sends unchecked, what changes between the expiry and the renewal."""
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await fake.expire_tokens()
        await await_for(lambda: len(received.gaps) == 1, 5)


async def test_odd_contents_reach_the_receivers(fake: FakeDirectus, received: Received) -> None:
    row = await subscribe()
    titles = ["nul \0", "half a pair \ud83d", "<script>", "x" * 100_000]
    async with listening(connection(fake.url)):
        await until(state_is("all", "subscribed"))
        uid = next(uid for _, event, uid in fake.subscriptions if event == "create")
        for number, title in enumerate(titles):
            data = [{"id": number, "title": title}]
            message = {"type": "subscription", "event": "create", "data": data, "uid": uid}
            await fake.send_raw(json.dumps(message))
        await await_for(lambda: received.titles == titles)
        await until(lambda: DirectusSubscription.objects.filter(pk=row.pk, event_count=4).exists())


async def test_a_server_that_says_long_and_odd_things_is_written_down(
    stub: Stub, received: Received
) -> None:
    from aiohttp import web

    version = "11.17.4" + "x" * 500 + "\ud800\0"
    rest = {"authentication": "handshake", "path": "/websocket"}
    info = {"project": {}, "version": version, "websocket": {"rest": rest}}
    stub.statuses["/server/info"] = lambda: web.json_response({"data": info})
    stub.on_socket = stub.answer
    async with listening(connection(stub.url)) as task:
        await await_for(lambda: task.done() or received.states == ["connected"])
        await until(lambda: ConnectionStatus.objects.filter(state="connected").exists())


async def test_no_connection_that_can_be_had_ends_the_listener(
    fake: FakeDirectus, received: Received
) -> None:
    with pytest.raises(ConnectionImpossible, match="Check TOKEN"):
        await asyncio.wait_for(
            Listener([connection(fake.url, token="wrong")]).run(asyncio.Event()), TIMEOUT
        )
    status = await ConnectionStatus.objects.aget()
    assert status.state == "disconnected"
    assert "Check TOKEN" in status.reason


async def test_one_connection_that_cannot_be_had_disturbs_no_other(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    bad = connection(fake.url, alias="bad", token="wrong")
    async with listening(bad, connection(fake.url)) as task:
        await until_subscribed(fake)
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
        assert not task.done()


async def test_a_listener_can_be_stopped_while_the_server_is_away(
    fake: FakeDirectus, received: Received
) -> None:
    await fake.stop_listening()
    async with listening(connection(fake.url)):
        await await_for(lambda: received.states == ["reconnecting"])
    assert received.states == ["reconnecting", "disconnected"]


async def test_a_receiver_that_hangs_stops_neither_the_heartbeat_nor_the_inbox(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "HEARTBEAT_INTERVAL", 0.05)
    entered, go_on = threading.Event(), threading.Event()

    def hang(sender: str, event: Event, **kwargs: Any) -> None:
        entered.set()
        assert go_on.wait(10)

    def beats_after(at: datetime) -> Callable[[], bool]:
        return lambda: ConnectionStatus.objects.filter(heartbeat_at__gt=at).exists()

    directus_event.connect(hang)
    await subscribe()
    try:
        async with listening(connection(fake.url)):
            await until_subscribed(fake)
            await create(fake, "a")
            await await_for(entered.is_set)
            try:
                await until(beats_after(timezone.now()))
                await create(fake, "b")
                await until(lambda: InboxEvent.objects.count() == 2)
            finally:
                go_on.set()
    finally:
        directus_event.disconnect(hang)
