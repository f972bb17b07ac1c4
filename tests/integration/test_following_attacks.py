"""Inputs and moments at which a follower could lose a change, make a false one, or stop."""

from __future__ import annotations

import asyncio
import itertools
import threading
from datetime import timedelta
from typing import Any

import pytest

from directus_realtime.client import log_position
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.listener import inbox as inbox_module
from directus_realtime.listener import snapshot
from directus_realtime.listener.follower import follower as follower_module
from directus_realtime.listener.follower.follower import Follower
from directus_realtime.listener.follower.log_cursor import LogCursor
from directus_realtime.listener.follower.subscription_registry import SubscriptionRegistry
from directus_realtime.listener.snapshot import SnapshotLoader
from directus_realtime.models import DirectusSubscription, LogPosition, ParkedChange
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from directus_realtime.testing.fake.items_service import ItemsService
from directus_realtime.testing.fake.refusals import ApiError
from directus_realtime.testing.fake.server_state import ServerClock
from tests.helpers.waiting import await_for
from tests.integration.listening import (
    TIMEOUT,
    TOKEN,
    Received,
    create,
    following,
    state_is,
    subscribe,
    until,
    until_subscribed,
)

pytestmark = pytest.mark.django_db(transaction=True)


async def until_behind(fake: FakeDirectus, received: Received) -> None:
    """Wait until everything is delivered that was written before."""
    made = await fake.create("articles", {"title": "behind"})
    await await_for(lambda: ("create", made["id"], "behind") in received.changes)


def behind(received: Received) -> list[tuple[str, Any, Any]]:
    """What was received, without the changes of :func:`until_behind`."""
    return [change for change in received.changes if change[2] != "behind"]


def make_reader(*collections: str) -> FakeUser:
    """A user who may read some collections and the log, and whose rights may be changed."""
    readable: dict[str, Any] = {name: {} for name in (*collections, "directus_activity")}
    return FakeUser("reader@example.com", "", token="reader-token", readable=readable)


def forbid(user: FakeUser, collection: str) -> None:
    user.readable = {name: {} for name in user.readable or () if name != collection}


async def allow(fake: FakeDirectus, user: FakeUser, collection: str) -> None:
    """Give a right, and log that as Directus does."""
    user.readable = {**(user.readable or {}), collection: {}}
    await fake.write_log("update", "directus_permissions", "1")


# Rows that come late


