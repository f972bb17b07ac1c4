from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync

from directus_realtime.client.activity_log import ActivityLog
from directus_realtime.client.log_position import Position
from directus_realtime.listener.follower import position_store
from directus_realtime.listener.follower.gaps import ANOTHER_LOG, NEVER_READ, PRUNED
from directus_realtime.listener.follower.log_cursor import LogCursor
from tests.helpers.manual_clock import ManualClock
from tests.unit.listener.follower.conftest import NOON, WaitingInbox, row
from tests.unit.listener.follower.test_log_cursor_continuity import Rows, after

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0


class Client:
    """A client whose server's clock is ours."""

    name = "default"
    has_socket = True

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.ahead = timedelta()

    @property
    def clock(self) -> Client:
        """The server's clock."""
        return self

    def now(self) -> datetime:
        """The time of the server."""
        return self._clock.now() + self.ahead


class Doubts:
    """Notes doubts and outages instead of announcing them."""

    def __init__(self) -> None:
        self.doubts: list[str] = []
        self.outage: str | None = None

    def begin(self, since: datetime | None, reason: str) -> None:
        """Note an outage."""
        if since is not None:
            self.outage = self.outage or reason

    def resume(self, stored: Any) -> None:
        """Note that no listener was connected."""
        self.begin(stored.read_at, "no listener was connected")

    def doubt(self, reason: str, collections: list[str]) -> None:
        """Note a doubt."""
        assert collections == ["articles"]
        self.doubts.append(reason)


class Subscriptions:
    """Subscriptions to articles."""

    def __init__(self, *, has_begun: bool) -> None:
        self.collections = ["articles"]
        self.numbers = {1}
        self.has_begun = has_begun
        self.moved_to: list[int] = []

    def move(self, top: int) -> None:
        """Note where they go on."""
        self.moved_to.append(top)


