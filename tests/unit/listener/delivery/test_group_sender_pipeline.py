"""Messages in one round trip, on the layer of channels-redis and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from directus_realtime.listener.delivery import group_sender
from directus_realtime.listener.delivery.group_sender import send_all
from tests.conftest import RedisServer
from tests.helpers.waiting import DEADLINE

# The support matrix has cells without the extra "redis".
pubsub = pytest.importorskip("channels_redis.pubsub", exc_type=ImportError)

GROUPS = ("directus.articles", "directus.articles.1")


@pytest.fixture
async def layer(redis_server: RedisServer) -> AsyncIterator[Any]:
    layer: Any = pubsub.RedisPubSubChannelLayer(hosts=[redis_server.url])
    yield layer
    await layer.flush()


async def join(layer: Any, *groups: str) -> str:
    channel: str = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    return channel


async def received(layer: Any, channel: str, count: int) -> list[Any]:
    async with asyncio.timeout(DEADLINE):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


@pytest.mark.parametrize("is_known", [True, False])
async def test_each_group_gets_its_messages_in_order(
    layer: Any, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    if not is_known:
        monkeypatch.setattr(group_sender, "_LAYER_NAMES", ("a_name_of_the_future",))
    channels = [await join(layer, group) for group in GROUPS]
    messages = [(GROUPS, {"type": "directus.event", "n": n}) for n in range(300)]
    assert await send_all(layer, messages) == []
    for channel in channels:
        assert await received(layer, channel, 300) == list(range(300))


async def test_known_layers_take_one_round_trip(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_by_one(*arguments: Any) -> None:
        raise AssertionError("sent one by one")

    monkeypatch.setattr(group_sender, "_send_one_by_one", one_by_one)
    assert await send_all(layer, [(GROUPS, {"type": "directus.event"})]) == []


async def test_a_message_that_cannot_be_packed_takes_no_neighbour_along(layer: Any) -> None:
    channel = await join(layer, GROUPS[0])
    messages = [(GROUPS, {"type": "directus.event", "n": n}) for n in (1, 2**70, 3)]
    errors = await send_all(layer, messages)
    assert [type(error) for error in errors] == [OverflowError] * 2
    assert await received(layer, channel, 2) == [1, 3]


async def test_an_unavailable_redis_is_an_error_for_each_message_and_recovers(
    layer: Any, redis_server: RedisServer
) -> None:
    messages = [(GROUPS, {"type": "directus.event", "n": 1})]
    assert await send_all(layer, messages) == []
    redis_server.stop()
    assert len(await send_all(layer, messages)) == 2
    redis_server.start()
    async with asyncio.timeout(DEADLINE):
        while await send_all(layer, messages):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.05)
