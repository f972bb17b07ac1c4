"""Rights, collections and servers that change while they are followed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.db.models import F

from directus_realtime.client.rest import RestClient
from directus_realtime.listener.follower.follower import Follower
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    ListenerLease,
    LogPosition,
)
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from directus_realtime.testing.fake.writes import FakeTransaction
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

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("quick_checks"),
]

BOTH = ("articles", "notes")
READER = "reader@example.com"


def articles(**values: Any) -> FakeCollection:
    return FakeCollection("articles", **{"fields": {"title": "string"}, **values})


def make_reader(*collections: str) -> FakeUser:
    """A user who may read some collections, and is no administrator."""
    readable: dict[str, Any] = {name: {} for name in collections}
    return FakeUser(READER, "", token="reader-token", readable=readable)


@asynccontextmanager
async def following_as_reader(**options: Any) -> AsyncIterator[tuple[FakeDirectus, FakeUser]]:
    """A listener of both collections whose rights can be changed."""
    reader = make_reader(*BOTH, "directus_activity", "directus_collections")
    collections = [FakeCollection(name, fields={"title": "string"}) for name in BOTH]
    await subscribe()
    await subscribe("notes", collection="notes")
    async with (
        FakeDirectus(collections, users=[reader], **options) as fake,
        following(fake, token="reader-token"),
    ):
        yield fake, reader


def note_of(name: str, **condition: Any) -> Any:
    return DirectusSubscription.objects.filter(name=name, **condition)


# Without a log


async def test_without_a_readable_log_holes_that_are_due_make_no_work(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot be read, so they stay due for as long as the log is not readable."""
    steps: list[object] = []
    step = Follower._step

    async def counted(self: Follower) -> None:
        steps.append(self)
        await step(self)

    await subscribe()
    reader = make_reader("articles", "directus_activity")
    async with (
        FakeDirectus([articles()], users=[reader], websockets=False) as fake,
        following(fake, is_subscribed=False, token="reader-token"),
        fake.transaction() as transaction,
    ):
        await until(state_is("all", "subscribed"))
        await transaction.create("articles", {"title": "late"})
        await create(fake, "first")
        await await_for(lambda: received.titles == ["first"])
        del reader.readable["directus_activity"]  # type: ignore[attr-defined]
        await until(LogPosition.objects.exclude(problem="").exists)
        monkeypatch.setattr(Follower, "_step", counted)
        await asyncio.sleep(0.5)
    assert 0 < len(steps) < 50  # of a poll each 0.05 s


