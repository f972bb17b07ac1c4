"""A fake Directus for tests; needs aiohttp (``pip install django-directus-realtime[testing]``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from directus_realtime.testing.fake import (
        FakeCollection,
        FakeDirectus,
        FakeTransaction,
        FakeUser,
        ThreadedFakeDirectus,
        run_in_thread,
    )

__all__ = [
    "FakeCollection",
    "FakeDirectus",
    "FakeTransaction",
    "FakeUser",
    "ThreadedFakeDirectus",
    "run_in_thread",
]


def __getattr__(name: str) -> Any:
    # Late: `python -m directus_realtime.testing` must start without aiohttp to name the extra.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("directus_realtime.testing.fake"), name)
