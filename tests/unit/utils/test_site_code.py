from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.utils.site_code import (
    SiteCodeExit,
    await_contained,
    contained,
    original,
)

EXITS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


@pytest.mark.parametrize("error", EXITS, ids=repr)
def test_what_is_no_exception_becomes_one(error: BaseException) -> None:
    with pytest.raises(SiteCodeExit) as raised, contained():
        raise error
    assert original(raised.value) is raised.value.__cause__ is error
    assert str(raised.value).startswith(type(error).__name__)


def test_an_exception_is_unchanged() -> None:
    error = ValueError("no")
    with pytest.raises(ValueError, match="no") as raised, contained():
        raise error
    assert original(raised.value) is error


@pytest.mark.parametrize("error", EXITS, ids=repr)
async def test_what_a_coroutine_raises_does_not_end_the_loop(error: BaseException) -> None:
    async def function() -> None:
        raise error

    with pytest.raises(SiteCodeExit) as raised:
        await await_contained(function)
    assert original(raised.value) is error


async def test_a_result_is_returned() -> None:
    async def function() -> int:
        return 5

    assert await await_contained(function) == 5


async def test_an_error_of_the_call_itself_is_raised() -> None:
    def function(needed: Any) -> Any: ...

    with pytest.raises(TypeError, match="needed"):
        await await_contained(function)  # type: ignore[arg-type]


async def test_a_function_that_cancels_its_task_does_not_cancel_the_caller() -> None:
    async def function() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(SiteCodeExit, match="CancelledError"):
        await await_contained(function)


async def test_a_caller_that_is_cancelled_cancels_the_function() -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def function() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(await_contained(function))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
