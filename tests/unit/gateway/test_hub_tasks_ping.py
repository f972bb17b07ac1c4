from __future__ import annotations

import pytest

from directus_realtime.gateway.browser_connections import BrowserConnection, BrowserLimits
from directus_realtime.gateway.hub_tasks import ping_all
from tests.helpers.manual_clock import ManualClock


class Counted(BrowserConnection):
    """A connection that counts its ticks."""

    ticks = 0

    def tick(self, now: float) -> None:
        self.ticks += 1


class Broken(Counted):
    """One that cannot be pinged."""

    def tick(self, now: float) -> None:
        super().tick(now)
        raise RuntimeError("a mistake")


async def test_a_browser_that_cannot_be_pinged_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    broken, other = (kind(None, None, BrowserLimits(), clock) for kind in (Broken, Counted))
    for _ in range(3):
        await ping_all([broken, other], clock)
    assert other.ticks == 3
    assert "A browser could not be pinged." in caplog.text
