"""Rows of the inbox in tests that run in an event loop."""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async

from directus_realtime.models import InboxEvent
from tests.helpers.waiting import POLL_INTERVAL
from tests.unit.listener.conftest import states, store_event

astore = sync_to_async(store_event)
astates = sync_to_async(states)


async def until_states(*expected: str, timeout: float = 5.0) -> None:
    """Wait until the rows, by id, have these states."""
    found: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            # The database tells nobody of a change.
            while (found := list((await astates()).values())) != list(expected):  # noqa: ASYNC110
                await asyncio.sleep(POLL_INTERVAL)
    except TimeoutError:
        raise AssertionError(f"{found} is not {list(expected)}") from None


async def row(title: str) -> InboxEvent:
    found = [row async for row in InboxEvent.objects.all() if f'"{title}"' in row.data_json]
    assert len(found) == 1
    return found[0]
