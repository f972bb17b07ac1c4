from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.client.client_subscription import ClientSubscription
from directus_realtime.client.feed import Feed
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Event
from directus_realtime.exceptions import BadFrame, EventFailed, SubscriptionRefused
from directus_realtime.protocol.queries import Query


class Watcher:
    """A subscription whose calls are kept."""

    def __init__(self, query: Query, key: PrimaryKey) -> None:
        self.events: list[Event] = []
        self.errors: list[Exception] = []
        self.states: list[str] = []
        self.feed = Feed("u", query)
        self.feed.primary_key = key
        self.subscription = ClientSubscription(
            "u",
            self.feed,
            name="mine",
            connection="blog",
            on_event=self.events.append,
            on_error=self.errors.append,
            on_state=lambda: self.states.append(self.feed.state.value),
        )
        self.feed.subscriptions.append(self.subscription)


def watch(key: PrimaryKey | None = None, **query: Any) -> Watcher:
    return Watcher(Query("articles", **query), key or PrimaryKey("id", "integer"))


def test_one_wire_subscription_for_each_action() -> None:
    feed = watch(events=("create", "delete"), fields=("title",)).feed
    wires = feed.wire_subscriptions()
    assert [(wire.uid, wire.event) for wire in wires] == [
        ("u.create", "create"),
        ("u.delete", "delete"),
    ]
    assert wires[0].query == {"fields": ["id", "title"]}
    assert feed.wire_uids() == ["u.create", "u.delete"]


def test_one_more_where_items_can_leave_the_filter() -> None:
    feed = watch(filter={"a": {"_eq": 1}}, sort=("a",), item=3).feed
    wire = feed.wire_subscriptions()[-1]
    assert feed.wire_uids() == ["u.create", "u.update", "u.delete", "u.changed"]
    assert (wire.uid, wire.event) == ("u.changed", "update")
    assert wire.query == {"fields": ["id"], "filter": {"id": {"_eq": 3}}}


@pytest.mark.parametrize(
    "query",
    [{"item": 3}, {"filter": {"a": {}}, "events": ("update", "delete")}],
    ids=["no filter", "not both"],
)
def test_none_more_where_none_is_followed(query: dict[str, Any]) -> None:
    feed = watch(**query).feed
    assert [wire.uid for wire in feed.wire_subscriptions()] == feed.wire_uids()
    assert "u.changed" not in feed.wire_uids()


def test_none_more_under_a_query_limit() -> None:
    feed = watch(search="x").feed
    feed.reads_updates = True
    assert feed.wire_uids() == ["u.create", "u.update", "u.delete"]
    assert [wire.query for wire in feed.wire_subscriptions()] == [
        {"search": "x"},
        {},
        {"search": "x"},
    ]


def test_after_a_gap_the_deletes_of_all_items_come_again() -> None:
    watcher = watch()
    watcher.subscription.load_begins()
    watcher.subscription.load_ends()
    watcher.feed.receive("delete", [1])
    watcher.feed.wait_again()
    watcher.feed.receive("delete", [2])
    assert [event.key for event in watcher.events] == [2]


def test_subscribed_when_every_action_is_confirmed() -> None:
    watcher = watch()
    watcher.feed.wire_subscriptions()
    for action in ("update", "create"):
        watcher.feed.confirm(f"u.{action}")
        assert watcher.states == []
    watcher.feed.confirm("u.delete")
    assert watcher.states == ["subscribed"]


def test_after_a_reconnect_every_action_must_be_confirmed_anew() -> None:
    watcher = watch()
    for _ in range(2):
        for wire in watcher.feed.wire_subscriptions():
            assert watcher.subscription.state.value == "waiting"
            watcher.feed.confirm(wire.uid)
        assert watcher.subscription.state.value == "subscribed"
        watcher.feed.wait_again()


async def test_a_refusal_is_told_once() -> None:
    watcher = watch()
    watcher.feed.wire_subscriptions()
    for _ in range(3):
        watcher.feed.refuse(SubscriptionRefused("FORBIDDEN", "No."))
    watcher.feed.confirm("u.create")
    assert watcher.states == ["refused"]
    assert [str(error) for error in watcher.errors] == ["No."]
    with pytest.raises(SubscriptionRefused, match="No"):
        await watcher.feed.settled()


def test_rows_become_events() -> None:
    watcher = watch()
    watcher.feed.receive("update", [{"id": 1, "title": "a"}, {"id": 2}])
    first, second = watcher.events
    assert (first.connection, first.subscription, first.collection) == ("blog", "mine", "articles")
    assert (first.action, first.key, first.data) == ("update", 1, {"id": 1, "title": "a"})
    assert second.key == 2
    assert first.id != second.id
    assert first.received_at.tzinfo is not None


