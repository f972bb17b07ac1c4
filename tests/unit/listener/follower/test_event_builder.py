from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from directus_realtime.client.activity_log import Change
from directus_realtime.client.doorbells import OpenRing
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Action, Event, Key
from directus_realtime.exceptions import ConnectionFailed, RequestRefused
from directus_realtime.listener.follower.event_builder import Built, EventBuilder
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from tests.unit.listener.follower.conftest import NOON, Items, change, followed

PUBLISHED = {"status": {"_eq": "published"}}


async def build(
    builder: EventBuilder, *changes: Change, to: list[FollowedSubscription] | None = None
) -> Built:
    return await builder.build(changes, [followed()] if to is None else to, lambda change: "live")


def events(built: Built) -> list[Event]:
    return [entry.row.to_event() for entry in built.entries]


def said(built: Built) -> list[tuple[str, Key, Any]]:
    """Action, key and title of each event."""
    return [(event.action, event.key, (event.data or {}).get("title")) for event in events(built)]


def ring(key: Key, action: Action = "update") -> OpenRing:
    return OpenRing("articles", key, action, 0.0, 0.0, True)


# One event for each row and subscription


async def test_each_row_is_an_event_with_the_item_as_it_is_now(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, title="b")
    items.put(2, title="c")
    built = await build(
        builder, change(1, "create", 1), change(2, "create", 2), change(3, "update", 1)
    )
    assert said(built) == [("create", 1, "b"), ("create", 2, "c"), ("update", 1, "b")]
    assert [event.activity_id for event in events(built)] == [1, 2, 3]
    assert [keys for _, keys in items.reads] == [[1, 2]]
    assert built.read == {("articles", 1), ("articles", 2)}


async def test_an_event_says_when_and_by_which_user_its_item_was_changed(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1)
    (event,) = events(await build(builder, change(0, user="a-user")))
    assert (event.changed_at, event.changed_by) == (NOON, "a-user")


async def test_the_id_of_an_event_is_that_of_its_row_and_subscription(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1)
    first, again = [events(await build(builder, change(1)))[0].id for _ in range(2)]
    others = [
        events(await build(builder, change(2)))[0].id,
        events(await build(builder, change(1), to=[followed(2)]))[0].id,
        events(await build(builder, change(1, timestamp=NOON)))[0].id,
    ]
    assert first == again
    assert len({first, *others}) == 4


async def test_a_replayed_event_has_an_id_of_its_own(builder: EventBuilder, items: Items) -> None:
    items.put(1)
    built = [
        await builder.build([change(1)], [followed()], lambda change: "replay") for _ in range(2)
    ]
    ids = {event.id for each in built for event in events(each)}
    assert len(ids) == 2


async def test_a_key_that_was_written_in_two_ways_is_read_once(
    builder: EventBuilder, items: Items
) -> None:
    items.put(42, title="a")
    built = await build(builder, change(1, "update", "042"), change(2, "update", "42"))
    assert said(built) == [("update", 42, "a")] * 2
    assert [keys for _, keys in items.reads] == [[42]]


async def test_large_numbers_are_keys_without_losing_a_digit(
    builder: EventBuilder, items: Items
) -> None:
    items.put(2**63 - 1, title="a")
    subscription = followed()
    subscription.primary_key = PrimaryKey("id", "bigInteger")
    built = await build(builder, change(1, item=str(2**63 - 1)), to=[subscription])
    assert said(built) == [("update", 2**63 - 1, "a")]


async def test_an_item_shows_the_type_of_keys_that_the_token_may_not_read(
    builder: EventBuilder, items: Items
) -> None:
    items.put(42, title="a")
    items.aliases["42"] = 42
    subscription = followed()
    subscription.primary_key = PrimaryKey()
    built = await build(builder, change(1, item="42"), to=[subscription])
    assert said(built) == [("update", 42, "a")]
    assert subscription.primary_key.is_integer


async def test_an_item_that_the_database_has_in_another_spelling_has_its_own_key(
    builder: EventBuilder, items: Items
) -> None:
    items.put("abc", title="a")
    items.aliases["ABC"] = "abc"
    assert said(await build(builder, change(1, "update", "ABC"))) == [("update", "abc", "a")]


async def test_only_actions_that_a_subscription_wants_are_events(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, title="a")
    creates, deletes = followed(1, events=("create",)), followed(2, events=("delete",))
    built = await build(
        builder, change(1, "create"), change(2), change(3, "delete"), to=[creates, deletes]
    )
    assert [(event.subscription, event.action) for event in events(built)] == [
        ("subscription-1", "create"),
        ("subscription-2", "delete"),
    ]


