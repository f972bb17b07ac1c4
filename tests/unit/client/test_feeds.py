"""What is read of change messages, with a REST whose answers come when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, cast

import pytest

from directus_realtime.client import feeds
from directus_realtime.client.client_subscription import ClientSubscription
from directus_realtime.client.connection import Connection
from directus_realtime.client.feed import Feed
from directus_realtime.client.feeds import ChangeReader
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Event, Key
from directus_realtime.exceptions import (
    ConnectionFailed,
    EventFailed,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.protocol.queries import Query
from tests.helpers.manual_clock import ManualClock
from tests.helpers.waiting import await_for

PUBLISHED = {"status": {"_eq": "published"}}
Row = dict[str, Any]


class Question:
    """A request that waits for its answer."""

    def __init__(self, query: Mapping[str, Any], keys: Sequence[Key]) -> None:
        self.keys = list(keys)
        self.is_filtered = "filter" in query
        self.answer: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()


class ScriptedRest:
    def __init__(self) -> None:
        self.questions: list[Question] = []

    async def query_limit(self) -> int:
        return -1

    async def capped(self, size: int) -> int:
        return size

    async def search(
        self,
        path: str,
        query: Mapping[str, Any],
        *,
        keys: Sequence[Key] = (),
        key_field: str = "id",
    ) -> list[Row]:
        assert (path, key_field) == ("/items/articles", "id")
        question = Question(query, keys)
        self.questions.append(question)
        return await question.answer


class World:
    """One feed with one subscription."""

    def __init__(self, **query: Any) -> None:
        self.rest = ScriptedRest()
        self.clock = ManualClock()
        self.tasks: list[asyncio.Task[None]] = []
        self.events: list[Event] = []
        self.errors: list[Exception] = []
        self.feed = Feed("u", Query("articles", **query))
        self.feed.primary_key = PrimaryKey("id", "integer")
        self.subscription = ClientSubscription(
            "u",
            self.feed,
            name="mine",
            connection="blog",
            on_event=self.events.append,
            on_error=self.errors.append,
        )
        self.feed.subscriptions.append(self.subscription)
        self.reader = ChangeReader(cast(Connection, self))

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def lose_connection(self) -> None:
        """As the connection does with what is under way."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.rest.questions.clear()
        self.feed.wait_again()

    def say(self, wire: str, *data: Any) -> None:
        action: Any = "update" if wire == "changed" else wire
        self.reader.take(self.feed, f"u.{wire}", action, list(data))

    async def asked(self) -> Question:
        await await_for(lambda: self.rest.questions)
        return self.rest.questions.pop(0)

    async def answer(self, *rows: Row) -> Question:
        question = await self.asked()
        question.answer.set_result(list(rows))
        return question

    async def idle(self) -> None:
        await await_for(lambda: all(task.done() for task in self.tasks))
        assert not self.rest.questions

    def told(self) -> list[tuple[str, Any, bool]]:
        return [(event.action, event.data, event.left_filter) for event in self.events]


def filtered(**more: Any) -> World:
    """A feed with a filter that has seen the item 1 in it."""
    world = World(filter=PUBLISHED, **more)
    world.say("create", {"id": 1, "title": "a"})
    world.events.clear()
    return world


# Leaving


async def test_an_item_outside_the_filter_has_left_it() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    assert (await world.answer()).is_filtered
    question = await world.answer({"id": 1, "title": "b"})
    assert (question.keys, question.is_filtered) == ([1], False)
    await world.idle()
    assert world.told() == [("update", {"id": 1, "title": "b"}, True)]


async def test_keys_of_one_window_are_read_at_once() -> None:
    world = filtered()
    world.say("create", {"id": 2})
    world.events.clear()
    world.say("changed", {"id": 1}, {"id": 7})
    world.say("changed", {"id": 2})
    assert sorted((await world.answer({"id": 2})).keys) == [1, 2]
    await world.answer({"id": 1})
    await world.idle()
    assert world.told() == [("update", {"id": 1}, True)]


async def test_an_item_that_cannot_be_read_has_left_without_a_row() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    await world.answer()
    await world.answer()
    await world.idle()
    assert world.told() == [("update", {"id": 1}, True)]


