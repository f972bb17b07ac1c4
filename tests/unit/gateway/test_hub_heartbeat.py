from __future__ import annotations

import asyncio

import pytest

from directus_realtime.gateway import hub
from directus_realtime.gateway.browser_connections import BrowserConnection
from directus_realtime.gateway.hub import beat
from directus_realtime.gateway.limits import BrowserLimits
from tests.helpers.waiting import await_for


class Counted(BrowserConnection):
    """A browser that counts how often it is looked at."""

    ticks = 0

    def tick(self, now: float) -> None:
        self.ticks += 1


class Broken(Counted):
    """One that cannot be pinged."""

    def tick(self, now: float) -> None:
        super().tick(now)
        raise RuntimeError("a mistake")


async def test_a_browser_that_cannot_be_pinged_keeps_no_other_from_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub, "INTERVAL", 0.0)
    broken, other = Broken(None, None, BrowserLimits()), Counted(None, None, BrowserLimits())
    beating = asyncio.create_task(beat([broken, other]))
    await await_for(lambda: other.ticks >= 3 or beating.done())
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert other.ticks >= 3
    assert "A browser could not be pinged." in caplog.text
