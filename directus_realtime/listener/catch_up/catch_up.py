"""Catch-up: the changes that the socket did not bring, read from Directus's activity log.

After every gap, and on a slow beat, the log is read and held against the inbox; a change
that has no event gets one.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from functools import partial
from time import monotonic

from django.utils import timezone

from directus_realtime.client import DirectusClient
from directus_realtime.client.backoff import full_jitter
from directus_realtime.client.feed import SubscriptionState
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.events import Event
from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener.catch_up.followers import Follower
from directus_realtime.listener.catch_up.gaps import GapKeeper
from directus_realtime.listener.catch_up.holding import Delivered, let_go
from directus_realtime.listener.catch_up.log_reader import LogReader
from directus_realtime.listener.catch_up.settling import Settler, change_of
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.wanted import Wanted

logger = logging.getLogger("directus_realtime.listener")

#: Seconds that a catch-up waits for subscriptions that are not confirmed yet.
_PATIENCE = 30.0
#: Seconds between two looks where nobody says that something is due.
_IDLE = 1.0


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
        self._reader = LogReader(alias, client, inbox, self._settler)
        self._look = asyncio.Event()
        self._next_beat = 0.0
        self._connected_at = 0.0
        self._looks_back = self._is_anew = False
        self._has_stayed = False
        self._losses = 0
        self._looked_at: datetime | None = None
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
        self._looks_back = True
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
            except Exception:
                # Whatever it is, it must not end the other connections, nor the live events.
                logger.exception(
                    "%s  the catch-up failed; it is tried again.",
                    self._alias,
                    extra={"what": "catch-up-failed", "connection": self._alias},
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
            await self._look_back()
            gap = gap and await self._gaps.look_for_pruning(self._client, gap, self._is_anew)
            self._caught_up += await self._reader.read(followers, is_gap=gap is not None)
        if losses != self._losses:  # lost again meanwhile; the next pass goes on from here
            return
        await self._release(followers, looked_at)
        self._next_beat = monotonic() + self._interval
        caught_up, self._caught_up = self._caught_up, 0
        unread = self._reader.take_left_out(collections)
        if unread and gap is None:
            reason = "a row of the activity log cannot be read"
            self._gaps.begin(self._looked_at or looked_at, reason)
            gap = self._gaps.take()
        self._looked_at = looked_at
        if gap is not None:
            behind = [f for f in self._followers.values() if f.is_behind]
            unread |= {follower.wanted.query.collection for follower in behind}
            await self._gaps.announce(gap, collections, unread, caught_up)
            self._is_anew = False

    async def _look_back(self) -> None:
        """See once for each connection whether the log is still the same."""
        if self._looks_back:
            is_anew = await self._reader.look_back(self._followers.values())
            self._is_anew, self._looks_back = self._is_anew or is_anew, False

    async def _release(self, followers: list[Follower], looked_at: datetime) -> None:
        """Let go what waits; from here on live events go their way at once."""
        for follower in followers:
            follower.is_current = follower.is_subscribed
        delivered = {
            f.wanted.name: Delivered(f.wanted.debounce, f.wanted.memory) for f in followers
        }
        behind = [f.wanted.name for f in self._followers.values() if not f.is_current]
        doubts, caught_up = self._settler.doubts.current(), self._settler.caught_up.current()
        stayed = await self._inbox.run_in_order(
            partial(let_go, self._alias, delivered, behind, doubts, caught_up, looked_at)
        )
        if stayed:
            self._has_stayed = True
            self.look()
