"""Guard around calls into code of the site: receivers, callbacks, functions for the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class SiteCodeExit(Exception):
    """Code of the site raised what is no ``Exception``, for example ``SystemExit``.

    Args:
        error: That error; it is the cause, too.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


def original(error: BaseException) -> BaseException:
    """Return the error that the code of the site raised."""
    return error.error if isinstance(error, SiteCodeExit) else error


@contextmanager
def contained() -> Iterator[None]:
    """Guard a call into code of the site, so that its errors end neither a thread nor the loop.

    ``exit()``, a ``KeyboardInterrupt``, the ``CancelledError`` of another task, time-outs of
    gevent and a panic of an extension in Rust are errors of that code like any other one.

    Raises:
        SiteCodeExit: The code raised what is no ``Exception``; every other error is unchanged.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        raise SiteCodeExit(error) from error


async def await_contained(function: Callable[[], Awaitable[T]]) -> T:
    """Call and await an ``async def`` function of the site; see :func:`contained`.

    It runs in a task of its own: the function may cancel its task, and the caller may be
    cancelled, which is no error of the function.

    Args:
        function: Called without arguments.

    Raises:
        SiteCodeExit: The function raised what is no ``Exception``.
        asyncio.CancelledError: The caller was cancelled.
    """
    caller = asyncio.current_task()
    before = caller.cancelling() if caller else 0
    call = asyncio.create_task(_outcome(function))
    outcome = await call
    if caller and caller.cancelling() > before:
        raise asyncio.CancelledError
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


async def _outcome(function: Callable[[], Awaitable[T]]) -> T | _Raised:
    """Return errors: the event loop would raise SystemExit of a task to its own caller."""
    try:
        with contained():
            return await function()
    except Exception as error:
        return _Raised(error)
