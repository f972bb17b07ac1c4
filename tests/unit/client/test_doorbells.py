from __future__ import annotations

from typing import Any, cast

import pytest

from directus_realtime.client.connection import Connection
from directus_realtime.client.doorbells import Ring, SocketDoorbell
from directus_realtime.client.rest import ServerInfo
from directus_realtime.exceptions import BadFrame
from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.session import (
    Confirmed,
    Ignored,
    ItemsChanged,
    SessionAction,
    SubscribeRefused,
    SubscriptionError,
)

ARTICLES = [f"ring:articles:{action}" for action in ("create", "update", "delete")]


class World:
    """A doorbell on a socket that notes what is asked for; it is connection and driver."""

    def __init__(self) -> None:
        self.subscribed: list[WireSubscription] = []
        self.unsubscribed: list[str] = []
        self.rings: list[Ring] = []
        self.has_socket = True
        self.server = ServerInfo("11.17.4")
        self.bell = SocketDoorbell(cast(Connection, self))
        self.bell.on_ring = self.rings.append

    @property
    def driver(self) -> Any:
        return self if self.has_socket else None

    def subscribe(self, subscription: WireSubscription) -> None:
        self.subscribed.append(subscription)

    def unsubscribe(self, uid: str) -> None:
        self.unsubscribed.append(uid)

    def uids(self) -> list[str]:
        """The uids that were subscribed since the last call."""
        uids = [wire.uid for wire in self.subscribed]
        self.subscribed.clear()
        return uids


@pytest.fixture
def world() -> World:
    """Watches articles."""
    world = World()
    world.bell.watch({"articles": "id"})
    return world


def test_asks_for_the_keys_of_every_action(world: World) -> None:
    assert [wire.uid for wire in world.subscribed] == ARTICLES
    assert [wire.event for wire in world.subscribed] == ["create", "update", "delete"]
    assert all(wire.query == {"fields": ["id"]} for wire in world.subscribed)


def test_asks_for_whole_updates_where_the_server_would_cut_their_keys() -> None:
    world = World()
    world.server = ServerInfo("11.17.4", query_limit=100)
    world.bell.watch({"articles": "id"})
    assert [wire.query for wire in world.subscribed] == [
        {"fields": ["id"]},
        {},
        {"fields": ["id"]},
    ]


def test_asks_only_for_what_is_not_watched_yet(world: World) -> None:
    world.uids()
    world.bell.watch({"articles": "id", "notes": "uuid"})
    assert {wire.collection for wire in world.subscribed} == {"notes"}
    assert world.unsubscribed == []


def test_ends_what_is_not_watched_any_longer(world: World) -> None:
    world.bell.watch({})
    assert world.unsubscribed == ARTICLES
    assert not world.bell.handle(ItemsChanged(ARTICLES[0], "create", [{"id": 1}]))
    assert world.rings == []


def test_asks_again_for_a_collection_with_another_key(world: World) -> None:
    world.uids()
    world.bell.watch({"articles": "code"})
    assert all(wire.query == {"fields": ["code"]} for wire in world.subscribed)
    assert world.uids() == ARTICLES
    assert world.bell.handle(ItemsChanged(ARTICLES[0], "create", [{"code": "A1"}]))
    assert world.rings == [Ring("articles", "create", ("A1",))]


def test_without_a_socket_it_asks_when_there_is_one() -> None:
    world = World()
    world.has_socket = False
    world.bell.watch({"articles": "id", "notes": "id"})
    world.bell.watch({"articles": "id"})
    assert world.uids() == []
    world.has_socket = True
    world.bell.subscribe_again()
    assert world.uids() == ARTICLES
    assert world.unsubscribed == []


@pytest.mark.parametrize(
    ("action", "ring"),
    [
        (ItemsChanged(ARTICLES[0], "create", [{"id": 1}]), Ring("articles", "create", (1,))),
        (
            ItemsChanged(ARTICLES[1], "update", [{"id": 1}, {"id": "2"}]),
            Ring("articles", "update", (1, "2")),
        ),
        (ItemsChanged(ARTICLES[2], "delete", ["7", 8]), Ring("articles", "delete", ("7", 8))),
        (ItemsChanged(ARTICLES[1], "update", [{}]), Ring("articles", "update", ())),
        (ItemsChanged(ARTICLES[1], "update", [{"id": None}]), Ring("articles", "update", ())),
        (SubscriptionError(ARTICLES[1], "FORBIDDEN", "m"), Ring("articles", None, ())),
    ],
)
def test_rings_for_each_message(world: World, action: SessionAction, ring: Ring) -> None:
    assert world.bell.handle(action)
    assert world.rings == [ring]


@pytest.mark.parametrize(
    "action",
    [SubscriptionError(None, "FORBIDDEN", "m"), Ignored(BadFrame("The frame is not JSON", ""))],
)
def test_an_error_without_a_uid_may_be_of_any_collection(
    world: World, action: SessionAction
) -> None:
    world.bell.watch({"articles": "id", "notes": "id"})
    assert not world.bell.handle(action)  # it is reported, too
    assert world.rings == [Ring("articles", None, ()), Ring("notes", None, ())]


@pytest.mark.parametrize("uid", ["ring:articles.create", "a.create", "ring:notes:create"])
def test_messages_of_other_subscriptions_are_left_to_them(world: World, uid: str) -> None:
    for action in (
        ItemsChanged(uid, "create", [{"id": 1}]),
        Confirmed(uid),
        SubscribeRefused(uid, "FORBIDDEN", "m"),
        SubscriptionError(uid, "FORBIDDEN", "m"),
    ):
        assert not world.bell.handle(action)
    assert world.rings == []
    assert world.bell.problems == {}


def test_a_refusal_is_a_problem_until_the_next_socket(world: World) -> None:
    assert world.bell.handle(Confirmed(ARTICLES[0]))
    assert world.bell.handle(SubscribeRefused(ARTICLES[1], "FORBIDDEN", "No permission."))
    assert world.bell.handle(Confirmed(ARTICLES[2]))
    assert list(world.bell.problems) == ["articles"]
    assert "(FORBIDDEN: No permission)" in world.bell.problems["articles"]
    world.uids()
    world.bell.watch({"articles": "id"})
    assert world.uids() == []
    world.bell.subscribe_again()
    assert world.uids() == ARTICLES
    assert world.bell.problems == {}


def test_what_is_not_watched_any_longer_is_no_problem(world: World) -> None:
    world.bell.handle(SubscribeRefused(ARTICLES[1], "FORBIDDEN", "No permission."))
    world.bell.watch({})
    assert world.bell.problems == {}


def test_a_callback_that_fails_does_not_end_the_socket(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(ring: Ring) -> None:
        raise LookupError("of the callback")

    world.bell.on_ring = fail
    assert world.bell.handle(ItemsChanged(ARTICLES[0], "create", [{"id": 1}]))
    assert "of the callback" in caplog.text