async def test_a_change_that_the_filter_reports_is_not_read() -> None:
    world = filtered()
    world.say("update", {"id": 1, "title": "b"})
    world.say("changed", {"id": 1})
    await world.idle()
    assert world.told() == [("update", {"id": 1, "title": "b"}, False)]


async def test_what_was_never_in_the_filter_is_not_read() -> None:
    world = filtered()
    world.say("changed", {"id": 2})
    await world.idle()
    assert world.told() == []


async def test_what_is_deleted_meanwhile_does_not_leave() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    question = await world.asked()
    world.say("delete", 1)
    question.answer.set_result([])
    await world.answer()
    await world.idle()
    assert world.told() == [("delete", None, False)]


async def test_what_changes_meanwhile_is_read_again() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    await world.answer()
    question = await world.asked()
    world.say("update", {"id": 1, "title": "back"})
    world.say("changed", {"id": 1})
    question.answer.set_result([{"id": 1, "title": "old"}])
    await world.answer({"id": 1, "title": "back"})
    await world.idle()
    assert world.told() == [("update", {"id": 1, "title": "back"}, False)]


async def test_a_lost_connection_leaves_nothing_undone() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    await world.asked()
    await world.lose_connection()
    world.reader.go_on(world.feed)
    await world.answer()
    await world.answer({"id": 1})
    await world.idle()
    assert world.told() == [("update", {"id": 1}, True)]


async def test_a_refused_read_is_an_error_of_the_subscription() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    refused = RequestRefused(403, "FORBIDDEN", "No.")
    (await world.asked()).answer.set_exception(refused)
    (await world.asked()).answer.set_exception(refused)  # of the query without keys, too
    await world.idle()
    assert world.told() == []
    assert [type(error) for error in world.errors] == [EventFailed]


@pytest.mark.parametrize(
    "problem",
    [
        RequestRefused(503, "SERVICE_UNAVAILABLE", "Later."),
        RequestRefused(429, "REQUESTS_EXCEEDED", "Later."),
        ConnectionFailed("refused"),
    ],
)
async def test_a_server_that_is_away_is_asked_again(problem: Exception) -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    (await world.asked()).answer.set_exception(problem)
    await world.answer()
    await world.answer({"id": 1})
    await world.idle()
    assert world.told() == [("update", {"id": 1}, True)]
    assert [type(error) for error in world.errors] == [EventFailed]


async def test_an_item_that_cannot_be_read_has_not_left() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    failed = RequestRefused(500, "INTERNAL_SERVER_ERROR", "Invalid time value.")
    (await world.asked()).answer.set_exception(failed)
    await world.answer()  # the query without keys is accepted
    await world.idle()
    assert world.told() == []
    assert [str(error) for error in world.errors] == [
        "Directus could not send an event (UNREADABLE: articles 1 cannot be read "
        "(Invalid time value).)"
    ]


async def test_nothing_is_told_after_a_refusal() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    question = await world.asked()
    world.feed.refuse(SubscriptionRefused("FORBIDDEN", "No."))
    question.answer.set_result([])
    await world.answer({"id": 1})
    await world.idle()
    assert world.told() == []


async def test_an_ended_subscription_is_not_read_for() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    world.feed.subscriptions.clear()
    await world.idle()


async def test_under_a_query_limit_the_same_is_told() -> None:
    world = filtered()
    world.feed.reads_updates = True
    world.say("update", {"id": 1}, {"id": 2}, {"id": 3})
    assert (await world.answer({"id": 2, "title": "in"})).keys == [1, 2, 3]
    question = await world.answer({"id": 1, "title": "out"})
    assert (question.keys, question.is_filtered) == ([1], False)
    await world.idle()
    assert world.told() == [
        ("update", {"id": 2, "title": "in"}, False),
        ("update", {"id": 1, "title": "out"}, True),
    ]


# Late messages


async def test_an_update_under_a_query_limit_outlives_a_lost_connection() -> None:
    world = World()
    world.feed.reads_updates = True
    world.say("update", {"id": 1})
    world.say("update", {"id": 2})
    await world.asked()
    await world.lose_connection()
    world.reader.go_on(world.feed)
    await world.answer({"id": 1})
    await world.answer({"id": 2})
    await world.idle()
    assert [event.key for event in world.events] == [1, 2]


