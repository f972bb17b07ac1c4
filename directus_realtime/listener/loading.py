"""First loads: all items of a subscription, once, beside its live events.

Where there is a filter, what is in it is remembered; without a first load, only the keys
are read for that.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic

from directus_realtime.client import DirectusClient
from directus_realtime.client.backoff import full_jitter
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.database import DatabaseThread
from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener import matching
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.incoming import Memory
from directus_realtime.listener.wanted import Wanted, write_load

logger = logging.getLogger("directus_realtime.listener")

#: Seconds between two lines about the progress of a load.
REPORT_INTERVAL = 5.0
#: Events that may wait to be stored before a load waits for them.
_WAITING_LIMIT = 2000


#: Uid, the name of the first load that is wanted, and whether the filter is to be learnt.
_Load = tuple[str, str, bool]


class Loader:
    """Runs the first loads of a connection, each until it is through.

    Args:
        client: To read with.
        database: The thread to write the progress in.
        inbox: Takes the events; a load goes no faster than they are stored.
    """

    def __init__(self, client: DirectusClient, database: DatabaseThread, inbox: Inbox) -> None:
        self._client = client
        self._database = database
        self._inbox = inbox
        self._tasks: dict[_Load, asyncio.Task[None]] = {}

    def start(self, wanted: Wanted, subscription: ClientSubscription) -> None:
        """Begin a load that is wanted and not under way."""
        load = wanted.uid, wanted.snapshot_of, wanted.unmatched
        self._forget(wanted.uid, but=load)
        if (wanted.snapshot_of or wanted.unmatched) and load not in self._tasks:
            self._tasks[load] = asyncio.create_task(self._load(wanted, subscription))

    def stop(self, uid: str) -> None:
        """End the load of a subscription that is no longer wanted."""
        self._forget(uid)

    def _forget(self, uid: str, but: _Load | None = None) -> None:
        """End what else there is of a subscription: it is through, and written down, or old."""
        for load in [each for each in self._tasks if each[0] == uid and each != but]:
            self._tasks.pop(load).cancel()

    async def aclose(self) -> None:
        """End all loads; those that are not through begin anew at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, wanted: Wanted, subscription: ClientSubscription) -> None:
        delays = full_jitter(base=2.0)
        while True:
            try:
                await self._load_once(wanted, subscription)
            except DirectusRealtimeError as error:
                logger.warning(
                    "The first load of %s is begun anew: %s",
                    wanted.name,
                    error,
                    extra={
                        "what": "load-again",
                        "connection": self._client.name,
                        "subscription": wanted.name,
                        "error": str(error),
                    },
                )
                await asyncio.sleep(next(delays))
            else:
                return

    async def _load_once(self, wanted: Wanted, subscription: ClientSubscription) -> None:
        memory = wanted.memory if wanted.unmatched else None
        if memory is not None:
            await self._inbox.run_in_order(partial(matching.begin, memory))
        if wanted.snapshot_of:
            await self._load_items(wanted, subscription)
        elif memory is not None:
            await self._load_keys(memory, subscription)
        if memory is not None:
            await self._inbox.run_in_order(partial(matching.complete, memory))

    async def _load_items(self, wanted: Wanted, subscription: ClientSubscription) -> None:
        done = total = 0
        reported = monotonic()
        async for page in self._client.load(subscription):
            done, total = page.done, page.total
            await self._inbox.drained_to(_WAITING_LIMIT)
            if monotonic() - reported >= REPORT_INTERVAL:
                reported = monotonic()
                logger.info(
                    "The first load of %s: %d of %d items",
                    wanted.name,
                    done,
                    total,
                    extra={
                        "what": "load-progress",
                        "connection": self._client.name,
                        "subscription": wanted.name,
                        "done": done,
                        "total": total,
                    },
                )
                await self._database.run_surely(write_load, wanted.name, done, total)
        # Through only when nothing of it is in memory alone.
        await self._inbox.run_in_order(
            partial(write_load, wanted.name, done, total, snapshot_of=wanted.snapshot_of)
        )
        logger.info(
            "The first load of %s is through: %d items",
            wanted.name,
            total,
            extra={
                "what": "load-done",
                "connection": self._client.name,
                "subscription": wanted.name,
                "total": total,
            },
        )

    async def _load_keys(self, memory: Memory, subscription: ClientSubscription) -> None:
        """Learn which items are in the filter, without handing them over."""
        with self._client.noting_changes(subscription) as changed:
            async for keys in self._client.load_keys(subscription):
                # What changed meanwhile has told by itself where it is.
                still = [key for key in keys if key not in changed]
                await self._inbox.run_in_order(partial(matching.remember_page, memory, still))
