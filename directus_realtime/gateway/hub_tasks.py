"""What a hub does all the time, besides handing over events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from directus_realtime.gateway.access_recheck import look_at_offers, look_at_users
from directus_realtime.gateway.hub import Hub
from directus_realtime.gateway.inbox_sweep import InboxSweep

logger = logging.getLogger("directus_realtime.gateway")

#: Seconds between two looks at the offers, at the users, and at the inbox.
OFFERS_INTERVAL, USERS_INTERVAL, SWEEP_INTERVAL = 2.0, 60.0, 3.0


class HubTasks:
    """The chores of a hub.

    Args:
        hub: Whose they are.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._sweep = InboxSweep()
        self._begun = self._begin_soon()
        self._tasks = [
            asyncio.create_task(self._every(interval, work), name="directus-gateway-chore")
            for interval, work in [
                (OFFERS_INTERVAL, self._look_at_offers),
                (USERS_INTERVAL, self._look_at_users),
                (SWEEP_INTERVAL, self._look_into_inbox),
            ]
        ]

    async def ready(self) -> None:
        """Wait until the offers are known, and nothing is missed from now on."""
        begun = self._begun
        if begun.done() and not begun.cancelled() and begun.exception() is not None:
            self._begun = self._begin_soon()  # what failed once need not fail again
        await asyncio.shield(self._begun)

    async def aclose(self) -> None:
        """Do nothing more."""
        tasks = [self._begun, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin_soon(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._begin(), name="directus-gateway-begin")

    async def _begin(self) -> None:
        await look_at_offers(self._hub)
        await self._follow_inbox()

    async def _every(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                await self.ready()
                await work()
            except Exception:  # the next time may be better
                logger.exception("A chore of the gateway failed.", extra={"event": "chore-failed"})

    async def _look_at_offers(self) -> None:
        await look_at_offers(self._hub)
        await self._follow_inbox()

    async def _look_at_users(self) -> None:
        await look_at_users(self._hub)

    async def _follow_inbox(self) -> None:
        """Follow the inbox of each connection of which anything is offered."""
        aliases = {offer.connection for offer in self._hub.offers.values()}
        await self._hub.database.run_with_retry(self._sweep.begin, aliases)

    async def _look_into_inbox(self) -> None:
        """Hand over what was sent to groups and did not arrive."""
        wanted = set(self._hub.streams)
        lost = await self._hub.database.run_with_retry(self._sweep.lost, wanted, self._hub.has_seen)
        for message in lost:
            await self._hub.receive(message)