class World:
    """A cursor and what is around it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.client, self.gaps = clock, Client(clock), Doubts()
        self.inbox = WaitingInbox()
        self.cursor = self.make_cursor()

    def make_cursor(self) -> LogCursor:
        """A cursor that knows nothing yet."""
        client, inbox, gaps = (cast(Any, each) for each in (self.client, self.inbox, self.gaps))
        return LogCursor(client, inbox, gaps, HOUR, self.clock)

    def resume(self, rows: Rows, *, has_begun: bool = True) -> Subscriptions:
        """Find the place in a log."""
        subscriptions = Subscriptions(has_begun=has_begun)

        async def resume() -> None:
            await self.cursor.load()
            await self.cursor.resume(cast(ActivityLog, rows), cast(Any, subscriptions))

        async_to_sync(resume)()
        return subscriptions


@pytest.fixture
def world(clock: ManualClock) -> World:
    clock.seconds = (NOON - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() + 60
    return World(clock)


def store(position: Position, **values: Any) -> None:
    position_store.write_values("default", {**position_store.values_of(position, 0), **values})


# The place


def test_a_log_that_was_never_read_is_followed_from_its_end(world: World) -> None:
    world.resume(Rows(*(row(number) for number in range(1, 6))), has_begun=False)
    assert (world.cursor.position.top, world.cursor.boundary) == (5, 5)
    assert (world.gaps.doubts, world.gaps.outage) == ([], None)
    assert not world.cursor.must_resume


def test_a_place_that_subscriptions_have_and_the_log_has_not_is_a_gap(world: World) -> None:
    world.resume(Rows(row(1)), has_begun=True)
    assert world.gaps.doubts == [NEVER_READ]


def test_the_place_that_was_stored_is_resumed(world: World) -> None:
    store(after(1, 2, 5), dropped=7, read_at=NOON)
    world.resume(Rows(*(row(number) for number in (1, 2, 5, 8, 9))))
    position = world.cursor.position
    assert (position.top, world.cursor.boundary, world.cursor.read_at) == (5, 9, NOON)
    assert [(hole.first, hole.last) for hole in position.holes] == [(3, 4)]
    assert world.cursor.values()["dropped"] == 7
    assert (world.gaps.doubts, world.gaps.outage) == ([], "no listener was connected")


def test_a_place_is_kept_after_an_outage(world: World) -> None:
    world.resume(Rows(row(1)), has_begun=False)
    world.cursor.position.take([2], [row(2)], world.cursor.wall())
    position = world.cursor.position
    world.resume(Rows(row(1), row(2), row(3)))
    assert world.cursor.position is position
    assert (world.cursor.boundary, world.gaps.doubts) == (3, [])


def test_a_log_that_was_pruned_is_a_doubt_and_is_read_on(world: World) -> None:
    store(after(1, 2, 3), read_at=NOON)
    subscriptions = world.resume(Rows(row(7), row(8)))
    assert (world.gaps.doubts, world.cursor.position.top) == ([PRUNED], 3)
    assert subscriptions.moved_to == []


def test_another_log_is_read_from_shortly_before_the_last_read(world: World) -> None:
    store(after(*range(1, 30)), read_at=NOON + timedelta(seconds=300))
    old, new = row(1, timestamp=NOON), row(2, timestamp=NOON + timedelta(seconds=200))
    subscriptions = world.resume(Rows(old, new))
    assert (world.gaps.doubts, world.cursor.position.top) == ([ANOTHER_LOG], 1)
    assert subscriptions.moved_to == [1]


def test_another_log_without_new_rows_is_followed_from_its_end(world: World) -> None:
    store(after(*range(1, 30)), read_at=NOON + timedelta(days=1))
    world.resume(Rows(row(1), row(2)))
    assert world.cursor.position.top == 2


def test_another_log_is_read_by_the_clock_of_the_server(world: World) -> None:
    world.client.ahead = timedelta(days=-1)
    store(after(*range(1, 30)), read_at=NOON + timedelta(days=1))
    world.resume(Rows(row(1), row(2)))
    assert world.cursor.position.top == 0


# Holes


def test_holes_are_given_up_after_their_age(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "directus_realtime")
    world.resume(Rows(), has_begun=False)
    moment = world.clock.now()
    world.cursor.position.take([4], [row(4, timestamp=moment)], world.cursor.wall())
    world.clock.advance(HOUR - 1)
    assert not world.cursor.drop_holes()
    world.clock.advance(2)
    assert not world.cursor.drop_holes()  # its row may have come since it was asked for
    position, now = world.cursor.position, world.cursor.wall()
    position.record_query(position.due(now), now)
    assert world.cursor.drop_holes()
    assert world.cursor.values()["dropped"] == 3
    assert "3 ids of the activity log never became visible within 3600 s" in caplog.text
    assert not world.cursor.drop_holes()


def test_holes_below_a_row_of_long_ago_are_given_up_at_once(world: World) -> None:
    world.resume(Rows(), has_begun=False)
    old, now = world.clock.now() - timedelta(hours=2), world.clock.now()
    rows = [row(4, timestamp=old), row(9, timestamp=now)]
    world.cursor.position.take([4, 9], rows, world.cursor.wall())
    assert not world.cursor.drop_holes()  # a row of now: its time may be wrong by the zone
    world.cursor.boundary = 9
    assert world.cursor.drop_holes()
    position = world.cursor.position
    assert [(hole.first, hole.last) for hole in position.holes] == [(5, 8)]


# Verifying and noting


def test_the_log_is_compared_with_what_was_read_from_time_to_time(world: World) -> None:
    later = row(2, timestamp=NOON + timedelta(hours=1))
    same, shorter, longer = Rows(row(1), row(2)), Rows(row(1)), Rows(row(1), later, row(3))
    verify = async_to_sync(world.cursor.verify)
    for other in (shorter, longer):
        world.resume(same, has_begun=False)
        for rows, seconds, must_resume in ((other, 0, False), (same, 30, False), (other, 30, True)):
            world.clock.advance(seconds)
            verify(cast(ActivityLog, rows))
            assert world.cursor.must_resume is must_resume


def test_the_time_of_a_read_is_when_it_began_and_is_written_seldom(world: World) -> None:
    world.resume(Rows(row(1)), has_begun=False)
    began_at = world.clock.now()
    world.clock.advance(0.5)
    assert world.cursor.note_read(began_at)["read_at"] == began_at
    assert world.cursor.note_read(world.clock.now()) == {}
    assert world.cursor.read_at == world.clock.now()
    world.clock.advance(2)
    assert world.cursor.note_read(began_at)["read_at"] == began_at


def test_the_log_is_not_read_to_a_time_while_a_hole_is_asked_for(world: World) -> None:
    world.resume(Rows(row(1)), has_begun=False)
    world.cursor.position.take([5], [row(5)], world.cursor.wall())
    seen_at = world.clock.now()
    world.clock.advance(0.01)
    world.cursor.note_read(world.clock.now())
    assert world.cursor.read_at is not None
    assert world.cursor.read_at <= seen_at


def test_without_a_log_the_time_of_the_socket_is_written(world: World) -> None:
    async_to_sync(world.cursor.load)()
    assert world.cursor.note_socket() == {"read_at": world.clock.now()}
    assert world.cursor.note_socket() == {}
    world.clock.advance(2)
    assert world.cursor.note_socket() == {"read_at": world.clock.now()}
    world.client.has_socket = False
    world.clock.advance(2)
    assert world.cursor.note_socket() == {}
