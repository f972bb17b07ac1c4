from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from asgiref.sync import sync_to_async

from directus_realtime.listener.follower import rung_items
from directus_realtime.listener.follower.rung_items import LastStates
from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import InboxEvent
from tests.unit.listener.conftest import make_event


class Stored:
    """An inbox whose database answers at once."""

    async def run_in_order(self, function: Callable[[], Any]) -> Any:
        """Run as the inbox does."""
        return await sync_to_async(function)()


def new_states() -> LastStates:
    return LastStates("default", cast(Inbox, Stored()))


def state(key: int = 1, title: str = "a", **values: Any) -> InboxEvent:
    return InboxEvent.from_event(make_event(key, title, **values))


def deleted(key: int = 1) -> InboxEvent:
    return state(key, action="delete", data=None)


def test_an_item_that_was_never_delivered_is_news() -> None:
    assert new_states().is_new(state())


def test_the_same_state_is_no_news_whatever_the_action_was() -> None:
    states = new_states()
    states.note([state(action="create")])
    assert not states.is_new(state(action="update"))
    assert states.is_new(state(title="b"))


def test_the_last_state_counts() -> None:
    states = new_states()
    states.note([state(title="a"), state(title="b")])
    assert states.is_new(state(title="a"))
    assert not states.is_new(state(title="b"))


def test_each_subscription_and_each_item_has_a_state_of_its_own() -> None:
    states = new_states()
    states.note([state()])
    assert states.is_new(state(subscription="other"))
    assert states.is_new(state(2))


def test_an_item_that_left_the_filter_is_news_where_it_is_in_it_again() -> None:
    states = new_states()
    states.note([state(left_filter=True)])
    assert states.is_new(state())
    assert not states.is_new(state(left_filter=True))


def test_a_deleted_item_is_news_where_it_is_there_again() -> None:
    states = new_states()
    states.note([deleted()])
    assert states.is_new(state())
    assert not states.is_new(deleted())


def test_the_oldest_item_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rung_items, "_MOST", 3)
    states = new_states()
    states.note(state(key) for key in range(3))
    states.note([state(0), state(3)])
    assert states.is_new(state(1))
    assert not any(states.is_new(state(key)) for key in (0, 2, 3))


@pytest.mark.django_db(transaction=True)
async def test_the_states_that_a_listener_before_delivered_are_known() -> None:
    for row in (state(1, "a"), state(1, "b"), state(2, "a"), deleted(3), state(4, "a")):
        await row.asave()
    states = new_states()
    states.note([state(4, "b")])
    await states.load()
    assert states.is_new(state(1, "a"))
    assert not any(states.is_new(row) for row in (state(1, "b"), state(2, "a"), deleted(3)))
    assert not states.is_new(state(4, "b"))  # newer than what is stored


@pytest.mark.django_db(transaction=True)
async def test_of_the_stored_states_the_newest_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rung_items, "_MOST", 2)
    for key in range(3):
        await state(key).asave()
    states = new_states()
    await states.load()
    states.note([state(3)])
    assert [states.is_new(state(key)) for key in range(4)] == [True, True, False, False]


@pytest.mark.django_db(transaction=True)
async def test_states_of_another_connection_say_nothing() -> None:
    await state(1, connection="other").asave()
    states = new_states()
    await states.load()
    assert states.is_new(state(1))
