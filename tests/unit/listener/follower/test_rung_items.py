from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from directus_realtime.client.doorbells import PATIENCE
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import ConnectionFailed
from directus_realtime.listener.follower.event_builder import EventBuilder
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.follower.rung_items import LastStates, RungItems
from tests.helpers.manual_clock import ManualClock
from tests.unit.listener.follower.conftest import Items, followed


class Access:
    """Knows that the changes of articles are logged."""

    def is_logged(self, collection: str) -> bool:
        """Answer as the access to the log does."""
        return collection == "articles"


class EmptyInbox:
    """Has no event of a listener before."""

    async def run_in_order(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Answer as the inbox does."""
        return {}


class World:
    """Rung items of one subscription."""

    def __init__(self, builder: EventBuilder, clock: ManualClock) -> None:
        self.clock = clock
        self.states = LastStates("default", cast(Any, EmptyInbox()))
        self.rung = RungItems("default", builder, self.states, clock)
        self.subscription = followed()

    def ring(self, *keys: Key, action: Action = "update", is_socket_only: bool = False) -> None:
        """Ring for articles."""
        self.rung.add("articles", action, keys, is_socket_only=is_socket_only)

    async def events(self) -> list[tuple[str, Key]]:
        """Action and key of the events that are due."""
        found = []
        subscriptions: list[FollowedSubscription] = [self.subscription]
        async for built in self.rung.build(subscriptions, cast(Any, Access())):
            self.states.note(entry.row for entry in built.entries)
            found += [(entry.row.action, entry.row.key) for entry in built.entries]
        return found


@pytest.fixture
def world(builder: EventBuilder, clock: ManualClock, items: Items) -> World:
    items.put(1, title="a")
    return World(builder, clock)


async def test_a_ring_whose_row_was_read_makes_no_event(world: World) -> None:
    world.ring(1)
    world.rung.answer({("articles", 1)}, world.clock.monotonic(), ["articles"])
    world.clock.advance(PATIENCE)
    assert await world.events() == []


async def test_a_ring_without_a_row_is_an_event_once_it_has_waited(world: World) -> None:
    world.ring(1, action="create")
    assert await world.events() == []
    world.clock.advance(PATIENCE)
    assert await world.events() == [("update", 1)]


async def test_a_state_that_is_known_is_no_event(world: World, items: Items) -> None:
    for title, expected in (("a", [("update", 1)]), ("a", []), ("b", [("update", 1)])):
        items.put(1, title=title)
        world.ring(1)
        world.clock.advance(PATIENCE)
        assert await world.events() == expected


async def test_a_ring_whose_item_could_not_be_read_stays(world: World, items: Items) -> None:
    items.failures, items.is_down = [ConnectionFailed("The network is gone.")], True
    world.ring(1)
    world.clock.advance(PATIENCE)
    with pytest.raises(ConnectionFailed):
        await world.events()
    world.clock.advance(PATIENCE)
    assert await world.events() == [("update", 1)]


async def test_without_a_log_each_ring_is_an_event_at_once(world: World, items: Items) -> None:
    world.subscription.is_socket_only = True
    world.ring(1, action="create", is_socket_only=True)
    world.ring(2, action="delete", is_socket_only=True)
    assert world.rung.wait() == 0
    assert await world.events() == [("create", 1), ("delete", 2)]


async def test_a_ring_without_a_log_whose_item_could_not_be_read_stays(
    world: World, items: Items
) -> None:
    items.failures, items.is_down = [ConnectionFailed("The network is gone.")], True
    world.subscription.is_socket_only = True
    world.ring(1, is_socket_only=True)
    with pytest.raises(ConnectionFailed):
        await world.events()
    assert await world.events() == [("update", 1)]


def test_a_ring_without_keys_asks_for_a_poll_alone(world: World) -> None:
    world.rung.add("articles", None, [], is_socket_only=False)
    assert world.rung.wait() == 0
    world.rung.polled(world.clock.monotonic())
    assert world.rung.wait() is None


async def test_many_changes_without_a_row_are_worth_a_warning(
    world: World, items: Items, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows of their collection may be hidden from the token."""
    for number in range(20):
        items.put(1, title=str(number))
        world.ring(1)
        world.clock.advance(PATIENCE)
        await world.events()
    assert caplog.text.count("keep coming without a row in the activity log") == 1


async def test_a_row_of_the_collection_shows_that_its_rows_are_not_hidden(
    world: World, items: Items, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        items.put(1, title=str(number))
        world.ring(1)
        world.clock.advance(PATIENCE)
        await world.events()
        world.rung.answer((), world.clock.monotonic(), ["articles"])
    assert "keep coming without a row" not in caplog.text
