from __future__ import annotations

from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from directus_realtime.client.activity_log import ActivityLog
from directus_realtime.listener.follower import parked_changes
from directus_realtime.listener.follower.event_builder import Built
from directus_realtime.listener.follower.parked_changes import ParkedChanges
from directus_realtime.listener.follower.position_store import Progress
from directus_realtime.models import DirectusSubscription, ParkedChange
from tests.helpers.manual_clock import ManualClock
from tests.unit.listener.follower.conftest import WaitingInbox
from tests.unit.listener.follower.test_position_store import parked

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0


class Log:
    """A log that knows which items were deleted."""

    def __init__(self, *deleted: str) -> None:
        self._deleted = set(deleted)

    async def deleted(self, collection: str, items: list[str]) -> set[str]:
        """Answer as the log does."""
        return self._deleted & set(items)


def log(*deleted: str) -> ActivityLog:
    return cast(ActivityLog, Log(*deleted))


@pytest.fixture
def changes(clock: ManualClock) -> ParkedChanges:
    return ParkedChanges("default", cast(Any, WaitingInbox()), clock, HOUR)


@pytest.fixture
def subscription() -> DirectusSubscription:
    return DirectusSubscription.objects.create(name="all", collection="articles")


def keep(changes: ParkedChanges, clock: ManualClock, number: int, *keys: int) -> list[ParkedChange]:
    """Park changes now, as the follower does."""
    made = [parked(number, key, key_json=str(key), parked_at=clock.now()) for key in keys]
    changes.add(made)
    Progress("default", parked=made).write()
    return made


def test_what_the_listener_before_has_parked_is_known(
    changes: ParkedChanges, clock: ManualClock, subscription: DirectusSubscription
) -> None:
    Progress("default", parked=[parked(subscription.pk, 7)]).write()
    async_to_sync(changes.load)()
    (change,) = changes.due(subscription.pk)
    assert (change.collection, change.action, change.item) == ("articles", "update", "1")
    assert change.row is not None
    assert change.row.id == 7


def test_items_are_read_again_after_a_pause(changes: ParkedChanges, clock: ManualClock) -> None:
    changes.add([parked(1), parked(2, 5)])
    assert len(changes.due(1)) == 1
    assert changes.due(1) == []
    assert len(changes.due(2)) == 1
    clock.advance(30)
    assert len(changes.due(1)) == 1
    assert changes.due(3) == []


def test_a_found_item_resolves_the_changes_of_its_subscription(changes: ParkedChanges) -> None:
    changes.add([parked(1, 1), parked(1, 2), parked(2, 1)])
    assert changes.resolve(Built(present={(1, "1")})) == ({(1, "1")}, set())
    assert (changes.due(1), len(changes.due(2))) == ([], 1)
    assert changes.resolve(Built(present={(1, "1")})) == (set(), set())


def test_a_delete_resolves_the_changes_of_all_subscriptions(changes: ParkedChanges) -> None:
    changes.add([parked(1, 1), parked(2, 1), parked(1, 2, collection="notes")])
    assert changes.resolve(Built(deleted={("articles", "1")})) == (set(), {("articles", "1")})
    assert [change.collection for change in changes.due(1)] == ["notes"]
    assert changes.due(2) == []


def test_a_change_that_is_parked_twice_is_kept_once(changes: ParkedChanges) -> None:
    changes.add([parked(1, 1)])
    changes.add([parked(1, 1)])
    assert len(changes.due(1)) == 1


def test_changes_are_unexplained_after_their_age(
    changes: ParkedChanges,
    clock: ManualClock,
    subscription: DirectusSubscription,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep(changes, clock, subscription.pk, 1, 2)
    clock.advance(HOUR)
    keep(changes, clock, subscription.pk, 3)
    async_to_sync(changes.give_up_old)(log())
    assert not ParkedChange.objects.filter(state="unexplained").exists()
    clock.advance(1)
    async_to_sync(changes.give_up_old)(log())
    given_up = ParkedChange.objects.filter(state="unexplained")
    assert sorted(given_up.values_list("activity_id", flat=True)) == [1, 2]
    assert [change.item for change in changes.due(subscription.pk)] == ["3"]
    assert "unexplained: 2 changes in the activity log" in caplog.text


def test_a_delete_that_is_in_the_log_explains_them(
    changes: ParkedChanges,
    clock: ManualClock,
    subscription: DirectusSubscription,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep(changes, clock, subscription.pk, 1, 2)
    clock.advance(HOUR + 1)
    async_to_sync(changes.give_up_old)(log("1"))
    assert list(ParkedChange.objects.values_list("activity_id", "state")) == [(2, "unexplained")]
    assert "unexplained: 1 change in the activity log" in caplog.text


def test_every_delete_is_looked_for_however_many_changes_are_old(
    changes: ParkedChanges,
    clock: ManualClock,
    subscription: DirectusSubscription,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parked_changes, "_AT_A_TIME", 2)
    keep(changes, clock, subscription.pk, *range(5))
    clock.advance(HOUR + 1)
    async_to_sync(changes.give_up_old)(log(*map(str, range(5))))
    assert not ParkedChange.objects.exists()


async def test_nothing_is_asked_for_where_nothing_is_old(
    changes: ParkedChanges, clock: ManualClock, subscription: DirectusSubscription
) -> None:
    await sync_to_async(keep)(changes, clock, subscription.pk, 1)
    await changes.give_up_old(cast(ActivityLog, None))
    assert await ParkedChange.objects.filter(state="parked").acount() == 1
