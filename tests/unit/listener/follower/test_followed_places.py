"""A subscription on its way along the log: its place, and when it is checked again."""

from __future__ import annotations

from directus_realtime.client.activity_log import IdRange
from directus_realtime.client.log_position import Hole
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription, Place
from directus_realtime.protocol.queries import Query
from tests.helpers.manual_clock import ManualClock


class LongestDelays(ManualClock):
    """Draws the upper bound each time."""

    def uniform(self, low: float, high: float) -> float:
        return high


def test_a_subscription_whose_items_are_refused_each_time_is_checked_less_and_less() -> None:
    """Its query is accepted each time, and its items are refused when they are caught up."""
    place = Place("articles", followed_from=1)
    desired = DesiredSubscription("1-x", "all", Query("articles"), "")
    subscription = FollowedSubscription(desired, place, LongestDelays())
    ceilings: list[float] = []
    subscription.accept()
    for _ in range(3):
        place.leave_out([IdRange(2)])
        subscription.refuse("Forbidden.", 0.0)
        ceilings.append(subscription.retry_at)
        subscription.accept()
    subscription.caught_up()
    subscription.refuse("Forbidden.", 0.0)
    assert ceilings == [11.0, 21.0, 41.0]
    assert subscription.retry_at == 11.0


def test_what_is_not_visible_yet_stays_left_out_until_everything_is_caught_up() -> None:
    place = Place("articles", followed_from=1)
    place.leave_out([IdRange(5, 5), IdRange(10)])
    place.catch_up(30, [Hole(5, 5, 0, 0), Hole(12, 14, 0, 0), Hole(40, 40, 0, 0)])
    assert place.unread == [IdRange(5, 5), IdRange(12, 14), IdRange(31)]
    place.close()
    assert not place.unread
