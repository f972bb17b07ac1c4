"""Reads the activity log of one connection, from where each subscription is up to now.

Ids of the log are not in the order of commits, so the last :data:`OVERLAP` seconds are read
again each time.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity import ActivityRow, Span, UnreadableRow
from directus_realtime.listener.catch_up import cursors
from directus_realtime.listener.catch_up.cursors import Look, Progress
from directus_realtime.listener.catch_up.followers import UNSURE, Follower
from directus_realtime.listener.catch_up.settling import Settler
from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import ActivityCursor

logger = logging.getLogger("directus_realtime.listener")

#: Rows younger than this are read again: a transaction that began before them may still
#: commit rows with lower ids.
OVERLAP = timedelta(seconds=120)
#: Events that may wait to be stored before more of the log is read.
_WAITING_LIMIT = 2000


class LogReader:
    """Reads the log, has its rows settled, and writes down how far it is.

    Args:
        alias: Of the connection.
        client: To read with.
        inbox: To write in order with the events.
        settler: Gives each row its events.
    """

    def __init__(self, alias: str, client: DirectusClient, inbox: Inbox, settler: Settler) -> None:
        self._alias = alias
        self._client = client
        self._inbox = inbox
        self._settler = settler
        self._marks: deque[tuple[int, datetime]] = deque()
        self._unreadable: set[UnreadableRow] = set()
        self._left_out: list[UnreadableRow] = []

    def take_left_out(self, collections: Collection[str]) -> set[str]:
        """Of which collections rows were left out since the last call.

        Args:
            collections: Those that are followed: a row may be of any of them.
        """
        left_out, self._left_out = self._left_out, []
        return {
            name
            for row in left_out
            for name in ([row.collection] if row.collection else collections)
        }

    async def read(self, followers: list[Follower], *, is_gap: bool) -> int:
        """Settle every row of the log up to now.

        Args:
            followers: The subscriptions that are confirmed.
            is_gap: Whether the connection was away, so that the progress is told.

        Returns:
            How many events were made.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        newest = await self._client.activity.newest()
        edge = newest.id if newest else 0
        look = Look(self._client.clock.now() - UNSURE, edge, newest.timestamp if newest else None)
        is_behind = any(not f.is_current and (f.position or edge) < edge for f in followers)
        await self._begin(followers, newest)
        made = sum([await self._try_again(f, edge) for f in followers if f.refusal])
        after = min([f.position or 0 for f in followers if not f.refusal], default=edge)
        if after < edge:
            collections = tuple(sorted({f.wanted.query.collection for f in followers}))
            progress = Progress(self._alias) if is_gap or is_behind else None
            made += await self._work(Span(collections, after, edge), followers, progress)
            if progress is not None and not is_gap:  # of a gap, announce() has the last word
                progress.report_end()
        if newest is not None:
            self._marks.append((newest.id, newest.timestamp))
        await self._advance(followers, self._horizon(), look=look)
        return made

    async def look_back(self, followers: Iterable[Follower]) -> bool:
        """See whether this is the log that was read before, and begin anew where it is not.

        Another one, as after a restored backup, gives its numbers to other changes.

        Args:
            followers: All subscriptions.

        Returns:
            Whether it began anew. All that came since the last look is read then.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        cursor = await self._inbox.run_in_order(partial(cursors.read, self._alias))
        if not cursor.position or not await self._is_another(cursor):
            return False
        newest = await self._client.activity.newest()
        moment = (cursor.caught_up_at or self._client.clock.now()) - OVERLAP
        old = [follower for follower in followers if follower.position is not None]
        for follower in old:
            follower.begin(await self._place_before(moment, follower, newest))
        self._marks.clear()
        positions = {each.wanted.subscription_id: each.position or 0 for each in old}
        await self._inbox.run_in_order(
            partial(cursors.begin_anew, self._alias, positions, moment - OVERLAP)
        )
        return True

    async def _is_another(self, cursor: ActivityCursor) -> bool:
        """Whether the newest row of then is another one now, or is gone though older ones and
        newer ones are there: retention deletes the oldest first."""
        position = cursor.position or 0
        known = await self._client.activity.row(position)
        if known is not None:
            return cursor.position_at is not None and known.timestamp != cursor.position_at
        oldest = await self._client.activity.oldest()
        return oldest is not None and oldest.id <= position

    async def _begin(self, followers: list[Follower], newest: ActivityRow | None) -> None:
        """Put new subscriptions where they were confirmed; all of an empty log at its end."""
        edge = newest.id if newest else 0
        for follower in followers:
            if follower.position is None or follower.position > edge:
                place = await self._place_before(follower.begins_at, follower, newest)
                follower.begin(place)

    async def _place_before(
        self, moment: datetime | None, follower: Follower, newest: ActivityRow | None
    ) -> int:
        """The last row before a moment; the end of the log where no later one concerns it."""
        edge = newest.id if newest else 0
        if newest is None or moment is None or newest.timestamp < moment:
            return edge
        first = await self._client.activity.since(moment, [follower.wanted.query.collection])
        return edge if first is None else min(edge, first.id - 1)

    async def _try_again(self, follower: Follower, edge: int) -> int:
        """Read the log for one whose items could not be read, up to where they still cannot.

        By itself: the others need not read again what lies behind them.
        """
        follower.refusal, made = "", 0
        span = Span((follower.wanted.query.collection,), follower.position or 0, edge)
        async with aclosing(self._client.activity.pages(span, self._leave_out)) as pages:
            async for page in pages:
                made += await self._settler.settle(page, [follower])
                if follower.refusal:
                    break
                await self._inbox.drained_to(_WAITING_LIMIT)
        return made

    def _leave_out(self, row: UnreadableRow) -> None:
        """Go on without a row that makes no sense: it would be the same at each new try, and
        everything behind it would wait for ever."""
        if row in self._unreadable:
            return  # it is read again with the last seconds
        self._unreadable.add(row)
        self._left_out.append(row)
        logger.warning(
            "%s  %s of the activity log cannot be read and is left out: the change that it is "
            "about may have been missed.",
            self._alias,
            row.place,
            extra={
                "what": "log-row-unreadable",
                "connection": self._alias,
                "collection": row.collection,
                "row": row.place,
            },
        )

    async def _work(self, span: Span, followers: list[Follower], progress: Progress | None) -> int:
        """Settle a part of the log; where it is a gap, with the progress told."""
        made = 0
        if progress is not None:
            progress.total = await self._client.activity.count(span)
        async for page in self._client.activity.pages(span, self._leave_out):
            events = await self._settler.settle(page, followers)
            made += events
            if progress is not None:
                progress.add(len(page), events)
                await self._page_done(page, followers, progress)
        return made

    async def _page_done(
        self, page: Sequence[ActivityRow], followers: list[Follower], progress: Progress
    ) -> None:
        """Write the place and the progress down, and do not run ahead of the inbox."""
        horizon = self._client.clock.now() - OVERLAP
        old = [row for row in page if row.timestamp <= horizon]
        place = old[-1].id if old else None
        await self._advance(followers, place, progress=progress)
        await self._inbox.drained_to(_WAITING_LIMIT)
        progress.report()

    def _horizon(self) -> int | None:
        """The newest row that was seen so long ago that none before it can appear now."""
        limit = self._client.clock.now() - OVERLAP
        old = None
        while self._marks and self._marks[0][1] <= limit:
            old = self._marks.popleft()
        if old is None:
            return None
        self._marks.appendleft(old)
        return old[0]

    async def _advance(
        self,
        followers: list[Follower],
        place: int | None,
        *,
        look: Look | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Move on, and write it down behind the events of the rows before."""
        followers = [follower for follower in followers if not follower.refusal]
        if place is not None:
            for follower in followers:
                follower.advance(place)
        positions = {f.wanted.subscription_id: f.position or 0 for f in followers}
        await self._inbox.run_in_order(
            partial(cursors.write, self._alias, positions, look, progress)
        )
