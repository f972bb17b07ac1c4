from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.gateway import missed_events, topics
from directus_realtime.gateway.hub_tasks import current_hub
from directus_realtime.gateway.offers import Offer
from tests.integration.gateway.browsers import Browser, browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)


async def titles(browser: Browser, count: int) -> list[Any]:
    """What the next events are about: titles, and the keys of deletes."""
    found = []
    for _ in range(count):
        data = (await browser.next())["data"][0]
        found.append(data["title"] if isinstance(data, dict) else data)
    return found


async def test_what_was_missed_comes_from_memory() -> None:
    await offer()
    events = [event(number) for number in range(1, 5)]
    async with browsing() as staying:
        await staying.subscribe()
        await deliver(*events)
        await titles(staying, 4)
        async with browsing() as browser:
            init = await browser.subscribe(last_event_id=events[1].id, uid="1")
            assert init == {
                "type": "subscription",
                "event": "init",
                "resumed": True,
                "uid": "1",
            }
            assert await titles(browser, 2) == ["article 3", "article 4"]
            await deliver(event(5))
            assert await titles(browser, 1) == ["article 5"]
            assert await browser.is_silent()


async def test_what_was_missed_comes_from_the_inbox_after_a_restart() -> None:
    await offer()
    events = [event(1), event(2), event(2, "delete"), event(9, name="other"), event(3)]
    await deliver(*events)
    async with browsing() as browser:
        init = await browser.subscribe(last_event_id=events[0].id)
        assert init["resumed"] is True
        assert await titles(browser, 3) == ["article 2", 2, "article 3"]
        await deliver(event(4))
        assert await titles(browser, 1) == ["article 4"]
        assert await browser.is_silent()


@pytest.mark.parametrize("last", ["no uuid", "00000000-0000-4000-8000-000000000000", "foreign"])
async def test_an_event_that_is_not_known_means_to_read_again(last: str) -> None:
    await offer()
    foreign = event(9, name="other")
    await deliver(foreign, event(1))
    async with browsing() as browser:
        last = foreign.id if last == "foreign" else last
        init = await browser.subscribe(last_event_id=last)
        assert init["resumed"] is False
        assert init["data"] == []
        assert await browser.is_silent()


async def test_what_came_of_another_collection_is_not_handed_to_who_has_this_one() -> None:
    """The subscription was of salaries before it became one that everybody may have."""
    await offer()
    former = {"collection": "salaries", "data": {"id": 5, "title": "5000"}}
    secrets = [event(5, **former), event(6, **former)]
    await deliver(*secrets, event(1))
    async with browsing() as browser:
        assert (await browser.subscribe(last_event_id=secrets[0].id))["resumed"] is False
        await deliver(event(7, **former), event(2))  # one that had waited for its window
        assert await titles(browser, 1) == ["article 2"]
        assert await browser.is_silent()


async def test_too_much_means_to_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed_events, "MOST", 2)
    await offer()
    events = [event(number) for number in range(1, 5)]
    await deliver(*events)
    async with browsing() as browser:
        assert (await browser.subscribe(last_event_id=events[1].id, uid="a"))["resumed"] is True
        await titles(browser, 2)
        assert (await browser.subscribe(last_event_id=events[0].id, uid="b"))["resumed"] is False


async def test_too_long_ago_means_to_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed_events, "FAR", 2)
    await offer()
    events = [event(1), event(2), event(8, name="other"), event(9, name="other")]
    await deliver(*events)
    async with browsing() as browser:
        assert (await browser.subscribe(last_event_id=events[1].id, uid="a"))["resumed"] is True
        assert (await browser.subscribe(last_event_id=events[0].id, uid="b"))["resumed"] is False


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The events for which the inbox was asked what came after them."""
    asked, missed = [], missed_events.missed

    def noted(offer: Offer, event_id: str) -> Any:
        asked.append(event_id)
        return missed(offer, event_id)

    monkeypatch.setattr(missed_events, "missed", noted)
    return asked


async def test_browsers_that_saw_the_same_last_share_one_look(looks: list[str]) -> None:
    await offer()
    last = event(1)
    await deliver(last, event(2))
    async with browsing() as one, browsing() as other, browsing() as late:
        both = await asyncio.gather(*(b.subscribe(last_event_id=last.id) for b in (one, other)))
        assert [init["resumed"] for init in both] == [True, True]
        await deliver(event(3))
        for browser in (one, other):
            assert await titles(browser, 2) == ["article 2", "article 3"]
        assert (await late.subscribe(last_event_id=last.id))["resumed"] is True
        assert await titles(late, 2) == ["article 2", "article 3"]
        await deliver(event(4))
        for browser in (one, other, late):
            assert await titles(browser, 1) == ["article 4"]
            assert await browser.is_silent()
    assert looks == [last.id]


async def test_a_look_serves_as_long_as_all_that_came_after_it_is_remembered(
    looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "RING", 2)
    await offer()
    last = event(1)
    await deliver(last)
    async with browsing() as early, browsing() as late:
        await early.subscribe(last_event_id=last.id)
        await deliver(*(event(number) for number in range(2, 5)))
        await titles(early, 3)
        assert (await late.subscribe(last_event_id=last.id))["resumed"] is True
        assert await titles(late, 3) == ["article 2", "article 3", "article 4"]
        assert await late.is_silent()
    assert looks == [last.id, last.id]


async def test_looks_are_remembered_for_a_few_events_only(looks: list[str]) -> None:
    await offer()
    events = [event(number) for number in range(topics.MISSED + 2)]
    await deliver(*events)
    async with browsing() as browser:
        for number, last in enumerate([*events[:-1], events[0]]):
            await browser.subscribe(last_event_id=last.id, event="delete", uid=str(number))
        assert len(current_hub().topics["articles"].missed) == topics.MISSED
    assert looks == [*(each.id for each in events[:-1]), events[0].id]


async def test_an_event_that_was_sent_late_is_among_the_missed() -> None:
    """Delivery sends one whose debounce window ends after events with higher ids."""
    await offer()
    late, last = event(1), event(2)
    await deliver(late, sent=False)
    await deliver(last)
    await deliver_late(late.id)
    async with browsing() as browser:
        await browser.subscribe(last_event_id=last.id)
        assert await titles(browser, 1) == ["article 1"]


async def deliver_late(event_id: str) -> None:
    from django.utils import timezone

    from directus_realtime.models import InboxEvent

    now = timezone.now()
    row = InboxEvent.objects.filter(event_id=event_id)
    await row.aupdate(sent_at=now, done_at=now, state="done")


async def test_a_missed_delete_is_told_only_of_what_the_filter_had() -> None:
    await offer()
    seen = event(7)
    events = [event(1), event(2), seen, event(1, "delete"), event(2, "delete")]
    await deliver(*events)
    async with browsing() as browser:
        query = {"filter": {"id": {"_in": [2, 7]}}}
        await browser.subscribe(last_event_id=seen.id, query=query)
        assert await titles(browser, 1) == [2]
        assert await browser.is_silent()
