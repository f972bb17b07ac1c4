from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

from directus_realtime.gateway import DirectusGateway
from directus_realtime.models import ConnectionStatus
from directus_realtime.utils.system_clock import SystemClock
from tests.integration.gateway.browsers import TIMEOUT, browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_message_that_is_too_big_ends_the_connection() -> None:
    async with browsing(DirectusGateway.as_asgi(max_message_size=100)) as browser:
        await browser.send({"type": "ping", "uid": "x" * 70})
        assert (await browser.next())["type"] == "pong"
        await browser.send({"type": "ping", "uid": "é" * 50})
        assert await browser.closed() == (1009, "The message is too big.")


async def test_too_many_messages_are_dropped_and_a_flood_ends_the_connection() -> None:
    gateway = DirectusGateway.as_asgi(messages_per_second=0.001, burst=2)
    async with browsing(gateway) as browser:
        for _ in range(3):
            await browser.send({"type": "ping"})
        assert [(await browser.next())["type"] for _ in range(2)] == ["pong", "pong"]
        refused = await browser.next()
        assert (refused["type"], refused["error"]["code"]) == ("server", "REQUESTS_EXCEEDED")
        assert refused["error"]["message"].startswith("Too many messages, retry after ")
        for _ in range(1001):
            await browser.send({"type": "ping"})
        assert await browser.closed() == (1008, "The browser sends too many messages.")


async def test_a_browser_has_so_many_subscriptions_and_no_more() -> None:
    await offer()
    async with browsing(DirectusGateway.as_asgi(max_subscriptions=2)) as browser:
        await browser.subscribe(uid="1")
        await browser.subscribe(uid="2")
        assert (await browser.subscribe(uid="2"))["event"] == "init"
        assert (await browser.subscribe(uid="3"))["error"]["code"] == "LIMIT_EXCEEDED"
        await browser.send({"type": "unsubscribe", "uid": "1"})
        await browser.next()
        assert (await browser.subscribe(uid="3"))["event"] == "init"


async def test_a_browser_whose_subscribes_take_long_leaves_time_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs, paused = iter([0.0, 0.5, 0.5, 0.5, 0.5, 4.5]), []

    sleep = SystemClock.sleep

    async def sleep_or_note(self: SystemClock, seconds: float) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "directus-gateway-browser":
            paused.append(seconds)
        else:
            await sleep(self, seconds)

    monkeypatch.setattr(
        "directus_realtime.gateway.subscription_requests.thread_time", lambda: next(costs)
    )
    monkeypatch.setattr(SystemClock, "sleep", sleep_or_note)
    await offer()
    async with browsing() as browser:
        for uid in ("1", "2", "3"):
            assert (await browser.subscribe(uid=uid))["event"] == "init"
        assert await browser.is_silent()
    assert paused == [1.0, 8.0]


@pytest.mark.usefixtures("often")
async def test_who_does_not_answer_pings_is_dropped() -> None:
    gateway = DirectusGateway.as_asgi(heartbeat=0.05, pong_timeout=0.1)
    async with browsing(gateway) as browser:
        assert await browser.closed() == (4408, "The browser did not answer a ping in time.")


@pytest.mark.usefixtures("often")
async def test_who_answers_pings_stays() -> None:
    gateway = DirectusGateway.as_asgi(heartbeat=0.05, pong_timeout=TIMEOUT)
    async with browsing(gateway) as browser:
        for _ in range(3):
            assert json.loads((await browser.raw())["text"]) == {"type": "ping"}
            await browser.send({"type": "pong"})
        assert await browser.is_silent()


async def test_who_reads_nothing_is_dropped_and_the_others_are_not() -> None:
    await offer(fields=["id", "title"])
    gateway = DirectusGateway.as_asgi(max_unread=20_000, pong_timeout=600)
    async with browsing(gateway) as reading, browsing(gateway) as deaf:
        await reading.subscribe()
        await deaf.subscribe()
        for number in range(40):  # 40 KB in all
            await deliver(event(number, data={"id": number, "title": "x" * 1000}))
            assert (await reading.next())["data"][0]["id"] == number
            if number % 5 == 0:
                await reading.send({"type": "pong"})
        assert await deaf.closed() == (1013, "The browser does not read what it is sent.")


class PushingBack:
    """A server whose browser takes nothing: ``send`` waits."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_slowly(message: Any) -> None:
            await self.may_send.wait()
            await send(message)

        try:
            await self._gateway(scope, receive, send_slowly)
        finally:
            self.ended.set()


async def test_a_server_that_pushes_back_keeps_the_order() -> None:
    await offer()
    gateway = DirectusGateway.as_asgi()
    slow = PushingBack(gateway)
    async with browsing(gateway) as other, browsing(slow) as browser:
        await other.subscribe()
        await browser.subscribe()
        slow.may_send.clear()
        await deliver(*(event(number) for number in range(5)))
        for _ in range(5):
            await other.next()
        slow.may_send.set()
        assert [(await browser.next())["data"][0]["id"] for _ in range(5)] == list(range(5))


async def test_a_browser_that_takes_nothing_more_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from directus_realtime.gateway import gateway as module

    monkeypatch.setattr(module, "_CLOSE_TIMEOUT", 0.05)
    await offer()
    gateway = DirectusGateway.as_asgi(max_unread=2_000)
    slow = PushingBack(gateway)
    async with browsing(gateway) as other:
        communicator = WebsocketCommunicator(slow, "/directus/")  # type: ignore[no-untyped-call]
        await communicator.connect(timeout=TIMEOUT)
        await communicator.send_to(
            text_data=json.dumps({"type": "subscribe", "collection": "articles"})
        )
        await communicator.receive_json_from(TIMEOUT)
        await other.subscribe(event="create")
        slow.may_send.clear()
        for number in range(30):
            await deliver(event(number))
            await other.next()
            if number % 3 == 0:
                await other.send({"type": "pong"})
        await asyncio.wait_for(slow.ended.wait(), TIMEOUT)
        await communicator.wait()


async def test_the_state_of_the_connection_is_told_truthfully(often: None) -> None:
    from django.utils import timezone

    await offer()
    async with browsing() as browser:
        await browser.send({"type": "subscribe", "collection": "articles"})
        assert (await browser.next())["event"] == "init"
        states = [json.loads((await browser.raw())["text"])]
        status = ConnectionStatus(
            alias="default",
            state="reconnecting",
            reason="http://10.0.0.7 does not answer",
            changed_at=timezone.now(),
            heartbeat_at=timezone.now(),
        )
        await status.asave()
        states.append(json.loads((await browser.raw())["text"]))
        status.state, status.reason = "connected", ""
        await status.asave()
        states.append(json.loads((await browser.raw())["text"]))
    assert states == [
        {
            "type": "connection",
            "connection": "default",
            "state": "disconnected",
            "reason": "Nobody listens to Directus at the moment.",
        },
        {
            "type": "connection",
            "connection": "default",
            "state": "reconnecting",
            "reason": "Directus cannot be reached at the moment.",
        },
        {"type": "connection", "connection": "default", "state": "connected", "reason": ""},
    ]
