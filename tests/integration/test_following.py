"""Changes of the activity log become events: each once, in order, with the committed state."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from directus_realtime.client import log_position
from directus_realtime.models import (
    DirectusSubscription,
    InboxEvent,
    LogPosition,
    ParkedChange,
)
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from directus_realtime.testing.fake import fake_collection
from tests.helpers.waiting import await_for
from tests.integration.listening import (
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


async def until_behind(fake: FakeDirectus, received: Received) -> None:
    """Wait until everything is delivered that was written before."""
    made = await fake.create("articles", {"title": "behind"})
    await await_for(lambda: ("create", made["id"], "behind") in received.changes)


def behind(received: Received) -> list[tuple[str, Any, Any]]:
    """What was received, without the changes of :func:`until_behind`."""
    return [change for change in received.changes if change[2] != "behind"]


async def holes() -> Sequence[list[int]]:
    """First and last id of each hole that is stored."""
    return [hole[:2] for hole in (await LogPosition.objects.aget()).holes]


# Events that come before their commit


async def test_a_list_whose_events_come_before_its_commit_is_delivered_as_committed(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    made = await fake.create("articles", [{"title": "old"} for _ in range(10)])
    async with following(fake):
        async with fake.transaction() as transaction:
            for item in made:
                await transaction.update("articles", item["id"], {"title": "new"}, early=True)
            await create(fake, "beside")
            await polled(fake)
            assert received.titles in ([], ["beside"])
        await until_behind(fake, received)
    assert sorted(behind(received)) == sorted(
        [*(("update", item["id"], "new") for item in made), ("create", 11, "beside")]
    )


async def test_a_list_that_is_rolled_back_makes_no_event_of_items_that_are_known(
    fake: FakeDirectus, received: Received, quick_rings: None
) -> None:
    await subscribe()
    async with following(fake):
        item = await fake.create("articles", {"title": "old"})
        await await_for(lambda: received.titles == ["old"])
        fake.requests.clear()
        transaction = fake.transaction()
        await transaction.update("articles", item["id"], {"title": "new"}, early=True)
        transaction.rollback()
        await await_for(lambda: "SEARCH /items/articles" in fake.requests)
        await until_behind(fake, received)
    assert behind(received) == [("create", item["id"], "old")]


async def test_a_list_that_is_rolled_back_makes_an_update_with_the_true_state_at_the_most(
    fake: FakeDirectus, received: Received, quick_rings: None
) -> None:
    await subscribe()
    item = await fake.create("articles", {"title": "old"})
    async with following(fake):
        transaction = fake.transaction()
        await transaction.update("articles", item["id"], {"title": "new"}, early=True)
        transaction.rollback()
        await await_for(lambda: received.changes == [("update", item["id"], "old")])
    assert received.events[0].activity_id is None


# Rows that come late, and ids that never come


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_rows_of_longer_transactions_are_found_in_whatever_order_they_are_committed(
    fake: FakeDirectus, received: Received, order: tuple[int, ...]
) -> None:
    await subscribe()
    async with following(fake):
        transactions = [fake.transaction() for _ in order]
        for number, transaction in enumerate(transactions):
            titles = [{"title": f"{number} a"}, {"title": f"{number} b"}]
            await transaction.create("articles", titles, emit=False)
        await create(fake, "first")
        await await_for(lambda: received.titles == ["first"])
        expected = ["first"]
        for number in order:
            transactions[number].commit()
            expected += [f"{number} a", f"{number} b"]
            await await_for(lambda now=list(expected): received.titles == now)
        await until(LogPosition.objects.filter(top=7, holes=[]).exists)
    assert [event.activity_id for event in received.events][:1] == [7]


async def test_an_item_of_a_late_row_has_its_last_state(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    item = await fake.create("articles", {"title": "old"})
    async with following(fake):
        async with fake.transaction() as transaction:
            await transaction.update("articles", item["id"], {"title": "slow"}, emit=False)
            await fake.update("articles", item["id"], {"title": "quick"})
            await await_for(lambda: received.titles == ["quick"])
        await await_for(lambda: len(received.titles) == 2)
    assert received.titles == ["quick", "slow"]


async def test_a_late_row_is_delivered_before_a_later_change_of_its_item(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hole is not due for a long time when the later change is seen."""
    monkeypatch.setattr(log_position, "_SHORTEST", 30.0)
    await subscribe()
    item = await fake.create("articles", {"title": "old"})
    async with following(fake):
        async with fake.transaction() as transaction:
            await transaction.update("articles", item["id"], {"title": "late"}, emit=False)
            await until_behind(fake, received)
        await fake.update("articles", item["id"], {"title": "later"})
        await await_for(lambda: len(behind(received)) == 2)
    late, later = (event for event in received.events if event.key == item["id"])
    assert (late.activity_id, later.activity_id) == (2, 4)


