from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from directus_realtime.client.log_position import Position as Position
from directus_realtime.listener.follower import position_store
from directus_realtime.listener.follower.position_store import Progress
from directus_realtime.models import DirectusSubscription, LogPosition, ParkedChange
from tests.unit.listener.follower.conftest import NOON, row

pytestmark = pytest.mark.django_db


@pytest.fixture
def subscription() -> DirectusSubscription:
    return DirectusSubscription.objects.create(name="all", collection="articles")


def parked(subscription_id: int, number: int = 1, **values: Any) -> ParkedChange:
    given: dict[str, Any] = {
        "connection": "default",
        "collection": "articles",
        "key_json": "1",
        "action": "update",
        "changed_at": NOON,
        "parked_at": NOON,
        **values,
    }
    return ParkedChange(subscription_id=subscription_id, activity_id=number, **given)


def test_a_position_is_read_as_it_was_written() -> None:
    position = Position(4)
    position.take([5, 9, 20], [row(5), row(9), row(20)], 1000.5)
    position_store.write_values("default", position_store.values_of(position, 0))
    found = position_store.position_of(position_store.read("default"))
    assert (found.top, found.unread()) == (position.top, position.unread())
    assert [hole.seen_at for hole in found.holes] == [1000.5, 1000.5]
    assert found.anchors == position.anchors


def test_ids_that_were_given_up_are_added_to_those_of_before() -> None:
    position = Position(4)
    position.take([9], [row(9)], 0.0)
    position.record_query(position.due(1.0), 1.0)
    position.drop(1.0)
    assert position_store.values_of(position, dropped=10)["dropped"] == 14


def test_a_connection_without_a_position_has_no_top() -> None:
    found = position_store.read("default")
    assert (found.top, found.dropped, found.read_at) == (None, 0, None)
    assert not LogPosition.objects.exists()


def test_columns_that_are_not_written_stay() -> None:
    position_store.write_values("default", {"top": 5, "read_at": NOON})
    position_store.write_problem("default", "The token may not read directus_activity")
    found = position_store.read("default")
    assert (found.top, found.read_at) == (5, NOON)
    assert found.problem == "The token may not read directus_activity"


def test_connections_have_positions_of_their_own() -> None:
    position_store.write_values("default", {"top": 5})
    position_store.write_values("other", {"top": 7})
    assert [position_store.read(alias).top for alias in ("default", "other")] == [5, 7]


def test_progress_is_written_as_a_whole(subscription: DirectusSubscription) -> None:
    other = DirectusSubscription.objects.create(name="other", collection="notes")
    place = {
        "followed_from": 7,
        "followed_in": "default/articles",
        "unread": [[3, 4], [9, None]],
    }
    Progress("default", {"top": 9}, {subscription.pk: place}, [parked(subscription.pk)]).write()
    subscription.refresh_from_db()
    other.refresh_from_db()
    assert (subscription.followed_from, subscription.unread) == (7, [[3, 4], [9, None]])
    assert subscription.followed_in == "default/articles"
    assert (other.followed_from, other.unread) == (None, [])
    assert position_store.read("default").top == 9
    assert ParkedChange.objects.get().subscription == subscription


def test_progress_can_be_written_a_second_time(subscription: DirectusSubscription) -> None:
    """A transaction whose answer was lost runs again."""
    progress = Progress("default", {"top": 9}, parked=[parked(subscription.pk)])
    progress.write()
    progress.write()
    assert ParkedChange.objects.count() == 1
    assert position_store.read("default").top == 9


def test_progress_that_was_rolled_back_can_be_written_again(
    subscription: DirectusSubscription,
) -> None:
    progress = Progress("default", {"top": 9}, parked=[parked(subscription.pk)])
    with transaction.atomic():
        progress.write()
        transaction.set_rollback(True)
    assert not ParkedChange.objects.exists()
    progress.write()
    assert ParkedChange.objects.count() == 1


def test_a_change_of_a_deleted_subscription_is_not_parked(
    subscription: DirectusSubscription,
) -> None:
    changes = [parked(subscription.pk), parked(subscription.pk + 1)]
    Progress("default", parked=changes).write()
    assert [each.subscription_id for each in ParkedChange.objects.all()] == [subscription.pk]


def test_a_found_item_is_parked_no_longer_for_its_subscription(
    subscription: DirectusSubscription,
) -> None:
    other = DirectusSubscription.objects.create(name="other", collection="articles")
    changes = [
        parked(subscription.pk, 1),
        parked(subscription.pk, 2),
        parked(subscription.pk, 3, key_json='"1"'),
        parked(other.pk, 1),
    ]
    Progress("default", parked=changes).write()
    Progress("default", found={(subscription.pk, "1")}).write()
    left = ParkedChange.objects.values_list("subscription_id", "activity_id")
    assert set(left) == {(subscription.pk, 3), (other.pk, 1)}


def test_a_deleted_item_is_parked_no_longer_for_any_subscription_of_the_connection(
    subscription: DirectusSubscription,
) -> None:
    elsewhere = DirectusSubscription.objects.create(
        name="elsewhere", collection="articles", connection="other"
    )
    changes = [
        parked(subscription.pk, 1),
        parked(subscription.pk, 2, collection="notes"),
        parked(elsewhere.pk, 1, connection="other"),
    ]
    Progress("default", parked=changes).write()
    Progress("default", deleted={("articles", "1")}).write()
    left = ParkedChange.objects.values_list("connection", "collection")
    assert set(left) == {("default", "notes"), ("other", "articles")}


def test_many_items_are_found_at_once(subscription: DirectusSubscription) -> None:
    changes = [parked(subscription.pk, number, key_json=str(number)) for number in range(1200)]
    Progress("default", parked=changes).write()
    Progress("default", found={(subscription.pk, str(number)) for number in range(1199)}).write()
    assert [each.key_json for each in ParkedChange.objects.all()] == ["1199"]


def test_changes_that_were_parked_before_a_time_are_given_up(
    subscription: DirectusSubscription,
) -> None:
    changes = [
        parked(subscription.pk, 1),
        parked(subscription.pk, 2, parked_at=NOON + timedelta(hours=2)),
    ]
    Progress("default", parked=changes).write()
    assert position_store.give_up_parked("default", NOON + timedelta(hours=1)) == 1
    assert position_store.give_up_parked("default", NOON + timedelta(hours=1)) == 0
    assert [each.activity_id for each in position_store.read_parked("default")] == [2]
    assert ParkedChange.objects.get(activity_id=1).state == "unexplained"
