"""Tools for tests: a fake Directus, and a real one from npm.

:class:`FakeDirectus` needs aiohttp (``pip install django-directus-realtime[testing]``);
:class:`DirectusServer` needs Node.js and npm.
"""

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
    from directus_realtime.testing.server import (
        DirectusAdmin,
        DirectusServer,
        DirectusUnavailable,
        install,
    )

__all__ = [
    "DirectusAdmin",
    "DirectusServer",
    "DirectusUnavailable",
    "FakeCollection",
    "FakeDirectus",
    "FakeTransaction",
    "FakeUser",
    "ThreadedFakeDirectus",
    "install",
    "run_in_thread",
]

_REAL = ("DirectusAdmin", "DirectusServer", "DirectusUnavailable", "install")


def __getattr__(name: str) -> Any:
    # Late, so that the real server can be used without aiohttp.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{'server' if name in _REAL else 'fake'}", __name__)
    return getattr(module, name)