@pytest.mark.parametrize(
    ("key", "sent", "expected"),
    [
        (PrimaryKey("id", "integer"), ["1", 2], [1, 2]),
        (PrimaryKey("id", "string"), ["1", "a-b"], ["1", "a-b"]),
        (PrimaryKey("slug", "string"), [7], ["7"]),
    ],
)
def test_deleted_keys_get_the_type_of_their_column(
    key: PrimaryKey, sent: list[Any], expected: list[Any]
) -> None:
    watcher = watch(key)
    watcher.feed.receive("delete", sent)
    assert [event.key for event in watcher.events] == expected
    assert {event.data for event in watcher.events} == {None}


def test_a_primary_key_of_another_name() -> None:
    watcher = watch(PrimaryKey("slug", "string"))
    watcher.feed.receive("create", [{"id": 5, "slug": "a"}])
    assert [event.key for event in watcher.events] == ["a"]


def test_a_row_without_a_key_takes_no_neighbour_along() -> None:
    watcher = watch()
    watcher.feed.receive("create", [{"id": 1}, {"title": "x"}, {"id": None}, {"id": 2}])
    assert [event.key for event in watcher.events] == [1, 2]
    assert [type(error) for error in watcher.errors] == [BadFrame, BadFrame]


def test_deletes_of_other_items_are_left_out() -> None:
    watcher = watch(item="7")
    watcher.feed.receive("delete", ["6", 7, "8"])
    assert [event.key for event in watcher.events] == [7]


def test_an_item_is_the_same_as_number_and_as_string() -> None:
    watcher = watch(item=7)
    watcher.feed.receive("delete", ["7"])
    assert len(watcher.events) == 1


async def test_iterates_what_came_and_ends_when_closed() -> None:
    feed = Feed("u", Query("articles"))
    subscription = ClientSubscription("u", feed, name="n", connection="c")
    feed.subscriptions.append(subscription)
    feed.receive("create", [{"id": 1}, {"id": 2}])
    subscription.close()
    assert [event.key async for event in subscription] == [1, 2]


@pytest.mark.parametrize(
    "error",
    [RuntimeError("in the callback"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()],
    ids=repr,
)
def test_callbacks_that_fail_disturb_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(content: Any) -> None:
        raise error

    feed = Feed("u", Query("articles"))
    bad = ClientSubscription("a", feed, name="bad", connection="c", on_event=fail, on_error=fail)
    got: list[Event] = []
    good = ClientSubscription("b", feed, name="good", connection="c", on_event=got.append)
    feed.subscriptions += [bad, good]
    feed.receive("create", [{"id": 1}, {"title": "no key"}, {"id": 2}])
    assert [event.key for event in got] == [1, 2]
    assert len([record for record in caplog.records if record.exc_info]) == 3


async def test_whoever_asks_after_the_end_is_told_it_again() -> None:
    feed = watch().feed
    subscription = ClientSubscription("u", feed, name="mine", connection="blog")
    subscription.close()
    async with asyncio.timeout(5):
        assert [event async for event in subscription] == []
        assert [event async for event in subscription] == []


async def test_a_wait_that_was_given_up_does_not_end_the_iteration() -> None:
    feed = watch().feed
    subscription = ClientSubscription("u", feed, name="mine", connection="blog")
    events = aiter(subscription)
    waiting = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    subscription.receive("create", 1, {"id": 1})
    assert (await anext(events)).key == 1


def test_an_on_state_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    feed = watch().feed

    def fail() -> None:
        raise RuntimeError("on_state is broken")

    subscription = ClientSubscription("u", feed, name="mine", connection="blog", on_state=fail)
    feed.subscriptions = [subscription]
    feed.wire_subscriptions()
    for uid in feed.wire_uids():
        feed.confirm(uid)
    assert subscription.state == "subscribed"
    assert "on_state of the subscription mine failed." in caplog.text


def test_one_that_was_ended_by_another_gets_nothing_more() -> None:
    feed = watch().feed
    events: list[Event] = []
    second = ClientSubscription("v", feed, name="b", connection="blog", on_event=events.append)
    first = ClientSubscription(
        "u", feed, name="a", connection="blog", on_event=lambda event: second.close()
    )
    feed.subscriptions = [first, second]
    feed.receive("create", [{"id": 1}])
    assert events == []


async def test_the_rest_of_a_window_is_left_out_after_the_end() -> None:
    events: list[Event] = []
    done = asyncio.Event()

    def take(event: Event) -> None:
        events.append(event)
        subscription.close()
        done.set()

    subscription = ClientSubscription(
        "u",
        watch().feed,
        name="mine",
        connection="blog",
        on_event=take,
        debounce=0.01,
        debounce_by="subscription",
    )
    for key in (1, 2):
        subscription.receive("create", key, {"id": key})
    async with asyncio.timeout(5):
        await done.wait()
    await asyncio.sleep(0)
    assert [event.key for event in events] == [1]


def test_an_error_that_repeats_is_said_once_above_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    feed = watch().feed
    feed.subscriptions = [ClientSubscription("u", feed, name="mine", connection="blog")]
    for _ in range(3):
        feed.report(EventFailed("FORBIDDEN", "No."))
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]
