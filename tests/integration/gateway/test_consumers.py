"""The consumer that a project mixes into its own."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.gateway import group_subscriber
from directus_realtime.gateway.consumers import DirectusConsumer
from directus_realtime.groups import (
    connection_group_name,
    connection_message,
    event_message,
    group_name,
)
from directus_realtime.models import ConnectionStatus
from tests.helpers.waiting import await_for

pytestmark = pytest.mark.django_db(transaction=True)

ARTICLES = group_name("articles")


@pytest.fixture(autouse=True)
def configured(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": "http://127.0.0.1:9", "TOKEN": "x"}}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


class ArticlesConsumer(DirectusConsumer):
    directus_groups = (ARTICLES,)


class FailingConsumer(ArticlesConsumer):
    async def directus_event(self, message: dict[str, Any]) -> None:
        raise RuntimeError("no")


async def connected(consumer: type[DirectusConsumer] = ArticlesConsumer) -> WebsocketCommunicator:
    """A browser that was told of the connection's state."""
    socket = WebsocketCommunicator(consumer.as_asgi(), "/articles/")
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from(5))["state"] == "disconnected"
    return socket


async def send() -> str:
    event = Event(
        connection="default",
        subscription="articles",
        collection="articles",
        action="update",
        key=1,
        data={"title": "x"},
    )
    await get_channel_layer().group_send(ARTICLES, event_message(event))
    return event.id


def rejoining() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().endswith("rejoining")]


async def test_it_hands_on_events_until_it_leaves() -> None:
    socket = await connected()
    sent = await send()
    assert (await socket.receive_json_from(5))["id"] == sent
    await socket.disconnect()
    assert not any(get_channel_layer().groups.values())
    await await_for(lambda: not rejoining())


async def test_browsers_are_told_no_addresses() -> None:
    """The reason of a listener names those of Directus."""
    reason = "Cannot reach http://directus.internal:8055 (Connection refused)."
    now = timezone.now()
    await ConnectionStatus.objects.acreate(
        alias="default", state="reconnecting", reason=reason, changed_at=now, heartbeat_at=now
    )
    socket = WebsocketCommunicator(ArticlesConsumer.as_asgi(), "/articles/")
    assert (await socket.connect())[0]
    message = connection_message("default", "reconnecting", reason)
    await get_channel_layer().group_send(connection_group_name("default"), message)
    told = [await socket.receive_json_from(5) for _ in range(2)]
    assert [each["state"] for each in told] == ["reconnecting", "reconnecting"]
    assert {each["reason"] for each in told} == {"Directus cannot be reached at the moment."}
    await socket.disconnect()


async def test_it_has_joined_before_the_browser_is_told_that_it_is_connected() -> None:
    joined: list[set[str]] = []

    class Watched(ArticlesConsumer):
        async def accept(self, *args: Any, **kwargs: Any) -> None:
            joined.append(set(get_channel_layer().groups))
            await super().accept(*args, **kwargs)

    socket = await connected(Watched)
    assert joined == [{ARTICLES, connection_group_name("default")}]
    await socket.disconnect()


async def test_what_the_layer_forgot_of_an_old_browser_is_joined_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_subscriber, "REJOIN_AFTER", 0.01)
    socket = await connected()
    get_channel_layer().groups.clear()  # as layers do after a day
    await await_for(lambda: len(get_channel_layer().groups) == 2)
    sent = await send()
    assert (await socket.receive_json_from(5))["id"] == sent
    await socket.disconnect()


async def test_a_layer_that_is_away_is_joined_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(group_subscriber, "REJOIN_AFTER", 0.01)
    socket = await connected()
    layer = get_channel_layer()

    async def away(*args: Any) -> None:
        raise ConnectionError("away")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "directus_realtime"):
        patch.setattr(layer, "group_add", away)
        await await_for(lambda: len(caplog.records) >= 2)
    assert {getattr(record, "event", "") for record in caplog.records} == {"consumer-not-rejoined"}
    layer.groups.clear()
    await await_for(lambda: len(layer.groups) == 2)
    await socket.disconnect()


@pytest.mark.parametrize("content", [{"text_data": "no JSON"}, {"bytes_data": b"x"}], ids=str)
async def test_a_browser_that_makes_its_consumer_fail_leaves_nothing_in_the_groups(
    content: dict[str, Any],
) -> None:
    socket = await connected()
    assert get_channel_layer().groups
    await socket.send_to(**content)
    with pytest.raises(ValueError, match=r"Expecting value|No text section"):
        await socket.receive_output(5)
    assert not any(get_channel_layer().groups.values())
    await await_for(lambda: not rejoining())


async def test_a_consumer_that_fails_is_told_with_its_own_error_while_the_layer_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    socket = await connected(FailingConsumer)
    await send()

    async def away(*args: Any) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(get_channel_layer(), "group_discard", away)
    with pytest.raises(RuntimeError):
        await socket.receive_output(5)


async def test_a_consumer_that_failed_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_subscriber, "REJOIN_AFTER", 0.01)
    socket = await connected(FailingConsumer)
    await send()
    with pytest.raises(RuntimeError):
        await socket.receive_output(5)
    del socket
    await await_for(lambda: gc.collect() >= 0 and not rejoining())
