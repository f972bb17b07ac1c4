from __future__ import annotations

import asyncio

import pytest

from directus_realtime.utils.aio import run_until_first


async def test_the_first_error_is_raised_and_the_others_are_cancelled() -> None:
    cancelled = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await run_until_first(wait, fail)
    assert cancelled == [True]


async def test_a_cancelled_caller_leaves_no_task_behind() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    running = asyncio.create_task(run_until_first(wait, wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert asyncio.all_tasks() == before
