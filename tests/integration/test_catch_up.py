"""The catch-up on the fake: what a real server cannot be told to do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from directus_realtime.client.activity import ActivityLog, ActivityRow, Span
from directus_realtime.client.rest import RestClient
from directus_realtime.exceptions import ConnectionFailed
from directus_realtime.listener import inbox as inbox_module
from directus_realtime.listener.catch_up import log_reader, settling
from directus_realtime.listener.catch_up.catch_up import CatchUp
from directus_realtime.listener.catch_up.settling import Settler
from directus_realtime.listener.matching import digest
from directus_realtime.models import (
    ActivityCursor,
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    MatchedItem,
)
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from tests.helpers.waiting import await_for
from tests.integration.listening import (
    TIMEOUT,
    TOKEN,
    Received,
    connection,
    create,
    listening,
    subscribe,
    until,
    until_subscribed,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fast_beat"),
]

BOTH = ("articles", "notes")


@pytest.fixture
def fast_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change whose live event is not there counts as missed at once."""
    monkeypatch.setattr(settling, "SETTLE", settling.SETTLE * 0)


async def until_caught_up() -> None:
    """Wait until each subscription has a place in the log."""
    rows = DirectusSubscription.objects.filter(enabled=True)
    await until(lambda: not rows.filter(caught_up_to=None).exists())


def make_reader() -> FakeUser:
    """Somebody who may read both collections and the log, and is no administrator."""
    return FakeUser(
        "reader@example.com",
        "",
        token="reader-token",
        readable={
            "articles": {},
            "notes": {},
            "directus_activity": {},
            "directus_collections": {},
        },
    )


@asynccontextmanager
async def listening_as_reader() -> AsyncIterator[tuple[FakeDirectus, FakeUser]]:
    """A listener of both collections that is caught up, and whose rights can be changed."""
    reader = make_reader()
    collections = [FakeCollection(name, fields={"title": "string"}) for name in BOTH]
    await subscribe()
    await subscribe("notes", collection="notes")
    async with (
        FakeDirectus(collections, users=[reader]) as fake,
        listening(connection(fake.url, token="reader-token", catch_up_interval=0.05)),
    ):
        await until_subscribed(fake, 6)
        await until_caught_up()
        yield fake, reader


async def complete_until() -> datetime:
    moment = (await ConnectionStatus.objects.aget()).complete_until
    assert moment is not None
    return moment


async def titles() -> list[str]:
    rows = [row async for row in InboxEvent.objects.exclude(state="merged").order_by("id")]
    return [(row.to_event().data or {}).get("title", "") for row in rows]


async def test_a_live_event_that_comes_after_its_change_was_caught_up_is_no_second_one(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake)
        await until_caught_up()
        fake.hold_changes()
        await create(fake, "late")
        await await_for(lambda: received.titles == ["late"])
        fake.release_changes()
        await until(lambda: InboxEvent.objects.filter(state="merged").exists())
        await create(fake, "next")
        await await_for(lambda: received.titles == ["late", "next"])
    origins = Counter([row.origin async for row in InboxEvent.objects.exclude(state="merged")])
    assert origins["catch-up"] >= 1
    assert len(await titles()) == 2


async def test_a_second_change_beside_a_late_event_is_delivered_too(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    item = await fake.create("articles", {"title": "first"})
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake)
        await until_caught_up()
        fake.hold_changes()
        await fake.update("articles", item["id"], {"title": "second"})
        await await_for(lambda: received.titles == ["second"])
        await fake.update("articles", item["id"], {"title": "third"})
        fake.release_changes()
        await await_for(lambda: len(received.titles) == 2)
        await until(lambda: not InboxEvent.objects.filter(state="waiting").exists())
        await create(fake, "mark")
        await await_for(lambda: received.titles[-1] == "mark")
    assert received.titles[:2] == ["second", "third"]
    assert len(await titles()) == 3


async def test_more_than_can_be_stored_is_left_to_the_log(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(inbox_module, "FULL", 20)
    monkeypatch.setattr(inbox_module, "HAS_ROOM", 5)
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "before")
        await await_for(lambda: received.titles == ["before"])
        await until_caught_up()
        # One message each, all of them before the inbox comes to write.
        await fake.create("articles", [{"title": str(number)} for number in range(200)])
        await await_for(lambda: len(received.titles) == 201)
        await await_for(lambda: received.gaps)
    assert Counter(received.titles) == Counter(["before", *map(str, range(200))])
    assert {gap["recovered"] for gap in received.gaps} == {True}
    assert "events come in faster than they are stored" in caplog.text


