from __future__ import annotations

import pytest

from directus_realtime.client.activity_log import ACTIVITY, Change, IdRange, changes_of
from directus_realtime.client.feed import FeedState
from directus_realtime.client.log_position import Hole
from directus_realtime.listener.follower.followed_subscription import Place
from tests.unit.listener.follower.conftest import followed, row


def spans(place: Place) -> list[tuple[int, int | None]]:
    return [(each.first, each.last) for each in place.unread]


# Places


def test_a_place_that_has_not_begun_leaves_nothing_out() -> None:
    place = Place("articles")
    place.leave_out([IdRange(5)])
    place.move(9)
    place.reset()
    assert (place.has_begun, spans(place), place.is_changed) == (False, [], False)


def test_what_is_left_out_is_remembered_once() -> None:
    place = Place("articles", 0)
    place.leave_out([IdRange(3, 4), IdRange(10)])
    place.is_changed = False
    place.leave_out([IdRange(3, 3), IdRange(12)])
    assert (spans(place), place.is_changed) == ([(3, 4), (10, None)], False)


def test_a_hole_below_what_is_caught_up_stays_left_out() -> None:
    """Its row may come before the rest is caught up."""
    place = Place("articles", 0)
    place.leave_out([IdRange(3, 4), IdRange(10)])
    place.catch_up(20, [Hole(3, 4, 0.0, 0.0), Hole(25, 26, 0.0, 0.0)])
    assert spans(place) == [(3, 4), (21, None)]


def test_catching_up_ends_inside_of_a_range() -> None:
    place = Place("articles", 0, [IdRange(3, 8), IdRange(10, 12), IdRange(20)])
    place.catch_up(10, [])
    assert (spans(place), place.is_changed) == ([(11, 12), (20, None)], True)
    place.close()
    assert spans(place) == []


def test_in_another_log_nothing_is_left_out() -> None:
    place = Place("articles", 3, [IdRange(5)])
    place.move(70)
    assert (place.followed_from, spans(place), place.is_changed) == (70, [], True)


def test_a_place_that_is_forgotten_has_not_begun() -> None:
    place = Place("articles", 3, [IdRange(5)])
    place.reset()
    assert (place.has_begun, spans(place), place.is_changed) == (False, [], True)


# How a subscription stands


def test_a_subscription_is_current_where_nothing_is_left_out() -> None:
    subscription = followed()
    assert subscription.is_current
    subscription.place.leave_out([IdRange(5)])
    assert (subscription.is_current, subscription.is_catching_up) == (False, True)
    assert subscription.note.startswith("Not caught up: ")


def test_a_subscription_whose_query_is_asked_for_again_is_not_current_meanwhile() -> None:
    subscription = followed()
    subscription.ask_again()
    assert (subscription.is_subscribed, subscription.is_current) == (True, False)
    assert subscription.must_be_checked(0.0)


def test_a_refused_subscription_is_checked_again_after_growing_delays() -> None:
    subscription, now, delays = followed(), 100.0, []
    for _ in range(5):
        subscription.refuse("You may not.", now)
        assert not subscription.must_be_checked(now)
        assert subscription.must_be_checked(subscription.retry_at)
        delays.append(subscription.retry_at - now)
    assert all(1 <= delay <= 301 for delay in delays)
    assert (subscription.state, subscription.note) == (FeedState.REFUSED, "You may not.")


def test_a_refused_subscription_stays_refused_while_directus_cannot_be_asked() -> None:
    subscription = followed()
    subscription.refuse("You may not.", 0.0)
    subscription.wait()
    assert subscription.state is FeedState.REFUSED


def test_a_subscription_without_a_log_says_what_that_means() -> None:
    subscription = followed()
    subscription.is_socket_only = True
    assert subscription.note.startswith("Socket only: ")
    assert not subscription.is_new
    subscription.wait("There is no socket.")
    assert (subscription.note, subscription.is_new) == ("There is no socket.", False)


@pytest.mark.parametrize("written", ["7", "007", 7, "7.0"])
def test_the_item_of_a_subscription_is_known_in_every_spelling(written: object) -> None:
    subscription = followed(item="07")
    assert subscription.wants(Change("articles", "update", written))
    assert not subscription.wants(Change("articles", "update", "8"))
    assert not subscription.wants(Change("notes", "update", written))


# Changes


def test_rows_of_other_kinds_and_collections_are_no_changes() -> None:
    rows = [
        row(1, "create", 5),
        row(2, None, 5),  # type: ignore[arg-type]
        row(3, "update", 6, collection="notes"),
    ]
    found = changes_of(rows, {"articles"})
    assert [(change.collection, change.action, change.item) for change in found] == [
        ("articles", "create", "5")
    ]


def test_each_row_is_an_item_of_the_log_itself() -> None:
    rows = [row(1, "create", 5), row(2, None, 5)]  # type: ignore[arg-type]
    found = changes_of(rows, {ACTIVITY, "articles"})
    assert [(change.collection, change.action, change.item) for change in found] == [
        (ACTIVITY, "create", 1),
        ("articles", "create", "5"),
        (ACTIVITY, "create", 2),
    ]