async def test_holes_survive_a_restart(fake: FakeDirectus, received: Received) -> None:
    await subscribe()
    async with fake.transaction() as transaction:
        async with following(fake):
            await transaction.create("articles", [{"title": "late"}], emit=False)
            await create(fake, "first")
            await await_for(lambda: received.titles == ["first"])
        assert await holes() == [[1, 1]]
    async with following(fake):
        await await_for(lambda: received.titles == ["first", "late"])
    assert await holes() == []


async def test_transactions_that_are_open_when_a_listener_begins_are_waited_for(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with fake.transaction() as transaction:
        await transaction.create("articles", {"title": "late"}, emit=False)
        await create(fake, "before")
        async with following(fake):
            transaction.commit()
            await await_for(lambda: received.titles == ["late"])
    assert [event.activity_id for event in received.events] == [1]


async def test_ids_that_never_become_visible_are_given_up_after_the_hole_age(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    async with following(fake, hole_age=0.5):
        transaction = fake.transaction()
        await transaction.create("articles", [{"title": "never"} for _ in range(5)])
        transaction.rollback()
        await create(fake, "behind")
        await await_for(lambda: received.titles == ["behind"])
        await until(LogPosition.objects.filter(top=6, dropped=5, holes=[]).exists)
    assert caplog.text.count("5 ids of the activity log never became visible") == 1


async def test_ids_below_a_row_of_long_ago_are_given_up_at_once(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        await create(fake, "read")
        await await_for(lambda: received.titles == ["read"])
    fake.shift_clock(-7200)
    transaction = fake.transaction()
    await transaction.create("articles", [{"title": "never"} for _ in range(5)])
    transaction.rollback()
    await create(fake, "long ago")
    fake.shift_clock(7200)
    async with following(fake):
        await await_for(lambda: received.titles == ["read", "long ago"])
        await until(LogPosition.objects.filter(top=7, dropped=5, holes=[]).exists)


# Rings, and changes without a row


async def test_a_change_that_rings_at_no_socket_is_found_by_the_poll(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        item = await fake.create("articles", {"title": "a"}, emit=False)
        await await_for(lambda: received.titles == ["a"])
        await fake.update("articles", item["id"], {"title": "b"}, emit=False)
        await await_for(lambda: received.titles == ["a", "b"])
        await fake.delete("articles", item["id"], emit=False)
        await await_for(lambda: received.titles == ["a", "b", None])
    assert [event.action for event in received.events] == ["create", "update", "delete"]
    assert [event.activity_id for event in received.events] == [1, 2, 3]
    assert {event.origin for event in received.events} == {"live"}


async def test_a_change_without_a_row_is_read_once_its_ring_has_waited(
    fake: FakeDirectus, received: Received, quick_rings: None
) -> None:
    await subscribe()
    async with following(fake):
        item = await fake.create("articles", {"title": "a"}, log=False)
        await await_for(lambda: received.titles == ["a"])
        await fake.update("articles", item["id"], {"title": "b"}, log=False)
        await await_for(lambda: received.titles == ["a", "b"])
        await fake.delete("articles", item["id"], log=False)
        await await_for(lambda: received.titles == ["a", "b", None])
    assert [event.action for event in received.events] == ["update", "update", "delete"]
    assert {event.activity_id for event in received.events} == {None}
    assert {event.origin for event in received.events} == {"live"}


async def test_an_upload_ends_in_its_finished_file(
    fake: FakeDirectus, received: Received, quick_rings: None
) -> None:
    """Its row is written first; the size and the type of the file follow without one."""
    await subscribe()
    async with following(fake):
        item = await fake.create("articles", {"title": "begun"})
        await await_for(lambda: received.titles == ["begun"])
        await fake.update("articles", item["id"], {"title": "finished"}, log=False)
        await await_for(lambda: received.titles == ["begun", "finished"])
    assert [event.activity_id for event in received.events] == [1, None]


async def test_a_ring_without_a_row_and_without_a_difference_makes_no_event(
    fake: FakeDirectus, received: Received, quick_rings: None
) -> None:
    await subscribe()
    async with following(fake):
        item = await fake.create("articles", {"title": "a"})
        await await_for(lambda: received.titles == ["a"])
        fake.requests.clear()
        await fake.update("articles", item["id"], {"title": "a"}, log=False)
        await await_for(lambda: "SEARCH /items/articles" in fake.requests)
        await until_behind(fake, received)
    assert behind(received) == [("create", item["id"], "a")]


async def test_a_row_that_follows_its_ring_makes_one_event(
    fake: FakeDirectus, received: Received, quick_rings: None
) -> None:
    await subscribe()
    item = await fake.create("articles", {"title": "old"})
    async with following(fake):
        async with fake.transaction() as transaction:
            await transaction.update("articles", item["id"], {"title": "new"}, early=True)
            await polled(fake)
        await await_for(lambda: received.titles == ["new"])
        await polled(fake)
        await until_behind(fake, received)
    assert behind(received) == [("update", item["id"], "new")]
    assert received.events[0].activity_id == 2


# Keys


@pytest.mark.parametrize("written", ["042", " 42 ", "+42", "42.0", "4.2e1"])
async def test_a_key_is_one_key_however_it_is_spelled(
    fake: FakeDirectus, received: Received, quick_rings: None, written: str
) -> None:
    await subscribe()
    await fake.create("articles", {"id": 42, "title": "old"})
    async with following(fake):
        await fake.update("articles", 42, {"title": "new"}, as_written=written)
        await await_for(lambda: received.titles == ["new"])
        await polled(fake)
        await fake.delete("articles", 42, as_written=written)
        await until_behind(fake, received)
    assert behind(received) == [("update", 42, "new"), ("delete", 42, None)]
    assert not await ParkedChange.objects.aexists()


async def test_a_uuid_is_one_key_in_upper_case_and_in_lower_case(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch, quick_rings: None
) -> None:
    """As on PostgreSQL, whose columns compare UUIDs by value."""
    monkeypatch.setitem(fake_collection.DATA_TYPES, "uuid", "uuid")
    await subscribe(collection="notes")
    item = await fake.create("notes", {"title": "old"})
    async with following(fake):
        upper = item["id"].upper()
        await fake.update("notes", item["id"], {"title": "new"}, as_written=upper)
        await await_for(lambda: received.titles == ["new"])
        await polled(fake)
        await fake.delete("notes", item["id"], as_written=upper)
        await await_for(lambda: len(received.titles) == 2)
    assert received.changes == [("update", item["id"], "new"), ("delete", item["id"], None)]


async def test_keys_of_text_are_taken_as_they_are_written(received: Received) -> None:
    odd = ["042", "$NOW", "null", "a/b?c", "é"]
    notes = FakeCollection("articles", key_type="string", fields={"title": "string"})
    await subscribe()
    async with FakeDirectus([notes], TOKEN) as fake, following(fake):
        await fake.create("articles", [{"id": key, "title": key} for key in odd])
        await await_for(lambda: len(received.titles) == len(odd))
    assert received.changes == [("create", key, key) for key in odd]


# Items that are not found


async def test_a_change_whose_item_is_not_found_waits_for_its_delete(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        pass
    item = await fake.create("articles", {"title": "gone"})
    await fake.delete("articles", item["id"], log=False)
    async with following(fake):
        await until(ParkedChange.objects.filter(key_json="1", action="create").exists)
        await until_behind(fake, received)
        assert behind(received) == []
        await fake.write_log("delete", "articles", item["id"])
        await until_behind(fake, received)
        assert behind(received) == [("delete", item["id"], None)]
        assert not await ParkedChange.objects.aexists()


async def test_an_item_that_is_found_later_is_delivered_then(
    fake: FakeDirectus, received: Received, quick_retries: None
) -> None:
    await subscribe()
    async with following(fake):
        pass
    await fake.create("articles", {"id": 5, "title": "hidden"})
    await fake.delete("articles", 5, log=False)
    async with following(fake):
        await until(ParkedChange.objects.exists)
    async with following(fake):
        await fake.create("articles", {"id": 5, "title": "seen"}, log=False, emit=False)
        await await_for(lambda: received.changes == [("create", 5, "seen")])
        await until(lambda: not ParkedChange.objects.exists())
        await polled(fake)
    assert [event.activity_id for event in received.events] == [1]


async def test_a_change_that_stays_without_its_item_is_unexplained(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    async with following(fake):
        pass
    await fake.create("articles", {"title": "gone"})
    await fake.delete("articles", 1, log=False)
    async with following(fake, hole_age=0.3):
        await until(ParkedChange.objects.filter(state="unexplained").exists)
        await until_behind(fake, received)
    assert behind(received) == []
    assert "unexplained: 1 change in the activity log" in caplog.text


async def test_an_update_that_was_logged_after_its_delete_makes_no_event(
    fake: FakeDirectus, received: Received
) -> None:
    """It waited for the delete to be committed, and changed nothing then."""
    await subscribe()
    item = await fake.create("articles", {"title": "a"})
    async with following(fake):
        await fake.delete("articles", item["id"])
        await await_for(lambda: len(received.events) == 1)
        await fake.write_log("update", "articles", item["id"])
        await until_behind(fake, received)
    assert behind(received) == [("delete", item["id"], None)]
    assert not await ParkedChange.objects.aexists()


async def test_an_update_that_was_logged_after_a_delete_of_long_ago_is_explained_by_it(
    fake: FakeDirectus, received: Received
) -> None:
    """The listener that read the delete is another one."""
    await subscribe()
    item = await fake.create("articles", {"title": "a"})
    async with following(fake):
        await fake.delete("articles", item["id"])
        await await_for(lambda: len(received.events) == 1)
    await fake.write_log("update", "articles", item["id"])
    async with following(fake, hole_age=0.5):
        await until_behind(fake, received)
        await until(lambda: not ParkedChange.objects.exists())
    assert behind(received) == [("delete", item["id"], None)]


async def test_an_item_that_is_deleted_and_made_again_is_there_at_the_end(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        await fake.create("articles", {"id": 7, "title": "first"})
        await await_for(lambda: len(received.events) == 1)
        async with fake.transaction() as transaction:
            await transaction.delete("articles", 7)
            await transaction.create("articles", {"id": 8, "title": "other"})
        await fake.create("articles", {"id": 7, "title": "second"})
        await until_behind(fake, received)
    own = [change for change in behind(received) if change[1] == 7]
    assert own[0] == ("create", 7, "first")
    assert own[-1] == ("create", 7, "second")
    assert own in ([own[0], own[-1]], [own[0], ("delete", 7, None), own[-1]])


async def test_an_item_that_is_made_again_while_nobody_follows_is_not_deleted(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    item = await fake.create("articles", {"id": 7, "title": "first"})
    async with following(fake):
        pass
    await fake.delete("articles", item["id"])
    await fake.create("articles", {"id": 7, "title": "second"})
    async with following(fake):
        await until_behind(fake, received)
    assert behind(received) == [("create", 7, "second")]


async def test_an_item_that_cannot_be_read_is_parked_beside_those_that_can(
    fake: FakeDirectus, received: Received, quick_retries: None
) -> None:
    await subscribe()
    async with following(fake):
        fake.spoil("articles", 2)
        await fake.create("articles", [{"title": title} for title in ("a", "spoiled", "c")])
        await await_for(lambda: received.titles == ["a", "c"])
        await until(ParkedChange.objects.filter(reason__contains="cannot be read").exists)
        fake.mend("articles", 2)
        await await_for(lambda: received.titles == ["a", "c", "spoiled"])
        await until(lambda: not ParkedChange.objects.exists())


# What is read


async def test_several_changes_of_an_item_that_are_read_at_once_have_equal_data(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        pass
    item = await fake.create("articles", {"title": "a"})
    for title in ("b", "c"):
        await fake.update("articles", item["id"], {"title": title})
    async with following(fake):
        await await_for(lambda: len(received.events) == 3)
    assert [(event.action, event.activity_id) for event in received.events] == [
        ("create", 1),
        ("update", 2),
        ("update", 3),
    ]
    assert received.titles == ["c", "c", "c"]


async def test_nothing_that_is_read_comes_out_of_a_cache(received: Received) -> None:
    await subscribe()
    articles = FakeCollection("articles", fields={"title": "string"})
    async with FakeDirectus([articles], TOKEN, cache=True) as fake, following(fake):
        item = await fake.create("articles", {"title": "0"})
        for number in range(1, 4):
            await await_for(lambda n=number: len(received.titles) == n)
            await fake.update("articles", item["id"], {"title": str(number)})
        await await_for(lambda: len(received.titles) == 4)
    assert received.titles == ["0", "1", "2", "3"]


async def test_nothing_comes_out_of_a_cache_where_a_proxy_lets_no_search_through(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    articles = FakeCollection("articles", fields={"title": "string"})
    async with FakeDirectus([articles], TOKEN, cache=True) as fake:
        fake.refuse_search()
        async with following(fake):
            item = await fake.create("articles", {"title": "0"})
            for number in range(1, 4):
                await await_for(lambda n=number: len(received.titles) == n)
                await fake.update("articles", item["id"], {"title": str(number)})
            await await_for(lambda: len(received.titles) == 4)
    assert received.titles == ["0", "1", "2", "3"]
    assert "SEARCH" in caplog.text


async def test_a_server_under_pressure_is_asked_again(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        fake.press(4)
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
    assert received.states == ["connected", "disconnected"]


async def test_rows_of_other_kinds_and_of_other_collections_make_no_events(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    item = await fake.create("articles", {"title": "a"})
    async with following(fake):
        await fake.write_log("version_save", "articles", item["id"])
        await fake.write_log("login", "directus_users", "x")
        await fake.create("notes", {"title": "other"})
        await until_behind(fake, received)
        await until(LogPosition.objects.filter(top=5, holes=[]).exists)
    assert behind(received) == []


async def test_the_log_itself_can_be_subscribed_to(fake: FakeDirectus, received: Received) -> None:
    await subscribe("log", collection="directus_activity")
    async with following(fake):
        await create(fake, "a")
        await fake.write_log("login", "directus_users", "x")
        await await_for(lambda: len(received.events) == 2)
    assert [event.key for event in received.events] == [1, 2]
    assert [(event.action, (event.data or {})["action"]) for event in received.events] == [
        ("create", "create"),
        ("create", "login"),
    ]


async def test_an_event_has_the_time_and_the_user_of_its_change(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        await create(fake, "a")
        await await_for(lambda: received.events)
    (event,) = received.events
    (row,) = fake.items("directus_activity")
    assert event.changed_at is not None
    assert event.changed_at.isoformat(timespec="milliseconds")[:23] == row["timestamp"][:23]
    assert (event.activity_id, event.changed_by) == (row["id"], row["user"])


async def test_an_event_keeps_its_id_when_its_row_is_read_again(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
    stored = await InboxEvent.objects.aget()
    position = LogPosition.objects.filter(top=1)
    await position.aupdate(top=0, holes=[], anchors=[])
    async with following(fake):
        await until(position.exists)
        await until_behind(fake, received)
    first = await InboxEvent.objects.order_by("id").afirst()
    assert first is not None
    assert first.event_id == stored.event_id
    assert received.titles == ["a", "behind"]


async def test_changes_of_several_subscriptions_and_collections_are_all_delivered(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe("one")
    await subscribe("two", fields=["title"])
    await subscribe("creates", on_update=False, on_delete=False)
    await subscribe("notes", collection="notes")
    async with following(fake):
        item = await fake.create("articles", {"title": "a"})
        await fake.update("articles", item["id"], {"title": "b"})
        await fake.create("notes", {"title": "n"})
        await await_for(lambda: len(received.events) == 6)
        await until_subscribed(fake)
    counts = Counter((event.subscription, event.action) for event in received.events)
    assert counts == {
        ("one", "create"): 1,
        ("one", "update"): 1,
        ("two", "create"): 1,
        ("two", "update"): 1,
        ("creates", "create"): 1,
        ("notes", "create"): 1,
    }
    assert len({event.id for event in received.events}) == 6


# Without the log


async def test_a_restart_of_a_listener_that_has_the_socket_alone_announces_a_gap(
    received: Received,
) -> None:
    user = FakeUser("limited@example.com", "", token=TOKEN, readable={"articles": {}})
    articles = FakeCollection("articles", fields={"title": "string"})
    await subscribe()
    async with FakeDirectus([articles], "of-the-administrator", [user]) as fake:
        async with following(fake):
            await until(LogPosition.objects.exclude(read_at=None).exists)
            await create(fake, "live")
            await await_for(lambda: received.titles == ["live"])
        assert received.gaps == []
        await create(fake, "missed")
        async with following(fake):
            await await_for(lambda: received.gaps)
        assert [gap["recovered"] for gap in received.gaps] == [False]


async def test_a_log_that_may_be_read_since_a_restart_does_not_hide_the_gap_before(
    received: Received,
) -> None:
    user = FakeUser("limited@example.com", "", token=TOKEN, readable={"articles": {}})
    articles = FakeCollection("articles", fields={"title": "string"})
    await subscribe()
    async with FakeDirectus([articles], "of-the-administrator", [user]) as fake:
        async with following(fake):
            await until(LogPosition.objects.exclude(read_at=None).exists)
        user.readable = None
        await create(fake, "missed")
        async with following(fake):
            await await_for(lambda: received.gaps)
        assert [gap["recovered"] for gap in received.gaps] == [False]


async def test_a_listener_that_ends_as_soon_as_a_subscription_begins_loses_nothing(
    fake: FakeDirectus, received: Received
) -> None:
    subscription = await subscribe()
    begun = DirectusSubscription.objects.filter(pk=subscription.pk).exclude(followed_from=None)
    await create(fake, "before")
    async with following(fake, is_subscribed=False):
        await until(begun.exists)
        assert await LogPosition.objects.filter(top__gt=0).aexists()
    await create(fake, "while away")
    async with following(fake):
        await await_for(lambda: received.titles == ["while away"])
    assert received.gaps == []
