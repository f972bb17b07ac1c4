from __future__ import annotations

from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import OperationalError
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.gateway import group_subscriber, missed_events
from directus_realtime.gateway.missed_events import messages
from directus_realtime.gateway.topics import Topic
from directus_realtime.groups import event_message, group_name
from directus_realtime.models import InboxEvent
from tests.conftest import RedisServer
from tests.integration.gateway.browsers import browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)

lossy = pytest.mark.usefixtures("lossy_layer", "often")


async def send(event: Event) -> None:
    """Have a group message arrive."""
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group_name("articles"), event_message(event))


@lossy
async def test_events_whose_group_messages_are_lost_arrive_in_order() -> None:
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        await deliver(event(1), event(9, name="other"), event(2), event(1, "update"))
        told = [await browser.next() for _ in range(3)]
        assert [(message["event"], message["data"][0]["id"]) for message in told] == [
            ("create", 1),
            ("create", 2),
            ("update", 1),
        ]
        assert await browser.is_silent()


@lossy
async def test_an_event_that_arrives_twice_is_told_once() -> None:
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        first, second = event(1), event(2)
        await send(first)
        assert (await browser.next())["id"] == first.id
        await deliver(first, second)
        assert (await browser.next())["id"] == second.id
        await send(second)
        await send(third := event(3))
        assert (await browser.next())["id"] == third.id


@lossy
async def test_a_lost_event_is_not_told_after_a_newer_one_of_its_item() -> None:
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        lost, newer = event(1), event(1, "update", data={"id": 1, "title": "newer"})
        await send(newer)
        await browser.next()
        await deliver(lost, newer, other := event(2))
        assert (await browser.next())["id"] == other.id
        assert await browser.is_silent()


@lossy
async def test_an_event_that_is_not_delivered_yet_holds_back_those_behind_it() -> None:
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        await deliver(waiting := event(1), sent=False)
        await deliver(behind := event(2))
        from tests.integration.gateway.test_missed_events import deliver_late

        assert await browser.is_silent()
        await deliver_late(waiting.id)
        assert [(await browser.next())["id"] for _ in range(2)] == [waiting.id, behind.id]


@lossy
@pytest.mark.parametrize("state", ["pending", "delivering"])
async def test_an_event_that_waited_when_the_browser_came_arrives(state: str) -> None:
    await offer()
    await deliver(waiting := event(1), sent=False)
    row = InboxEvent.objects.filter(event_id=waiting.id)
    await row.aupdate(state=state)
    await deliver(event(2))
    async with browsing() as browser:
        await browser.subscribe()
        await row.aupdate(state="done", sent_at=timezone.now())
        assert (await browser.next())["id"] == waiting.id
        assert await browser.is_silent()


@lossy
async def test_an_event_that_cannot_be_handed_over_keeps_back_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = Topic.record

    def fails_for_one(self: Topic, message: Any) -> Any:
        if message["key"] == 1:
            raise RuntimeError("a mistake")
        return record(self, message)

    monkeypatch.setattr(Topic, "record", fails_for_one)
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        await deliver(event(1), other := event(2))
        assert (await browser.next())["id"] == other.id


@lossy
async def test_a_look_that_breaks_off_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [OperationalError("server closed the connection")]

    def fails_once(rows: Any) -> Any:
        if errors:
            raise errors.pop()
        return messages(rows)

    monkeypatch.setattr(missed_events, "messages", fails_once)
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        await deliver(lost := event(1))
        assert (await browser.next())["id"] == lost.id
        assert not errors


@pytest.mark.usefixtures("often")
async def test_what_the_inbox_layer_has_no_room_for_arrives(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "directus_realtime.layers.InboxChannelLayer",
            "CONFIG": {"capacity": 3},
        }
    }
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        await deliver(*(event(number) for number in range(20)))
        told = {(await browser.next())["data"][0]["id"] for _ in range(20)}
        assert told == set(range(20))
        assert await browser.is_silent()


@pytest.mark.redis
@pytest.mark.usefixtures("often")
async def test_a_redis_that_goes_away_and_comes_back_loses_nothing(
    redis_server: RedisServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("channels_redis")
    monkeypatch.setattr(group_subscriber, "INTERVAL", 0.1)
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_server.url]},
        }
    }
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        await send(live := event(1))
        assert (await browser.next())["id"] == live.id
        redis_server.stop()
        await deliver(live, away := event(2))
        assert (await browser.next())["id"] == away.id
        async with browsing() as late:  # it can subscribe although the layer is away
            await late.subscribe()
            redis_server.start()
            await deliver(back := event(3))
            assert (await browser.next())["id"] == (await late.next())["id"] == back.id
