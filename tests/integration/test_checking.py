"""What ``directus_check`` finds out where a connection cannot be had."""

from __future__ import annotations

import pytest

from directus_realtime.listener import checking
from directus_realtime.settings import ConnectionSettings
from directus_realtime.testing import FakeDirectus
from tests.integration.conftest import TOKEN


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "TIMEOUT", 0.5)


async def test_a_server_that_is_away() -> None:
    settings = ConnectionSettings("default", "http://127.0.0.1:9", token=TOKEN)
    report = await checking.check_connection(settings, [])
    assert not report.ok
    assert report.reason == "Cannot reach http://127.0.0.1:9 (Connection refused)."
    assert report.server is None


async def test_a_server_that_answers_nothing(fake: FakeDirectus) -> None:
    fake.freeze()
    settings = ConnectionSettings("default", fake.url, token=TOKEN)
    report = await checking.check_connection(settings, [])
    assert (report.ok, report.reason) == (False, "Not connected within 0.5 s.")
    fake.thaw()


async def test_a_callable_that_fails(fake: FakeDirectus) -> None:
    def read() -> str:
        raise LookupError("s3cret")

    report = await checking.check_connection(ConnectionSettings("a", fake.url, token=read), [])
    assert not report.ok
    assert report.reason == "There is no token: the callable of TOKEN raised LookupError."
