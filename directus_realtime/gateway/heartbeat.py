"""One clock for all browsers of a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from directus_realtime.gateway.members import Member

logger = logging.getLogger("directus_realtime.gateway")

#: Seconds between two looks.
INTERVAL = 1.0
#: Browsers that are looked at before others get a turn.
_CHUNK = 1000


async def beat(members: Iterable[Member]) -> None:
    """Have each browser pinged when it is time to, and those dropped that do not answer."""
    while True:
        await asyncio.sleep(INTERVAL)
        now = monotonic()
        for count, member in enumerate(list(members), 1):
            _tick(member, now)
            if count % _CHUNK == 0:
                await asyncio.sleep(0)


def _tick(member: Member, now: float) -> None:
    try:
        member.tick(now)
    except Exception:  # of one browser: the others are pinged all the same
        logger.exception("A browser could not be pinged.", extra={"what": "chore-failed"})
