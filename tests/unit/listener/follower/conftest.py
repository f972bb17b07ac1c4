"""A client that reads from a dictionary, subscriptions that follow, and an inbox that waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import pytest
from asgiref.sync import sync_to_async

from directus_realtime.client.activity_log import ActivityRow, Change
from directus_realtime.client.items import ItemsRead
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Action, Key
from directus_realtime.exceptions import ConnectionFailed
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.follower.event_builder import EventBuilder
from directus_realtime.listener.follower.followed_subscription import (
    FollowedSubscription,
    Place,
)
from directus_realtime.listener.inbox_entry import InboxEntry, Memory
from directus_realtime.protocol.queries import Query
from tests.helpers.manual_clock import ManualClock

T = TypeVar("T")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
INTEGER = PrimaryKey("id", "integer")


def row(number: int, action: Action = "update", item: object = 1, **values: Any) -> ActivityRow:
    """A row of the log about an article, a second after the row before."""
    given: dict[str, Any] = {
        "collection": "articles",
        "timestamp": NOON + timedelta(seconds=number),
        **values,
    }
    return ActivityRow(number, action, item=str(item), **given)


def change(number: int, action: Action = "update", item: object = 1, **values: Any) -> Change:
    """A change of an article by the row with a number."""
    found = row(number, action, item, **values)
    return Change(found.collection, action, found.item, found)


def followed(number: int = 1, *, memory: bool = False, **query: Any) -> FollowedSubscription:
    """A subscription to articles that follows the log.

    Args:
        number: Its primary key.
        memory: Whether the items in its filter are remembered.
        **query: Arguments of :class:`Query`.
    """
    asked = Query(**{"collection": "articles", **query})
    desired = DesiredSubscription(
        f"uid-{number}",
        f"subscription-{number}",
        asked,
        "",
        subscription_id=number,
        memory=Memory(number, "the filter") if memory else None,
        followed_from=0,
    )
    subscription = FollowedSubscription(desired, Place(asked.collection, 0))
    subscription.primary_key = INTEGER
    subscription.accept()
    return subscription


class Items:
    """A client that reads articles from a dictionary.

    Attributes:
        rows: The items.
        unreadable: Keys that cannot be read, with a sentence.
        aliases: Keys in other spellings.
        reads: Queries and keys that were asked for.
        failures: What to raise instead of answering, one after another.
        is_down: Whether the log cannot be read either.
    """

    name = "default"

    def __init__(self) -> None:
        self.rows: dict[Key, dict[str, Any]] = {}
        self.unreadable: dict[Key, str] = {}
        self.aliases: dict[Key, Key] = {}
        self.reads: list[tuple[Query, list[Key]]] = []
        self.failures: list[Exception] = []
        self.is_down = False

    @property
    def activity(self) -> Items:
        """The log."""
        return self

    async def newest(self) -> None:
        """Answer that the log is empty."""
        if self.is_down:
            raise ConnectionFailed("The server is down.")

    def put(self, key: Key, **values: Any) -> None:
        """Store an item."""
        self.rows[key] = {"id": key, **values}

    async def read_by_keys(
        self, query: Query, primary_key: PrimaryKey, keys: Sequence[Key]
    ) -> ItemsRead:
        """Answer as the client does."""
        self.reads.append((query, list(keys)))
        if self.failures:
            raise self.failures.pop(0)
        read = ItemsRead()
        for key in keys:
            actual = self.aliases.get(key, key)
            if key in self.unreadable:
                read.unreadable[key] = self.unreadable[key]
            elif actual in self.rows and self._matches(query, self.rows[actual]):
                read.rows[actual] = self.rows[actual]
                if actual != key:
                    read.aliases[key] = actual
        return read

    def _matches(self, query: Query, item: dict[str, Any]) -> bool:
        return all(item.get(name) == asked["_eq"] for name, asked in query.filter.items())


class WaitingInbox:
    """An inbox that keeps what it is to write until :meth:`write` is called.

    Attributes:
        entries: The events.
    """

    def __init__(self) -> None:
        self.entries: list[InboxEntry] = []
        self._functions: list[Callable[[], Any]] = []

    def put(self, entries: Sequence[InboxEntry], then: Callable[[], Any] | None = None) -> None:
        """Take events."""
        self.entries += entries
        if then is not None:
            self._functions.append(then)

    async def run_in_order(self, function: Callable[[], T]) -> T:
        """Run something behind what was put before."""
        await sync_to_async(self.write)()
        return await sync_to_async(function)()

    def write(self) -> None:
        """Write what was put."""
        functions, self._functions = self._functions, []
        for function in functions:
            function()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def items() -> Items:
    return Items()


@pytest.fixture
def inside() -> set[Key]:
    """Keys of the items that were in the filter before."""
    return set()


@pytest.fixture
def builder(items: Items, inside: set[Key], clock: ManualClock) -> EventBuilder:
    async def those_inside(memory: Memory, keys: list[Key]) -> set[Key]:
        return inside & set(keys)

    return EventBuilder(cast(Any, items), those_inside, clock)
