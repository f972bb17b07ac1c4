"""What is caught up after an outage, and what is said where changes may be lost."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from directus_realtime import database as database_module
from directus_realtime.client.rest import RestClient
from directus_realtime.exceptions import ConnectionFailed, LeaseLost
from directus_realtime.listener import inbox as inbox_module
from directus_realtime.listener import listened_connection as connection_module
from directus_realtime.listener.follower import follower as follower_module
from directus_realtime.listener.follower import log_cursor
from directus_realtime.listener.follower.event_builder import EventBuilder
from directus_realtime.listener.follower.follower import Follower
from directus_realtime.listener.inbox import FreshRows
from directus_realtime.listener.inbox_entry import InboxEntry
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    ListenerLease,
    LogPosition,
)
from directus_realtime.testing import FakeCollection, FakeDirectus
from directus_realtime.utils.system_clock import SystemClock
from tests.helpers.waiting import await_for
from tests.integration.listening import (
    TOKEN,
    Received,
    connection,
    create,
    following,
    listening,
    polled,
    subscribe,
    until,
    until_subscribed,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("quick_checks"),
]


async def read_at() -> datetime:
    """When the log was last read to its end, as it is stored."""
    moment = (await LogPosition.objects.aget()).read_at
    assert moment is not None
    return moment


async def follow_for_a_moment(fake: FakeDirectus) -> None:
    """Leave a position behind, as a listener does that was stopped."""
    async with following(fake):
        await until(LogPosition.objects.exclude(read_at=None).exists)


def verdicts(received: Received) -> list[tuple[bool, list[str]]]:
    """Whether each gap was recovered, and whose changes may be lost."""
    return [(gap["recovered"], gap["collections"]) for gap in received.gaps]


# What was written meanwhile


async def test_what_changed_while_no_listener_ran_is_caught_up_in_order(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    await follow_for_a_moment(fake)
    items = await fake.create("articles", [{"title": str(number)} for number in range(50)])
    await fake.delete("articles", items[0]["id"])
    async with following(fake):
        await await_for(lambda: len(received.events) == 50)
        await await_for(lambda: "nothing is missing" in caplog.text)
        await create(fake, "live")
        await await_for(lambda: received.titles[-1] == "live")
    assert received.changes[:-1] == [
        *(("create", item["id"], item["title"]) for item in items[1:]),
        ("delete", items[0]["id"], None),
    ]
    assert [event.origin for event in received.events] == [*["catch-up"] * 50, "live"]
    assert "no listener was connected): 50 events caught up, nothing is missing" in caplog.text
    assert received.gaps == []


async def test_more_rows_than_a_page_are_caught_up(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    articles = FakeCollection("articles", fields={"title": "string"})
    await subscribe()
    async with FakeDirectus([articles], TOKEN, query_limit_max=100) as fake:
        await follow_for_a_moment(fake)
        await fake.create("articles", [{"title": str(number)} for number in range(1050)])
        async with following(fake):
            await await_for(lambda: len(received.events) == 1050)
            await await_for(lambda: "caught up: 1050 rows" in caplog.text)
    assert received.titles == [str(number) for number in range(1050)]
    position = await LogPosition.objects.aget()
    assert (position.top, position.rows_done, position.rows_total) == (1050, 0, 0)


async def test_a_log_that_cannot_be_read_for_a_while_is_read_again(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 2
    search = RestClient.search

    async def searching(self: RestClient, path: str, *args: Any, **values: Any) -> Any:
        nonlocal failures
        if path == "/activity" and failures and received.titles:
            failures -= 1
            raise ConnectionFailed("The network is gone.")
        return await search(self, path, *args, **values)

    monkeypatch.setattr(RestClient, "search", searching)
    await subscribe()
    async with following(fake):
        await create(fake, "before")
        await await_for(lambda: failures == 0)
        await fake.create("articles", {"title": "meanwhile"}, emit=False)
        await await_for(lambda: received.titles == ["before", "meanwhile"])


async def test_items_that_cannot_be_read_for_a_while_are_read_again(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows count as read only when their events are made."""
    failures = 2
    search = RestClient.search

    async def searching(self: RestClient, path: str, *args: Any, **values: Any) -> Any:
        nonlocal failures
        if path == "/items/articles" and "keys" in values and failures:
            failures -= 1
            raise ConnectionFailed("The network is gone.")
        return await search(self, path, *args, **values)

    monkeypatch.setattr(RestClient, "search", searching)
    await subscribe()
    async with following(fake):
        await fake.create("articles", [{"title": "a"}, {"title": "b"}])
        await await_for(lambda: received.titles == ["a", "b"])
    assert failures == 0


