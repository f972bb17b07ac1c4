"""Subscriptions that come, change and go beside changes: filters, first loads, debounce."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from directus_realtime.listener.matched_items import digest
from directus_realtime.models import DirectusSubscription, InboxEvent, LogPosition, MatchedItem
from directus_realtime.testing import FakeCollection, FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.listening import (
    TIMEOUT,
    TOKEN,
    Received,
    create,
    following,
    polled,
    subscribe,
    until,
    until_subscribed,
)

pytestmark = pytest.mark.django_db(transaction=True)

DRAFTS = {"status": {"_eq": "draft"}}


async def until_the_filter_is_known() -> None:
    """Wait until it is known which items are in the filters."""
    await until(lambda: not DirectusSubscription.objects.filter(matched_of="").exists())


async def create_until(fake: FakeDirectus, condition: Callable[[], bool]) -> int:
    """Create items with numbers as titles until something is true, and return how many."""
    count = 0
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await create(fake, str(count))
            count += 1
            await polled(fake)
    return count


# Subscriptions that are changed


async def test_a_new_subscription_begins_at_the_end_of_the_log(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe("notes", collection="notes")
    async with following(fake):
        await create(fake, "before")
        await until(LogPosition.objects.filter(top=1).exists)
        await subscribe()
        await until_subscribed(fake)
        await create(fake, "after")
        await await_for(lambda: received.titles == ["after"])


async def test_a_subscription_that_was_changed_goes_on_where_it_was(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe(filter={"title": {"_eq": "wanted"}})
    async with following(fake):
        await create(fake, "not wanted then")
        await until(LogPosition.objects.filter(top=1).exists)
        row.filter = {}
        await row.asave(update_fields=["filter"])
        count = await create_until(fake, lambda: bool(received.titles))
        await create(fake, "after")
        await await_for(lambda: received.titles[-1:] == ["after"])
    # From the first event by the new query on, each change is delivered, and once.
    first = int(received.titles[0])
    assert received.titles == [*(str(number) for number in range(first, count)), "after"]


async def test_a_subscription_that_was_changed_while_no_listener_ran_misses_nothing(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe(filter={"title": {"_eq": "wanted"}})
    async with following(fake):
        await until(DirectusSubscription.objects.exclude(followed_from=None).exists)
    await create(fake, "meanwhile")
    row.filter = {}
    await row.asave(update_fields=["filter"])
    async with following(fake):
        await await_for(lambda: received.titles == ["meanwhile"])


async def test_what_happens_while_a_subscription_is_disabled_is_not_its_business(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    await subscribe("other")
    async with following(fake):
        row.enabled = False
        await row.asave(update_fields=["enabled"])
        await until(DirectusSubscription.objects.filter(name="all", followed_from=None).exists)
        await create(fake, "meanwhile")
        await await_for(lambda: received.titles == ["meanwhile"])  # the other one
        row.enabled = True
        await row.asave(update_fields=["enabled"])
        begun = DirectusSubscription.objects.filter(name="all", state="subscribed")
        await until(begun.exclude(followed_from=None).exists)
        await create(fake, "after")
        await await_for(lambda: received.titles == ["meanwhile", "after", "after"])


async def test_a_subscription_that_was_disabled_and_enabled_while_no_listener_ran_goes_on(
    fake: FakeDirectus, received: Received
) -> None:
    """No listener saw that it was disabled, so everything is delivered."""
    row = await subscribe()
    async with following(fake):
        await until(DirectusSubscription.objects.exclude(followed_from=None).exists)
    await create(fake, "meanwhile")
    for is_enabled in (False, True):
        row.enabled = is_enabled
        await row.asave(update_fields=["enabled"])
    async with following(fake):
        await await_for(lambda: received.titles == ["meanwhile"])


async def test_the_only_subscription_that_was_disabled_begins_at_the_end(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    async with following(fake):
        row.enabled = False
        await row.asave(update_fields=["enabled"])
        await until(DirectusSubscription.objects.filter(followed_from=None).exists)
    await create(fake, "meanwhile")
    row.enabled = True
    await row.asave(update_fields=["enabled"])
    async with following(fake):
        await until(DirectusSubscription.objects.exclude(followed_from=None).exists)
        await create(fake, "after")
        await await_for(lambda: "after" in received.titles)
    assert received.titles == ["after"]


async def test_a_renamed_subscription_goes_on_under_its_new_name(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe("old")
    async with following(fake):
        await create(fake, "before")
        await await_for(lambda: received.titles == ["before"])
        row.name = "new"
        await row.asave(update_fields=["name"])
        count = await create_until(fake, lambda: received.events[-1].subscription == "new")
        await await_for(lambda: len(received.titles) == 1 + count)
    assert received.titles == ["before", *(str(number) for number in range(count))]
    assert {event.subscription for event in received.events} == {"old", "new"}


async def test_a_subscription_of_another_collection_begins_at_the_end(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    async with following(fake):
        await fake.create("notes", {"title": "before"})
        await until(LogPosition.objects.filter(top=1).exists)
        row.collection = "notes"
        await row.asave(update_fields=["collection"])
        await fake.wait_for(lambda fake: any(c == "notes" for c, _, _ in fake.subscriptions))
        begun = DirectusSubscription.objects.filter(state="subscribed", followed_from=1)
        await until(begun.exists)
        await create(fake, "of the old collection")
        await fake.create("notes", {"title": "after"})
        await await_for(lambda: received.titles == ["after"])


@pytest.mark.parametrize(
    ("field", "value"), [("collection", "notes"), ("connection", "default")], ids=str
)
async def test_a_subscription_that_was_moved_while_nobody_followed_begins_at_the_end(
    fake: FakeDirectus, received: Received, field: str, value: str
) -> None:
    """Its place was one in another log, or is the place of another collection."""
    row = await subscribe(collection="notes")
    for title in ("before", "meanwhile"):
        await fake.create("notes", {"title": title})
    place = {"collection": "default/articles", "connection": "other/notes"}[field]
    row.followed_from, row.followed_in, row.unread = 0, place, [[1, None]]
    await row.asave()
    assert getattr(row, field) == value
    async with following(fake):
        await fake.create("notes", {"title": "after"})
        await await_for(lambda: received.titles == ["after"])
    await row.arefresh_from_db()
    assert (row.followed_from, row.followed_in, row.unread) == (2, "default/notes", [])


async def test_a_deleted_subscription_hears_nothing_more(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    row = await subscribe()
    await subscribe("other")
    async with following(fake):
        await row.adelete()
        await await_for(lambda: "unsubscribed all" in caplog.text)
        await create(fake, "a")
        await await_for(lambda: received.events)
        await create(fake, "b")
        await await_for(lambda: received.titles[-1] == "b")
    assert received.events[-1].subscription == "other"
    assert not await InboxEvent.objects.filter(state="dead").aexists()


# First loads


async def test_a_first_load_beside_changes_ends_in_the_true_state(
    fake: FakeDirectus, received: Received
) -> None:
    made = await fake.create("articles", [{"title": "old"} for _ in range(120)])
    await subscribe(snapshot=True)
    async with following(fake, is_subscribed=False):
        for item in made[:40]:
            await fake.update("articles", item["id"], {"title": "new"})
            await asyncio.sleep(0)
        for item in made[40:50]:
            await fake.delete("articles", item["id"])
        await until(DirectusSubscription.objects.filter(snapshot_done=110).exists)
        await fake.update("articles", made[-1]["id"], {"title": "behind"})
        await await_for(lambda: received.titles[-1:] == ["behind"])
    last = {event.key: (event.data or {}).get("title") for event in received.events}
    there = {item["id"]: item["title"] for item in fake.items("articles")}
    assert {key: title for key, title in last.items() if title is not None} == there


# Filters


async def test_items_that_enter_and_leave_a_filter(fake: FakeDirectus, received: Received) -> None:
    await subscribe(filter=DRAFTS)
    async with following(fake):
        await until_the_filter_is_known()
        item = await fake.create("articles", {"title": "a", "status": "published"})
        await fake.create("articles", {"title": "mark 1", "status": "draft"})
        await await_for(lambda: received.titles == ["mark 1"])
        await fake.update("articles", item["id"], {"title": "b", "status": "draft"})
        await await_for(lambda: received.titles == ["mark 1", "b"])
        await fake.update("articles", item["id"], {"title": "c", "status": "published"})
        await await_for(lambda: received.titles == ["mark 1", "b", "c"])
        await fake.update("articles", item["id"], {"title": "d"})
        await fake.delete("articles", item["id"])
        await fake.create("articles", {"title": "mark 2", "status": "draft"})
        await await_for(lambda: received.titles == ["mark 1", "b", "c", "mark 2"])
    assert [(event.action, event.left_filter) for event in received.events] == [
        ("create", False),
        ("update", False),
        ("update", True),
        ("create", False),
    ]


async def test_the_delete_of_an_item_in_the_filter_is_delivered(
    fake: FakeDirectus, received: Received
) -> None:
    made = await fake.create(
        "articles", [{"title": "a", "status": status} for status in ("draft", "published")]
    )
    await subscribe(filter=DRAFTS)
    async with following(fake):
        await until_the_filter_is_known()
        for item in made:
            await fake.delete("articles", item["id"])
        await fake.create("articles", {"title": "mark", "status": "draft"})
        await await_for(lambda: received.titles[-1:] == ["mark"])
    assert [(event.action, event.key) for event in received.events] == [
        ("delete", made[0]["id"]),
        ("create", 3),
    ]


async def test_an_item_that_left_the_filter_while_no_listener_ran_has_left_it(
    fake: FakeDirectus, received: Received
) -> None:
    item = await fake.create("articles", {"title": "a", "status": "draft"})
    await subscribe(filter=DRAFTS)
    async with following(fake):
        await until_the_filter_is_known()
    await fake.update("articles", item["id"], {"title": "b", "status": "published"})
    async with following(fake):
        await await_for(lambda: received.changes == [("update", item["id"], "b")])
    assert received.events[0].left_filter


async def test_an_unlogged_change_takes_an_item_out_of_the_filter(
    fake: FakeDirectus, received: Received, quick_rings: None
) -> None:
    item = await fake.create("articles", {"title": "a", "status": "draft"})
    await subscribe(filter=DRAFTS)
    async with following(fake):
        await until_the_filter_is_known()
        await fake.update("articles", item["id"], {"title": "b", "status": "x"}, log=False)
        await await_for(lambda: received.changes == [("update", item["id"], "b")])
    assert received.events[0].left_filter


async def test_a_filter_by_the_present_time_is_judged_when_an_item_is_read(
    received: Received,
) -> None:
    fields = {"title": "string", "due": "timestamp"}
    await subscribe(filter={"due": {"_lte": "$NOW"}})
    async with (
        FakeDirectus([FakeCollection("articles", fields=fields)], TOKEN) as fake,
        following(fake),
    ):
        await until_the_filter_is_known()
        item = await fake.create("articles", {"title": "early", "due": "2099-01-01T00:00:00Z"})
        await fake.create("articles", {"title": "mark", "due": "2020-01-01T00:00:00Z"})
        await await_for(lambda: received.titles == ["mark"])
        fake.shift_clock(100 * 365 * 86_400)
        await fake.update("articles", item["id"], {"title": "due"})
        await await_for(lambda: received.titles == ["mark", "due"])


async def test_the_first_look_at_a_filter_misses_nothing_that_changes_meanwhile(
    fake: FakeDirectus, received: Received
) -> None:
    made = await fake.create("articles", [{"title": "in"} for _ in range(50)])
    await subscribe(filter={"title": {"_eq": "in"}})
    async with following(fake):
        for item in made[:20]:
            await fake.update("articles", item["id"], {"title": "out"})
            await asyncio.sleep(0)
        await until_the_filter_is_known()
        await create(fake, "in")
        await until(lambda: InboxEvent.objects.filter(action="create").exists())
        left = InboxEvent.objects.filter(left_filter=True)
        remembered = {each async for each in MatchedItem.objects.values_list("digest", flat=True)}
        # An item that was seen in the filter leaves it; one that left before is not remembered.
        await until(lambda: MatchedItem.objects.count() == 31)
        assert remembered >= {digest(item["id"]) for item in made[20:]}
        assert await sync_to_async(left.count)() <= 20


# Debounce


async def states() -> list[tuple[str, str]]:
    rows = InboxEvent.objects.order_by("id").values_list("action", "state")
    return [row async for row in rows]


async def test_live_changes_of_an_item_are_gathered_in_its_window(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe(debounce=600)
    async with following(fake):
        item = await fake.create("articles", {"title": "a"})
        await until(lambda: InboxEvent.objects.count() == 1)
        await fake.update("articles", item["id"], {"title": "b"})
        await until(lambda: InboxEvent.objects.count() == 2)
    assert await states() == [("create", "merged"), ("create", "pending")]
    assert received.titles == []


async def test_a_deleted_item_does_not_come_back_when_its_debounce_window_ends(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe(debounce=600)
    async with following(fake):
        item = await fake.create("articles", {"title": "short-lived"})
        await until(lambda: InboxEvent.objects.exclude(next_attempt_at=None).exists())
    await fake.delete("articles", item["id"])
    async with following(fake):
        await until(lambda: InboxEvent.objects.filter(action="delete", state="done").exists())
        assert received.titles == [None]
    assert await states() == [("create", "merged"), ("delete", "done")]


async def test_what_was_missed_replaces_what_waits_for_its_debounce_window(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe(debounce=600, debounce_by="subscription")
    async with following(fake):
        item = await fake.create("articles", {"title": "old"})
        await create(fake, "another")
        await until(lambda: InboxEvent.objects.exclude(next_attempt_at=None).count() == 2)
    await fake.update("articles", item["id"], {"title": "new"})
    async with following(fake):
        await until(lambda: InboxEvent.objects.filter(state="done").exists())
        assert received.titles == ["new"]
    # It is delivered as new, because it is the first event of the item.
    assert await states() == [("create", "merged"), ("create", "pending"), ("create", "done")]


async def test_what_waits_for_a_window_goes_at_once_where_there_is_no_debounce_any_more(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe(debounce=600)
    async with following(fake):
        item = await fake.create("articles", {"title": "old"})
        await until(lambda: InboxEvent.objects.exclude(next_attempt_at=None).exists())
        row.debounce = 0
        await row.asave(update_fields=["debounce"])
        await await_for(lambda: received.titles == ["old"])
        await fake.update("articles", item["id"], {"title": "new"})
        await await_for(lambda: received.titles == ["old", "new"])


async def test_each_subscription_of_a_collection_gets_each_change_once_whatever_it_asks_for(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe("all")
    await subscribe("titles", fields=["title"])
    await subscribe("drafts", filter=DRAFTS)
    async with following(fake):
        await until(
            DirectusSubscription.objects.filter(name="drafts").exclude(matched_of="").exists
        )
        made: list[Any] = await fake.create(
            "articles", [{"title": str(number), "status": "draft"} for number in range(20)]
        )
        await await_for(lambda: len(received.events) == 20 * 3)
        await fake.update("articles", [item["id"] for item in made], {"status": "published"})
        await await_for(lambda: len(received.events) == 20 * 2 * 3)
        await polled(fake)
    found = Counter((event.subscription, event.key) for event in received.events)
    assert set(found.values()) == {2}
