"""Loads: all items of a subscription, once, beside its live events.

A subscription begins with a *first load* where it asks for one; users request others. A requested
load also reports the known items that are gone. Where there is a filter, the items in it are
remembered; without a load, only the keys are read for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from directus_realtime.client import DirectusClient
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.database import DatabaseThread, chunks
from directus_realtime.events import Action, Event, Key
from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener import matched_items
from directus_realtime.listener.departed_items import DepartedItems
from directus_realtime.listener.desired_subscriptions import (
    DesiredSubscription,
    complete_load,
    write_load,
)
from directus_realtime.listener.follower import position_store
from directus_realtime.listener.follower.event_builder import entry_of
from directus_realtime.listener.follower.followed_subscription import FollowedSubscription
from directus_realtime.listener.follower.follower import Follower
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.inbox_entry import Memory
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.signals import directus_load_finished
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.backoff import full_jitter
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Seconds between two log records of the progress of a load.
REPORT_INTERVAL = 5.0
#: Keys that are remembered at a time; events that arrive in the meantime wait for them.
_KEYS = 1000

#: Uid, digest of the load and its request, and whether the matched items are to be remembered.
_Load = tuple[str, str, str, bool]

P = TypeVar("P")


class SnapshotLoader:
    """Loads of a connection, each run until it is complete.

    A load reads no faster than its events are stored; the follower records the changes
    in the meantime.
    Loads take turns page by page, so that a change waits for one page, in Directus and in the
    inbox, and not for one page of each load.
    """

    def __init__(
        self,
        client: DirectusClient,
        database: DatabaseThread,
        inbox: Inbox,
        follower: Follower,
        lifecycle_signals: LifecycleSignals,
        clock: SystemClock,
    ) -> None:
        self._client = client
        self._database = database
        self._inbox = inbox
        self._follower = follower
        self._lifecycle_signals = lifecycle_signals
        self._clock = clock
        self._log = logger.bind(connection=client.name)
        self._tasks: dict[_Load, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def start(self, subscription: FollowedSubscription) -> None:
        """Start the load of a subscription if one is due and not running."""
        desired = subscription.desired
        load = desired.uid, desired.snapshot_of, desired.load_request, desired.unmatched
        self.stop(desired.uid, but=load)
        if (desired.snapshot_of or desired.unmatched) and load not in self._tasks:
            self._tasks[load] = asyncio.create_task(self._load(desired, subscription))

    def stop(self, uid: str, but: _Load | None = None) -> None:
        """Cancel the complete or outdated loads of a subscription, except one."""
        for load in [each for each in self._tasks if each[0] == uid and each != but]:
            self._tasks.pop(load).cancel()

    async def aclose(self) -> None:
        """Cancel all loads; an incomplete one begins again at the next start."""
        await cancel_all(self._tasks.values())

    async def _load(self, desired: DesiredSubscription, subscription: FollowedSubscription) -> None:
        delays = full_jitter(base=2.0, clock=self._clock)
        while True:
            if subscription.primary_key is None:  # it is about to be read
                await self._clock.sleep(next(delays))
                continue
            try:
                await self._load_once(desired, subscription)
            except DirectusRealtimeError as error:
                self._log.warning(
                    "load-again",
                    "The load of %s begins again: %s",
                    desired.name,
                    error,
                    subscription=desired.name,
                    error=str(error),
                )
                await self._clock.sleep(next(delays))
            else:
                return

    async def _load_once(
        self, desired: DesiredSubscription, subscription: FollowedSubscription
    ) -> None:
        memory = desired.memory if desired.unmatched else None
        if memory is not None:
            await self._inbox.run_in_order(partial(matched_items.begin, memory))
        if desired.snapshot_of:
            await self._load_items(desired, subscription)
        elif memory is not None:
            await self._load_keys(memory, subscription)
        if memory is not None:
            await self._inbox.run_in_order(partial(matched_items.complete, memory))

    async def _load_items(
        self, desired: DesiredSubscription, subscription: FollowedSubscription
    ) -> None:
        began_at = self._clock.now()
        primary_key = subscription.primary_key or PrimaryKey()
        departed = DepartedItems(self._client, self._database, desired, primary_key)
        with self._follower.noting_changes(subscription.collection) as changed:
            if desired.load_request:
                await departed.learn()
            total = await self._load_present(desired, subscription, departed, changed)
            deleted = await self._load_departed(desired, subscription, departed, changed)
        # Complete only when all of its events are stored.
        await self._inbox.run_in_order(partial(complete_load, desired, total, deleted))
        if departed.reads_all:
            explain = partial(position_store.explain, desired.subscription_id, began_at)
            await self._inbox.run_in_order(explain)
        self._finished(desired, total, deleted)

    async def _load_present(
        self,
        desired: DesiredSubscription,
        subscription: FollowedSubscription,
        departed: DepartedItems,
        changed: Collection[Key],
    ) -> int:
        """Put all items into the inbox; return their number."""
        done = total = 0
        reported = self._clock.monotonic()
        primary_key = subscription.primary_key or PrimaryKey()
        pages = self._client.read_pages(desired.query, primary_key)
        async with aclosing(self._in_turn(pages)) as turns:
            async for page in turns:
                done, total = page.done, page.total
                departed.found([*(key for key, _item in page.rows), *page.unreadable])
                # An item that changed in the meantime has an event of its own, which is newer.
                self._put(subscription, _without(changed, dict(page.rows)))
                self._log_unreadable(desired, page.unreadable)
                await self._inbox.has_room()
                if self._clock.monotonic() - reported >= REPORT_INTERVAL:
                    reported = self._clock.monotonic()
                    await self._report(desired.name, done, total)
        return total

    async def _load_departed(
        self,
        desired: DesiredSubscription,
        subscription: FollowedSubscription,
        departed: DepartedItems,
        changed: Collection[Key],
    ) -> int:
        """Put the known items that were not found into the inbox; return the deleted ones."""
        deleted, unknown = 0, 0
        events = desired.query.events
        async with aclosing(self._in_turn(departed.pages(changed))) as turns:
            async for page in turns:
                # They may have changed while they were read, and have newer events then.
                gone = dict.fromkeys(key for key in page.gone if key not in changed)
                self._put(subscription, _without(changed, page.present))
                if desired.memory is not None:
                    self._put(subscription, _without(changed, page.outside), left_filter=True)
                if "delete" in events:
                    self._put(subscription, gone, action="delete")
                    deleted += len(gone)
                unknown += len(page.unknown)
                await self._inbox.has_room()
        if unknown:
            self._log_unknown(desired, unknown)
        return deleted

    def _put(
        self,
        subscription: FollowedSubscription,
        items: Mapping[Key, dict[str, Any] | None],
        *,
        action: Action = "update",
        left_filter: bool = False,
    ) -> None:
        # An update: receivers of new items must not process items of a load as new.
        events = (
            Event(
                connection=self._client.name,
                subscription=subscription.desired.name,
                collection=subscription.collection,
                action=action,
                key=key,
                data=item,
                origin="snapshot",
                received_at=self._clock.now(),
                left_filter=left_filter,
            )
            for key, item in items.items()
        )
        entries = [entry_of(event, subscription) for event in events]
        self._inbox.put([entry for entry in entries if entry is not None])

    def _finished(self, desired: DesiredSubscription, total: int, deleted: int) -> None:
        self._log.info(
            "load-done",
            "The load of %s is complete: %d items, %d deleted",
            desired.name,
            total,
            deleted,
            subscription=desired.name,
            total=total,
            deleted=deleted,
        )
        self._lifecycle_signals.put(
            directus_load_finished,
            desired.query.collection,
            connection=self._client.name,
            subscription=desired.name,
            items=total,
            deleted=deleted,
        )

    def _log_unknown(self, desired: DesiredSubscription, count: int) -> None:
        self._log.warning(
            "load-unknown",
            "%d items of %s were known and are not found by the load of %s. They are not reported "
            "as deleted, because the token may not read every item: allow it to read all items of "
            "%s, and load again.",
            count,
            desired.query.collection,
            desired.name,
            desired.query.collection,
            subscription=desired.name,
            collection=desired.query.collection,
            items=count,
        )

    def _log_unreadable(self, desired: DesiredSubscription, unreadable: dict[Key, str]) -> None:
        for key, reason in unreadable.items():
            self._log.error(
                "item-unreadable",
                "%s %s cannot be read and is not in the load of %s: %s",
                desired.query.collection,
                key,
                desired.name,
                reason,
                subscription=desired.name,
                collection=desired.query.collection,
                key=key,
                error=reason,
            )

    async def _report(self, name: str, done: int, total: int) -> None:
        self._log.info(
            "load-progress",
            "The load of %s: %d of %d items",
            name,
            done,
            total,
            subscription=name,
            done=done,
            total=total,
        )
        await self._database.run_with_retry(write_load, name, done, total)

    async def _load_keys(self, memory: Memory, subscription: FollowedSubscription) -> None:
        """Remember the keys of the items that match, without events."""
        primary_key = subscription.primary_key or PrimaryKey()
        pages = self._client.read_keys(subscription.desired.query, primary_key)
        with self._follower.noting_changes(subscription.collection) as changed:
            async with aclosing(self._in_turn(pages)) as turns:
                async for keys in turns:
                    for chunk in chunks(keys, _KEYS):
                        # An item that changed in the meantime is judged by its own event.
                        unchanged = [key for key in chunk if key not in changed]
                        remember = partial(matched_items.remember_page, memory, unchanged)
                        await self._inbox.run_in_order(remember)

    async def _in_turn(self, pages: AsyncIterator[P]) -> AsyncGenerator[P, None]:
        """Yield page after page while no other load of the connection reads or stores one."""
        while True:
            async with self._turn:
                page = await anext(pages, None)
                if page is None:
                    return
                yield page


def _without(changed: Collection[Key], items: Mapping[Key, P]) -> dict[Key, P]:
    """Return the items that did not change meanwhile."""
    return {key: item for key, item in items.items() if key not in changed}
