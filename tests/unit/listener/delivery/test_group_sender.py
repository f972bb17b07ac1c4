from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers

from directus_realtime.layers import InboxChannelLayer
from directus_realtime.listener.delivery import group_sender
from directus_realtime.listener.delivery.group_sender import GroupSender
from tests.helpers.manual_clock import ManualClock
from tests.helpers.waiting import DEADLINE
from tests.unit.listener.conftest import make_event


class Layer(InMemoryChannelLayer):
    """The in-memory layer, which can be away or slow."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, Exception] = {}
        self.is_stuck = False
        self.is_closed = False
        self.asked = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.asked += 1
        if self.is_stuck:
            await asyncio.Event().wait()
        if error := self.errors.get(message.get("id", "")) or self.errors.get("*"):
            raise error
        await super().group_send(group, message)

    async def close_pools(self) -> None:
        self.is_closed = True

    async def received(self, *groups: str) -> None:
        """Join groups."""
        for group in groups:
            await self.group_add(group, "consumer")

    async def messages(self) -> list[dict[str, Any]]:
        """All that waits for the consumer."""
        queue = self.channels.get("consumer")
        return [await self.receive("consumer") for _ in range(queue.qsize() if queue else 0)]


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    layer = Layer()
    monkeypatch.setitem(channel_layers.backends, "default", layer)
    return layer


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "directus_realtime")
    return caplog


async def test_an_event_goes_to_the_groups_of_its_collection_and_its_item(layer: Layer) -> None:
    await layer.received("directus.articles", "directus.articles.42")
    event = make_event(42)
    await GroupSender().send_events([(event, "")])
    found = await layer.messages()
    assert [message["id"] for message in found] == [event.id, event.id]
    assert {message["type"] for message in found} == {"directus.event"}


async def test_the_own_group_of_a_subscription_replaces_the_collections(layer: Layer) -> None:
    await layer.received("directus.articles", "news")
    await GroupSender().send_events([(make_event(1, "a"), "news")])
    assert [message["data"]["title"] for message in await layer.messages()] == ["a"]


async def test_events_keep_their_order(layer: Layer) -> None:
    await layer.received("directus.articles")
    await GroupSender().send_events([(make_event(n), "") for n in range(20)])
    assert [message["key"] for message in await layer.messages()] == list(range(20))


async def test_the_state_of_a_connection(layer: Layer) -> None:
    await layer.received("directus_connection.default")
    await GroupSender().send_state("default", "reconnecting", "why")
    assert await layer.messages() == [
        {
            "type": "directus.connection",
            "connection": "default",
            "state": "reconnecting",
            "reason": "why",
        }
    ]


async def test_one_message_that_cannot_be_sent_takes_no_neighbour_along(
    layer: Layer, log: pytest.LogCaptureFixture
) -> None:
    await layer.received("directus.articles")
    bad, good = make_event(1), make_event(2)
    layer.errors[bad.id] = OverflowError("int too big")
    await GroupSender().send_events([(bad, ""), (good, "")])
    assert [message["id"] for message in await layer.messages()] == [good.id]
    assert "cannot be sent and are dropped: OverflowError: int too big" in log.text


async def test_an_unavailable_layer_is_logged_once_and_its_recovery_too(
    layer: Layer, log: pytest.LogCaptureFixture
) -> None:
    sender = GroupSender()
    layer.errors["*"] = ConnectionError("refused")
    for _ in range(3):
        await sender.send_events([(make_event(), "")])
    layer.errors.clear()
    await sender.send_events([(make_event(), "")])
    await sender.send_events([(make_event(), "")])
    assert [record.getMessage() for record in log.records] == [
        "Group messages cannot be sent and are dropped: ConnectionError: refused",
        "Group messages are sent again; 6 were dropped.",
    ]


async def test_nothing_to_send_is_no_sign_that_the_layer_is_back(
    layer: Layer, log: pytest.LogCaptureFixture
) -> None:
    sender = GroupSender()
    layer.errors["*"] = ConnectionError("refused")
    await sender.send_events([(make_event(), "")])
    await sender.send_events([])  # a retry: its message was sent at the first try
    assert "sent again" not in log.text
    assert sender.dropped == 2


async def test_a_layer_that_hangs_delays_for_a_bounded_time(
    layer: Layer, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_sender, "TIMEOUT", 0.05)
    layer.is_stuck = True
    sender = GroupSender()
    await asyncio.wait_for(sender.send_events([(make_event(), "")]), DEADLINE)
    assert sender.dropped == 2
    assert "TimeoutError" in log.text


async def test_a_layer_that_hangs_is_left_alone_for_a_while(
    layer: Layer, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch would wait for the time-out: some ten events a minute, and no more."""
    monkeypatch.setattr(group_sender, "TIMEOUT", 0.05)
    layer.is_stuck = True
    clock = ManualClock()
    sender = GroupSender(clock)
    for _ in range(100):
        await sender.send_events([(make_event(), "")])
    assert (layer.asked, sender.dropped) == (2, 200)  # both groups of the first event
    layer.is_stuck = False
    clock.advance(group_sender.PAUSE)
    await sender.send_events([(make_event(), "")])
    assert "Group messages are sent again; 200 were dropped." in log.text


async def test_without_a_layer_nothing_is_sent(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    sender = GroupSender()
    await sender.send_events([(make_event(), "")])
    await sender.send_state("default", "connected", "")
    await sender.aclose()
    assert sender.dropped == 0


async def test_the_inbox_layer_reads_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sent(InboxChannelLayer):
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            raise AssertionError("sent twice")

    monkeypatch.setitem(channel_layers.backends, "default", Sent())
    sender = GroupSender()
    await sender.send_events([(make_event(), "")])
    assert sender.dropped == 0


async def test_closes_the_connections_of_the_layer(layer: Layer) -> None:
    await GroupSender().aclose()
    assert layer.is_closed
