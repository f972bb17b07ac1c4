from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.gateway import resuming
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


async def test_too_much_means_to_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "MOST", 2)
    await offer()
    events = [event(number) for number in range(1, 5)]
    await deliver(*events)
    async with browsing() as browser:
        assert (await browser.subscribe(last_event_id=events[1].id, uid="a"))["resumed"] is True
        await titles(browser, 2)
        assert (await browser.subscribe(last_event_id=events[0].id, uid="b"))["resumed"] is False


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
