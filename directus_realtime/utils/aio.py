"""Coroutines that run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


async def run_until_first(*works: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run coroutines side by side until the first one ends, then cancel the others.

    Args:
        works: Functions that make the coroutines; their names become those of the tasks.

    Raises:
        Exception: The error of the coroutine that ended.
    """
    tasks = [
        asyncio.create_task(work(), name=f"directus-{work.__name__.strip('_')}") for work in works
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
