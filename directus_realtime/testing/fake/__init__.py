"""A fake Directus for tests."""

from __future__ import annotations

from directus_realtime.testing.fake.accounts import FakeUser
from directus_realtime.testing.fake.fake_collection import FakeCollection
from directus_realtime.testing.fake.fake_directus import FakeDirectus
from directus_realtime.testing.fake.threaded_fake import ThreadedFakeDirectus, run_in_thread
from directus_realtime.testing.fake.writes import FakeTransaction

__all__ = [
    "FakeCollection",
    "FakeDirectus",
    "FakeTransaction",
    "FakeUser",
    "ThreadedFakeDirectus",
    "run_in_thread",
]
