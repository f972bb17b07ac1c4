"""Replay: changes of the activity log, put through the inbox once more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from directus_realtime.client.activity import ActivityRow, Span, UnreadableRow
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.database import DatabaseThread, own_alias
from directus_realtime.events import Event, Key
from directus_realtime.exceptions import ConnectionFailed, SubscriptionRefused
from directus_realtime.listener.catch_up.caught import make_events
from directus_realtime.listener.catch_up.pairing import Interest
from directus_realtime.listener.debounce import gather
from directus_realtime.listener.incoming import Incoming
from directus_realtime.listener.inserting import insert
from directus_realtime.listener.rows import make_row
from directus_realtime.listener.wanted import Wanted
from directus_realtime.settings import ConnectionSettings

logger = logging.getLogger("directus_realtime.listener")

#: Seconds for connecting, and for each subscription.
TIMEOUT = 20.0
#: Seconds in which a change that was made before an event was stored is heard of.
_GRACE = 1.0
#: How often items are told again that keep changing while they are replayed.
_ROUNDS = 5


@dataclass(frozen=True)
class Selection:
    """Which changes to replay.

    Attributes:
        collection: Name.
        since: From this time on; aware.
        until: Up to this time; ``None`` for now.
        key: Of the one item, as text; ``None`` for all.
    """

    collection: str
    since: datetime
    until: datetime | None = None
    key: str | None = None

    def has(self, row: ActivityRow) -> bool:
        """Whether a row of the log is meant."""
        return (
            row.timestamp >= self.since
            and (self.until is None or row.timestamp <= self.until)
            and (self.key is None or row.item == self.key)
        )


@dataclass
class Replayed:
    """What came of a replay.

    Attributes:
        done: Rows of the log that were looked at.
        total: Rows there are.
        changes: Those that were meant.
        events: How many events were put into the inbox, by subscription.
    """

    done: int = 0
    total: int = 0
    changes: int = 0
    events: dict[str, int] = field(default_factory=dict)


class Replay:
    """One replay, on a connection of its own.

    Every event is new (``origin`` is ``replay``, and so is its id), and carries the item as
    it is now.

    Args:
        settings: Of the connection.
        wanted: The subscriptions to replay for, all of the selection's collection.
        selection: Which changes.
        dry_run: Only count the changes.
        on_progress: Called after each page.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        wanted: Sequence[Wanted],
        selection: Selection,
        *,
        dry_run: bool = False,
        on_progress: Callable[[Replayed], None] = lambda replayed: None,
    ) -> None:
        self._client = settings.make_client()
        self._database = DatabaseThread("replay")
        self._wanted = list(wanted)
        self._selection = selection
        self._dry_run = dry_run
        self._on_progress = on_progress
        self._replayed = Replayed(events={each.name: 0 for each in self._wanted})

    async def run(self) -> Replayed:
        """Replay.

        Raises:
            ConnectionFailed: Directus could not be reached.
            RequestRefused: The token may not read the log, or the items.
            SubscriptionRefused: A subscription is not to be had.
        """
        try:
            await self._connect()
            subscriptions = [(each, await self._subscribe(each)) for each in self._wanted]
            span = await self._span()
            if span is not None:
                await self._replay(span, subscriptions)
        finally:
            await self._client.disconnect()
            await self._database.aclose()
        return self._replayed

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._client.connect()
        except TimeoutError:
            reason = self._client.reason or f"Not connected within {TIMEOUT:g} s."
            raise ConnectionFailed(reason) from None

    async def _subscribe(self, wanted: Wanted) -> ClientSubscription:
        """As the listener does, so that what changes while it is read is noticed."""
        subscription = self._client.add(
            wanted.query, name=wanted.name, on_event=_ignore, remembers_items=False
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                await subscription.feed.settled()
        except TimeoutError:
            message = f"{wanted.name}: no answer within {TIMEOUT:g} s."
            raise SubscriptionRefused("NO_REPLY", message) from None
        return subscription

    async def _span(self) -> Span | None:
        """The part of the log to look at; ``None`` where there is nothing."""
        collections = (self._selection.collection,)
        first = await self._client.activity.since(self._selection.since, collections)
        newest = await self._client.activity.newest()
        if first is None or newest is None:
            return None
        span = Span(collections, first.id - 1, newest.id)
        self._replayed.total = await self._client.activity.count(span)
        return span

    async def _replay(
        self, span: Span, subscriptions: list[tuple[Wanted, ClientSubscription]]
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            runs = [
                _Run(wanted, subscription, stack.enter_context(self._noting(subscription)))
                for wanted, subscription in subscriptions
            ]
            async for page in self._pages(span):
                self._replayed.changes += len(page)
                for run in runs if not self._dry_run else ():
                    await self._put(run, run.take(page))
                self._on_progress(self._replayed)
            for run in runs if not self._dry_run else ():
                await self._tell_changed_ones_again(run)

    def _noting(
        self, subscription: ClientSubscription
    ) -> contextlib.AbstractContextManager[set[Key]]:
        return self._client.noting_changes(subscription)

    async def _pages(self, span: Span) -> AsyncIterator[list[ActivityRow]]:
        async for page in self._client.activity.pages(span, self._leave_out):
            self._replayed.done += len(page)
            yield [row for row in page if self._selection.has(row)]

    def _leave_out(self, row: UnreadableRow) -> None:
        logger.warning(
            "%s  %s of the activity log cannot be read and is not replayed.",
            self._client.name,
            row.place,
            extra={
                "what": "log-row-unreadable",
                "connection": self._client.name,
                "collection": row.collection,
                "row": row.place,
            },
        )

    async def _put(self, run: _Run, rows: list[ActivityRow]) -> None:
        if not rows:
            return
        read_at = timezone.now()
        events = await make_events(self._client, run.subscription, rows, "replay")
        await self._database.run_surely(_store, events, run.wanted.group, read_at)
        self._replayed.events[run.wanted.name] += len(events)

    async def _tell_changed_ones_again(self, run: _Run) -> None:
        """What changed while it was stored may be behind its own live event, with an old state."""
        for _ in range(_ROUNDS):
            await asyncio.sleep(_GRACE)
            changed = {str(key) for key in run.changed}
            run.changed.clear()
            rows = [row for item, row in run.last.items() if item in changed]
            if not rows:
                return
            await self._put(run, rows)


@dataclass
class _Run:
    """A replay for one subscription."""

    wanted: Wanted
    subscription: ClientSubscription
    changed: set[Key]
    last: dict[str, ActivityRow] = field(default_factory=dict)

    def take(self, page: list[ActivityRow]) -> list[ActivityRow]:
        """The rows of a page that it wants."""
        interest = Interest(self.wanted.name, self.wanted.query, 0)
        rows = [row for row in page if interest.wants(row)]
        self.last.update((row.item, row) for row in rows)
        return rows


def _ignore(event: Event) -> None:
    """Live events are the listener's."""


def _store(events: Sequence[Event], group: str, read_at: datetime) -> None:
    using = own_alias()
    rows = [row for event in events if (row := make_row(event, group)) is not None]
    with transaction.atomic(using):
        # What the listener received while the items were read may be newer.
        gather([Incoming(row, overtakes=True) for row in rows], timezone.now(), read_at=read_at)
        insert(rows, using)
