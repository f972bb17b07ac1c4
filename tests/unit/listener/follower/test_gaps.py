from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from django.utils import timezone

from directus_realtime.listener.follower.gaps import LONG, GapKeeper
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.models import LogPosition
from tests.helpers.manual_clock import ManualClock
from tests.unit.listener.follower.conftest import WaitingInbox

pytestmark = pytest.mark.django_db


class Signals:
    """Notes the signals instead of sending them."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def put(self, signal: Any, sender: str, **values: Any) -> None:
        """Note a signal."""
        self.sent.append(values)


class World:
    """A keeper of gaps, and what it writes and sends."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.inbox, self.signals = WaitingInbox(), Signals()
        self.gaps = GapKeeper("default", cast(Any, self.inbox), cast(Any, self.signals), clock)

    def begin(self, reason: str = "the network was gone.") -> datetime:
        """Begin an outage now."""
        now = self.clock.now()
        self.gaps.begin(now, reason)
        return now

    def stored(self) -> LogPosition:
        """What is written of the last gap."""
        self.inbox.write()
        return LogPosition.objects.filter(alias="default").first() or LogPosition()


@pytest.fixture
def world(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level("INFO", "directus_realtime")
    counts.begin(["default"])
    return World(clock)


def test_a_short_outage_is_one_line_of_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.begin()
    world.clock.advance(2.5)
    world.gaps.end({}, world.clock.now())
    assert world.signals.sent == []
    assert world.stored().gap_since is None
    assert caplog.messages == [
        "default  followed again after 2.5 s (the network was gone): 0 events caught up, "
        "nothing is missing"
    ]


def test_a_long_outage_is_announced_as_recovered(world: World) -> None:
    since = world.begin()
    world.clock.advance(LONG.total_seconds() + 1)
    world.gaps.end({}, world.clock.now())
    until = world.clock.now()
    assert world.signals.sent == [
        {
            "connection": "default",
            "since": since,
            "until": until,
            "recovered": True,
            "collections": [],
        }
    ]
    stored = world.stored()
    assert (stored.gap_since, stored.gap_until) == (since, until)
    assert (stored.gap_recovered, stored.gap_reason) == (True, "")


def test_the_first_reason_and_the_first_time_stay(world: World) -> None:
    since = world.begin("first.")
    world.clock.advance(1)
    world.begin("second")
    assert world.gaps.outage is not None
    assert (world.gaps.outage.since, world.gaps.outage.reason) == (since, "first")


def test_what_was_never_followed_has_no_outage(world: World) -> None:
    world.gaps.begin(None, "no listener was connected")
    world.gaps.end({"articles": "articles cannot be read"}, world.clock.now())
    assert (world.gaps.outage, world.signals.sent) == (None, [])


def test_a_doubt_is_a_gap_however_short(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.begin()
    world.gaps.doubt("the log was pruned", ["notes", "articles"])
    world.gaps.end({}, world.clock.now())
    (sent,) = world.signals.sent
    assert (sent["recovered"], sent["collections"]) == (False, ["articles", "notes"])
    stored = world.stored()
    assert (stored.gap_recovered, stored.gap_collections) == (False, ["articles", "notes"])
    assert stored.gap_reason == "the log was pruned"
    assert "changes of articles, notes may be lost: the log was pruned" in caplog.text
    assert "nothing is missing" not in caplog.text


def test_a_doubt_without_an_outage_is_a_gap(world: World) -> None:
    world.gaps.doubt("a row cannot be read", ["articles"])
    world.gaps.end({}, world.clock.now())
    assert [sent["collections"] for sent in world.signals.sent] == [["articles"]]


def test_doubts_of_several_collections_are_all_said(world: World) -> None:
    world.gaps.doubt("a row cannot be read", ["articles"])
    world.gaps.doubt("the log was pruned", ["articles", "notes"])
    world.gaps.doubt("the log was pruned", ["notes"])
    world.gaps.end({}, world.clock.now())
    assert world.signals.sent[0]["collections"] == ["articles", "notes"]
    assert world.stored().gap_reason == "a row cannot be read; the log was pruned"


def test_a_doubt_about_no_subscription_is_none(world: World) -> None:
    world.gaps.doubt("the log was pruned", [])
    assert world.gaps.outage is None
    world.begin()
    world.gaps.doubt("the log was pruned", [])
    world.gaps.end({}, world.clock.now())
    assert world.signals.sent == []


def test_a_doubt_is_written_before_it_is_announced(world: World) -> None:
    """A listener that ends before must not leave an outage that looks whole."""
    world.gaps.doubt("the log was pruned", ["articles"])
    stored = world.stored()
    assert (stored.gap_recovered, stored.gap_collections) == (False, ["articles"])
    assert world.signals.sent == []


def test_a_gap_that_was_not_announced_is_announced_by_the_next_listener(world: World) -> None:
    since = world.begin()
    world.gaps.doubt("the log was pruned", ["notes"])
    world.gaps.doubt("a row cannot be read", ["articles"])
    stored = world.stored()
    assert (stored.gap_recovered, stored.gap_until) == (False, None)
    after = World(world.clock)
    after.clock.advance(5)
    after.gaps.resume(stored)
    after.gaps.end({}, after.clock.now())
    (sent,) = after.signals.sent
    assert (sent["since"], sent["until"]) == (since, after.clock.now())
    assert (sent["recovered"], sent["collections"]) == (False, ["articles", "notes"])
    again = after.stored()
    assert again.gap_reason == "the log was pruned; a row cannot be read"
    assert again.gap_until == after.clock.now()


def test_a_gap_that_was_announced_is_not_announced_again(world: World) -> None:
    world.gaps.doubt("the log was pruned", ["notes"])
    world.gaps.end({}, world.clock.now())
    stored = world.stored()
    stored.read_at = world.clock.now()
    after = World(world.clock)
    after.gaps.resume(stored)
    assert after.gaps.outage is not None
    assert (after.gaps.outage.doubts, after.gaps.outage.collections) == ([], set())


def test_collections_that_are_not_known_to_be_complete_are_named(world: World) -> None:
    world.begin()
    world.gaps.end({"notes": "notes cannot be read"}, world.clock.now())
    (sent,) = world.signals.sent
    assert (sent["recovered"], sent["collections"]) == (False, ["notes"])
    assert world.stored().gap_reason == "notes cannot be read"


def test_an_outage_is_announced_once(world: World) -> None:
    world.gaps.doubt("the log was pruned", ["articles"])
    world.gaps.end({}, world.clock.now())
    world.gaps.end({}, world.clock.now())
    assert len(world.signals.sent) == 1


def recover(world: World) -> None:
    world.begin()
    world.clock.advance(LONG.total_seconds() + 1)
    world.gaps.end({}, world.clock.now())


def test_a_recovered_outage_does_not_hide_an_older_gap(world: World) -> None:
    world.gaps.doubt("the log was pruned", ["articles"])
    world.gaps.end({}, world.clock.now())
    recover(world)
    assert len(world.signals.sent) == 2
    assert world.stored().gap_recovered is False


def test_a_recovered_outage_replaces_a_gap_that_was_acknowledged(world: World) -> None:
    world.gaps.doubt("the log was pruned", ["articles"])
    world.gaps.end({}, world.clock.now())
    world.stored()
    LogPosition.objects.update(gap_acknowledged_at=timezone.now())
    recover(world)
    stored = world.stored()
    assert (stored.gap_recovered, stored.gap_acknowledged_at) == (True, None)


def test_a_new_gap_is_not_acknowledged_by_an_old_acknowledgement(world: World) -> None:
    world.gaps.doubt("the log was pruned", ["articles"])
    world.gaps.end({}, world.clock.now())
    world.stored()
    LogPosition.objects.update(gap_acknowledged_at=timezone.now())
    world.gaps.doubt("the log was pruned", ["notes"])
    world.gaps.end({}, world.clock.now())
    stored = world.stored()
    assert (stored.gap_collections, stored.gap_acknowledged_at) == (["notes"], None)


def test_gaps_are_counted_with_their_length(world: World) -> None:
    before, seconds_before = dict(counts.gaps.items()), dict(counts.gap_seconds.items())
    recover(world)
    world.gaps.doubt("the log was pruned", ["articles"])
    world.clock.advance(5)
    world.gaps.end({}, world.clock.now())
    recovered, lost = ("default", "true"), ("default", "false")
    found, seconds = dict(counts.gaps.items()), dict(counts.gap_seconds.items())
    assert found[recovered] - before[recovered] == 1
    assert found[lost] - before[lost] == 1
    assert seconds[lost] - seconds_before[lost] == pytest.approx(5)


def test_a_clock_that_was_set_back_makes_no_negative_outage(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.gaps.begin(world.clock.now() + timedelta(seconds=100), "the network was gone")
    world.gaps.end({}, world.clock.now())
    assert "followed again after 0.0 s" in caplog.text


def test_a_gap_ends_where_everything_is_stored_that_was_read(world: World) -> None:
    """What became visible since is neither read nor claimed to be."""
    since = world.begin()
    world.clock.advance(LONG.total_seconds() + 1)
    read_at = world.clock.now()
    world.clock.advance(5)
    world.gaps.end({}, read_at)
    assert [(sent["since"], sent["until"]) for sent in world.signals.sent] == [(since, read_at)]
    assert world.stored().gap_until == read_at
