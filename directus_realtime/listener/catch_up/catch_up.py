"""Catch-up: the changes that the socket did not bring, read from Directus's activity log.

After every gap, and on a slow beat, the log is read and held against the inbox; a change
that has no event gets one. Ids of the log are not in the order of commits, so the last
:data:`OVERLAP` seconds are read again each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from time import monotonic

from django.utils import timezone

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity import ActivityRow, Span
from directus_realtime.client.backoff import full_jitter
from directus_realtime.client.feed import SubscriptionState
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.events import Event
from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener.catch_up import cursors
from directus_realtime.listener.catch_up.cursors import Look, Progress
from directus_realtime.listener.catch_up.followers import UNSURE, Follower
from directus_realtime.listener.catch_up.gaps import GapKeeper
from directus_realtime.listener.catch_up.holding import (
    Delivered,
    let_go,
)
from directus_realtime.listener.catch_up.settling import Settler, change_of
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.wanted import Wanted

logger = logging.getLogger("directus_realtime.listener")

#: Rows younger than this are read again: a transaction that began before them may still
#: commit rows with lower ids.
OVERLAP = timedelta(seconds=120)
#: Seconds that a catch-up waits for subscriptions that are not confirmed yet.
_PATIENCE = 30.0
#: Seconds between two looks where nobody says that something is due.
_IDLE = 1.0
#: Events that may wait to be stored before more of the log is read.
_WAITING_LIMIT = 2000


class CatchUp:
    """Follows the activity log of one connection.

    Live events of a subscription that is not current are held (see :meth:`holds`) until the
    log has been read, so that what was missed comes first.

    Args:
        alias: Of the connection.
        client: To read with.
        inbox: Takes the events.
        gaps: Knows when the connection was down, and tells what became of it.
        interval: Seconds of the beat.
    """

    def __init__(
        self, alias: str, client: DirectusClient, inbox: Inbox, gaps: GapKeeper, interval: float
    ) -> None:
        self._alias = alias
        self._client = client
        self._inbox = inbox
        self._gaps = gaps
        self._interval = interval
        self._followers: dict[str, Follower] = {}
        self._seen: set[int] = set()
        self._settler = Settler(alias, client, inbox)
        self._marks: deque[tuple[int, datetime]] = deque()
        self._look = asyncio.Event()
        self._next_beat = 0.0
        self._connected_at = 0.0
        self._has_stayed = False
        self._losses = 0
        self._caught_up = 0

    # What the connection says

    def follow(self, wanted: Wanted, subscription: ClientSubscription) -> None:
        """Take a subscription up, where it was left.

        One that was changed goes on where it was, so that nothing is missed between the old
        and the new one on the wire. One that was disabled meanwhile, or is of another
        collection now, begins at the end of the log.
        """
        follower = Follower(wanted, subscription, wanted.caught_up_to)
        if wanted.subscription_id in self._seen:
            follower.take_over(self._former(wanted))
        self._seen.add(wanted.subscription_id)
        self._followers[wanted.uid] = follower
        self.state_changed(wanted.uid)

    def state_changed(self, uid: str) -> None:
        """A subscription may have been confirmed."""
        follower = self._followers.get(uid)
        if follower is not None and follower.is_subscribed:
            follower.confirm(self._client.clock.now())

    def _former(self, wanted: Wanted) -> Follower | None:
        """The same subscription before it was changed."""
        for follower in self._followers.values():
            if follower.wanted.subscription_id == wanted.subscription_id:
                return follower
        return None

    def update(self, wanted: Wanted) -> None:
        """Take note of what became of a subscription in the database."""
        self._followers[wanted.uid].wanted = wanted

    def unfollow(self, wanted: Wanted) -> None:
        """Leave a subscription."""
        self._followers.pop(wanted.uid, None)

    def has_place(self, wanted: Wanted) -> bool:
        """Whether a subscription has a place in the log; a new one has none yet."""
        follower = self._followers.get(wanted.uid)
        return follower is not None and follower.position is not None

    def lost_events(self) -> None:
        """More came in than could be stored."""
        if any(follower.is_current for follower in self._followers.values()):
            logger.warning(
                "%s  events come in faster than they are stored; what is left out now is caught "
                "up from the activity log.",
                self._alias,
                extra={"what": "overflow", "connection": self._alias},
            )
        self.lost_connection()

    def lost_connection(self) -> None:
        """The socket is gone, or what it brings does not count."""
        self._losses += 1
        for follower in self._followers.values():
            follower.lose()

    def connected(self) -> None:
        """The socket is back."""
        self._connected_at = monotonic()
        self._settler.connected()
        self.look()

    def refusal_of(self, wanted: Wanted) -> str:
        """Why a subscription is not caught up, as a sentence; empty where it is."""
        follower = self._followers.get(wanted.uid)
        reason = follower.refusal if follower is not None else ""
        return f"Not caught up: {reason}" if reason else ""

    def look(self) -> None:
        """Say that something may be due."""
        self._look.set()

    def holds(self, wanted: Wanted, event: Event) -> bool:
        """Whether a live event must wait for the log."""
        follower = self._followers.get(wanted.uid)
        if follower is None or not (follower.is_current or follower.has_missed_nothing):
            return True
        if change_of(event) in self._settler.doubts:
            self._has_stayed = True
            self.look()
            return True
        return False

    # The work

    async def run(self) -> None:
        """Work until cancelled."""
        delays = full_jitter()
        while True:
            await self._wait()
            if not self._is_due():
                continue
            try:
                await self._pass()
            except DirectusRealtimeError as error:
                logger.warning(
                    "%s  the activity log is read again: %s",
                    self._alias,
                    error,
                    extra={"what": "log-again", "connection": self._alias, "error": str(error)},
                )
                await asyncio.sleep(next(delays))
            else:
                delays = full_jitter()

    async def _wait(self) -> None:
        until_beat = self._next_beat - monotonic()
        try:
            async with asyncio.timeout(until_beat if until_beat > 0 else _IDLE):
                await self._look.wait()
        except TimeoutError:
            pass
        self._look.clear()

    def _is_due(self) -> bool:
        followers = list(self._followers.values())
        if not self._client.is_connected or not followers or self._inbox.is_full:
            return False
        is_waiting = any(f.subscription.state is SubscriptionState.WAITING for f in followers)
        if is_waiting and monotonic() - self._connected_at < _PATIENCE:
            return False
        for follower in followers:
            follower.is_current = follower.is_current and follower.is_subscribed
        subscribed = [follower for follower in followers if follower.is_subscribed]
        is_behind = any(not follower.is_current for follower in subscribed)
        return bool(subscribed) and self._is_time(is_behind)

    def _is_time(self, is_behind: bool) -> bool:
        return is_behind or self._has_stayed or monotonic() >= self._next_beat

    async def _pass(self) -> None:
        """Read what is new in the log, and let go what waits for it."""
        followers = [f for f in self._followers.values() if f.is_subscribed]
        gap, losses = self._gaps.take(), self._losses
        looked_at, self._has_stayed = timezone.now(), False
        collections = {follower.wanted.query.collection for follower in followers}
        if not await self._gaps.problem_of_the_log(self._client):
            await self._gaps.look_at_collections(self._client, collections)
            await self._settler.recall()
            gap = gap and await self._gaps.look_for_pruning(self._client, gap)
            self._caught_up += await self._read_log(followers, is_gap=gap is not None)
        if losses != self._losses:  # lost again meanwhile; the next pass goes on from here
            return
        await self._release(followers, looked_at)
        self._next_beat = monotonic() + self._interval
        caught_up, self._caught_up = self._caught_up, 0
        if gap is not None:
            behind = [f for f in self._followers.values() if f.is_behind]
            unread = {follower.wanted.query.collection for follower in behind}
            await self._gaps.announce(gap, collections, unread, caught_up)

    async def _read_log(self, followers: list[Follower], *, is_gap: bool) -> int:
        """Settle every row of the log up to now.

        Returns:
            How many events were made.
        """
        newest = await self._client.activity.newest()
        edge = newest.id if newest else 0
        look = Look(self._client.clock.now() - UNSURE, edge)
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

    async def _begin(self, followers: list[Follower], newest: ActivityRow | None) -> None:
        """Put new subscriptions where they were confirmed; where the log began anew, as after
        a restored backup, all of them where it was last looked at."""
        edge = newest.id if newest else 0
        for follower in followers:
            if follower.position is None:
                moment = follower.begins_at
            elif follower.position > edge:
                cursor = await self._inbox.run_in_order(partial(cursors.read, self._alias))
                moment = cursor.caught_up_at and cursor.caught_up_at - OVERLAP
            else:
                continue
            follower.begin(await self._place_before(moment, follower, newest))

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
        async with aclosing(self._client.activity.pages(span)) as pages:
            async for page in pages:
                made += await self._settler.settle(page, [follower])
                if follower.refusal:
                    break
                await self._inbox.drained_to(_WAITING_LIMIT)
        return made

    async def _work(self, span: Span, followers: list[Follower], progress: Progress | None) -> int:
        """Settle a part of the log; where it is a gap, with the progress told."""
        made = 0
        if progress is not None:
            progress.total = await self._client.activity.count(span)
        async for page in self._client.activity.pages(span):
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

    async def _release(self, followers: list[Follower], looked_at: datetime) -> None:
        """Let go what waits; from here on live events go their way at once."""
        for follower in followers:
            follower.is_current = follower.is_subscribed
        delivered = {
            f.wanted.name: Delivered(f.wanted.debounce, f.wanted.memory) for f in followers
        }
        behind = [f.wanted.name for f in self._followers.values() if not f.is_current]
        stayed = await self._inbox.run_in_order(
            partial(
                let_go, self._alias, delivered, behind, self._settler.doubts.current(), looked_at
            )
        )
        if stayed:
            self._has_stayed = True
            self.look()
