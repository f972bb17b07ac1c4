"""Gaps: spans of time whose changes may be lost, and their announcement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.utils.translation import gettext_noop

from directus_realtime.listener.follower import position_store
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.models import LogPosition
from directus_realtime.signals import directus_gap_detected
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.redaction import storable
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: A recovered outage is announced by a signal where it was longer.
LONG = timedelta(seconds=30)
#: Between two reasons of one gap.
_AND = "; "

# Stored and logged in English; the admin translates them.
PRUNED = gettext_noop("the activity log was pruned beyond the last row that was read")
ANOTHER_LOG = gettext_noop("the activity log is another one, as after a restored backup")
NEVER_READ = gettext_noop("the activity log was never read before")
SOCKET_ONLY = gettext_noop("changes without a row in the activity log come by the socket alone")
POSITION_SET = gettext_noop("changes were skipped: the position in the activity log was set")
ROW_UNREADABLE = gettext_noop("a row of the activity log cannot be read")


@dataclass
class Outage:
    """A span in which Directus was not followed.

    Attributes:
        since: Time of the last read to the end.
        reason: Cause of the outage, as a sentence without a full stop.
        events: Number of events that were caught up.
        doubts: Why changes may be lost, as sentences without a full stop; empty where none are.
        collections: Collections whose changes may be lost.
    """

    since: datetime
    reason: str
    events: int = 0
    doubts: list[str] = field(default_factory=list)
    collections: set[str] = field(default_factory=set)


class GapKeeper:
    """The present outage of one connection, and the announcement of its end."""

    def __init__(
        self, alias: str, inbox: Inbox, lifecycle_signals: LifecycleSignals, clock: SystemClock
    ) -> None:
        self._alias = alias
        self._log = logger.bind(connection=alias)
        self._inbox = inbox
        self._lifecycle_signals = lifecycle_signals
        self._clock = clock
        self.outage: Outage | None = None

    def begin(self, since: datetime | None, reason: str) -> None:
        """Note that Directus is not followed; the first reason stays."""
        if self.outage is None and since is not None:
            self.outage = Outage(since, reason.rstrip("."))

    def resume(self, stored: LogPosition) -> None:
        """Resume the outage that the previous listener has stored."""
        self.begin(stored.read_at, "no listener was connected")
        if stored.gap_since is None or stored.gap_until is not None:
            return
        if self.outage is None:
            self.outage = Outage(stored.gap_since, "no listener was connected")
        self.outage.since = min(self.outage.since, stored.gap_since)
        self.outage.doubts = stored.gap_reason.split(_AND)
        self.outage.collections = set(stored.gap_collections)

    def doubt(self, reason: str, collections: Collection[str]) -> None:
        """Note that changes may be lost.

        It is stored at once: a listener that ends before the announcement leaves it to the next
        one, which could not detect the loss.

        Args:
            reason: Why, as a sentence without a full stop.
            collections: Collections of subscriptions whose changes may be lost; where there is
                none, nothing is missing.
        """
        if not collections:
            return
        if self.outage is None:
            self.outage = Outage(self._clock.now(), reason)
        if reason not in self.outage.doubts:
            self.outage.doubts.append(reason)
        self.outage.collections |= set(collections)
        self._inbox.put([], self._write(self.outage, None, sorted(self.outage.collections)))

    def end(self, uncertain: Mapping[str, str], until: datetime) -> None:
        """Announce the end of the outage, after the log was read to the end.

        Args:
            uncertain: Collections that are not known to be complete, each with the reason.
            until: Time up to which everything is stored.
        """
        if (outage := self.outage) is None:
            return
        self.outage = None
        missing = set(uncertain) | outage.collections
        outage.doubts += sorted(set(uncertain.values()) - set(outage.doubts))
        self.announce(outage, sorted(missing), max(until, outage.since))

    def announce(self, outage: Outage, missing: Collection[str], until: datetime) -> None:
        """Log a span, and store and signal it where it was long or changes may be lost.

        Args:
            outage: The span.
            missing: Collections whose changes may be lost; empty where all were recovered.
            until: End of the span: where all were recovered, everything up to it is stored.
        """
        passed = self._clock.now() - outage.since
        seconds = max(passed.total_seconds(), 0)
        why = _AND.join(outage.doubts)
        self._log_end(outage, seconds, missing, why)
        if not missing and passed <= LONG:
            return
        counts.add_gap(self._alias, seconds, is_recovered=not missing)
        self._inbox.put([], self._write(outage, until, missing))
        self._lifecycle_signals.put(
            directus_gap_detected,
            self._alias,
            connection=self._alias,
            since=outage.since,
            until=until,
            recovered=not missing,
            collections=list(missing),
        )

    def _write(
        self, outage: Outage, until: datetime | None, missing: Collection[str]
    ) -> Callable[[], None]:
        return partial(_write_gap, self._alias, _values(outage, until, missing))

    def _log_end(self, outage: Outage, seconds: float, missing: Collection[str], why: str) -> None:
        events = "1 event" if outage.events == 1 else f"{outage.events} events"
        sentence = "%s  followed again after %.1f s (%s): %s caught up, %s"
        args = (self._alias, seconds, outage.reason, events)
        log = self._log.bind(
            seconds=seconds,
            reason=outage.reason,
            events=outage.events,
            recovered=not missing,
            collections=list(missing),
        )
        if missing:
            verdict = f"changes of {', '.join(missing)} may be lost: {why}"
            log.warning("followed-again", sentence, *args, verdict)
        else:
            log.info("followed-again", sentence, *args, "nothing is missing")


def open_gap(
    alias: str, reason: str, collections: Collection[str], now: datetime | None = None
) -> None:
    """Store a possible loss that was found outside the follower; it announces the gap.

    Args:
        alias: Alias of the connection.
        reason: Why changes may be lost, as a sentence without a full stop.
        collections: Collections whose changes may be lost.
        now: Beginning of the gap where the log was never read; without it, nothing is stored
            for a connection that was never followed.
    """
    row = position_store.read(alias)
    is_open = row.gap_since is not None and row.gap_until is None
    since = row.gap_since if is_open else row.read_at or now
    if since is None:
        return
    doubts = row.gap_reason.split(_AND) if is_open else []
    known = row.gap_collections if is_open else []
    outage = Outage(since, "", doubts=[*doubts, reason] if reason not in doubts else doubts)
    position_store.write_values(alias, _values(outage, None, sorted({*known, *collections})))


def _values(outage: Outage, until: datetime | None, missing: Collection[str]) -> dict[str, object]:
    return {
        "gap_since": outage.since,
        "gap_until": until,
        "gap_recovered": not missing,
        "gap_reason": storable(_AND.join(outage.doubts)) if missing else "",
        "gap_collections": list(missing),
        "gap_acknowledged_at": None,
    }


def _write_gap(alias: str, values: dict[str, object]) -> None:
    """Write a gap; a recovered one never replaces one that is lost and not acknowledged."""
    row = position_store.read(alias)
    is_open = row.gap_recovered is False and row.gap_acknowledged_at is None
    is_open = is_open and row.gap_until is not None  # else it is the beginning of this one
    if not (values["gap_recovered"] and is_open):
        position_store.write_values(alias, values)