async def test_only_the_item_that_a_subscription_is_about_makes_events(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1)
    items.put(2)
    built = await build(
        builder, change(1, item="01"), change(2, item=2), to=[followed(1, item="1")]
    )
    assert [event.key for event in events(built)] == [1]


async def test_subscriptions_that_ask_for_the_same_are_read_for_once(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, title="a")
    same = [followed(1), followed(2, events=("update",)), followed(3, sort=("title",))]
    built = await build(builder, change(1), to=[*same, followed(4, fields=("title",))])
    assert len(built.entries) == 4
    assert len(items.reads) == 2


# Deletes


async def test_a_delete_needs_no_read(builder: EventBuilder, items: Items) -> None:
    built = await build(builder, change(1, "delete"))
    assert said(built) == [("delete", 1, None)]
    assert items.reads == []
    assert built.deleted == {("articles", "1")}


async def test_changes_before_a_delete_that_is_read_with_them_make_no_events(
    builder: EventBuilder, items: Items
) -> None:
    built = await build(builder, change(1, "create"), change(2), change(3, "delete"))
    assert said(built) == [("delete", 1, None)]
    assert built.parked == []


async def test_a_delete_makes_no_event_where_the_item_was_made_again(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, title="again")
    built = await build(builder, change(1, "delete"), change(2, "create"))
    assert said(built) == [("create", 1, "again")]


async def test_a_delete_of_an_item_that_was_made_again_and_is_gone_is_delivered(
    builder: EventBuilder, items: Items
) -> None:
    built = await build(builder, change(1, "delete"), change(2, "create"), change(3, "delete"))
    assert said(built)[-1] == ("delete", 1, None)
    assert built.parked == []


async def test_an_update_that_is_logged_after_a_delete_is_void(
    builder: EventBuilder, items: Items
) -> None:
    await build(builder, change(1, "delete"))
    built = await build(builder, change(2))
    assert (built.entries, built.parked) == ([], [])


async def test_a_create_ends_a_delete_that_is_remembered(
    builder: EventBuilder, items: Items
) -> None:
    await build(builder, change(1, "delete"))
    built = await build(builder, change(2, "create"))
    assert [parked.activity_id for parked in built.parked] == [2]


async def test_a_late_delete_makes_no_event_where_the_item_is_there_again(
    builder: EventBuilder, items: Items
) -> None:
    """The create of the same key was read before, from a row with a higher id."""
    items.put(1, title="again")
    built = await builder.build([change(3, "delete")], [followed()], lambda each: "live", top=9)
    assert built.entries == []


async def test_a_late_create_does_not_end_a_delete_that_was_logged_after_it(
    builder: EventBuilder, items: Items
) -> None:
    await build(builder, change(9, "delete"))
    built = await builder.build([change(3, "create")], [followed()], lambda each: "live", top=9)
    assert (built.entries, built.parked) == ([], [])


# Items that are not found


async def test_an_item_that_is_not_found_is_parked_and_not_deleted(
    builder: EventBuilder, items: Items
) -> None:
    items.put(2, title="found")
    built = await build(builder, change(1, user="a-user"), change(2, item=2))
    assert said(built) == [("update", 2, "found")]
    (parked,) = built.parked
    assert (parked.key_json, parked.action, parked.activity_id) == ("1", "update", 1)
    assert (parked.collection, parked.changed_by, parked.reason) == ("articles", "a-user", "")


async def test_an_item_that_cannot_be_read_is_parked_with_the_reason(
    builder: EventBuilder, items: Items
) -> None:
    items.unreadable[1] = "The item cannot be read."
    built = await build(builder, change(1))
    assert built.entries == []
    assert [parked.reason for parked in built.parked] == ["The item cannot be read."]


async def test_an_item_that_a_rule_may_hide_is_not_parked(
    builder: EventBuilder, items: Items
) -> None:
    hidden = followed()
    hidden.is_partial = True
    built = await build(builder, change(1), to=[hidden])
    assert (built.entries, built.parked) == ([], [])


async def test_an_item_that_a_rule_hides_leaves_the_filter_it_was_in(
    builder: EventBuilder, items: Items, inside: set[Key]
) -> None:
    inside.add(1)
    hidden = followed(filter=PUBLISHED, memory=True)
    hidden.is_partial = True
    (event,) = events(await build(builder, change(1), to=[hidden]))
    assert (event.action, event.left_filter, event.data) == ("update", True, {"id": 1})


# Filters


