from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.listener.follower import last_states
from directus_realtime.listener.follower.last_states import LastStates
from directus_realtime.models import InboxEvent
from tests.unit.listener.conftest import make_event


def state(key: int = 1, title: str = "a", **values: Any) -> InboxEvent:
    return InboxEvent.from_event(make_event(key, title, **values))


def deleted(key: int = 1) -> InboxEvent:
    return state(key, action="delete", data=None)


def test_an_item_that_was_never_delivered_is_news() -> None:
    assert LastStates().is_news(state())


def test_the_same_state_is_no_news_whatever_the_action_was() -> None:
    states = LastStates()
    states.note([state(action="create")])
    assert not states.is_news(state(action="update"))
    assert states.is_news(state(title="b"))


def test_the_last_state_counts() -> None:
    states = LastStates()
    states.note([state(title="a"), state(title="b")])
    assert states.is_news(state(title="a"))
    assert not states.is_news(state(title="b"))


def test_each_subscription_and_each_item_has_a_state_of_its_own() -> None:
    states = LastStates()
    states.note([state()])
    assert states.is_news(state(subscription="other"))
    assert states.is_news(state(2))


def test_an_item_that_left_the_filter_is_news_where_it_is_in_it_again() -> None:
    states = LastStates()
    states.note([state(left_filter=True)])
    assert states.is_news(state())
    assert not states.is_news(state(left_filter=True))


def test_a_deleted_item_is_news_where_it_is_there_again() -> None:
    states = LastStates()
    states.note([deleted()])
    assert states.is_news(state())
    assert not states.is_news(deleted())


def test_the_oldest_item_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_states, "_MOST", 3)
    states = LastStates()
    states.note(state(key) for key in range(3))
    states.note([state(0), state(3)])
    assert states.is_news(state(1))
    assert not any(states.is_news(state(key)) for key in (0, 2, 3))