async def test_a_row_that_becomes_visible_while_a_subscription_catches_up_is_not_lost(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_reader("articles")
    await subscribe()
    articles = FakeCollection("articles", fields={"title": "string"})
    async with (
        FakeDirectus([articles], TOKEN, [reader], query_limit_max=5) as fake,
        following(fake, token="reader-token"),
    ):
        transaction = fake.transaction()
        pages = 0
        catch_up = Follower._catch_up

        async def commit_behind_the_first_page(self: Follower, *args: Any) -> None:
            nonlocal pages
            await catch_up(self, *args)
            pages += 1
            if pages == 1:
                transaction.commit()

        monkeypatch.setattr(Follower, "_catch_up", commit_behind_the_first_page)
        forbid(reader, "articles")
        await create(fake, "refused")
        await until(state_is("all", "refused"))
        await transaction.create("articles", {"title": "late"}, emit=False)
        await fake.create("articles", [{"title": str(number)} for number in range(20)])
        await allow(fake, reader, "articles")
        await await_for(lambda: len(received.titles) == 22)
    assert sorted(received.titles) == sorted(["refused", "late", *map(str, range(20))])


async def test_a_delete_whose_row_comes_behind_the_create_of_the_same_key_is_not_the_last_event(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe()
    await fake.create("articles", {"id": 7, "title": "first"})
    async with following(fake):
        monkeypatch.setattr(log_position, "_SHORTEST", 1000.0)
        monkeypatch.setattr(log_position, "_LONGEST", 1000.0)
        transaction = fake.transaction()
        await transaction.delete("articles", 7, emit=False)
        await fake.create("articles", {"title": "between"}, emit=False)
        await await_for(lambda: received.titles == ["between"])
        transaction.commit()
        await fake.create("articles", {"id": 7, "title": "second"}, emit=False)
        await await_for(lambda: received.titles == ["between", "second"])
        monkeypatch.setattr(log_position, "_SHORTEST", 0.05)
        monkeypatch.setattr(log_position, "_LONGEST", 0.05)
        await until(LogPosition.objects.filter(holes=[]).exists)
        await until_behind(fake, received)
    assert behind(received)[-1] == ("create", 7, "second")


async def test_a_create_whose_row_comes_behind_the_delete_of_the_item_is_not_parked(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        transaction = fake.transaction()
        await transaction.create("articles", {"id": 7, "title": "late"}, emit=False)
        await fake.write_log("delete", "articles", 7)
        await await_for(lambda: received.changes == [("delete", 7, None)])
        transaction.commit()
        await fake.delete("articles", 7, log=False, emit=False)
        await until(LogPosition.objects.filter(holes=[]).exists)
        await until_behind(fake, received)
        assert not await ParkedChange.objects.aexists()
    assert [change for change in behind(received) if change[0] != "create"] == [("delete", 7, None)]


async def test_rows_in_many_holes_of_long_ago_are_read_before_anything_is_given_up(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    transactions = [fake.transaction() for _ in range(150)]
    async with following(fake):
        for number, transaction in enumerate(transactions):
            await transaction.create("articles", {"title": str(number)}, emit=False)
            await fake.write_log("login", "directus_users", "x")
        await until(LogPosition.objects.filter(top=300).exclude(read_at=None).exists)
    for transaction in transactions:
        transaction.commit()
    row = await LogPosition.objects.aget()
    row.holes = [[first, last, seen_at - 7200] for first, last, seen_at in row.holes]
    await row.asave()
    async with following(fake):
        await await_for(lambda: "nothing is missing" in caplog.text)
        await await_for(lambda: len(received.titles) == 150)
    assert received.titles == [str(number) for number in range(150)]
    assert "150 events caught up, nothing is missing" in caplog.text


async def test_a_late_row_is_waited_for_whatever_the_times_of_the_log_are(
    fake: FakeDirectus, received: Received
) -> None:
    """They may be behind by hours, as where the zone of the database is wrong."""
    await subscribe()
    fake._store.log._clock = ServerClock()
    fake._store.log._clock.ahead = -timedelta(hours=5)
    async with following(fake):
        transaction = fake.transaction()
        await transaction.create("articles", {"title": "late"}, emit=False)
        await create(fake, "first")
        await until_behind(fake, received)
        assert await LogPosition.objects.filter(dropped=0).aexists()
        transaction.commit()
        await await_for(lambda: "late" in received.titles)


# Rings


async def test_a_ring_that_came_while_the_type_of_keys_was_unknown_stops_nothing(
    fake: FakeDirectus,
    received: Received,
    quick_rings: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await subscribe()
    async with following(fake):
        item = await fake.create("articles", {"title": "a"})
        await await_for(lambda: received.titles == ["a"])
        unknown = lambda self, collection: PrimaryKey()  # noqa: E731
        with monkeypatch.context() as patch:
            patch.setattr(SubscriptionRegistry, "primary_key", unknown)
            await fake.delete("articles", item["id"], log=False)
            await await_for(lambda: len(received.titles) == 2)
        await until_behind(fake, received)
    assert behind(received) == [("create", item["id"], "a"), ("delete", item["id"], None)]
    assert "failed" not in caplog.text


async def test_a_refused_subscription_silences_no_other_one_of_its_collection(
    received: Received,
) -> None:
    articles = FakeCollection("articles", fields={"title": "string"}, accountability=None)
    await subscribe("good")
    await subscribe("refused", filter={"nothing": {"_eq": 1}})
    async with FakeDirectus([articles], TOKEN) as fake, following(fake, is_subscribed=False):
        await until(state_is("refused", "refused"))
        await until_subscribed(fake, "good")
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])


async def test_the_socket_goes_on_ringing_while_a_subscription_is_changed(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    async with following(fake):
        fake.received.clear()
        caplog.clear()
        await DirectusSubscription.objects.aupdate(on_delete=False)
        await await_for(lambda: "  subscribed all: articles" in caplog.text)
        assert "unsubscribe" not in [message["type"] for message in fake.received]


# What is said of gaps


def verdicts(received: Received) -> list[tuple[bool, list[str]]]:
    """Whether each gap was recovered, and whose changes may be lost."""
    return [(gap["recovered"], gap["collections"]) for gap in received.gaps]


async def test_a_gap_of_all_collections_is_not_narrowed_by_a_doubt_about_one(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    await subscribe("notes", collection="notes")
    await create(fake, "read")
    async with following(fake):
        await until(LogPosition.objects.filter(top=1).exists)
    await fake.create("articles", [{"title": "pruned"}, {"title": "kept"}])
    fake.prune_log(until_id=2)
    await fake.write_log("update", "articles", "")  # makes no sense
    async with following(fake):
        await await_for(lambda: received.gaps)
    assert verdicts(received) == [(False, ["articles", "notes"])]


async def test_a_row_of_another_collection_that_makes_no_sense_is_no_gap(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    async with following(fake):
        await fake.write_log("update", "other", "")
        await until_behind(fake, received)
    assert not received.gaps
    assert "Row 1 of the activity log cannot be read" in caplog.text


async def test_what_a_listener_had_to_announce_is_announced_by_the_next_one(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe()
    await create(fake, "read")
    async with following(fake):
        await until(LogPosition.objects.filter(top=1).exists)
    await fake.create("articles", [{"title": "pruned"}, {"title": "kept"}])
    fake.prune_log(until_id=2)
    with monkeypatch.context() as patch:
        patch.setattr(Follower, "_has_ended_outage", lambda self: False)  # killed before that
        async with following(fake):
            await until(LogPosition.objects.filter(top=3).exists)
    assert not received.gaps
    assert await LogPosition.objects.filter(gap_recovered=False, gap_until=None).aexists()
    async with following(fake):
        await await_for(lambda: received.gaps)
        await until(LogPosition.objects.exclude(gap_until=None).exists)
    assert verdicts(received) == [(False, ["articles"])]
    row = await LogPosition.objects.aget()
    assert (row.gap_recovered, row.gap_collections) == (False, ["articles"])


async def test_a_log_that_may_not_be_read_any_more_is_a_gap_and_is_verified_afterwards(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_reader("articles")
    articles = FakeCollection("articles", fields={"title": "string"})
    learn, is_forbidden = Follower._learn, False

    async def learn_that_it_is_forbidden(self: Follower) -> None:
        if is_forbidden:
            forbid(reader, "directus_activity")
        await learn(self)

    monkeypatch.setattr(Follower, "_learn", learn_that_it_is_forbidden)
    await subscribe()
    async with (
        FakeDirectus([articles], TOKEN, [reader]) as fake,
        following(fake, token="reader-token"),
    ):
        await create(fake, "read")
        await await_for(lambda: received.titles == ["read"])
        is_forbidden = True
        await fake.write_log("update", "directus_permissions", "1")
        await await_for(lambda: received.gaps)
        await until(lambda: LogPosition.objects.exclude(problem="").exists())
        await fake.create("articles", [{"title": "pruned"}, {"title": "kept"}], emit=False)
        fake.prune_log(until_id=3)
        is_forbidden = False
        await allow(fake, reader, "directus_activity")
        await await_for(lambda: "kept" in received.titles)
        await await_for(lambda: len(received.gaps) == 2)
    assert verdicts(received) == [(False, ["articles"]), (False, ["articles"])]


# One subscription that cannot be read


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_query_that_the_server_fails_to_answer_stops_no_other_subscription(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    await subscribe()
    await subscribe("notes", collection="notes")
    async with following(fake):
        with monkeypatch.context() as patch:
            fail_for("notes", status, patch)
            await fake.create("notes", {"title": "missed"})
            await until(state_is("notes", "refused"))
            await create(fake, "a")
            await await_for(lambda: received.titles == ["a"])
            await fake.write_log("update", "directus_permissions", "1")  # all are asked for again
            await create(fake, "b")
            await await_for(lambda: received.titles == ["a", "b"])
        await fake.write_log("update", "directus_permissions", "1")
        await await_for(lambda: received.titles == ["a", "b", "missed"])
    assert not received.gaps


def fail_for(collection: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer each read of the items of a collection with an error, as a proxy does."""
    for name in ("read", "read_keys"):
        read = getattr(ItemsService, name)

        def refuse(service: ItemsService, *args: Any, read: Any = read) -> Any:
            if service.name == collection:
                raise ApiError(status, "", "The upstream server failed.")
            return read(service, *args)

        monkeypatch.setattr(ItemsService, name, refuse)


async def test_many_rows_at_the_end_of_the_log_that_make_no_sense_stop_nothing(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        pass
    await create(fake, "a")
    for _ in range(15):
        await fake.write_log("update", "other", "")
    async with following(fake):
        await await_for(lambda: received.titles == ["a"])


async def test_a_refused_subscription_that_has_the_socket_alone_leaves_a_gap(
    received: Received,
) -> None:
    reader = make_reader("articles")
    reader.readable = {"articles": {}}
    articles = FakeCollection("articles", fields={"title": "string"})
    await subscribe()
    async with (
        FakeDirectus([articles], TOKEN, [reader]) as fake,
        following(fake, token="reader-token"),
    ):
        forbid(reader, "articles")
        await until(state_is("all", "refused"))
        received.gaps.clear()
        reader.readable = {"articles": {}}
        await until(state_is("all", "subscribed"))
        await await_for(lambda: received.gaps)
    assert verdicts(received) == [(False, ["articles"])]


async def test_what_is_not_stored_is_not_said_to_be_complete(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe()
    can_store, is_waiting = threading.Event(), threading.Event()
    moments: list[Any] = []

    def store_later(*args: Any) -> Any:
        if args[0]:
            is_waiting.set()
            can_store.wait(TIMEOUT)
        return store(*args)

    store = inbox_module.store
    monkeypatch.setattr(inbox_module, "store", store_later)
    note_read = LogCursor.note_read

    def note(self: LogCursor, began_at: Any) -> Any:
        values = note_read(self, began_at)
        moments.append(self.complete_until)
        return values

    monkeypatch.setattr(LogCursor, "note_read", note)
    async with following(fake):
        await create(fake, "stored late")
        await await_for(is_waiting.is_set)
        first = len(moments)
        await await_for(lambda: len(moments) > first + 5)
        assert len(set(moments[first:])) == 1
        can_store.set()
        await await_for(lambda: moments[-1] > moments[first])


# A subscription that is changed, and one that loads


async def test_a_subscription_that_is_changed_while_its_items_are_read_misses_nothing(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe()
    async with following(fake):
        pass
    monkeypatch.setattr(follower_module, "_EVENTS", 2)
    await fake.create("articles", [{"title": str(number)} for number in range(20)])
    process, is_changed = Follower._process, False

    async def change_first(self: Follower, *args: Any) -> None:
        nonlocal is_changed
        await process(self, *args)
        if not is_changed:
            is_changed = True
            before = set(self._subscriptions)
            await DirectusSubscription.objects.aupdate(fields=["title"])
            await await_for(lambda: set(self._subscriptions).isdisjoint(before))

    monkeypatch.setattr(Follower, "_process", change_first)
    async with following(fake):
        await await_for(lambda: len(received.titles) == 20)
        await until_behind(fake, received)
    assert [change[2] for change in behind(received)] == [str(number) for number in range(20)]


async def test_a_first_load_waits_until_the_key_of_the_collection_is_known(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that was refused in the middle, or a new server, has it asked for again."""
    monkeypatch.setattr(snapshot, "full_jitter", lambda **values: itertools.repeat(0.01))
    notes = FakeCollection("articles", key_type="uuid", fields={"title": "string"})
    asked: list[Any] = []
    load_once = SnapshotLoader._load_once

    async def note(self: SnapshotLoader, desired: Any, subscription: Any) -> None:
        asked.append(subscription.primary_key)
        await load_once(self, desired, subscription)

    start = SnapshotLoader.start

    def start_unknown(self: SnapshotLoader, subscription: Any) -> None:
        if not self._tasks:
            known, subscription.primary_key = subscription.primary_key, None
            asyncio.get_running_loop().call_later(0.1, setattr, subscription, "primary_key", known)
        start(self, subscription)

    monkeypatch.setattr(SnapshotLoader, "_load_once", note)
    monkeypatch.setattr(SnapshotLoader, "start", start_unknown)
    async with FakeDirectus([notes], TOKEN) as fake:
        await create(fake, "a")
        await subscribe(snapshot=True)
        async with following(fake):
            await await_for(lambda: received.titles == ["a"])
    assert asked == [PrimaryKey("id", "string")]


async def test_a_server_that_gives_few_rows_at_a_time_is_followed_again(
    received: Received,
) -> None:
    articles = FakeCollection("articles", fields={"title": "string"})
    await subscribe()
    async with FakeDirectus([articles], TOKEN, query_limit_max=3) as fake:
        async with following(fake):
            await fake.create("articles", [{"title": str(number)} for number in range(10)])
            await await_for(lambda: len(received.titles) == 10)
        await fake.create("articles", [{"title": str(number)} for number in range(10, 20)])
        async with following(fake):
            await await_for(lambda: len(received.titles) == 20)
    assert received.titles == [str(number) for number in range(20)]
