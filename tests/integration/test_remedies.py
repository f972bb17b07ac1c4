"""Remedies on sites that need them: a log that was wiped, a restored backup, a lost position."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command

from directus_realtime.client import doorbells
from directus_realtime.database import DatabaseThread
from directus_realtime.loads import load_progress, request_load
from directus_realtime.models import (
    DirectusSubscription,
    InboxEvent,
    LogPosition,
    MatchedItem,
    ParkedChange,
    ParkedState,
)
from directus_realtime.signals import directus_load_finished
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from tests.helpers.waiting import await_for
from tests.integration.listening import (
    TOKEN,
    Received,
    create,
    following,
    subscribe,
    until,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("quick_checks"),
]

DRAFTS = {"status": {"_eq": "draft"}}


@pytest.fixture
async def finished() -> Any:
    """The loads that were announced as complete."""
    found: list[tuple[str, int, int]] = []

    def note(subscription: str, items: int, deleted: int, **kwargs: Any) -> None:
        found.append((subscription, items, deleted))

    directus_load_finished.connect(note)
    yield found
    directus_load_finished.disconnect(note)


async def run(name: str, *arguments: str, **options: Any) -> str:
    """Run a command in a thread of its own, and return its output."""
    output = io.StringIO()
    thread = DatabaseThread("command")
    try:
        await thread.run(
            lambda: call_command(name, *arguments, stdout=output, stderr=output, **options)
        )
    finally:
        await thread.aclose()
    return output.getvalue()


def snapshots(received: Received) -> list[tuple[str, Any, Any]]:
    """Action, key and title of each event of a load, in a certain order."""
    found = [
        change
        for event, change in zip(received.events, received.changes, strict=True)
        if event.origin == "snapshot"
    ]
    return sorted(found, key=str)


@pytest.fixture
def configured(fake: FakeDirectus, settings: Any) -> None:
    """The fake is the server of the connection, for commands that connect to it."""
    settings.DIRECTUS_REALTIME = {"default": {"URL": fake.url, "TOKEN": TOKEN}}


async def request(*names: str) -> int:
    rows = DirectusSubscription.objects.all()
    return await sync_to_async(request_load)(rows.filter(name__in=names) if names else rows)


# Loads


async def test_a_load_after_the_log_was_wiped_delivers_what_is_there_and_deletes_what_is_gone(
    fake: FakeDirectus, received: Received, finished: list[Any]
) -> None:
    await subscribe()
    async with following(fake):
        await fake.create("articles", [{"title": title} for title in ("kept", "gone", "old")])
        await await_for(lambda: len(received.events) == 3)
    await fake.delete("articles", 2)
    await fake.update("articles", 3, {"title": "new"})
    fake.prune_log(until_id=5)
    async with following(fake):
        await await_for(lambda: received.gaps)
        output = await run("directus_load", "all")
        await await_for(lambda: len(received.events) == 6)
        await await_for(lambda: finished)
        await run("directus_status", "--acknowledge-gap", connection=["default"])
    assert snapshots(received) == [
        ("delete", 2, None),
        ("update", 1, "kept"),
        ("update", 3, "new"),
    ]
    assert "all: 2 items loaded, 1 deleted" in output
    assert "directus_status --connection default --acknowledge-gap" in output
    assert finished == [("all", 2, 1)]


async def test_a_load_after_a_restored_backup_reports_what_the_backup_set_back(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    await create(fake, "in the backup")
    async with following(fake):
        await fake.update("articles", 1, {"title": "lost with the backup"})
        await create(fake, "after the backup")
        await await_for(lambda: len(received.events) == 2)
    await fake.update("articles", 1, {"title": "in the backup"}, log=False, emit=False)
    await fake.delete("articles", 2, log=False, emit=False)
    fake.replace_log(until_id=1)
    async with following(fake):
        await await_for(lambda: received.gaps)
        await run("directus_load")
        await await_for(lambda: len(snapshots(received)) == 2)
    assert snapshots(received) == [("delete", 2, None), ("update", 1, "in the backup")]


async def test_a_load_of_a_filter_reports_items_that_left_it_and_those_that_are_gone(
    fake: FakeDirectus, received: Received
) -> None:
    """They are known from the matched items, without an event in the inbox."""
    await fake.create(
        "articles", [{"title": str(number), "status": "draft"} for number in range(1, 5)]
    )
    await fake.create("articles", {"title": "never", "status": "other"})
    await subscribe(filter=DRAFTS)
    async with following(fake):
        await until(lambda: MatchedItem.objects.count() == 4)
        await until(lambda: not DirectusSubscription.objects.filter(matched_of="").exists())
        await fake.delete("articles", [2, 5], log=False, emit=False)
        await fake.update("articles", 3, {"status": "done"}, log=False, emit=False)
        await run("directus_load")
        await await_for(lambda: len(received.events) == 4)
    assert snapshots(received) == [
        ("delete", 2, None),
        ("update", 1, "1"),
        ("update", 3, "3"),
        ("update", 4, "4"),
    ]
    assert [event.key for event in received.events if event.left_filter] == [3]


async def test_an_item_that_may_be_hidden_is_not_reported_as_deleted(
    received: Received, finished: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    articles = FakeCollection("articles", fields={"title": "string", "status": "string"})
    readable: dict[str, Any] = {"articles": {"status": {"_neq": "secret"}}}
    readable |= {"directus_activity": {}, "directus_collections": {}}
    user = FakeUser("reader@example.com", "", token="the-reader-token", readable=readable)
    await subscribe()
    async with (
        FakeDirectus([articles], TOKEN, [user]) as fake,
        following(fake, token="the-reader-token"),
    ):
        await fake.create("articles", [{"title": "a", "status": "on"} for _ in range(2)])
        await await_for(lambda: len(received.events) == 2)
        await fake.update("articles", 1, {"status": "secret"}, log=False, emit=False)
        await run("directus_load")
        await await_for(lambda: finished)
    assert finished == [("all", 1, 0)]
    assert snapshots(received) == [("update", 2, "a")]
    assert "1 items of articles were known and are not found" in caplog.text


async def test_a_load_explains_the_unexplained_changes_of_its_subscription(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    await create(fake, "kept")
    async with following(fake):
        position = await LogPosition.objects.aget()
        await ParkedChange.objects.acreate(
            connection="default",
            subscription=row,
            activity_id=1,
            collection="articles",
            key_json="7",
            action="update",
            changed_at=position.read_at,
            parked_at=position.read_at,
            state=ParkedState.UNEXPLAINED,
        )
        await run("directus_load")
    assert not await ParkedChange.objects.aexists()


async def test_a_load_that_is_requested_again_is_delivered_again(
    fake: FakeDirectus, received: Received, finished: list[Any]
) -> None:
    await create(fake, "kept")
    await subscribe()
    async with following(fake):
        for number in (1, 2):
            await run("directus_load", "all")
            await await_for(lambda n=number: len(finished) == n)
        await await_for(lambda: len(received.events) == 2)


async def test_a_load_without_a_listener_is_kept_for_the_next_one(
    fake: FakeDirectus, received: Received
) -> None:
    await create(fake, "kept")
    await subscribe()
    await subscribe("paused", enabled=False)
    with pytest.raises(CommandError, match="Not loaded within 0 s: all"):
        await run("directus_load", timeout=0.0)
    (progress,) = await sync_to_async(load_progress)(["all"])
    assert "No listener of 'default' is running" in progress.problem
    assert await request("all", "paused") == 1
    async with following(fake):
        await await_for(lambda: received.titles == ["kept"])


async def test_a_name_that_is_no_enabled_subscription_is_refused(fake: FakeDirectus) -> None:
    await subscribe()
    await subscribe("paused", enabled=False)
    with pytest.raises(CommandError, match="'paused' is not an enabled subscription of default"):
        await run("directus_load", "paused")
    assert "The load of 1 subscription is requested: all" in await run(
        "directus_load", no_wait=True
    )
    assert not await InboxEvent.objects.aexists()


# The position


@pytest.mark.usefixtures("configured")
async def test_the_position_is_set_to_the_end_while_a_listener_runs(
    fake: FakeDirectus, received: Received
) -> None:
    """What this skips is shown first, and is a gap afterwards."""
    await subscribe()
    async with following(fake):
        await create(fake, "read")
        await await_for(lambda: received.titles == ["read"])
    await fake.create("articles", [{"title": "skipped"} for _ in range(3)])
    with pytest.raises(CommandError, match="Nothing was changed"):
        await run("directus_position", target="now")
    output = await run("directus_position", target="now", yes=True)
    assert "skipped       3 changes of articles" in output
    assert "The position is 4." in output
    async with following(fake):
        await await_for(lambda: received.gaps)
        await create(fake, "after")
        await await_for(lambda: received.titles[-1] == "after")
        (gap,) = received.gaps
        assert (gap["recovered"], gap["collections"]) == (False, ["articles"])
        await until(LogPosition.objects.filter(top=5).exists)

        output = await run("directus_position", target="now", yes=True)
        assert "skipped       no changes of followed collections" in output
        await create(fake, "after the lease was taken again")
        await await_for(lambda: len(received.titles) == 3)
    assert received.titles == ["read", "after", "after the lease was taken again"]
    assert len(received.gaps) == 1


@pytest.mark.usefixtures("configured")
async def test_a_lost_position_is_set_to_an_id_that_is_known(
    fake: FakeDirectus, received: Received
) -> None:
    """The changes behind it are read again; those in the inbox are not delivered twice."""
    await subscribe()
    async with following(fake):
        await create(fake, "read")
        await await_for(lambda: received.titles == ["read"])
    await create(fake, "meanwhile")
    await LogPosition.objects.all().adelete()
    assert "never read" in await run("directus_position")
    assert "The position is 0." in await run("directus_position", target=0, yes=True)
    async with following(fake):
        await await_for(lambda: received.titles == ["read", "meanwhile"])
        await create(fake, "live")
        await await_for(lambda: received.titles == ["read", "meanwhile", "live"])
        await until(LogPosition.objects.filter(top=3).exists)
        output = await run("directus_position", target=1, yes=True)
        assert "read again    2 changes of articles" in output
        await until(LogPosition.objects.filter(top=3).exists)
        await create(fake, "last")
        await await_for(lambda: received.titles[-1] == "last")
    assert received.titles == ["read", "meanwhile", "live", "last"]
    assert received.gaps == []


@pytest.mark.usefixtures("configured")
async def test_an_id_that_the_log_does_not_have_is_refused(fake: FakeDirectus) -> None:
    await create(fake, "only")
    with pytest.raises(CommandError, match="9 is not in the activity log, whose newest id is 1"):
        await run("directus_position", target=9, yes=True)
    assert not await LogPosition.objects.aexists()


# What needs an explanation


async def test_unlogged_changes_and_dropped_ids_are_listed(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbells, "PATIENCE", 0.05)
    await subscribe()
    await create(fake, "old")
    async with following(fake, hole_age=0.2):
        await fake.update("articles", 1, {"title": "unlogged"}, log=False)
        await await_for(lambda: received.titles == ["unlogged"])
        lost = fake.transaction()
        await lost.create("articles", {"title": "rolled back"})
        lost.rollback()
        await create(fake, "kept")
        await until(LogPosition.objects.filter(dropped=1).exists)
    found = json.loads(await run("directus_anomalies", json=True))["default"]
    (unlogged,) = found["unlogged"]
    assert (unlogged["collection"], unlogged["key"]) == ("articles", 1)
    assert [(each["first"], each["last"]) for each in found["dropped"]] == [(2, 2)]
    output = await run("directus_anomalies", kind=["dropped"])
    assert "ids 2 to 2" in output
    assert "unlogged" not in output