async def test_without_a_readable_log_what_the_socket_brings_is_delivered(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    reader = make_reader("articles")
    async with (
        FakeDirectus([articles()], users=[reader]) as fake,
        following(fake, token="reader-token"),
    ):
        await until(note_of("all", last_error__startswith="Socket only: ").exists)
        item = await fake.create("articles", {"title": "a"})
        await fake.update("articles", item["id"], {"title": "b"})
        await fake.delete("articles", item["id"])
        await await_for(lambda: received.titles[-1:] == [None])
    assert received.events[-1].action == "delete"
    assert {event.activity_id for event in received.events} == {None}
    assert "The token may not read directus_activity" in caplog.text
    assert (await LogPosition.objects.aget()).problem == "The token may not read directus_activity"


async def test_a_log_of_which_a_part_is_hidden_is_not_used(received: Received) -> None:
    await subscribe()
    reader = make_reader("articles", "directus_activity")
    assert reader.readable is not None
    reader.readable["directus_activity"] = {"action": {"_eq": "create"}}  # type: ignore[index]
    async with (
        FakeDirectus([articles()], users=[reader]) as fake,
        following(fake, token="reader-token"),
    ):
        await until(note_of("all", last_error__startswith="Socket only: ").exists)
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
    assert received.events[0].activity_id is None


async def test_a_lost_socket_without_a_readable_log_is_a_gap(received: Received) -> None:
    await subscribe()
    reader = make_reader("articles")
    async with (
        FakeDirectus([articles()], users=[reader]) as fake,
        following(fake, token="reader-token"),
    ):
        await fake.cut()
        await await_for(lambda: received.gaps)
        await until_subscribed(fake)
        await create(fake, "after")
        await await_for(lambda: received.titles == ["after"])
    assert {gap["recovered"] for gap in received.gaps} == {False}
    assert received.gaps[0]["collections"] == ["articles"]


async def test_a_log_that_becomes_readable_is_followed_from_then_on(received: Received) -> None:
    await subscribe()
    reader = make_reader("articles")
    async with (
        FakeDirectus([articles()], users=[reader]) as fake,
        following(fake, token="reader-token"),
    ):
        await until(note_of("all", last_error__startswith="Socket only: ").exists)
        reader.readable["directus_activity"] = {}  # type: ignore[index]
        await fake.stop_listening()
        await await_for(lambda: received.states[-1] == "reconnecting")
        await fake.resume_listening()
        await until(note_of("all", state="subscribed").exclude(followed_from=None).exists)
        await fake.create("articles", {"title": "logged"}, emit=False)
        await await_for(lambda: received.titles == ["logged"])
    assert received.events[0].activity_id == 1


async def test_a_collection_whose_changes_are_not_logged_is_socket_only(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    await subscribe("notes", collection="notes")
    notes = FakeCollection("notes", fields={"title": "string"})
    async with FakeDirectus([articles(accountability=None), notes], TOKEN) as fake, following(fake):
        await until(note_of("all", last_error__startswith="Socket only: ").exists)
        assert await note_of("notes", last_error="").aexists()
        await create(fake, "by the socket")
        await fake.create("notes", {"title": "by the log"}, emit=False)
        await await_for(lambda: len(received.titles) == 2)
    assert {event.subscription: event.activity_id for event in received.events} == {
        "all": None,
        "notes": 1,
    }
    assert "Directus does not log the changes of articles" in caplog.text


async def test_a_collection_that_is_logged_from_now_on_is_followed_from_there(
    received: Received,
) -> None:
    await subscribe()
    async with FakeDirectus([articles(accountability=None)], TOKEN) as fake, following(fake):
        await until(note_of("all", last_error__startswith="Socket only: ").exists)
        await create(fake, "by the socket")
        await await_for(lambda: received.titles == ["by the socket"])
        await fake.change_collection("articles", accountability="all")
        await until(note_of("all", last_error="").exists)
        await await_for(lambda: received.gaps)
        await fake.create("articles", {"title": "by the log"}, emit=False)
        await await_for(lambda: received.titles == ["by the socket", "by the log"])
    assert [(gap["recovered"], gap["collections"]) for gap in received.gaps] == [
        (False, ["articles"])
    ]
    assert received.events[1].activity_id is not None


async def test_a_collection_that_is_no_longer_logged_is_socket_only(received: Received) -> None:
    await subscribe()
    async with FakeDirectus([articles()], TOKEN) as fake, following(fake):
        await create(fake, "by the log")
        await await_for(lambda: received.titles == ["by the log"])
        await fake.change_collection("articles", accountability=None)
        await until(note_of("all", last_error__startswith="Socket only: ").exists)
        await create(fake, "by the socket")
        await await_for(lambda: received.titles == ["by the log", "by the socket"])
    assert [event.activity_id for event in received.events] == [1, None]


# Without a socket


async def test_without_websockets_changes_are_found_by_the_poll(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    async with (
        FakeDirectus([articles()], TOKEN, websockets=False) as fake,
        following(fake, is_subscribed=False, poll_interval=0.05, catch_up_interval=600) as task,
    ):
        await until(state_is("all", "subscribed"))
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
        assert not task.done()
    assert received.states == ["connected", "disconnected"]
    assert received.gaps == []
    assert "no WebSocket, so the activity log is read every 0.05 s" in caplog.text


async def test_a_socket_that_is_refused_for_a_while_is_used_later(
    fake: FakeDirectus, received: Received
) -> None:
    fake.reject_upgrades()
    await subscribe()
    async with following(fake, is_subscribed=False, catch_up_interval=600):
        await until(state_is("all", "subscribed"))
        await create(fake, "by the poll")
        await await_for(lambda: received.titles == ["by the poll"])
        fake.reject_upgrades(None)
        await until_subscribed(fake)
        await create(fake, "by the socket")
        await await_for(lambda: received.titles == ["by the poll", "by the socket"])
    assert received.states == ["connected", "disconnected"]


async def test_a_collection_without_a_log_and_without_a_socket_is_said_to_be_lost(
    received: Received,
) -> None:
    await subscribe()
    closed = FakeDirectus([articles(accountability=None)], TOKEN, websockets=False)
    async with closed as fake, following(fake, is_subscribed=False):
        note = "articles is not in the activity log, and there is no socket"
        await until(note_of("all", state="waiting", last_error__startswith=note).exists)


# Rights that come and go


async def test_items_that_may_not_be_read_stop_no_other_subscription(received: Received) -> None:
    """A right that is lost while the socket goes on: Directus does not close it."""
    async with following_as_reader() as (fake, reader):
        del reader.readable["notes"]  # type: ignore[union-attr]
        await fake.create("notes", {"title": "unreadable"})
        await create(fake, "readable")
        await await_for(lambda: received.titles == ["readable"])
        await until(note_of("notes", state="refused").exclude(last_error="").exists)
        assert received.refusals[0][0] == "notes"
        await fake.create("notes", {"title": "meanwhile"})
        await create(fake, "too")
        await await_for(lambda: received.titles == ["readable", "too"])
        reader.readable["notes"] = {}  # type: ignore[index]
        await await_for(lambda: len(received.titles) == 4)
        await until(note_of("notes", state="subscribed", last_error="", unread=[]).exists)
        await fake.create("notes", {"title": "live"})
        await await_for(lambda: len(received.titles) == 5)
    assert received.titles == ["readable", "too", "unreadable", "meanwhile", "live"]
    assert [event.origin for event in received.events][2:] == ["catch-up", "catch-up", "live"]


async def test_what_was_left_out_for_one_subscription_is_read_for_it_alone(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    search = RestClient.search

    async def searching(self: RestClient, path: str, query: Any = None, **values: Any) -> Any:
        if path == "/activity" and "collection" in str((query or {}).get("filter")):
            asked.append(query["filter"])
        return await search(self, path, query, **values)

    monkeypatch.setattr(RestClient, "search", searching)
    async with following_as_reader() as (fake, reader):
        del reader.readable["notes"]  # type: ignore[union-attr]
        await fake.create("notes", {"title": "unreadable"})
        await until(note_of("notes", state="refused").exists)
        await create(fake, "readable")
        await await_for(lambda: received.titles == ["readable"])
        assert asked == []
        reader.readable["notes"] = {}  # type: ignore[index]
        await await_for(lambda: received.titles == ["readable", "unreadable"])
    assert all("'notes'" in str(each) and "articles" not in str(each) for each in asked)
    assert asked


async def test_what_is_left_out_survives_a_restart(received: Received, fast_lease: None) -> None:
    async with following_as_reader() as (fake, reader):
        del reader.readable["notes"]  # type: ignore[union-attr]
        await fake.create("notes", {"title": "unreadable"})
        await until(note_of("notes", state="refused").exclude(unread=[]).exists)
        row = await DirectusSubscription.objects.aget(name="notes")
        assert row.unread[-1][1] is None
        await fake.create("notes", {"title": "too"})
        await create(fake, "read")
        await await_for(lambda: received.titles == ["read"])
        # The next listener is another one: all that it knows is in the database.
        await ListenerLease.objects.aupdate(holder=uuid.uuid4(), token=F("token") + 1)
        await fake.wait_for(lambda fake: not fake.subscriptions, TIMEOUT)
        reader.readable["notes"] = {}  # type: ignore[index]
        await ListenerLease.objects.aupdate(holder=None)
        await await_for(lambda: received.titles == ["read", "unreadable", "too"])
    assert [event.origin for event in received.events] == ["live", "catch-up", "catch-up"]


async def test_a_late_row_below_what_is_caught_up_is_not_left_out(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = RestClient.search
    transactions: list[FakeTransaction] = []

    async def searching(self: RestClient, path: str, query: Any = None, **values: Any) -> Any:
        found = await search(self, path, query, **values)
        if path == "/activity" and "'notes'" in str(query) and transactions:
            transactions.pop().commit()  # the first page of what was left out is read
        return found

    monkeypatch.setattr(RestClient, "search", searching)
    async with following_as_reader(query_limit_max=5) as (fake, reader):
        del reader.readable["notes"]  # type: ignore[union-attr]
        transactions.append(fake.transaction())
        await transactions[0].create("notes", {"title": "late"}, emit=False)
        made = [await fake.create("notes", {"title": str(number)}) for number in range(20)]
        await until(note_of("notes", state="refused").exclude(unread=[]).exists)
        await create(fake, "read")
        await await_for(lambda: received.titles == ["read"])
        reader.readable["notes"] = {}  # type: ignore[index]
        await await_for(lambda: len(received.events) == 22)
    assert not transactions
    assert set(received.titles) == {"read", "late", *(item["title"] for item in made)}


async def test_what_was_left_out_and_is_pruned_meanwhile_may_be_lost(received: Received) -> None:
    await subscribe()
    await subscribe("notes", collection="notes", fields=["title"])
    notes = FakeCollection("notes", fields={"title": "string"})
    async with FakeDirectus([articles(), notes], TOKEN) as fake, following(fake):
        await create(fake, "read")
        await await_for(lambda: received.titles == ["read"])
        await fake.change_collection("notes", fields={})
        await until(note_of("notes", state="refused").exclude(unread=[]).exists)
        await fake.create("notes", [{}, {}])
        last = fake.items("directus_activity")[-1]["id"]
        await until(LogPosition.objects.filter(top=last).exists)
        fake.prune_log(until_id=last - 1)
        await fake.change_collection("notes", fields={"title": "string"})
        await await_for(lambda: len(received.events) == 2)
        await await_for(lambda: received.gaps)
    assert [(gap["recovered"], gap["collections"]) for gap in received.gaps] == [(False, ["notes"])]


async def test_an_outage_of_a_subscription_that_cannot_be_read_is_not_said_to_be_whole(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    notes = FakeCollection("notes", fields={"title": "string", "body": "string"})
    await subscribe()
    await subscribe("notes", collection="notes", fields=["title", "body"])
    async with FakeDirectus([articles(), notes], TOKEN) as fake:
        async with following(fake):
            await until(LogPosition.objects.exclude(read_at=None).exists)
        await fake.change_collection("notes", fields={"title": "string"})
        await fake.create("notes", {"title": "unreadable"})
        await create(fake, "readable")
        async with following(fake, is_subscribed=False):
            await await_for(lambda: received.titles == ["readable"])
            await await_for(lambda: received.gaps)
    assert [(gap["recovered"], gap["collections"]) for gap in received.gaps] == [(False, ["notes"])]
    assert "changes of notes may be lost" in caplog.text


async def test_a_user_who_is_suspended_for_a_while_misses_nothing(received: Received) -> None:
    async with following_as_reader() as (fake, _):
        await fake.suspend_user(READER)
        await create(fake, "meanwhile")
        await until(ConnectionStatus.objects.filter(state="reconnecting").exists)
        assert received.titles == []
        await fake.suspend_user(READER, suspended=False)
        await await_for(lambda: received.titles == ["meanwhile"])
        await create(fake, "after")
        await await_for(lambda: received.titles == ["meanwhile", "after"])


async def test_an_item_that_a_rule_hides_makes_no_event_and_is_not_parked(
    received: Received,
) -> None:
    reader = make_reader("articles", "directus_activity", "directus_collections")
    reader.readable["articles"] = {"title": {"_neq": "hidden"}}  # type: ignore[index]
    await subscribe()
    async with (
        FakeDirectus([articles()], users=[reader]) as fake,
        following(fake, token="reader-token"),
    ):
        await create(fake, "hidden")
        await create(fake, "seen")
        await await_for(lambda: received.titles == ["seen"])
    assert not await DirectusSubscription.objects.filter(parked_changes__isnull=False).aexists()


# Collections that are changed


async def test_a_field_that_is_dropped_refuses_the_subscriptions_that_name_it_alone(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe("titles", fields=["title"])
    await subscribe("statuses", fields=["title", "status"])
    async with following(fake):
        await create(fake, "before")
        await await_for(lambda: received.titles == ["before"] * 2)
        await fake.change_collection("articles", fields={"title": "string"})
        await create(fake, "meanwhile")
        await await_for(lambda: received.titles == [*["before"] * 2, "meanwhile"])
        await until(state_is("statuses", "refused"))
        await fake.change_collection("articles", fields={"title": "string", "status": "string"})
        await await_for(lambda: received.titles[3:] == ["meanwhile"])
        await create(fake, "after")
        await await_for(lambda: received.titles[4:] == ["after"] * 2)


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_collection_that_is_made_again_with_another_key_is_read_by_it(
    fake: FakeDirectus, received: Received, is_away: bool
) -> None:
    made_again = articles(primary_key="slug", key_type="string")
    await subscribe()
    async with following(fake):
        await create(fake, "before")
        await await_for(lambda: received.titles == ["before"])
        if is_away:
            await fake.stop_listening()
            await await_for(lambda: received.states[-1] == "reconnecting")
        await fake.delete_collection("articles")
        await fake.create_collection(made_again)
        await fake.create("articles", {"slug": "042", "title": "made again"})
        await fake.resume_listening()
        await await_for(lambda: received.titles[-1] == "made again")
        await until_subscribed(fake)
        await fake.update("articles", "042", {"title": "changed"})
        await await_for(lambda: received.titles[-1] == "changed")
    assert received.changes[-2:] == [("create", "042", "made again"), ("update", "042", "changed")]


async def test_a_deleted_collection_refuses_its_subscriptions_alone(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    await subscribe("notes", collection="notes")
    async with following(fake):
        await fake.delete_collection("notes")
        await until(state_is("notes", "refused"))
        await create(fake, "goes on")
        await await_for(lambda: received.titles == ["goes on"])