async def test_an_error_that_was_not_foreseen_ends_nothing(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    build = EventBuilder.build
    has_failed = False

    async def failing(self: EventBuilder, changes: Any, *args: Any) -> Any:
        nonlocal has_failed
        if changes and not has_failed:
            has_failed = True
            raise AttributeError("a bug")
        return await build(self, changes, *args)

    monkeypatch.setattr(EventBuilder, "build", failing)
    await subscribe()
    async with following(fake):
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
        await create(fake, "b")
        await await_for(lambda: received.titles == ["a", "b"])
    (record,) = (r for r in caplog.records if getattr(r, "event", "") == "follow-failed")
    assert record.exc_info is not None


async def test_nothing_is_read_before_the_subscriptions_are_known(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else what was missed would count as read for them; the database is away meanwhile."""
    await subscribe()
    await follow_for_a_moment(fake)
    await create(fake, "missed")
    wanted_subscriptions = connection_module.desired_subscriptions
    failures = [OperationalError("away") for _ in range(5)]

    def failing(alias: str) -> Any:
        if failures:
            raise failures.pop()
        return wanted_subscriptions(alias)

    monkeypatch.setattr(database_module, "full_jitter", lambda **_: itertools.repeat(0.1))
    monkeypatch.setattr(connection_module, "desired_subscriptions", failing)
    async with following(fake):
        await await_for(lambda: received.titles == ["missed"])


# When a gap begins


async def test_a_directus_that_was_never_reached_leaves_no_gap(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    await fake.stop_listening()
    async with following(fake, is_subscribed=False):
        await until(lambda: ConnectionStatus.objects.filter(state="reconnecting").exists())
    await fake.resume_listening()
    async with following(fake):
        await create(fake, "first")
        await await_for(lambda: received.titles == ["first"])
    assert not received.gaps
    assert "followed again" not in caplog.text


async def test_an_outage_begins_when_the_log_was_last_read_whatever_was_written_since(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("directus_realtime.listener.follower.gaps.LONG", timedelta())
    await subscribe()
    await follow_for_a_moment(fake)
    before = await read_at()
    await fake.stop_listening()
    async with following(fake, is_subscribed=False):  # writes heartbeats, and reads nothing
        await until(lambda: ConnectionStatus.objects.filter(state="reconnecting").exists())
    await fake.resume_listening()
    async with following(fake):
        await await_for(lambda: received.gaps)
    assert [gap["since"] for gap in received.gaps] == [before]
    assert verdicts(received) == [(True, [])]


async def test_an_outage_that_was_not_announced_is_left_to_the_next_listener(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("directus_realtime.listener.follower.gaps.LONG", timedelta())
    await subscribe()
    await follow_for_a_moment(fake)
    before = await read_at()
    with monkeypatch.context() as patched:
        patched.setattr(Follower, "_step", _never)
        async with following(fake, is_subscribed=False):
            await await_for(lambda: received.states[-1:] == ["connected"])
    assert not received.gaps
    async with following(fake):
        await await_for(lambda: received.gaps)
    assert [gap["since"] for gap in received.gaps] == [before]


async def _never(self: Follower) -> None:
    await asyncio.Event().wait()


# The log is not what it was


async def test_a_position_that_was_lost_is_said(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    await follow_for_a_moment(fake)
    await LogPosition.objects.all().adelete()
    async with following(fake):
        await await_for(lambda: received.gaps)
    assert verdicts(received) == [(False, ["articles"])]
    assert "may be lost: the activity log was never read before" in caplog.text


async def test_a_log_that_was_pruned_beyond_what_was_read_is_said(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    await create(fake, "read")
    await follow_for_a_moment(fake)
    await fake.create("articles", [{"title": "pruned"}, {"title": "kept"}])
    fake.prune_log(until_id=2)
    async with following(fake):
        await await_for(lambda: received.gaps)
        await await_for(lambda: received.titles == ["kept"])
    assert verdicts(received) == [(False, ["articles"])]
    assert "the activity log was pruned beyond the last row that was read" in caplog.text
    row = await LogPosition.objects.aget()
    assert (row.gap_recovered, row.gap_collections) == (False, ["articles"])
    assert row.gap_acknowledged_at is None


async def test_a_gap_is_announced_by_the_next_listener_where_the_first_one_ends_before(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next listener finds a log that goes on where it was read to."""
    await subscribe()
    await create(fake, "read")
    await follow_for_a_moment(fake)
    await fake.create("articles", [{"title": "pruned"}, {"title": "kept"}])
    fake.prune_log(until_id=2)
    with monkeypatch.context() as patched:
        patched.setattr(Follower, "_has_ended_outage", lambda self: False)
        async with following(fake):
            await await_for(lambda: received.titles == ["kept"])
    assert received.gaps == []
    async with following(fake):
        await await_for(lambda: received.gaps)
    assert verdicts(received) == [(False, ["articles"])]


async def test_a_log_whose_last_read_row_is_left_is_whole(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    await fake.create("articles", [{"title": "old"}, {"title": "read"}])
    await follow_for_a_moment(fake)
    await create(fake, "new")
    fake.prune_log(until_id=1)
    async with following(fake):
        await await_for(lambda: received.titles == ["new"])
        await await_for(lambda: "nothing is missing" in caplog.text)
    assert not received.gaps


async def test_a_log_that_lost_rows_of_another_kind_alone_is_whole(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    """Retention deletes the runs of flows sooner; an older change shows that changes are left."""
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    await create(fake, "old")
    await fake.write_log("run", "directus_flows", "x")
    await follow_for_a_moment(fake)
    await create(fake, "new")
    fake.prune_log(until_id=2, actions=["run"])
    async with following(fake):
        await await_for(lambda: received.titles == ["new"])
        await await_for(lambda: "nothing is missing" in caplog.text)
    assert not received.gaps


async def test_another_log_that_is_shorter_is_read_from_when_the_last_one_was_read(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restored backup: its ids are given to other changes."""
    await subscribe()
    await fake.create("articles", [{"title": "lost with the backup"} for _ in range(5)])
    await follow_for_a_moment(fake)
    fake.replace_log()
    await create(fake, "after the backup")
    async with following(fake):
        await await_for(lambda: received.titles == ["after the backup"])
        await await_for(lambda: received.gaps)
    assert verdicts(received) == [(False, ["articles"])]
    assert "the activity log is another one, as after a restored backup" in caplog.text


async def test_another_log_that_is_longer_gives_its_ids_to_other_changes(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with following(fake):
        await fake.create("articles", [{"title": f"old {number}"} for number in range(5)])
        await await_for(lambda: len(received.titles) == 5)
        await until(LogPosition.objects.filter(top=5).exists)
    fake.replace_log()
    await fake.create("articles", [{"title": f"new {number}"} for number in range(8)])
    async with following(fake):
        await await_for(lambda: len(received.titles) == 13)
        await await_for(lambda: received.gaps)
        await create(fake, "live")
        await await_for(lambda: received.titles[-1] == "live")
    assert received.titles[5:] == [*(f"new {number}" for number in range(8)), "live"]
    assert verdicts(received) == [(False, ["articles"])]
    assert len({event.id for event in received.events}) == 14


async def test_a_log_that_is_replaced_while_it_is_followed_is_noticed(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_cursor, "_VERIFY_INTERVAL", 0.0)
    await subscribe()
    async with following(fake):
        await fake.create("articles", [{"title": "old"} for _ in range(3)])
        await await_for(lambda: len(received.titles) == 3)
        fake.replace_log()
        await fake.create("articles", {"title": "new"}, emit=False)
        await await_for(lambda: received.titles[3:] == ["new"])
        await await_for(lambda: received.gaps)
    assert verdicts(received) == [(False, ["articles"])]


def lose_times_of(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the log has no time any more."""
    search = RestClient.search

    async def searching(self: RestClient, path: str, *args: Any, **values: Any) -> Any:
        found = await search(self, path, *args, **values)
        if path != "/activity":
            return found
        return [{**row, "timestamp": None} if row.get("id") == number else row for row in found]

    monkeypatch.setattr(RestClient, "search", searching)


async def test_a_row_that_makes_no_sense_holds_up_nothing_and_is_said_once(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lose_times_of(1, monkeypatch)
    await subscribe()
    await subscribe("notes", collection="notes")
    async with following(fake):
        await fake.create("articles", [{"title": "odd"}, {"title": "a"}], emit=False)
        await await_for(lambda: received.titles == ["a"])
        await await_for(lambda: received.gaps)
        await create(fake, "b")
        await await_for(lambda: received.titles == ["a", "b"])
        await polled(fake)
    assert verdicts(received) == [(False, ["articles"])]
    assert caplog.text.count("Row 1 of the activity log cannot be read and is left out") == 1


async def test_items_that_make_no_sense_stop_no_other_subscription(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = RestClient.search
    is_odd = True

    async def searching(self: RestClient, path: str, *args: Any, **values: Any) -> Any:
        found = await search(self, path, *args, **values)
        return [{"id": {}}] if is_odd and "keys" in values and path == "/items/notes" else found

    monkeypatch.setattr(RestClient, "search", searching)
    await subscribe()
    await subscribe("notes", collection="notes")
    async with following(fake):
        await fake.create("notes", {"title": "odd"})
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
        refused = DirectusSubscription.objects.filter(name="notes", state="refused")
        await until(refused.filter(last_error__contains="/items/notes").exists)
        is_odd = False
        await await_for(lambda: received.titles == ["a", "odd"])


# A listener that ends in the middle


class Crash:
    """Ends the listener at one of its writes; nothing more is written, as after ``kill -9``.

    Args:
        at: Which write.
        is_committed: Whether that one is still committed.
    """

    def __init__(self, at: int, *, is_committed: bool) -> None:
        self.left = at
        self._is_committed = is_committed
        self._store = inbox_module.store

    def __call__(
        self,
        incoming: list[InboxEntry],
        fence: Callable[[], None],
        fresh: FreshRows,
        functions: Sequence[Callable[[], Any]],
        clock: SystemClock,
    ) -> list[InboxEntry]:
        self.left -= 1
        if self.left != 0:
            return self._store(incoming, fence, fresh, functions, clock)
        if self._is_committed:
            self._store(incoming, fence, fresh, functions, clock)
        raise LeaseLost(["default"])


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
async def test_a_crash_at_any_write_loses_nothing_and_doubles_nothing(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    fast_lease: None,
    at: int,
    is_committed: bool,
) -> None:
    monkeypatch.setattr(inbox_module, "BATCH_SIZE", 1)
    monkeypatch.setattr(follower_module, "_EVENTS", 1)  # one row, one write
    crash = Crash(at, is_committed=is_committed)
    await subscribe()
    await subscribe("drafts", filter={"status": {"_eq": "draft"}})
    await fake.create("articles", [{"title": "known", "status": "draft"} for _ in range(3)])
    async with following(fake):
        await until(
            DirectusSubscription.objects.filter(name="drafts").exclude(matched_of="").exists
        )
    monkeypatch.setattr(inbox_module, "store", crash)
    async with following(fake, is_subscribed=False):
        async with fake.transaction() as transaction:
            await transaction.create("articles", {"title": "late", "status": "draft"})
            await fake.update("articles", 1, {"title": "changed"})
            await fake.update("articles", 2, {"status": "published"})
            await fake.delete("articles", 3)
        await fake.create("articles", {"title": "last", "status": "draft"})
        await await_for(lambda: crash.left <= 0)
        await ListenerLease.objects.aupdate(holder=None)
        await until(lambda: InboxEvent.objects.filter(state="done").count() == 10)
        await create(fake, "behind")
        await until(lambda: InboxEvent.objects.filter(state="done").count() == 11)
    rows = [row async for row in InboxEvent.objects.order_by("id")]
    changed = Counter((row.subscription, row.activity_id) for row in rows)
    assert set(changed.values()) == {1}
    assert len(changed) == 11
    assert {event.id for event in received.events} == {str(row.event_id) for row in rows}


# Two connections


async def test_two_connections_have_places_of_their_own(
    fake: FakeDirectus, received: Received, settings: Any
) -> None:
    articles = FakeCollection("articles", fields={"title": "string"})
    async with FakeDirectus([articles], TOKEN) as other:
        one = {"URL": fake.url, "TOKEN": TOKEN}
        settings.DIRECTUS_REALTIME = {"default": one, "other": {**one, "URL": other.url}}
        await subscribe()
        await subscribe("theirs", connection="other")
        await other.create("articles", [{"title": "before"} for _ in range(4)])
        both = [
            connection(each.url, alias=alias, catch_up_interval=0.05)
            for alias, each in (("default", fake), ("other", other))
        ]
        async with listening(*both):
            await until_subscribed(fake)
            await create(fake, "ours")
            await create(other, "theirs")
            await await_for(lambda: len(received.events) == 2)
        await create(other, "meanwhile")
        async with listening(*both):
            await await_for(lambda: len(received.events) == 3)
    found = {(event.connection, event.subscription, event.key) for event in received.events}
    assert found == {("default", "all", 1), ("other", "theirs", 5), ("other", "theirs", 6)}
    tops = {row.alias: row.top async for row in LogPosition.objects.all()}
    assert tops == {"default": 1, "other": 6}
