"""Fixtures for pytest; needs pytest-asyncio.

Use them with ``pytest_plugins = ["directus_realtime.testing.pytest_plugin"]`` in a conftest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from directus_realtime.testing.fake import FakeDirectus


@pytest_asyncio.fixture
async def fake_directus() -> AsyncIterator[FakeDirectus]:
    """A running :class:`FakeDirectus` with an empty collection ``articles``."""
    async with FakeDirectus() as fake:
        yield fake
