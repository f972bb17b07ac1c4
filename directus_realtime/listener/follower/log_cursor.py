"""The place of a follower in the activity log: found, verified, and written as columns."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity import ActivityLog, ActivityRow
from directus_realtime.client.log_position import LogPosition
from directus_realtime.listener.follower import continuity, gaps, position_store
from directus_realtime.listener.follower.continuity import Continuity
from directus_realtime.listener.follower.gaps import GapKeeper
from directus_realtime.listener.follower.read_progress import ReadProgress
from directus_realtime.listener.follower.subscription_registry import SubscriptionRegistry
from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import LogPosition as StoredPosition
from directus_realtime.utils.system_clock import SystemClock

logger = logging.getLogger("directus_realtime.listener")

#: Seconds between two writes of the time of the last read.
_NOTE_INTERVAL = 2.0
#: Seconds between two comparisons of the log with what was read.
_VERIFY_INTERVAL = 30.0
#: Before the last read, from which on another log is read.
_OVERLAP = timedelta(seconds=120)


class LogCursor:
    """Knows how far the log of one connection is read.

    Args:
        client: Of the connection.
        inbox: To read in order with what is written.
        gaps: Takes doubts.
        hole_age: Seconds after which an id that never became visible is given up.
        clock: Gives the time.

    Attributes:
        position: Which rows were read; at the beginning of the log before it was resumed.
        read_at: Until when every visible row of the log was read, by our clock; ``None`` where
            it was never read.
        complete_until: Likewise, where everything that was read is stored.
        boundary: Id of the newest row when the log was resumed.
        must_resume: Whether the place is to be found, or to be verified.
    """

    def __init__(
        self,
        client: DirectusClient,
        inbox: Inbox,
        gaps: GapKeeper,
        hole_age: float,
        clock: SystemClock,
    ) -> None:
        self.position = LogPosition()
        self.read_at: datetime | None = None
        self.complete_until: datetime | None = None
        self.boundary = 0
        self.must_resume = True
        self.progress = ReadProgress(client.name, clock)
        self._client = client
        self._inbox = inbox
        self._gaps = gaps
        self._hole_age = hole_age
        self._clock = clock
        self._stored: StoredPosition | None = None
        self._has_place = False
        self._dropped = 0
        self._verified_at = clock.monotonic()
        self._noted_at = self._verified_at - _NOTE_INTERVAL

    def wall(self) -> float:
        """Return seconds since 1970, by our clock."""
        return position_store.since_epoch(self._clock.now())

    def values(self) -> dict[str, Any]:
        """Return the place as columns."""
        columns = position_store.values_of(self.position, self._dropped)
        return {**columns, **self.progress.values}

    async def resume(self, log: ActivityLog, subscriptions: SubscriptionRegistry) -> None:
        """Find the place in the log, and verify that it is the same log.

        Args:
            log: The log.
            subscriptions: Those that follow it.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        self.must_resume = False  # at first: it may be asked for again meanwhile
        newest = await log.newest()
        if not self._has_place:
            await self._take_place(log, newest, subscriptions)
        verdict = await continuity.compare(log, self.position, newest)
        if verdict is Continuity.PRUNED:
            self._gaps.doubt(gaps.PRUNED, subscriptions.collections)
        elif verdict is Continuity.ANOTHER:
            self._gaps.doubt(gaps.ANOTHER_LOG, subscriptions.collections)
            self._dropped += self.position.dropped
            self.position = LogPosition(await self._top_of_another(log, newest))
            subscriptions.move(self.position.top)
        self.boundary = newest.id if newest else 0
        await self.progress.begin(log, self.position.top, self.boundary)

    async def load(self) -> None:
        """Read once what a listener before this one has stored."""
        if self._stored is None:
            row = await self._inbox.run_in_order(partial(position_store.read, self._client.name))
            self._stored, self._dropped = row, row.dropped
            self.read_at = self.complete_until = row.read_at
            self._gaps.resume(row)

    async def _take_place(
        self, log: ActivityLog, newest: ActivityRow | None, subscriptions: SubscriptionRegistry
    ) -> None:
        """Take the place that is stored; the end of the log where there is none."""
        row = self._stored
        if row is None or row.top is None:
            since = self._client.clock.now() - timedelta(seconds=self._hole_age)
            self.position = await continuity.begin(log, newest, since, self.wall())
            if subscriptions.has_begun or self._gaps.outage is not None:
                self._gaps.begin(self._clock.now(), "the position in the activity log was lost")
                self._gaps.doubt(gaps.NEVER_READ, subscriptions.collections)
        else:
            self.position = position_store.position_of(row)
        self._has_place = True

    async def _top_of_another(self, log: ActivityLog, newest: ActivityRow | None) -> int:
        """The place in a log that was not read before, from when the last one was read."""
        moment = (self.read_at or self._clock.now()) + self._client.clock.ahead - _OVERLAP
        first = await log.since(moment)
        return first.id - 1 if first else (newest.id if newest else 0)

    async def verify(self, log: ActivityLog) -> None:
        """Look from time to time whether the log still has the rows that were read."""
        now = self._clock.monotonic()
        if now - self._verified_at < _VERIFY_INTERVAL:
            return
        self._verified_at = now
        verdict = await continuity.compare(log, self.position, await log.newest())
        self.must_resume = self.must_resume or verdict is Continuity.ANOTHER

    def drop_holes(self) -> bool:
        """Give up ids that no transaction can fill any more.

        Returns:
            Whether there were any.
        """
        before = self._client.clock.now() - timedelta(seconds=self._hole_age)
        # The time in rows of now may be wrong by hours, as by the zone of the database.
        anchors = [each for each in self.position.anchors if each[0] <= self.boundary]
        old = [number for number, moment in anchors if moment < before]
        dropped = self.position.drop(self.wall() - self._hole_age, max(old, default=0))
        if dropped:
            logger.info(
                "%s  %d ids of the activity log never became visible within %g s and are given "
                "up, as those of transactions that were rolled back.",
                self._client.name,
                dropped,
                self._hole_age,
                extra={"what": "ids-dropped", "connection": self._client.name, "ids": dropped},
            )
        return bool(dropped)

    def note_socket(self) -> dict[str, Any]:
        """Note that the socket was followed, where the log was never read.

        Returns:
            Columns to write; empty where there is nothing to note.
        """
        now = self._clock.monotonic()
        is_due = now - self._noted_at >= _NOTE_INTERVAL
        if self._has_place or not is_due or not self._client.has_socket:
            return {}
        if self._stored is not None and self._stored.top is not None:
            return {}
        self._noted_at = now
        return {"read_at": self._clock.now()}

    def note_stored(self, read_at: datetime) -> None:
        """Note that everything is stored that was read up to a time."""
        self.complete_until = read_at

    def note_read(self, began_at: datetime) -> dict[str, Any]:
        """Note that the log was read to its end.

        Args:
            began_at: When the read began: what was written since may not be in it.

        Returns:
            Columns to write; empty where that can wait.
        """
        until = self.position.complete_until(position_store.since_epoch(began_at))
        self.read_at = datetime.fromtimestamp(until, UTC)
        progress = self.progress.end()
        now = self._clock.monotonic()
        if not progress and now - self._noted_at < _NOTE_INTERVAL:
            return {}
        self._noted_at = now
        return {**self.values(), **progress, "read_at": self.read_at}
