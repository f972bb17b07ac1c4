"""The follower's position in the activity log: restored, verified against the log, and advanced."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import ActivityLog, ActivityRow, IdRange
from directus_realtime.client.log_position import Position
from directus_realtime.listener.follower import gaps, position_store
from directus_realtime.listener.follower.gaps import GapKeeper
from directus_realtime.listener.follower.subscription_registry import SubscriptionRegistry
from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import LogPosition as StoredPosition
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Maximum number of ids that are searched for holes below a new position.
_MOST_LOOKED_BACK = 200_000
#: Likewise, where the log has no older row: the others may have been deleted.
_WITHOUT_A_ROW = 1000
#: Number of rows from which on the progress of a read is logged.
_LONG = 1000
#: Seconds between two log records of the progress.
_INTERVAL = 5.0
#: Seconds between two writes of the time of the last read.
_NOTE_INTERVAL = 2.0
#: Seconds between two comparisons of the log with the rows that were read.
_VERIFY_INTERVAL = 30.0
#: Ranges of dropped ids that are kept for the list.
_MOST_DROPPED = 100
#: Overlap with the last read, where another log is read.
_OVERLAP = timedelta(seconds=120)


class Continuity(enum.Enum):
    """Relation of the log to the one that was read before."""

    SAME = enum.auto()
    #: Rows may have been deleted that were not read.
    PRUNED = enum.auto()
    #: Its ids belong to other changes, as after a restored backup.
    ANOTHER = enum.auto()


async def compare_continuity(
    log: ActivityLog, position: Position, newest: ActivityRow | None
) -> Continuity:
    """Compare the log with the rows that were read.

    Retention deletes rows by action and in batches without an order (M59), so only rows that
    were read, or older changes, prove that the later rows are complete.

    Args:
        log: The log.
        position: Position in the log.
        newest: The newest row of the log.
    """
    if newest is None or newest.id < position.top:
        return Continuity.ANOTHER if position.top else Continuity.SAME
    anchors = dict(position.anchors)
    found = await log.find(anchors) if anchors else {}
    if any(row.timestamp != anchors[number] for number, row in found.items()):
        return Continuity.ANOTHER
    if position.top in found or newest.id == position.top or position.top == 0:
        return Continuity.SAME
    is_whole = await log.has_change_up_to(position.top)
    return Continuity.SAME if is_whole else Continuity.PRUNED


async def begin_position(
    log: ActivityLog, newest: ActivityRow | None, since: datetime, now: float
) -> Position:
    """Return the position at the end of a log, with the holes that may still be filled.

    Args:
        log: The log.
        newest: Its newest row.
        since: Start of the oldest transaction that may still be open, by the server's clock.
        now: Seconds since 1970.
    """
    if newest is None:
        return Position()
    first = await log.since(since)
    if first is None:
        return Position(newest.id, anchors=[(newest.id, newest.timestamp)])
    # The first ids of a transaction follow the row before it.
    before = await log.last_before(first.id)
    lowest = before.id + 1 if before else max(first.id - _WITHOUT_A_ROW, 1)
    start = max(lowest, newest.id - _MOST_LOOKED_BACK)
    position = Position(start - 1)
    async for page in log.pages([IdRange(start, newest.id)]):
        position.take(page.ids, page.rows, now)
    position.top = max(position.top, newest.id)
    return position


class ReadProgress:
    """Progress of a long read, for the log and the database."""

    def __init__(self, alias: str, clock: SystemClock) -> None:
        self._alias = alias
        self._log = logger.bind(connection=alias)
        self._clock = clock
        self._total = self._done = self._events = 0
        self._logged_at = 0.0

    @property
    def values(self) -> Mapping[str, object]:
        """The progress as columns; empty where no long read is running."""
        if not self._total:
            return {}
        return {"rows_done": self._done, "rows_total": max(self._total, self._done)}

    async def begin(self, log: ActivityLog, top: int, newest: int) -> None:
        """Count the rows to read, from behind one id up to another."""
        self._total = self._done = self._events = 0
        self._logged_at = self._clock.monotonic()
        if newest - top > _LONG:
            self._total = await log.count([IdRange(top + 1, newest)])

    def add(self, rows: int, events: int) -> None:
        """Count rows that were read, and the events that were made of them."""
        if not self._total:
            return
        self._done += rows
        self._events += events
        if self._clock.monotonic() - self._logged_at >= _INTERVAL:
            self._logged_at = self._clock.monotonic()
            self._log.info(
                "catch-up-progress",
                "%s  catching up: %d of %d rows of the activity log",
                self._alias,
                self._done,
                max(self._total, self._done),
                done=self._done,
                total=max(self._total, self._done),
            )

    def end(self) -> Mapping[str, object]:
        """End the read; return the columns to reset, none where it was no long one."""
        if not self._total:
            return {}
        self._log.info(
            "caught-up",
            "%s  caught up: %d rows of the activity log, %d events",
            self._alias,
            self._done,
            self._events,
            done=self._done,
            events=self._events,
        )
        self._total = self._done = self._events = 0
        return {"rows_done": 0, "rows_total": 0}


class LogCursor:
    """Position in the log of one connection: restored, verified and advanced.

    Args:
        client: Client of the connection.
        inbox: Reads in order with the writes.
        gaps: Records possibly lost changes.
        hole_age: Seconds after which an id that never became visible is given up.
        clock: Gives the time.

    Attributes:
        position: The rows that were read; the start of the log before it was resumed.
        read_at: Time up to which every visible row was read, by our clock; ``None`` for never.
        complete_until: Likewise, where all events are stored.
        boundary: Id of the newest row when the log was resumed.
        must_resume: Whether the position must be restored or verified.
    """

    def __init__(
        self,
        client: DirectusClient,
        inbox: Inbox,
        gaps: GapKeeper,
        hole_age: float,
        clock: SystemClock,
    ) -> None:
        self.position = Position()
        self.read_at: datetime | None = None
        self.complete_until: datetime | None = None
        self.boundary = 0
        self.must_resume = True
        self.progress = ReadProgress(client.name, clock)
        self._client = client
        self._log = logger.bind(connection=client.name)
        self._inbox = inbox
        self._gaps = gaps
        self._hole_age = hole_age
        self._clock = clock
        self._stored: StoredPosition | None = None
        self._is_restored = False
        self._dropped = 0
        self._dropped_ranges: list[list[int]] = []
        self._verified_at = clock.monotonic()
        self._noted_at = self._verified_at - _NOTE_INTERVAL

    def wall(self) -> float:
        """Return seconds since 1970, by our clock."""
        return self._clock.now().timestamp()

    def values(self) -> dict[str, Any]:
        """Return the position as columns."""
        columns = position_store.values_of(self.position, self._dropped)
        return {**columns, **self.progress.values}

    async def resume(self, log: ActivityLog, subscriptions: SubscriptionRegistry) -> None:
        """Restore the position, and verify that the log is the same."""
        self.must_resume = False  # first: it may be requested again meanwhile
        newest = await log.newest()
        if not self._is_restored:
            await self._restore(log, newest, subscriptions)
        verdict = await compare_continuity(log, self.position, newest)
        if verdict is Continuity.PRUNED:
            self._gaps.doubt(gaps.PRUNED, subscriptions.collections)
        elif verdict is Continuity.ANOTHER:
            self._gaps.doubt(gaps.ANOTHER_LOG, subscriptions.collections)
            self._dropped += self.position.dropped
            self.position = Position(await self._top_of_another(log, newest))
            subscriptions.move(self.position.top)
            forget = partial(position_store.forget_places, self._client.name, subscriptions.numbers)
            self._inbox.put([], forget)
        self.boundary = newest.id if newest else 0
        await self.progress.begin(log, self.position.top, self.boundary)

    async def load(self) -> None:
        """Read the position of the previous listener, once."""
        if self._stored is None:
            row = await self._inbox.run_in_order(partial(position_store.read, self._client.name))
            self._stored, self._dropped = row, row.dropped
            self._dropped_ranges = list(row.dropped_ranges)
            self.read_at = self.complete_until = row.read_at
            self._gaps.resume(row)

    async def _restore(
        self, log: ActivityLog, newest: ActivityRow | None, subscriptions: SubscriptionRegistry
    ) -> None:
        """Restore the stored position; begin at the end of the log where there is none."""
        row = self._stored
        if row is None or row.top is None:
            since = self._client.clock.now() - timedelta(seconds=self._hole_age)
            self.position = await begin_position(log, newest, since, self.wall())
            if subscriptions.has_begun or self._gaps.outage is not None:
                self._gaps.begin(self._clock.now(), "the position in the activity log was lost")
                self._gaps.doubt(gaps.NEVER_READ, subscriptions.collections)
        else:
            self.position = position_store.position_of(row)
        self._is_restored = True

    async def _top_of_another(self, log: ActivityLog, newest: ActivityRow | None) -> int:
        """Return the position in a new log at the time of the last read."""
        moment = (self.read_at or self._clock.now()) + self._client.clock.ahead - _OVERLAP
        first = await log.since(moment)
        return first.id - 1 if first else (newest.id if newest else 0)

    async def verify(self, log: ActivityLog) -> None:
        """Compare the log periodically with the rows that were read."""
        now = self._clock.monotonic()
        if now - self._verified_at < _VERIFY_INTERVAL:
            return
        self._verified_at = now
        verdict = await compare_continuity(log, self.position, await log.newest())
        self.must_resume = self.must_resume or verdict is Continuity.ANOTHER

    def drop_holes(self) -> dict[str, Any]:
        """Drop ids that no transaction can fill any longer.

        Returns:
            Columns to write; empty where there were no such ids.
        """
        before = self._client.clock.now() - timedelta(seconds=self._hole_age)
        # The time of the newest rows may be wrong by hours, by the time zone of the database.
        anchors = [each for each in self.position.anchors if each[0] <= self.boundary]
        old = [number for number, moment in anchors if moment < before]
        dropped = self.position.drop(self.wall() - self._hole_age, max(old, default=0))
        if dropped:
            self._log.info(
                "ids-dropped",
                "%s  %d ids of the activity log never became visible within %g s and are given "
                "up, as those of transactions that were rolled back.",
                self._client.name,
                dropped,
                self._hole_age,
                ids=dropped,
            )
        if not dropped:
            return {}
        now = int(self.wall())
        new = [[first, last, now] for first, last in self.position.dropped_ranges]
        self._dropped_ranges = [*self._dropped_ranges, *new][-_MOST_DROPPED:]
        return {**self.values(), "dropped_ranges": self._dropped_ranges}

    def note_socket(self) -> dict[str, Any]:
        """Return the columns that note the use of the socket, where the log was never read."""
        now = self._clock.monotonic()
        is_due = now - self._noted_at >= _NOTE_INTERVAL
        if self._is_restored or not is_due or not self._client.has_socket:
            return {}
        if self._stored is not None and self._stored.top is not None:
            return {}
        self._noted_at = now
        return {"read_at": self._clock.now()}

    def note_stored(self, read_at: datetime) -> None:
        """Note that all events up to a time are stored."""
        self.complete_until = read_at

    def note_read(self, began_at: datetime) -> dict[str, Any]:
        """Note that the log was read to its end.

        Args:
            began_at: Start of the read, which may lack rows that were written since.

        Returns:
            Columns to write; empty where that can wait.
        """
        until = self.position.complete_until(began_at.timestamp())
        self.read_at = datetime.fromtimestamp(until, UTC)
        progress = self.progress.end()
        now = self._clock.monotonic()
        if not progress and now - self._noted_at < _NOTE_INTERVAL:
            return {}
        self._noted_at = now
        return {**self.values(), **progress, "read_at": self.read_at}
