from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.client import DirectusClient
from directus_realtime.gateway import first_load
from directus_realtime.testing import FakeDirectus
from tests.integration.gateway.browsers import Browser, browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)


class Reads:
    """The reads of first loads, held up on demand."""

    def __init__(self) -> None:
        self.count = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.begun = asyncio.Event()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads = Reads()
    read_newest = DirectusClient.read_newest

    async def counted(self: DirectusClient, *arguments: Any) -> Any:
        reads.count += 1
        found = await read_newest(self, *arguments)
        reads.begun.set()
        await reads.may_end.wait()
        return found

    monkeypatch.setattr(DirectusClient, "read_newest", counted)
    return reads


async def articles(fake: FakeDirectus, count: int) -> None:
    for number in range(1, count + 1):
        await fake.create("articles", {"title": f"article {number}", "status": "published"})


async def test_a_browser_begins_with_the_newest_items(on_fake: FakeDirectus) -> None:
    await articles(on_fake, 3)
    await offer(browser_first_load=2)
    async with browsing() as browser:
        init = await browser.subscribe()
    assert init["data"] == [{"id": 3, "title": "article 3"}, {"id": 2, "title": "article 2"}]
    assert init["complete"] is False


async def test_all_items_are_said_to_be_all(on_fake: FakeDirectus) -> None:
    await articles(on_fake, 2)
    await offer(browser_first_load=2)
    async with browsing() as browser:
        init = await browser.subscribe(query={"sort": "id", "fields": "title", "limit": 1})
    assert init["data"] == [{"title": "article 1"}]
    assert "complete" not in init


async def test_a_single_event_has_no_items(on_fake: FakeDirectus, reads: Reads) -> None:
    await offer(browser_first_load=2)
    async with browsing() as browser:
        assert await browser.subscribe(event="create", uid="1") == {
            "type": "subscription",
            "event": "init",
            "uid": "1",
        }
    assert reads.count == 0


async def test_one_item_comes_without_a_list(on_fake: FakeDirectus) -> None:
    await articles(on_fake, 2)
    await offer(browser_first_load=2)
    async with browsing() as browser:
        init = await browser.subscribe(item=1)
        assert init["data"] == {"id": 1, "title": "article 1"}
        await deliver(event(2, "update"), event(1, "update"), event(1, "delete"))
        assert (await browser.next())["data"] == {"id": 1, "title": "article 1"}
        assert (await browser.next())["data"] == 1


async def test_browsers_share_one_read(on_fake: FakeDirectus, reads: Reads) -> None:
    await articles(on_fake, 1)
    await offer(browser_first_load=2)
    async with browsing() as one, browsing() as other, browsing() as late:
        both = await asyncio.gather(one.subscribe(), other.subscribe())
        assert both[0] == both[1] == await late.subscribe()
    assert reads.count == 1


async def test_nothing_falls_between_the_first_load_and_the_events(
    on_fake: FakeDirectus, reads: Reads
) -> None:
    await articles(on_fake, 2)
    await offer(browser_first_load=10)
    reads.may_end.clear()
    async with browsing() as watching, browsing() as browser:
        await watching.subscribe(event="create")
        await browser.send({"type": "subscribe", "collection": "articles"})
        await reads.begun.wait()
        await deliver(event(3), event(1, "delete"), event(4))
        for _ in range(2):  # so they have arrived, while the items are being read
            await watching.next()
        reads.may_end.set()
        init = await browser.next()
        await deliver(event(5))
        told = [row["id"] for row in init["data"]] + [(await browser.next())["data"][0]["id"]]
    assert told == [4, 3, 2, 5]


async def test_a_first_load_is_kept_up_to_date(on_fake: FakeDirectus, reads: Reads) -> None:
    await articles(on_fake, 2)
    await offer(browser_first_load=2)
    async with browsing() as early, browsing() as late:
        await early.subscribe()
        await deliver(event(3), event(2, "update", data={"id": 2, "title": "changed"}))
        await early.next(), await early.next()
        init = await late.subscribe()
    assert init["data"] == [{"id": 3, "title": "article 3"}, {"id": 2, "title": "changed"}]
    assert init["complete"] is False
    assert reads.count == 1


async def test_directus_that_is_away_is_an_error_and_later_not(
    on_fake: FakeDirectus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(first_load, "PAUSE", 0.0)
    await articles(on_fake, 1)
    await offer(browser_first_load=2)
    await on_fake.stop_listening()
    async with browsing() as browser:
        answer = await browser.subscribe(uid="1")
        assert (answer["status"], answer["uid"]) == ("error", "1")
        assert answer["error"] == {
            "code": "SERVICE_UNAVAILABLE",
            "message": "The items cannot be read at the moment; subscribe again later.",
        }
        await on_fake.resume_listening()
        assert len((await browser.subscribe(uid="1"))["data"]) == 1
    assert "The first load of articles cannot be read from Directus" in caplog.text


async def test_what_was_read_before_serves_while_directus_is_away(
    on_fake: FakeDirectus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await articles(on_fake, 1)
    await offer(browser_first_load=5)
    async with browsing() as early, browsing() as late:
        await early.subscribe()
        await on_fake.stop_listening()
        monkeypatch.setattr(first_load, "KEPT", 0.0)
        await deliver(event(2))
        await early.next()
        assert [row["id"] for row in (await late.subscribe())["data"]] == [2, 1]
        await on_fake.resume_listening()


async def subscribed_ids(browser: Browser, **values: Any) -> list[int]:
    return [row["id"] for row in (await browser.subscribe(**values))["data"]]


async def test_each_browser_has_its_own_filter(on_fake: FakeDirectus) -> None:
    await articles(on_fake, 3)
    await offer(browser_first_load=5)
    async with browsing() as browser:
        query = {"filter": {"id": {"_in": [1, 3]}}}
        assert await subscribed_ids(browser, query=query, uid="a") == [3, 1]
        assert await subscribed_ids(browser, query={"filter": {"id": {"_lt": 2}}}, uid="b") == [1]
