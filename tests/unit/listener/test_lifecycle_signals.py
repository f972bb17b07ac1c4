from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from directus_realtime.database import DatabaseThread
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.signals import DirectusSignal
from tests.helpers.waiting import DEADLINE


@pytest.fixture
def database() -> Iterator[DatabaseThread]:
    thread = DatabaseThread("notices")  # nothing in it asks for the database
    yield thread
    thread.close_soon()


@pytest.fixture
def signal() -> DirectusSignal:
    return DirectusSignal()


@pytest.fixture
async def notices(database: DatabaseThread) -> AsyncIterator[LifecycleSignals]:
    notices = LifecycleSignals(database)
    task = asyncio.create_task(notices.run())
    yield notices
    assert not task.done(), "a receiver ended the notices"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def drain(notices: LifecycleSignals) -> None:
    await asyncio.wait_for(notices.drain(), DEADLINE)


async def test_signals_are_sent_in_order_to_both_kinds_of_receivers(
    signal: DirectusSignal, notices: LifecycleSignals
) -> None:
    got: list[tuple[str, str, int]] = []

    def sync(sender: str, number: int, **kwargs: Any) -> None:
        got.append(("sync", sender, number))

    async def asynchronous(sender: str, number: int, **kwargs: Any) -> None:
        got.append(("async", sender, number))

    signal.connect(sync, sender="default")
    signal.connect(asynchronous)
    notices.put(signal, "default", number=1)
    notices.put(signal, "blog", number=2)
    await drain(notices)
    assert sorted(got[:2]) == [("async", "default", 1), ("sync", "default", 1)]
    assert got[2:] == [("async", "blog", 2)]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()],
    ids=repr,
)
def test_a_receiver_that_raises_disturbs_no_other(
    signal: DirectusSignal,
    database: DatabaseThread,
    kind: str,
    error: BaseException,
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[str] = []

    def bad(**kwargs: Any) -> None:
        raise error

    async def abad(**kwargs: Any) -> None:
        raise error

    def good(sender: str, **kwargs: Any) -> None:
        got.append(sender)

    async def main() -> None:
        notices = LifecycleSignals(database)
        task = asyncio.create_task(notices.run())
        notices.put(signal, "first")
        notices.put(signal, "second")
        await drain(notices)
        assert not task.done()
        task.cancel()

    signal.connect(bad if kind == "sync" else abad)
    signal.connect(good)
    # In a loop of its own: a SystemExit that gets through would end that of the tests.
    with ThreadPoolExecutor(1) as executor:
        ended_with = executor.submit(asyncio.run, main()).exception(10)
    assert ended_with is None
    assert got == ["first", "second"]
    assert "bad failed" in caplog.text


async def test_a_failing_partial_is_logged(
    signal: DirectusSignal, notices: LifecycleSignals, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(name: str, **kwargs: Any) -> None:
        raise ValueError(name)

    signal.connect(functools.partial(bad, "partial"), weak=False)
    notices.put(signal, "default")
    await drain(notices)
    assert "ValueError: partial" in caplog.text or "failed" in caplog.text


async def test_nothing_to_send_is_drained_at_once(database: DatabaseThread) -> None:
    await asyncio.wait_for(LifecycleSignals(database).drain(), DEADLINE)
