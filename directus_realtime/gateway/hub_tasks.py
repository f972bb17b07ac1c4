"""Hubs with their periodic tasks: one hub for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from weakref import WeakKeyDictionary

from directus_realtime.gateway import group_subscriber
from directus_realtime.gateway.access_recheck import recheck_users, refresh_offers
from directus_realtime.gateway.browser_connections import BrowserConnection
from directus_realtime.gateway.frames import Json
from directus_realtime.gateway.hub import Hub
from directus_realtime.gateway.missed_events import lost
from directus_realtime.inbox_tail import InboxTail
from directus_realtime.models import InboxEvent
from directus_realtime.utils.aio import cancel_all, every
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.gateway")

#: Seconds between two checks of the offers, the users, the inbox, and the pings.
OFFERS_INTERVAL, USERS_INTERVAL, INBOX_INTERVAL, PING_INTERVAL = 2.0, 60.0, 3.0, 1.0
#: Browsers that are pinged before other tasks run.
_PINGS_AT_ONCE = 1000
#: Rows of one query, and queries for one connection in one read.
_BATCH, _BATCHES = 1000, 5

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """Return the hub of the running loop; join it before the next ``await``."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub(SystemClock(), HubTasks)
    return hub


class HubTasks:
    """The periodic tasks of a hub.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        columns = "event_id", "subscription", "key_json"
        self._tail = InboxTail(hub.clock, batch=_BATCH, batches=_BATCHES, columns=columns)
        self._start = self._start_soon()
        works: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (PING_INTERVAL, partial(ping_all, hub.connections, hub.clock)),
            (group_subscriber.INTERVAL, hub.subscriber.sync),
            (OFFERS_INTERVAL, partial(self._run, self._refresh_offers)),
            (USERS_INTERVAL, partial(self._run, partial(recheck_users, hub))),
            (INBOX_INTERVAL, partial(self._run, self._read_lost)),
        ]
        self._tasks = [
            asyncio.create_task(every(interval, work, hub.clock), name="directus-gateway-periodic")
            for interval, work in works
        ]

    async def ready(self) -> None:
        """Wait until the offers are loaded, and no event is missed from now on."""
        start = self._start
        if start.done() and not start.cancelled() and start.exception() is not None:
            self._start = self._start_soon()  # the error may be gone
        await asyncio.shield(self._start)

    async def aclose(self) -> None:
        """Forget the hub, and cancel its tasks."""
        loop = asyncio.get_running_loop()
        if _hubs.get(loop) is self._hub:
            del _hubs[loop]
        await cancel_all([self._start, *self._tasks])

    def _start_soon(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._refresh_offers(), name="directus-gateway-start")

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await self.ready()
            await work()
        except Exception:  # the next run may succeed
            logger.exception("chore-failed", "A chore of the gateway failed.")

    async def _refresh_offers(self) -> None:
        """Refresh the offers, and follow the inbox of each connection with an offer."""
        await refresh_offers(self._hub)
        aliases = {offer.connection for offer in self._hub.offers.values()}
        await self._hub.database.run_with_retry(self._tail.follow, aliases)

    async def _read_lost(self) -> None:
        """Dispatch the events whose group messages were lost."""
        subscriptions = set(self._hub.topics)

        def convert(rows: list[InboxEvent]) -> list[Json]:
            return lost(rows, subscriptions, self._hub.has_seen)

        for message in await self._hub.database.run_with_retry(self._tail.read, convert):
            await self._hub.receive(message)


async def ping_all(connections: Iterable[BrowserConnection], clock: SystemClock) -> None:
    """Ping the connections whose ping is due, and drop those that did not answer."""
    now = clock.monotonic()
    for count, connection in enumerate(list(connections), 1):
        try:
            connection.tick(now)
        except Exception:  # the others are pinged all the same
            logger.exception("chore-failed", "A browser could not be pinged.")
        if count % _PINGS_AT_ONCE == 0:
            await clock.sleep(0)
