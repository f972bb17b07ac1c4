from __future__ import annotations

from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from directus_realtime.gateway.group_subscriber import REJOIN_AFTER, GroupMembership
from tests.helpers.manual_clock import ManualClock


class Layer(InMemoryChannelLayer):
    """A layer that records calls, and can be unavailable."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[str] = []
        self.is_unavailable = False

    async def group_add(self, group: str, channel: str) -> None:
        if self.is_unavailable:
            raise ConnectionError("unavailable")
        self.calls.append(f"+{group}")

    async def group_discard(self, group: str, channel: str) -> None:
        self.calls.append(f"-{group}")

    def pop_calls(self) -> Any:
        calls, self.calls = sorted(self.calls), []
        return calls


async def test_groups_are_joined_once_left_and_joined_again_after_an_hour() -> None:
    layer, clock = Layer(), ManualClock()
    membership = GroupMembership(layer, "channel", clock)
    await membership.sync({"a", "b"})
    assert layer.pop_calls() == ["+a", "+b"]
    clock.advance(REJOIN_AFTER / 2)
    await membership.sync({"b", "c"})
    assert layer.pop_calls() == ["+c", "-a"]
    clock.advance(REJOIN_AFTER / 2)
    await membership.sync({"b", "c"})
    assert layer.pop_calls() == ["+b"]
    membership.forget()
    await membership.sync({"b", "c"})
    assert layer.pop_calls() == ["+b", "+c"]


async def test_a_group_that_could_not_be_joined_is_joined_later() -> None:
    layer = Layer()
    membership = GroupMembership(layer, "channel", ManualClock())
    layer.is_unavailable = True
    with pytest.raises(ConnectionError):
        await membership.sync({"a"})
    layer.is_unavailable = False
    await membership.sync({"a"})
    assert layer.pop_calls() == ["+a"]