async def test_an_item_that_leaves_the_filter_is_said_to_have_left_it(
    builder: EventBuilder, items: Items, inside: set[Key]
) -> None:
    inside.add(1)
    items.put(1, status="draft")
    drafts = followed(filter=PUBLISHED, memory=True)
    (event,) = events(await build(builder, change(1), to=[drafts]))
    assert (event.action, event.left_filter) == ("update", True)
    assert event.data == {"id": 1, "status": "draft"}


async def test_an_item_that_was_never_in_the_filter_makes_no_event_and_is_not_read_again(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, status="draft")
    built = await build(builder, change(1), to=[followed(filter=PUBLISHED, memory=True)])
    assert (built.entries, built.parked) == ([], [])
    assert len(items.reads) == 1


async def test_without_a_memory_an_item_outside_of_the_filter_makes_no_event(
    builder: EventBuilder, items: Items, inside: set[Key]
) -> None:
    inside.add(1)
    items.put(1, status="draft")
    built = await build(builder, change(1), to=[followed(filter=PUBLISHED)])
    assert (built.entries, built.parked) == ([], [])


async def test_an_item_of_the_filter_that_is_not_found_at_all_is_parked(
    builder: EventBuilder, items: Items, inside: set[Key]
) -> None:
    inside.add(1)
    built = await build(builder, change(1), to=[followed(filter=PUBLISHED, memory=True)])
    assert [parked.key_json for parked in built.parked] == ["1"]


# Refusals


@pytest.mark.parametrize(
    "status", [HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND]
)
async def test_a_refusal_is_about_the_subscriptions_of_the_query_alone(
    builder: EventBuilder, items: Items, status: HTTPStatus
) -> None:
    items.put(1, title="a")
    items.failures = [RequestRefused(status, "FORBIDDEN", "You may not.")]
    refused, other = followed(1, fields=("secret",)), followed(2)
    built = await build(builder, change(1), change(2, "delete"), to=[refused, other])
    assert built.refused == {refused: "You may not."}
    assert {event.subscription for event in events(built)} == {"subscription-2"}


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailed("The network is gone."),
        RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, "", "Under pressure"),
        RequestRefused(HTTPStatus.UNAUTHORIZED, "", "Who are you?"),
    ],
    ids=["network", "pressure", "token"],
)
async def test_a_server_that_does_not_answer_refuses_no_subscription(
    builder: EventBuilder, items: Items, error: Exception
) -> None:
    items.failures, items.is_down = [error], True
    with pytest.raises(type(error)):
        await build(builder, change(1))


async def test_a_failure_that_happens_once_refuses_no_subscription(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, title="a")
    items.failures = [ConnectionFailed("The connection was closed.")]
    built = await build(builder, change(1))
    assert not built.refused
    assert len(events(built)) == 1


async def test_a_failure_of_one_query_alone_is_about_its_subscriptions(
    builder: EventBuilder, items: Items
) -> None:
    items.failures = [ConnectionFailed("No answer in time.") for _ in range(2)]
    subscription = followed(1)
    built = await build(builder, change(1), to=[subscription])
    assert built.refused == {subscription: "Directus fails to answer the query: No answer in time."}


# Changes without a row


async def test_a_ring_without_a_row_is_an_update_without_an_id_of_the_log(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, title="a")
    built = await builder.build_unlogged([ring(1, "create")], [followed()])
    assert said(built) == [("update", 1, "a")]
    assert events(built)[0].activity_id is None
    assert built.present == {(1, "1")}


@pytest.mark.parametrize(
    ("action", "expected"), [("update", []), ("delete", [("delete", 1, None)])]
)
async def test_an_item_that_is_not_found_is_deleted_only_where_the_ring_said_so(
    builder: EventBuilder, action: Action, expected: list[Any]
) -> None:
    built = await builder.build_unlogged([ring(1, action)], [followed()])
    assert said(built) == expected
    assert built.parked == []


async def test_a_ring_of_a_delete_whose_item_is_there_is_an_update(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1, title="still there")
    built = await builder.build_unlogged([ring(1, "delete")], [followed()])
    assert said(built) == [("update", 1, "still there")]


async def test_a_ring_of_another_collection_reads_nothing(
    builder: EventBuilder, items: Items
) -> None:
    built = await builder.build_unlogged([ring(1)], [followed(collection="notes")])
    assert (built.entries, items.reads) == ([], [])


async def test_a_ring_that_no_subscription_wants_an_event_of_makes_none(
    builder: EventBuilder, items: Items
) -> None:
    items.put(1)
    built = await builder.build_unlogged([ring(1)], [followed(events=("create",))])
    assert built.entries == []
