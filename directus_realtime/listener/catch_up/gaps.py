"""Gaps: spans of time in which the socket may have missed events, and what became of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from django.utils import timezone
from django.utils.translation import gettext_noop

from directus_realtime.client import DirectusClient
from directus_realtime.listener.catch_up import cursors
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.listener.notices import Notices
from directus_realtime.listener.wanted import Wanted
from directus_realtime.protocol.redaction import storable
from directus_realtime.signals import directus_gap_detected

logger = logging.getLogger("directus_realtime.listener")

# Stored and logged in English; the admin translates them.
_NO_LOG = {
    "none": gettext_noop("The token may not read directus_activity"),
    "partial": gettext_noop("The token may read only a part of directus_activity"),
}
_PRUNED = "The activity log does not reach back that far"
_ANEW = "The activity log began anew, as after a restored backup"
_NEVER_READ = "The activity log was never read before"


@dataclass(frozen=True)
class Gap:
    """A span of time in which events may have been missed.

    Attributes:
        since: When the server was last heard.
        reason: Why it was not heard since.
        unknown: Why the log cannot tell all of it, as a sentence without a full stop; empty
            where it can.
    """

    since: datetime
    reason: str = ""
    unknown: str = ""


class GapKeeper:
    """Knows the gap of one connection, and whether the activity log can close it.

    Args:
        alias: Of the connection.
        inbox: To write in order with the events.
        notices: Sends the signal.
        complete_until: From when on a listener before this one may have missed something;
            ``None`` where there was none.
    """

    def __init__(
        self, alias: str, inbox: Inbox, notices: Notices, complete_until: datetime | None
    ) -> None:
        self._alias = alias
        self._inbox = inbox
        self._notices = notices
        self._gap = Gap(complete_until, "no listener was connected") if complete_until else None
        self._taken: Gap | None = None
        self._connected_at: datetime | None = None
        self._problem: str | None = None
        self._said: set[str] = set()
        self._logged: dict[str, str] = {}

    def begin(self, since: datetime | None, reason: str) -> None:
        """The socket is gone, or what it brings does not count."""
        if self._gap is None and since is not None:
            self._gap = Gap(since, reason.rstrip("."))

    def connected(self) -> None:
        """The rights of the token may be others than before."""
        self._problem = None
        self._logged = {}
        self._connected_at = timezone.now()

    def take(self) -> Gap | None:
        """The gap, which is about to be caught up; again, as long as it is not announced."""
        self._taken, self._gap = self._taken or self._gap, None
        return self._taken

    @property
    def open_since(self) -> datetime | None:
        """Since when there is a gap that was not announced yet."""
        gap = self._taken or self._gap
        return gap.since if gap else None

    def can_recover(self, wanted: Wanted) -> bool:
        """Whether what a subscription misses is known to be in the log."""
        return self._is_logged(wanted.query.collection)

    def _is_logged(self, collection: str) -> bool:
        return self._problem == "" and self._logged.get(collection) in {"all", "activity"}

    # What the log can tell

    async def problem_of_the_log(self, client: DirectusClient) -> str:
        """Why the log cannot be used, as a sentence without a full stop; empty where it can."""
        if self._problem is None:
            access = await client.read_access("directus_activity")
            self._problem = "" if access == "full" else _NO_LOG.get(access, _NO_LOG["none"])
            await self._inbox.run_in_order(
                partial(cursors.note, self._alias, problem=storable(self._problem))
            )
            if self._problem:
                self._say_once(
                    f"{self._problem}: what changes while the listener is away is not found "
                    "again. Allow the token to read directus_activity."
                )
        return self._problem

    async def look_at_collections(self, client: DirectusClient, collections: Iterable[str]) -> None:
        """Say of which collections Directus does not log the changes."""
        for collection in sorted(set(collections) - set(self._logged)):
            logged = self._logged[collection] = await client.accountability(collection)
            if logged == "none":
                self._say_once(
                    f"Directus does not log the changes of {collection} (its accountability is "
                    "off): what changes while the listener is away is not found again."
                )
            elif logged == "unknown":
                self._say_once(
                    f"Whether Directus logs the changes of {collection} is not known: allow the "
                    "token to read directus_collections."
                )

    async def look_for_pruning(self, client: DirectusClient, gap: Gap, is_another_log: bool) -> Gap:
        """Say of a gap whether the log still reaches back to it.

        Rows that were not seen yet and are gone can only be younger than the last look.
        """
        if is_another_log:
            return replace(gap, unknown=_ANEW)
        cursor = await self._inbox.run_in_order(partial(cursors.read, self._alias))
        if cursor.caught_up_at is None or cursor.position is None:
            return replace(gap, unknown=_NEVER_READ)
        oldest = await client.activity.oldest()
        if oldest is None:
            return replace(gap, unknown=_PRUNED if cursor.position > 0 else "")
        is_whole = oldest.id <= cursor.position + 1 or oldest.timestamp <= cursor.caught_up_at
        return replace(gap, unknown="" if is_whole else _PRUNED)

    # What is told

    async def announce(
        self, gap: Gap, collections: Iterable[str], unread: Collection[str], events: int
    ) -> None:
        """Tell from when to when events may have been missed, and whether all were found.

        Args:
            gap: The span.
            collections: Of the subscriptions.
            unread: Those of them of which something could not be read.
            events: How many were caught up.
        """
        unknown = {c for c in collections if gap.unknown or not self._is_logged(c)}
        missing = sorted(unknown.union(unread))
        until = timezone.now()
        seconds = (until - gap.since).total_seconds()
        counts.add_gap(self._alias, max(seconds, 0), is_recovered=not missing)
        self._log(gap, missing, self._why(gap, sorted(unknown), sorted(unread)), events)
        await self._inbox.run_in_order(
            partial(
                cursors.note,
                self._alias,
                gap_since=gap.since,
                gap_until=until,
                gap_recovered=not missing,
            )
        )
        self._notices.put(
            directus_gap_detected,
            self._alias,
            connection=self._alias,
            since=gap.since,
            until=until,
            recovered=not missing,
            collections=missing,
        )
        self._taken = None

    def _log(self, gap: Gap, missing: list[str], why: str, events: int) -> None:
        """The story of a gap in one line: how long, why, and what came of it."""
        away = ((self._connected_at or timezone.now()) - gap.since).total_seconds()
        verdict = f"others may have been missed: {why}."
        logger.log(
            logging.WARNING if missing else logging.INFO,
            "%s  back after %.1f s (%s): %s caught up, %s",
            self._alias,
            max(away, 0),
            gap.reason,
            "1 event" if events == 1 else f"{events} events",
            verdict if missing else "nothing is missing",
            extra={
                "what": "back",
                "connection": self._alias,
                "seconds": max(away, 0),
                "reason": gap.reason,
                "events": events,
                "recovered": not missing,
                "collections": missing,
            },
        )

    def _why(self, gap: Gap, unknown: list[str], unread: list[str]) -> str:
        if self._problem:
            return self._problem
        if gap.unknown:
            return gap.unknown
        if unread:
            return f"What changed of {', '.join(unread)} cannot be read at the moment"
        return f"Directus is not known to log {', '.join(unknown)}"

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            logger.warning(
                "%s  %s",
                self._alias,
                sentence,
                extra={"what": "log-unusable", "connection": self._alias, "reason": sentence},
            )
