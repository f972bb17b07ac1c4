from __future__ import annotations

import asyncio

import pytest

from directus_realtime.utils.aio import ClosableQueue, Wakeup, cancel_all, every, run_until_first
from tests.helpers.manual_clock import ManualClock


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


async def test_cancel_all__waits_for_each_task_and_drops_their_errors() -> None:
    ended = []

    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
            raise LookupError("gone")

    tasks = [asyncio.create_task(fail()), None, asyncio.create_task(fail())]
    await asyncio.sleep(0)
    await cancel_all(tasks)
    assert ended == [True, True]


async def test_every__repeats_after_each_interval_until_an_error() -> None:
    clock, times = ManualClock(), []

    async def work() -> None:
        times.append(clock.monotonic())
        if len(times) == 3:
            raise LookupError("gone")

    start = clock.monotonic()
    with pytest.raises(LookupError):
        await every(10, work, clock)
    assert [time - start for time in times] == [10, 20, 30]


async def test_a_wakeup_is_consumed_by_one_wait() -> None:
    wakeup = Wakeup(ManualClock())
    wakeup.set()
    assert wakeup.is_set
    assert await wakeup.wait(5)
    assert not wakeup.is_set
    assert not await wakeup.wait(5)


async def test_a_wakeup_without_a_timeout_waits_until_it_is_set() -> None:
    wakeup = Wakeup(ManualClock())
    waiting = asyncio.create_task(wakeup.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    wakeup.set()
    assert await waiting


async def test_a_closed_queue_ends_every_iteration_after_its_entries() -> None:
    queue: ClosableQueue[int] = ClosableQueue()
    queue.put(1)
    queue.close()
    assert [entry async for entry in queue] == [1]
    assert [entry async for entry in queue] == []
