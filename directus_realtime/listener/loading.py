"""First loads: all items of a subscription, once, beside its live events.

Where there is a filter, the items in it are remembered; without a first load, only the keys
are read for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from time import monotonic
from typing import TypeVar

from directus_realtime.client import DirectusClient
from directus_realtime.client.backoff import full_jitter
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.database import DatabaseThread
from directus_realtime.events import Event, Key
from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener import matching
from directus_realtime.listener.follower.event_builder import entry_of
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.follower.follower import Follower
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.incoming import Memory
from directus_realtime.listener.wanted import Wanted, write_load

logger = logging.getLogger("directus_realtime.listener")

#: Seconds between two lines about the progress of a load.
REPORT_INTERVAL = 5.0
#: Keys that are remembered at a time: events that come in meanwhile wait for them.
_KEYS = 1000

#: Uid, the name of the first load that is wanted, and whether the filter is to be learnt.
_Load = tuple[str, str, bool]

P = TypeVar("P")


class Loader:
    """Runs the first loads of a connection, each until it is complete.

    They take turns, page by page: a change that comes in meanwhile waits for one page, in
    Directus and in the inbox, and not for one of each load.

    Args:
        client: To read with.
        database: The thread to write the progress in.
        inbox: Takes the events; a load goes no faster than they are stored.
        follower: Notes what changes while items are read.
    """

    def __init__(
        self, client: DirectusClient, database: DatabaseThread, inbox: Inbox, follower: Follower
    ) -> None:
        self._client = client
        self._database = database
        self._inbox = inbox
        self._follower = follower
        self._tasks: dict[_Load, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def start(self, wanted: Wanted, subscription: FollowedSubscription) -> None:
        """Begin a load that is wanted and not under way."""
        load = wanted.uid, wanted.snapshot_of, wanted.unmatched
        self._forget(wanted.uid, but=load)
        if (wanted.snapshot_of or wanted.unmatched) and load not in self._tasks:
            self._tasks[load] = asyncio.create_task(self._load(wanted, subscription))

    def stop(self, uid: str) -> None:
        """End the load of a subscription that is no longer wanted."""
        self._forget(uid)

    def _forget(self, uid: str, but: _Load | None = None) -> None:
        """End the other loads of a subscription: they are complete, or not wanted any more."""
        for load in [each for each in self._tasks if each[0] == uid and each != but]:
            self._tasks.pop(load).cancel()

    async def aclose(self) -> None:
        """End all loads; those that are not complete begin again at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, wanted: Wanted, subscription: FollowedSubscription) -> None:
        delays = full_jitter(base=2.0)
        while True:
            if subscription.primary_key is None:  # about to be asked for again
                await asyncio.sleep(next(delays))
                continue
            try:
                await self._load_once(wanted, subscription)
            except DirectusRealtimeError as error:
                logger.warning(
                    "The first load of %s begins again: %s",
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

    async def _load_once(self, wanted: Wanted, subscription: FollowedSubscription) -> None:
        memory = wanted.memory if wanted.unmatched else None
        if memory is not None:
            await self._inbox.run_in_order(partial(matching.begin, memory))
        if wanted.snapshot_of:
            await self._load_items(wanted, subscription)
        elif memory is not None:
            await self._load_keys(memory, subscription)
        if memory is not None:
            await self._inbox.run_in_order(partial(matching.complete, memory))

    async def _load_items(self, wanted: Wanted, subscription: FollowedSubscription) -> None:
        done = total = 0
        reported = monotonic()
        primary_key = subscription.primary_key or PrimaryKey()
        read = self._client.read_pages(wanted.query, primary_key)
        with self._follower.noting_changes(subscription.collection) as changed:
            async with aclosing(self._in_turn(read)) as pages:
                async for page in pages:
                    done, total = page.done, page.total
                    # An item that changed meanwhile has an event of its own, which is newer.
                    events = [
                        self._event(subscription, key, item)
                        for key, item in page.rows
                        if key not in changed
                    ]
                    entries = [entry_of(event, subscription) for event in events]
                    self._inbox.put([entry for entry in entries if entry is not None])
                    self._log_unreadable(wanted, page.unreadable)
                    await self._inbox.has_room()
                    if monotonic() - reported >= REPORT_INTERVAL:
                        reported = monotonic()
                        await self._report(wanted, done, total)
        # Complete only when nothing of it is in memory alone.
        await self._inbox.run_in_order(
            partial(write_load, wanted.name, done, total, snapshot_of=wanted.snapshot_of)
        )
        logger.info(
            "The first load of %s is complete: %d items",
            wanted.name,
            total,
            extra={
                "what": "load-done",
                "connection": self._client.name,
                "subscription": wanted.name,
                "total": total,
            },
        )

    def _event(
        self, subscription: FollowedSubscription, key: Key, item: dict[str, object]
    ) -> Event:
        # Receivers of new items must not take items of a load for new.
        return Event(
            connection=self._client.name,
            subscription=subscription.wanted.name,
            collection=subscription.collection,
            action="update",
            key=key,
            data=item,
            origin="snapshot",
        )

    def _log_unreadable(self, wanted: Wanted, unreadable: dict[Key, str]) -> None:
        for key, reason in unreadable.items():
            logger.error(
                "%s %s cannot be read and is not in the first load of %s: %s",
                wanted.query.collection,
                key,
                wanted.name,
                reason,
                extra={
                    "what": "item-unreadable",
                    "connection": self._client.name,
                    "subscription": wanted.name,
                    "collection": wanted.query.collection,
                    "key": key,
                    "error": reason,
                },
            )

    async def _report(self, wanted: Wanted, done: int, total: int) -> None:
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

    async def _load_keys(self, memory: Memory, subscription: FollowedSubscription) -> None:
        """Learn which items are in the filter, without making events of them."""
        primary_key = subscription.primary_key or PrimaryKey()
        read = self._client.read_keys(subscription.wanted.query, primary_key)
        with self._follower.noting_changes(subscription.collection) as changed:
            async with aclosing(self._in_turn(read)) as pages:
                async for keys in pages:
                    for start in range(0, len(keys), _KEYS):
                        # An item that changed meanwhile is judged by its own event.
                        some = keys[start : start + _KEYS]
                        still = [key for key in some if key not in changed]
                        remember = partial(matching.remember_page, memory, still)
                        await self._inbox.run_in_order(remember)

    async def _in_turn(self, pages: AsyncIterator[P]) -> AsyncGenerator[P, None]:
        """Give page after page while no other load of the connection reads or stores one."""
        while True:
            async with self._turn:
                page = await anext(pages, None)
                if page is None:
                    return
                yield page
