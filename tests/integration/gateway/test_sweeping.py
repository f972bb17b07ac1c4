from __future__ import annotations

import pytest
from channels.layers import get_channel_layer

from directus_realtime.events import Event
from directus_realtime.groups import event_message, group_name
from tests.integration.gateway.browsers import browsing, deliver, event, offer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("lossy_layer", "often"),
]


async def send(event: Event) -> None:
    """Have a group message arrive."""
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group_name("articles"), event_message(event))


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


async def test_an_event_that_is_not_delivered_yet_holds_back_those_behind_it() -> None:
    await offer()
    async with browsing() as browser:
        await browser.subscribe()
        await deliver(waiting := event(1), sent=False)
        await deliver(behind := event(2))
        from tests.integration.gateway.test_resuming import deliver_late

        assert await browser.is_silent()
        await deliver_late(waiting.id)
        assert [(await browser.next())["id"] for _ in range(2)] == [waiting.id, behind.id]
