"""Replay: changes of the activity log, stored in the inbox once more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from directus_realtime.client.activity_log import (
    ActivityLog,
    ActivityRow,
    IdRange,
    changes_of,
)
from directus_realtime.database import DatabaseThread, own_alias
from directus_realtime.events import Key
from directus_realtime.listener import matched_items
from directus_realtime.listener.debounce import gather
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.diagnostics import connect
from directus_realtime.listener.follower.event_builder import EventBuilder
from directus_realtime.listener.follower.followed_subscription import (
    FollowedSubscription,
    Place,
)
from directus_realtime.listener.inbox_entry import InboxEntry, Memory
from directus_realtime.listener.inbox_insert import insert
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Maximum number of rounds for items that keep changing in the meantime.
_ROUNDS = 5


@dataclass(frozen=True)
class Selection:
    """Changes to replay.

    Attributes:
        collection: Name of the collection.
        since: From this time on; aware.
        until: Up to this time; ``None`` for now.
        key: Key of a single item, as text; ``None`` for all.
    """

    collection: str
    since: datetime
    until: datetime | None = None
    key: str | None = None

    def has(self, row: ActivityRow) -> bool:
        """Return whether the time of a row is selected."""
        return row.timestamp >= self.since and (self.until is None or row.timestamp <= self.until)


@dataclass
class Replayed:
    """Result of a replay.

    Attributes:
        done: Number of rows that were read.
        total: Number of rows to read.
        changes: Number of selected rows.
        events: Number of events that were stored, by subscription.
    """

    done: int = 0
    total: int = 0
    changes: int = 0
    events: dict[str, int] = field(default_factory=dict)


class Replay:
    """One replay, on a connection of its own, over REST.

    Every event is new (``origin`` is ``replay``, and its id is another one), and carries the
    item in its present state.

    Args:
        settings: Settings of the connection.
        desired: The subscriptions to replay for, all of the selection's collection.
        selection: The changes.
        dry_run: Only count the changes.
        on_progress: Called after each page.
        clock: Gives the time.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        desired: Sequence[DesiredSubscription],
        selection: Selection,
        *,
        dry_run: bool = False,
        on_progress: Callable[[Replayed], None] = lambda replayed: None,
        clock: SystemClock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._client = settings.make_client(socket="optional")
        self._log = logger.bind(connection=settings.alias)
        self._database = DatabaseThread("replay")
        self._builder = EventBuilder(self._client, self._inside, self._clock)
        self._subscriptions = [
            FollowedSubscription(each, Place(each.query.collection)) for each in desired
        ]
        self._selection = selection
        self._dry_run = dry_run
        self._on_progress = on_progress
        self._replayed = Replayed(events={each.name: 0 for each in desired})
        self._last: dict[Key, ActivityRow] = {}

    async def run(self) -> Replayed:
        """Replay.

        Raises:
            ConnectionFailed: Directus could not be reached.
            RequestRefused: The token may not read the log, or the items.
            SubscriptionRefused: Directus refuses the query of a subscription.
        """
        try:
            await connect(self._client)
            for each in self._subscriptions:
                each.primary_key = await self._client.check_query(each.desired.query)
            await self._replay(self._client.activity)
        finally:
            await self._client.disconnect()
            await self._database.aclose()
        return self._replayed

    async def _replay(self, log: ActivityLog) -> None:
        first = await log.since(self._selection.since, [self._selection.collection])
        newest = await log.newest()
        if first is None or newest is None:
            return
        span = IdRange(first.id, newest.id)
        self._replayed.total = await log.count([span], [self._selection.collection])
        async for rows in self._pages(log, span):
            self._replayed.changes += len(rows)
            await self._put(rows)
            self._on_progress(self._replayed)
        await self._replay_changed(log, newest.id)

    async def _pages(self, log: ActivityLog, span: IdRange) -> AsyncIterator[list[ActivityRow]]:
        async for page in log.pages([span], [self._selection.collection]):
            self._replayed.done += page.size
            for row in page.unreadable:
                self._log.warning(
                    "log-row-unreadable",
                    "%s  %s of the activity log cannot be read and is not replayed.",
                    self._client.name,
                    row.place,
                    collection=row.collection,
                    row=row.place,
                )
            yield [row for row in page.rows if self._selects(row)]

    def _selects(self, row: ActivityRow) -> bool:
        if row.action is None or not self._selection.has(row):
            return False
        is_any = self._selection.key is None
        return is_any or self._key(row.item) == self._key(self._selection.key or "")

    def _key(self, written: str) -> Key:
        primary_key = self._subscriptions[0].primary_key
        return primary_key.canonical(written) if primary_key else written

    async def _replay_changed(self, log: ActivityLog, newest: int) -> None:
        """Replay items again that changed in the meantime: their events may follow newer ones."""
        for _ in range(_ROUNDS):
            changed: set[Key] = set()
            async for page in log.pages([IdRange(newest + 1)], [self._selection.collection]):
                newest = max([newest, *page.ids])
                changed |= {self._key(row.item) for row in page.rows}
            rows = [row for key, row in self._last.items() if key in changed]
            if not rows:
                return
            await self._put(rows)

    async def _put(self, rows: list[ActivityRow]) -> None:
        if not rows or self._dry_run:
            return
        self._last |= {self._key(row.item): row for row in rows}
        read_at = self._clock.now()
        changes = changes_of(rows, {self._selection.collection})
        built = await self._builder.build(changes, self._subscriptions, lambda change: "replay")
        await self._database.run_with_retry(self._store, built.entries, read_at)
        for entry in built.entries:
            self._replayed.events[entry.row.subscription] += 1

    async def _inside(self, memory: Memory, keys: list[Key]) -> set[Key]:
        return await self._database.run_with_retry(matched_items.inside, memory, keys)

    def _store(self, entries: Sequence[InboxEntry], read_at: datetime) -> None:
        using = own_alias()
        with transaction.atomic(using):
            # Events that the listener received while the items were read may be newer.
            gather(entries, self._clock.now(), read_at=read_at)
            insert([entry.row for entry in entries], using)
