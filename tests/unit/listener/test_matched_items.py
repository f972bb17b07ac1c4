"""What is remembered of a filter, and which events are for its subscription."""

from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.listener import matched_items
from directus_realtime.listener.inbox import store
from directus_realtime.listener.inbox_entry import InboxEntry, Memory
from directus_realtime.models import DirectusSubscription, InboxEvent, MatchedItem
from tests.unit.listener.conftest import make_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def memory() -> Memory:
    row = DirectusSubscription.objects.create(name="published", collection="articles")
    return Memory(row.pk, "a-filter")


def put(memory: Memory, key: int | str, action: str = "update", **values: Any) -> None:
    data = None if action == "delete" else {"id": key}
    event = make_event(key, action=action, data=data, **values)
    store([InboxEntry(InboxEvent.from_event(event), memory=memory)])


def leave(memory: Memory, key: int | str) -> None:
    put(memory, key, left_filter=True)


def told() -> list[tuple[str, str, bool]]:
    rows = InboxEvent.objects.order_by("id")
    return list(rows.values_list("action", "key_json", "left_filter"))


def remembered() -> set[str]:
    return set(MatchedItem.objects.values_list("digest", flat=True))


def test_an_item_that_leaves_is_told_once(memory: Memory) -> None:
    put(memory, 1, "create")
    assert remembered() == {matched_items.digest(1)}
    leave(memory, 1)
    leave(memory, 1)
    assert told() == [("create", "1", False), ("update", "1", True)]
    assert remembered() == set()


def test_an_item_that_comes_back_can_leave_again(memory: Memory) -> None:
    for _ in range(2):
        put(memory, 1)
        leave(memory, 1)
    assert [left for *_, left in told()] == [False, True, False, True]


def test_an_item_that_never_was_in_it_does_not_leave(memory: Memory) -> None:
    leave(memory, 1)
    assert told() == []


def test_until_all_are_known_every_delete_is_told(memory: Memory) -> None:
    put(memory, 1, "delete")
    assert told() == [("delete", "1", False)]


def test_once_all_are_known_only_deletes_of_items_in_it_are_told(memory: Memory) -> None:
    matched_items.begin(memory)
    matched_items.remember_page(memory, [1, "a-uuid"])
    matched_items.complete(memory)
    for key in (1, 2, "a-uuid", "b-uuid"):
        put(memory, key, "delete")
    assert told() == [("delete", "1", False), ("delete", '"a-uuid"', False)]
    assert remembered() == set()


def test_a_delete_of_an_item_that_left_is_not_told(memory: Memory) -> None:
    matched_items.complete(memory)
    put(memory, 1, "create")
    leave(memory, 1)
    put(memory, 1, "delete")
    assert [action for action, *_ in told()] == ["create", "update"]


def test_what_is_known_of_another_filter_does_not_count(memory: Memory) -> None:
    matched_items.remember_page(memory, [1])
    matched_items.complete(memory)
    other = Memory(memory.subscription_id, "another-filter")
    put(other, 2, "delete")
    assert told() == [("delete", "2", False)]
    matched_items.begin(other)
    assert remembered() == set()


def test_what_lacks_some_items_of_the_filter_is_kept_until_they_are_read_again(
    memory: Memory,
) -> None:
    matched_items.remember_page(memory, [1])
    DirectusSubscription.objects.update(matched_of=memory.incomplete)
    matched_items.begin(memory)
    put(memory, 2, "delete")
    matched_items.remember_page(memory, [3])
    matched_items.complete(memory)
    leave(memory, 1)
    for key in (3, 4):
        put(memory, key, "delete")
    assert [(action, key) for action, key, _ in told()] == [
        ("delete", "2"),
        ("update", "1"),
        ("delete", "3"),
    ]
    assert DirectusSubscription.objects.get().matched_of == memory.matched_of


def test_an_item_of_which_the_digest_alone_is_known_gets_its_key(memory: Memory) -> None:
    digest = matched_items.digest(1)
    MatchedItem.objects.create(subscription_id=memory.subscription_id, digest=digest)
    matched_items.remember_page(memory, [1, "two"])
    assert set(MatchedItem.objects.values_list("key_json", flat=True)) == {"1", '"two"'}


def test_what_lacks_some_items_of_another_filter_does_not_count(memory: Memory) -> None:
    matched_items.remember_page(memory, [1])
    DirectusSubscription.objects.update(matched_of=memory.incomplete)
    matched_items.begin(Memory(memory.subscription_id, "another-filter"))
    assert remembered() == set()


@pytest.mark.parametrize(
    ("key", "other"),
    [("abC", "Abc"), ("resume", "résumé"), ("end", "end "), ("x" * 300 + "1", "x" * 300 + "2")],
    ids=["case", "accents", "a blank at the end", "long"],
)
def test_keys_that_a_database_may_take_for_the_same_are_two_items(
    key: str, other: str, memory: Memory
) -> None:
    matched_items.begin(memory)
    matched_items.complete(memory)
    for each in (key, other):
        put(memory, each, "create")
    leave(memory, key)
    put(memory, other, "delete")
    assert [action for action, *_ in told()] == ["create", "create", "update", "delete"]
    assert remembered() == set()


def test_subscriptions_do_not_share_what_they_know(memory: Memory) -> None:
    other = DirectusSubscription.objects.create(name="other", collection="articles")
    put(memory, 1, "create")
    leave(Memory(other.pk, "a-filter"), 1)
    assert told() == [("create", "1", False)]


def test_one_batch_is_judged_in_order(memory: Memory) -> None:
    matched_items.complete(memory)
    events = [
        make_event(1, action="create"),
        make_event(1, left_filter=True),
        make_event(1, action="delete", data=None),
        make_event(1, action="create"),
        make_event(1, action="delete", data=None),
    ]
    stored = store([InboxEntry(InboxEvent.from_event(e), memory=memory) for e in events])
    assert [entry.row.action for entry in stored] == ["create", "update", "create", "delete"]
    assert remembered() == set()


def test_of_a_subscription_that_was_deleted_meanwhile_nothing_is_remembered(
    memory: Memory,
) -> None:
    DirectusSubscription.objects.all().delete()
    matched_items.begin(memory)
    matched_items.remember_page(memory, [1])
    matched_items.complete(memory)
    put(memory, 1, "create")
    put(memory, 1, "delete")
    assert [action for action, *_ in told()] == ["create", "delete"]
    assert remembered() == set()


def test_a_key_that_no_column_holds_is_remembered_all_the_same(memory: Memory) -> None:
    key = "\0" + "x" * 300
    put(memory, key, "create")
    leave(memory, key)
    assert [left for *_, left in told()] == [False, True]