async def test_a_log_that_cannot_be_read_for_a_while_is_read_again(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
        await fake.cut()
        await fake.create("articles", {"title": "missed"}, emit=False)
        await await_for(lambda: received.titles == ["missed"])
    failures = 3
    settle = Settler.settle

    async def failing(self: Settler, *args: object) -> int:
        nonlocal failures
        if failures:
            failures -= 1
            await fake.cut()
        return await settle(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Settler, "settle", failing)
    await fake.create("articles", {"title": "missed again"}, emit=False)
    async with listening(connection(fake.url)):
        await await_for(lambda: received.titles[1:] == ["missed again"])
        await await_for(lambda: failures == 0)
        await create(fake, "live")
        await await_for(lambda: received.titles[2:] == ["live"])


async def test_a_new_subscription_whose_socket_is_lost_before_its_first_look_misses_nothing(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = ActivityLog.newest
    has_failed = False

    async def failing(self: ActivityLog) -> ActivityRow | None:
        nonlocal has_failed
        if not has_failed:
            has_failed = True
            await fake.cut()
            await fake.create("articles", {"title": "missed"}, emit=False)
            raise ConnectionFailed("The network is gone.")
        return await newest(self)

    monkeypatch.setattr(ActivityLog, "newest", failing)
    await subscribe()
    async with listening(connection(fake.url)):
        await await_for(lambda: received.titles == ["missed"])
        await create(fake, "live")
        await await_for(lambda: received.titles == ["missed", "live"])
        await await_for(lambda: received.gaps)
    assert [row.origin async for row in InboxEvent.objects.order_by("id")] == ["catch-up", "live"]


async def test_a_listener_that_ended_before_its_first_look_leaves_a_gap_that_is_owned_up_to(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
    await ActivityCursor.objects.all().adelete()
    await DirectusSubscription.objects.aupdate(caught_up_to=None)
    async with listening(connection(fake.url)):
        await await_for(lambda: received.gaps)
    assert [gap["recovered"] for gap in received.gaps] == [False]
    assert "others may have been missed: The activity log was never read before." in caplog.text


async def test_a_directus_that_was_never_reached_leaves_no_gap(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    fake.reject_upgrades()
    async with listening(connection(fake.url)):
        await until(lambda: ConnectionStatus.objects.filter(state="reconnecting").exists())
    assert not await ConnectionStatus.objects.exclude(complete_until=None).aexists()
    fake.reject_upgrades(None)
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
        await create(fake, "first")
        await await_for(lambda: received.titles == ["first"])
    assert not received.gaps
    assert "back after" not in caplog.text


async def test_a_gap_begins_when_directus_was_last_heard_whatever_the_listener_wrote_since(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
    heard = await complete_until()
    fake.reject_upgrades()
    async with listening(connection(fake.url)):  # writes heartbeats, and hears nothing
        await until(lambda: ConnectionStatus.objects.filter(state="reconnecting").exists())
    fake.reject_upgrades(None)
    async with listening(connection(fake.url)):
        await await_for(lambda: received.gaps)
    assert [gap["since"] for gap in received.gaps] == [heard]


async def test_a_gap_that_was_not_announced_is_left_to_the_next_listener(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
    heard = await complete_until()
    with monkeypatch.context() as patched:
        patched.setattr(CatchUp, "_pass", _never)
        async with listening(connection(fake.url)):
            row = ConnectionStatus.objects.filter(state="connected")
            await until(row.filter(heartbeat_at__gt=timezone.now()).exists)
    assert not received.gaps
    async with listening(connection(fake.url)):
        await await_for(lambda: received.gaps)
    assert [gap["since"] for gap in received.gaps] == [heard]
    assert await complete_until() > heard


async def _never(self: CatchUp) -> None:
    await asyncio.Event().wait()


async def test_a_log_that_began_anew_is_read_from_when_it_was_last_looked_at(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restored backup: its numbers are given to other changes."""
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
    await ActivityCursor.objects.aupdate(position=1000)
    await DirectusSubscription.objects.aupdate(caught_up_to=1000)
    await fake.create("articles", {"title": "after the backup"})
    async with listening(connection(fake.url)):
        await await_for(lambda: received.titles == ["after the backup"])
        await await_for(lambda: received.gaps)
    assert [gap["recovered"] for gap in received.gaps] == [False]
    assert "The activity log began anew, as after a restored backup." in caplog.text


async def test_another_log_gives_its_numbers_to_other_changes(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    """It is longer than the one before, whose numbers were settled."""
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake)
        await until_caught_up()
        for number in range(5):
            await create(fake, f"old {number}")
        await await_for(lambda: len(received.titles) == 5)
        await until(ActivityCursor.objects.filter(position=5).exists)
        await fake.stop()
        async with FakeDirectus(
            [FakeCollection("articles", fields={"title": "string"})], TOKEN, port=fake.port
        ) as other:
            for number in range(8):
                await other.create("articles", {"title": f"new {number}"}, emit=False)
            await await_for(lambda: len(received.titles) == 13)
            await await_for(lambda: received.gaps)
            await until_subscribed(other)
            await create(other, "live")
            await await_for(lambda: received.titles[-1] == "live")
    assert received.titles[5:] == [*(f"new {number}" for number in range(8)), "live"]
    assert [gap["recovered"] for gap in received.gaps] == [False]
    assert "The activity log began anew, as after a restored backup." in caplog.text


async def test_what_happens_while_the_only_subscription_is_disabled_is_not_caught_up(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
        await DirectusSubscription.objects.aupdate(enabled=False)
        await until(DirectusSubscription.objects.filter(caught_up_to=None).exists)
    await fake.create("articles", {"title": "meanwhile"})
    async with listening(connection(fake.url)):
        row.enabled = True
        await row.asave(update_fields=["enabled"])
        await until_subscribed(fake)
        await until_caught_up()
        await create(fake, "after")
        await await_for(lambda: "after" in received.titles)
    assert received.titles == ["after"]


async def test_a_gap_of_a_subscription_that_cannot_be_read_is_not_said_to_be_whole(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    """A field is gone meanwhile, so Directus refuses the subscription."""
    caplog.set_level("INFO", "directus_realtime")
    notes = FakeCollection("notes", fields={"title": "string", "body": "string"})
    articles = FakeCollection("articles", fields={"title": "string"})
    await subscribe()
    await subscribe("notes", collection="notes", fields=["title", "body"])
    async with FakeDirectus([articles, notes], TOKEN) as fake:
        settings = connection(fake.url, catch_up_interval=0.05)
        async with listening(settings):
            await until_subscribed(fake, 6)
            await until_caught_up()
        del notes.fields["body"]
        await fake.create("notes", [{"title": "unreadable"}] * 3)
        await fake.create("articles", {"title": "readable"})
        async with listening(settings):
            await await_for(lambda: received.gaps)
            assert (received.gaps[0]["recovered"], received.titles) == (False, ["readable"])
    assert "What changed of notes cannot be read at the moment." in caplog.text


async def test_items_that_may_not_be_read_stop_no_other_subscription(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    """A right that is lost while the socket goes on: Directus does not close it."""
    async with listening_as_reader() as (fake, reader):
        del reader.readable["notes"]
        await fake.create("notes", {"title": "unreadable"}, emit=False)
        await fake.create("articles", {"title": "readable"}, emit=False)
        await await_for(lambda: received.titles == ["readable"])
        await await_for(lambda: "notes is not caught up" in caplog.text)
        behind = DirectusSubscription.objects.filter(state="subscribed", name="notes")
        await until(behind.filter(last_error__startswith="Not caught up: ").exists)
        reader.readable["notes"] = {}
        await await_for(lambda: sorted(received.titles) == ["readable", "unreadable"])
        await until(behind.filter(last_error="").exists)


async def test_what_may_not_be_read_has_nobody_read_the_log_again(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "OVERLAP", log_reader.OVERLAP * 0)
    spans: list[Span] = []
    pages = ActivityLog.pages

    def noting(self: ActivityLog, span: Span, on_unreadable: Any) -> Any:
        spans.append(span)
        return pages(self, span, on_unreadable)

    monkeypatch.setattr(ActivityLog, "pages", noting)
    async with listening_as_reader() as (fake, reader):
        del reader.readable["notes"]
        await fake.create("notes", {"title": "unreadable"}, emit=False)
        unreadable = fake.items("directus_activity")[-1]["id"]
        for number in range(3):
            await fake.create("articles", {"title": f"readable {number}"}, emit=False)
            await await_for(lambda n=number: len(received.titles) == n + 1)
        await await_for(lambda: any(s.collections == BOTH and s.after > unreadable for s in spans))
        spans.clear()  # from now on it is tried again by itself
        await await_for(lambda: any(s.collections == ("notes",) for s in spans))
        assert all(s.after < unreadable for s in spans if s.collections == ("notes",))
        reader.readable["notes"] = {}
        await await_for(lambda: "unreadable" in received.titles)


async def test_a_subscription_that_was_changed_goes_on_where_it_was(
    fake: FakeDirectus, received: Received
) -> None:
    """Between the old and the new one on the wire, nothing is lost."""
    row = await subscribe(filter={"title": {"_eq": "wanted"}})
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake, 4)
        await until_caught_up()
        await create(fake, "not wanted then")
        await until(lambda: ActivityCursor.objects.filter(position__gt=0).exists())
        row.filter = {}
        await row.asave(update_fields=["filter"])
        # The old one ends here; the new one may not be there yet.
        await fake.wait_for(lambda fake: not _is_filtered(fake), TIMEOUT)
        await create(fake, "between")
        await until_subscribed(fake, 3)
        await create(fake, "after")
        await await_for(lambda: len(received.titles) == 2)
    assert received.titles == ["between", "after"]


def _is_filtered(fake: FakeDirectus) -> bool:
    return any((uid or "").endswith(".changed") for _, _, uid in fake.subscriptions)


async def test_a_disabled_subscription_misses_what_happens_meanwhile(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    other = await subscribe("other", collection="notes", enabled=False)
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake)
        await until_caught_up()
        other.collection, other.fields, other.enabled = "articles", ["title"], True
        await other.asave()
        await until(
            lambda: DirectusSubscription.objects.filter(name="other", state="subscribed").exists()
        )
        await until_caught_up()
        row.enabled = False
        await row.asave(update_fields=["enabled"])
        forgotten = DirectusSubscription.objects.filter(name="all", caught_up_to=None)
        await until(forgotten.exists)
        await until_subscribed(fake, 3)
        await create(fake, "meanwhile")
        await await_for(lambda: received.titles == ["meanwhile"])  # the other one
        row.enabled = True
        await row.asave(update_fields=["enabled"])
        await until_caught_up()
        await create(fake, "after")
        await await_for(lambda: received.titles == ["meanwhile", "after", "after"])


async def test_the_first_look_at_a_filter_misses_nothing_that_changes_meanwhile(
    fake: FakeDirectus, received: Received
) -> None:
    made = await fake.create("articles", [{"title": "in"} for _ in range(50)])
    await subscribe(filter={"title": {"_eq": "in"}})
    async with listening(connection(fake.url)):
        await until_subscribed(fake, 4)
        changing = asyncio.create_task(_leave(fake, [item["id"] for item in made[:20]]))
        await until(lambda: DirectusSubscription.objects.exclude(matched_of="").exists())
        await changing
        await create(fake, "in")
        await until(lambda: InboxEvent.objects.filter(action="create").exists())
        left = InboxEvent.objects.filter(left_filter=True)
        remembered = {each async for each in MatchedItem.objects.values_list("digest", flat=True)}
        # Who was seen in the filter is told when it leaves; who left before is not remembered.
        await until(lambda: MatchedItem.objects.count() == 31)
        assert remembered >= {digest(item["id"]) for item in made[20:]}
        assert await sync_to_async(left.count)() <= 20


async def _leave(fake: FakeDirectus, keys: list[int]) -> None:
    for key in keys:
        await fake.update("articles", key, {"title": "out"})
        await asyncio.sleep(0)


async def test_a_deleted_item_does_not_come_back_when_its_debounce_window_ends(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe(debounce=600)
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
        item = await fake.create("articles", {"title": "short-lived"})
        await until(lambda: InboxEvent.objects.exclude(next_attempt_at=None).exists())
        await fake.cut()
        await fake.delete("articles", item["id"], emit=False)
        await until(lambda: InboxEvent.objects.filter(action="delete", state="done").exists())
        assert received.titles == [None]
    assert await states() == [("create", "merged"), ("delete", "done")]


async def test_what_was_missed_takes_the_place_of_what_waits_for_its_debounce_window(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe(debounce=600, debounce_by="subscription")
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
        item = await fake.create("articles", {"title": "old"})
        await create(fake, "another")
        await until(lambda: InboxEvent.objects.exclude(next_attempt_at=None).count() == 2)
        await fake.cut()
        await fake.update("articles", item["id"], {"title": "new"}, emit=False)
        await until(lambda: InboxEvent.objects.filter(state="done").exists())
        assert received.titles == ["new"]
    # It is told as new, as the first that is heard of the item.
    assert await states() == [("create", "merged"), ("create", "pending"), ("create", "done")]


async def test_what_waits_for_a_window_goes_at_once_where_there_is_no_debounce_any_more(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe(debounce=600)
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
        item = await fake.create("articles", {"title": "old"})
        await until(lambda: InboxEvent.objects.exclude(next_attempt_at=None).exists())
        row.debounce = 0
        await row.asave(update_fields=["debounce"])
        await await_for(lambda: received.titles == ["old"])
        await fake.update("articles", item["id"], {"title": "new"})
        await await_for(lambda: received.titles == ["old", "new"])


async def states() -> list[tuple[str, str]]:
    rows = InboxEvent.objects.order_by("id").values_list("action", "state")
    return [row async for row in rows]


async def test_an_error_that_nobody_thought_of_ends_nothing(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settle = Settler.settle
    has_failed = False

    async def failing(self: Settler, *args: Any) -> int:
        nonlocal has_failed
        if not has_failed:
            has_failed = True
            raise AttributeError("a bug")
        return await settle(self, *args)

    monkeypatch.setattr(Settler, "settle", failing)
    await subscribe()
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake)
        await until_caught_up()
        await fake.create("articles", {"title": "missed"}, emit=False)
        await await_for(lambda: received.titles == ["missed"])
        await create(fake, "live")
        await await_for(lambda: received.titles == ["missed", "live"])
    (record,) = (r for r in caplog.records if getattr(r, "what", "") == "catch-up-failed")
    assert record.exc_info is not None


def lose_times_of(item: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the log about an item have no time any more."""
    read = ActivityLog._read

    async def reading(self: ActivityLog, query: dict[str, Any]) -> list[Any]:
        rows = await read(self, query)
        return [{**row, "timestamp": None} if row["item"] == str(item) else row for row in rows]

    monkeypatch.setattr(ActivityLog, "_read", reading)


async def test_a_row_of_the_log_that_makes_no_sense_holds_up_nothing_and_is_owned_up_to(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await until_caught_up()
        await fake.cut()
        odd = await fake.create("articles", {"title": "odd"}, emit=False)
        await fake.create("articles", {"title": "missed"}, emit=False)
        lose_times_of(odd["id"], monkeypatch)
        await await_for(lambda: received.gaps)
        await create(fake, "live")
        await await_for(lambda: received.titles == ["missed", "live"])
    assert [gap["recovered"] for gap in received.gaps] == [False]
    assert "Row 1 of the activity log cannot be read and is left out" in caplog.text


async def test_a_row_that_makes_no_sense_is_owned_up_to_once_where_there_was_no_gap(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await subscribe()
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake)
        await until_caught_up()
        lose_times_of(1, monkeypatch)
        await fake.create("articles", {"title": "odd"}, emit=False)
        await fake.create("articles", {"title": "missed"}, emit=False)
        await await_for(lambda: received.gaps)
        await fake.create("articles", {"title": "behind"}, emit=False)
        await await_for(lambda: received.titles == ["missed", "behind"])
    assert [gap["recovered"] for gap in received.gaps] == [False]
    assert caplog.text.count("cannot be read and is left out") == 1


async def test_items_that_make_no_sense_stop_no_other_subscription(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    search = RestClient.search
    is_odd = True

    async def searching(self: RestClient, path: str, query: Any = None, **more: Any) -> Any:
        rows = await search(self, path, query, **more)
        return [{"id": {}}] if is_odd and "keys" in more and path == "/items/notes" else rows

    monkeypatch.setattr(RestClient, "search", searching)
    await subscribe()
    await subscribe("notes", collection="notes")
    async with listening(connection(fake.url, catch_up_interval=0.05)):
        await until_subscribed(fake, 6)
        await until_caught_up()
        await fake.create("notes", {"title": "odd"}, emit=False)
        await fake.create("articles", {"title": "missed"}, emit=False)
        await await_for(lambda: received.titles == ["missed"])
        await await_for(lambda: "notes is not caught up: The answer of /items/notes" in caplog.text)
        is_odd = False
        await await_for(lambda: received.titles == ["missed", "odd"])
