"""What a test collects of a client: events, states, and the wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from directus_realtime.client import DirectusClient
from directus_realtime.events import Event
from tests.helpers.waiting import await_for

TIMEOUT = 60.0  # seconds: a deadline, never a wait


async def arrived(events: Sequence[Event], count: int) -> None:
    """Wait for so many events."""
    await await_for(lambda: len(events) >= count, TIMEOUT, f"{count} events, not {len(events)}")


def told(events: Sequence[Event]) -> list[tuple[str, int | str]]:
    """Events as action and key, in order."""
    return [(event.action, event.key) for event in events]


def left(events: Sequence[Event]) -> list[int | str]:
    """The keys of the items that were told to have left the filter, in order."""
    return [event.key for event in events if event.left_filter]


@asynccontextmanager
async def states_of(client: DirectusClient) -> AsyncIterator[list[str]]:
    """The states that a client goes through inside, the present one first."""
    states: list[str] = []

    async def follow() -> None:
        async for change in client.states():
            states.append(change.state.value)

    task = asyncio.create_task(follow())
    await await_for(lambda: states, what="the present state")
    try:
        yield states
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
