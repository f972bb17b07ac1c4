"""Fixtures for pytest; needs pytest-asyncio, and pytest-django for those with the listener.

Use them with ``pytest_plugins = ["directus_realtime.testing.pytest_plugin"]`` in a conftest.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from directus_realtime.testing.fake import FakeDirectus

if TYPE_CHECKING:
    from directus_realtime.testing.running_listener import RunningListener

ListenTo = Callable[..., "AbstractAsyncContextManager[RunningListener]"]


@pytest_asyncio.fixture
async def fake_directus() -> AsyncIterator[FakeDirectus]:
    """A running :class:`FakeDirectus` with an empty collection ``articles``."""
    async with FakeDirectus() as fake:
        yield fake


@pytest.fixture
def directus_listening(fake_directus: FakeDirectus, transactional_db: None) -> ListenTo:
    """``async with directus_listening() as listener:`` runs the listener on the fake.

    See :func:`directus_realtime.testing.running_listener.listening`.
    """
    from directus_realtime.testing.running_listener import listening  # the settings are ready now

    return functools.partial(listening, fake_directus)