async def test_a_late_message_of_an_item_that_is_gone_is_left_out() -> None:
    world = World()
    world.say("delete", "1")
    world.say("create", {"id": 1, "title": "late"})
    world.say("create", {"id": 2})
    assert (await world.answer()).keys == [1]
    await world.idle()
    assert [(event.action, event.key) for event in world.events] == [("delete", 1), ("create", 2)]


async def test_an_item_that_is_there_again_is_told_with_its_newest_row() -> None:
    world = World()
    world.say("delete", "1")
    world.say("create", {"id": 1, "title": "late"})
    world.say("update", {"id": 1, "title": "later"})
    await world.answer({"id": 1, "title": "now"})
    await world.idle()
    world.say("update", {"id": 1, "title": "next"})
    assert world.told()[1:] == [
        ("create", {"id": 1, "title": "now"}, False),
        ("update", {"id": 1, "title": "next"}, False),
    ]


async def test_news_of_an_item_under_check_makes_it_read_again() -> None:
    world = World()
    world.say("delete", "1")
    world.say("update", {"id": 1, "title": "a"})
    question = await world.asked()
    world.say("update", {"id": 1, "title": "b"})
    question.answer.set_result([{"id": 1, "title": "a"}])
    await world.answer({"id": 1, "title": "b"})
    await world.idle()
    assert world.told()[1:] == [("update", {"id": 1, "title": "b"}, False)]


async def test_an_item_that_goes_on_changing_is_not_read_for_ever() -> None:
    world = World()
    world.say("delete", "1")
    for number in range(feeds._READS):
        world.say("update", {"id": 1})
        question = await world.asked()
        world.say("update", {"id": 1})
        question.answer.set_result([{"id": 1, "title": number}])
    await await_for(lambda: len(world.events) == 2)
    assert [data["title"] for _, data, _ in world.told()[1:]] == [feeds._READS - 1]
    await world.answer({"id": 1, "title": "still"})
    await world.idle()
    world.say("update", {"id": 1, "title": "next"})
    assert [data["title"] for _, data, _ in world.told()[2:]] == ["still", "next"]


async def test_the_last_change_of_an_item_under_check_is_told_last() -> None:
    world = World()
    world.say("delete", "1")
    world.say("create", {"id": 1, "title": "old"})
    for _ in range(feeds._READS):
        question = await world.asked()
        world.say("update", {"id": 1, "title": "new"})
        question.answer.set_result([{"id": 1, "title": "old"}])
    await world.answer({"id": 1, "title": "new"})
    await world.idle()
    assert world.told()[1:] == [
        ("create", {"id": 1, "title": "old"}, False),
        ("update", {"id": 1, "title": "new"}, False),
    ]


async def test_a_delete_ends_the_check() -> None:
    world = World()
    world.say("delete", "1")
    world.say("create", {"id": 1})
    question = await world.asked()
    world.say("delete", "1")
    question.answer.set_result([{"id": 1}])
    await world.idle()
    assert world.told() == [("delete", None, False)] * 2


async def test_an_item_that_left_comes_back_only_when_it_is_there() -> None:
    world = filtered()
    world.say("changed", {"id": 1})
    await world.answer()
    await world.answer({"id": 1})
    await world.idle()
    world.say("update", {"id": 1, "title": "late"})
    await world.answer()
    await world.idle()
    assert [left for _, _, left in world.told()] == [True]
    world.say("update", {"id": 1, "title": "late"})
    await world.answer({"id": 1, "title": "back"})
    await world.idle()
    assert world.told()[1:] == [("update", {"id": 1, "title": "back"}, False)]


async def test_a_check_that_a_lost_connection_ends_is_made_after_it() -> None:
    world = World()
    world.say("delete", "1")
    world.say("create", {"id": 1})
    await world.asked()
    await world.lose_connection()
    world.reader.go_on(world.feed)
    await world.answer({"id": 1})
    await world.idle()
    assert world.told()[1:] == [("create", {"id": 1}, False)]
