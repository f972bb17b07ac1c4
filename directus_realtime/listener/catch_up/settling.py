"""Rows of the activity log are settled: each has an event, or needs none."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from time import monotonic

from django.utils import timezone

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity import ActivityRow
from directus_realtime.client.repetitions import Repetitions
from directus_realtime.client.responses import MALFORMED
from directus_realtime.events import Event
from directus_realtime.exceptions import RequestRefused
from directus_realtime.listener.catch_up.caught import make_events
from directus_realtime.listener.catch_up.followers import Follower
from directus_realtime.listener.catch_up.holding import (
    DOUBT,
    Change,
    Delivered,
    RecentChanges,
    held_events,
    recent_changes,
    replace_held,
    stale_events,
)
from directus_realtime.listener.catch_up.pairing import Owed, pair
from directus_realtime.listener.inbox import Inbox
from directus_realtime.models import InboxEvent, key_as_json

logger = logging.getLogger("directus_realtime.listener")

#: How old a row must be on the beat until its live event counts as lost: a busy Directus
#: sends events many seconds late.
SETTLE = timedelta(seconds=15)
#: Live events of changes that are older than this do not come any more, nor do those of
#: changes that were made so long before the socket was there.
_STRAGGLERS, _BEFORE_THE_SOCKET = timedelta(seconds=300), timedelta(seconds=60)

# Answers that are about the subscription's items, and no other subscription's.
_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


class Settler:
    """Holds rows of the log against the inbox, and makes the events that are missing.

    Args:
        alias: Of the connection.
        client: To read the items with.
        inbox: Takes the events.

    Attributes:
        doubts: Items of which a live event may come in for a change that has its event.
        caught_up: Items that were caught up lately, those among them.
    """

    def __init__(self, alias: str, client: DirectusClient, inbox: Inbox) -> None:
        self._alias = alias
        self._client = client
        self._inbox = inbox
        self.doubts = RecentChanges()
        self.caught_up = RecentChanges()
        self._has_recalled = False
        self._repetitions = Repetitions()
        self._connected_at = monotonic()

    def connected(self) -> None:
        """There is a new socket, which brings nothing of long ago."""
        self._connected_at = monotonic()

    async def recall(self) -> None:
        """What a listener before this one caught up may still come in live."""
        if self._has_recalled:
            return
        since = timezone.now() - timedelta(seconds=DOUBT)
        changes: list[Change] = await self._inbox.run_in_order(
            partial(recent_changes, self._alias, since)
        )
        for change in changes:
            self.caught_up.add(change)
            self.doubts.add(change)
        self._has_recalled = True

    async def settle(self, page: Sequence[ActivityRow], followers: Sequence[Follower]) -> int:
        """Give each row of a page its events, be they made or held.

        Args:
            page: Rows of the log.
            followers: Who may want them. One whose items the token may not read is left
                as it is, and is marked so.

        Returns:
            How many events were made.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        followers = [follower for follower in followers if not follower.refusal]
        fresh = [row for row in page if any(f.is_open(row) for f in followers)]
        if not fresh:
            return 0
        missing = await self._missing(fresh, followers)
        names = {follower.wanted.name for follower in followers}
        held = await self._inbox.run_in_order(
            partial(held_events, self._alias, names, [row.id for row in fresh])
        )
        made = 0
        for follower in followers:
            name = follower.wanted.name
            rows = [owed.row for owed in missing if owed.subscription == name]
            mine = [each for each in held if each.subscription == name]
            made += await self._settle_for(follower, fresh, rows, mine)
        return made

    async def _missing(
        self, rows: Sequence[ActivityRow], followers: Iterable[Follower]
    ) -> list[Owed]:
        interests = [follower.interest() for follower in followers]
        return await self._inbox.run_in_order(
            partial(pair, self._alias, rows, interests, self._client.clock.ahead)
        )

    async def _settle_for(
        self,
        follower: Follower,
        page: Sequence[ActivityRow],
        missing: list[ActivityRow],
        held: list[InboxEvent],
    ) -> int:
        missing = [row for row in missing if row.id not in follower.settled]
        young = self._young(missing) if follower.is_current else set()
        ripe = [row for row in missing if row.id not in young]
        stale = stale_events(held, {row.item for row in ripe}, self.caught_up)
        ids = {row.id for row in ripe} | {row.activity_id for row in stale}
        rows = [row for row in page if row.id in ids]
        try:
            events = await self._make(follower, rows) if rows else []
        except RequestRefused as error:
            # An answer that makes no sense is about these items, too: the others go on.
            if error.status not in _REFUSALS and error.code != MALFORMED:
                raise
            self._refuse(follower, error)
            return 0
        self._put(follower, events, {row.id: row for row in rows})
        if held:
            await self._let_go(follower, held, stale)
        follower.settle(row.id for row in page if row.id not in young)
        return len(events)

    def _refuse(self, follower: Follower, error: RequestRefused) -> None:
        follower.refusal = str(error)
        sentence = f"{follower.wanted.name} is not caught up: {error}"
        logger.log(
            logging.WARNING if self._repetitions.is_news(sentence) else logging.DEBUG,
            "%s  %s",
            self._alias,
            sentence,
            extra={
                "what": "catch-up-refused",
                "connection": self._alias,
                "subscription": follower.wanted.name,
                "error": str(error),
            },
        )

    def _young(self, rows: Iterable[ActivityRow]) -> set[int]:
        """The rows whose live event may be on its way."""
        horizon = self._client.clock.now() - SETTLE
        return {row.id for row in rows if row.timestamp > horizon}

    async def _make(self, follower: Follower, rows: Sequence[ActivityRow]) -> list[Event]:
        return await make_events(self._client, follower.subscription, rows, "catch-up")

    def _put(self, follower: Follower, events: list[Event], rows: dict[int, ActivityRow]) -> None:
        since_the_socket = timedelta(seconds=monotonic() - self._connected_at)
        age = min(_STRAGGLERS, since_the_socket + _BEFORE_THE_SOCKET)
        stragglers = self._client.clock.now() - age
        for event in events:
            self._inbox.put(event, follower.wanted.group, None, follower.wanted.memory)
            self.caught_up.add(change_of(event))
            if rows[event.activity_id or 0].timestamp > stragglers:
                self.doubts.add(change_of(event))

    async def _let_go(
        self, follower: Follower, held: list[InboxEvent], stale: list[InboxEvent]
    ) -> None:
        """Before what comes later in the log is made; behind what replaces the stale ones."""
        going = [row for row in held if row not in stale]
        delivered = Delivered(follower.wanted.debounce, follower.wanted.memory)
        await self._inbox.run_in_order(partial(replace_held, stale, going, delivered))


def change_of(event: Event) -> Change:
    """What an event is about, as it is doubted."""
    return event.subscription, key_as_json(event.key)
