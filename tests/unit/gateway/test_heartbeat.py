from __future__ import annotations

import asyncio

import pytest

from directus_realtime.gateway import heartbeat
from directus_realtime.gateway.heartbeat import beat
from directus_realtime.gateway.limits import Limits
from directus_realtime.gateway.members import Member
from tests.helpers.waiting import await_for


class Counted(Member):
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
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.0)
    broken, other = Broken(None, None, Limits()), Counted(None, None, Limits())
    beating = asyncio.create_task(beat([broken, other]))
    await await_for(lambda: other.ticks >= 3 or beating.done())
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert other.ticks >= 3
    assert "A browser could not be pinged." in caplog.text
