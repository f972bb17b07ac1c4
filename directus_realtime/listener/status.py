"""Status of connections and subscriptions: in the log, and in the database for the admin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from directus_realtime.client import ConnectionState, DirectusClient
from directus_realtime.client.connection import StateChange
from directus_realtime.database import DatabaseThread, own_alias, sqlite_write_lock
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.inbox_entry import Tally
from directus_realtime.models import ConnectionStatus, DirectusSubscription, EventCount
from directus_realtime.utils.aio import Wakeup
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.redaction import storable
from directus_realtime.utils.system_clock import SystemClock

#: How long the counts by the minute are kept.
KEPT = timedelta(hours=6)
#: Seconds between two heartbeats.
HEARTBEAT_INTERVAL = 2.0
#: Seconds between a change and its writing.
_DEBOUNCE = 0.1

#: State and error of each subscription, by uid and name.
States = dict[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class StatusReport:
    """Status of one connection at a moment.

    Attributes:
        alias: Alias of the connection.
        columns: Columns of :class:`ConnectionStatus`.
        states: State and error of each subscription.
    """

    alias: str
    columns: Mapping[str, object]
    states: States


class StatusWriter:
    """Writer of the rows of :class:`ConnectionStatus` and of the subscriptions' state columns.

    ``fence`` is called in each transaction, and raises where another listener is active.
    """

    def __init__(
        self,
        database: DatabaseThread,
        inbox: Inbox,
        reports: Callable[[], list[StatusReport]],
        fence: Callable[[], None],
        clock: SystemClock,
    ) -> None:
        self._fence = fence
        self._database = database
        self._inbox = inbox
        self._reports = reports
        self._clock = clock
        self._written: dict[str, States] = {}
        self._changed = Wakeup(clock)

    def wake(self) -> None:
        """Write soon."""
        self._changed.set()

    async def run(self) -> None:
        """Write every two seconds and soon after each change, until cancelled."""
        while True:
            await self.write()
            if await self._changed.wait(HEARTBEAT_INTERVAL):
                await self._clock.sleep(_DEBOUNCE)

    async def write(self) -> None:
        """Write the present status."""
        reports = self._reports()
        changed = [self._changed_states(report) for report in reports]
        await self._database.run_with_retry(
            self._write, reports, changed, self._inbox.take_tallies()
        )
        self._written = {report.alias: report.states for report in reports}

    def _changed_states(self, report: StatusReport) -> dict[str, tuple[str, str]]:
        """Return the states that are not written yet, by name."""
        written = self._written.get(report.alias, {})
        return {
            name: state
            for (uid, name), state in report.states.items()
            if written.get((uid, name)) != state
        }

    def _write(
        self,
        reports: Sequence[StatusReport],
        changed: Sequence[Mapping[str, tuple[str, str]]],
        tallies: Mapping[str, Tally],
    ) -> None:
        now = self._clock.now()
        with sqlite_write_lock(own_alias()), transaction.atomic(own_alias()):
            self._fence()
            for report, states in zip(reports, changed, strict=True):
                ConnectionStatus.objects.update_or_create(
                    alias=report.alias, defaults={**report.columns, "heartbeat_at": now}
                )
                write_states(states, report.alias)
            write_tallies(tallies)
            count_by_minute(tallies, now)


def write_states(states: Mapping[str, tuple[str, str]], alias: str) -> None:
    """Write the state and the error of subscriptions, by name."""
    rows = DirectusSubscription.objects.filter(connection=alias)
    for name, (state, error) in states.items():
        rows.filter(name=name).update(state=state, last_error=storable(error))


def write_tallies(tallies: Mapping[str, Tally]) -> None:
    """Add to the counts of subscriptions, by name."""
    for name, tally in tallies.items():
        values: dict[str, Any] = {
            "event_count": F("event_count") + tally.events,
            "last_event_at": tally.last_event_at,
        }
        DirectusSubscription.objects.filter(name=name).update(**values)


def count_by_minute(tallies: Mapping[str, Tally], now: datetime) -> None:
    """Add the events since the last call to the counts by the minute.

    A whole tally counts for the minute of its last event: it covers two seconds, so that
    nothing has to be counted by the minute while events come in. The number of queries does not
    depend on the number of subscriptions.

    Args:
        tallies: Counts by the name of the subscription.
        now: The present time; old counts are deleted.
    """
    if not tallies:
        return
    rows = DirectusSubscription.objects.filter(name__in=tallies)
    connections = dict(rows.values_list("name", "connection"))
    minutes = {
        name: tally.last_event_at.replace(second=0, microsecond=0)
        for name, tally in tallies.items()
        if name in connections and tally.last_event_at is not None
    }
    stored = {
        (each.subscription, each.minute): each
        for each in EventCount.objects.filter(
            minute__in=set(minutes.values()), subscription__in=minutes
        )
    }
    new = []
    for name, minute in minutes.items():
        if (count := stored.get((name, minute))) is None:
            count = EventCount(subscription=name, connection=connections[name], minute=minute)
            new.append(count)
        count.events += tallies[name].events
    EventCount.objects.bulk_update(stored.values(), ["events"])
    if new:
        # MariaDB considers a name equal to one that differs in case only; the charts can do
        # without that minute.
        EventCount.objects.bulk_create(new, ignore_conflicts=True)
        EventCount.objects.filter(minute__lt=now - KEPT).delete()


#: Seconds until the first reminder that there still is no connection, and the ceiling of the
#: interval, which doubles each time.
REMINDER, _REMINDER_CEILING = 60.0, 900.0


class ConnectionLog:
    """Log of a connection: a line for each change of state, and reminders during an outage."""

    def __init__(self, client: DirectusClient, clock: SystemClock) -> None:
        self._alias = client.name
        self._client = client
        self._clock = clock
        self._log = EventLogger("directus_realtime.listener", clock=clock, connection=client.name)
        self._interval = REMINDER
        self._next_reminder: float | None = None

    def state_changed(self, change: StateChange) -> None:
        """Log a change of state."""
        is_reconnecting = change.state is ConnectionState.RECONNECTING
        self._interval = REMINDER
        self._next_reminder = self._clock.monotonic() + REMINDER if is_reconnecting else None
        reason = change.reason
        if change.state is ConnectionState.CONNECTED:
            self._log_connected()
        elif is_reconnecting:
            self._log.warning(
                "reconnecting", "%s  reconnecting: %s", self._alias, reason, reason=reason
            )
        elif reason:
            self._log.error(
                "disconnected", "%s  disconnected: %s", self._alias, reason, reason=reason
            )

    def socket_changed(self, interval: float, log_problem: str) -> None:
        """Log that the socket announces changes, or how soon they are found without it.

        Args:
            interval: Seconds between two polls of the activity log without a socket.
            log_problem: Why the log cannot be read, as a sentence without a full stop; empty
                where it can.
        """
        problem = self._client.socket_problem
        if not problem:
            self._log.info("socket-open", "%s  the WebSocket announces changes", self._alias)
        elif self._log.is_new("socket-closed", problem):
            found = f"so the activity log is read every {interval:g} s"
            if log_problem:
                found = f"so changes are not found ({log_problem})"
            self._log.warning(
                "socket-closed",
                "%s  no WebSocket, %s: %s",
                self._alias,
                found,
                problem,
                seconds=interval,
                reason=problem,
            )

    def remind(self) -> None:
        """Log that there still is no connection, if a reminder is due."""
        now = self._clock.monotonic()
        if self._next_reminder is None or now < self._next_reminder:
            return
        self._interval = min(2 * self._interval, _REMINDER_CEILING)
        self._next_reminder = now + self._interval
        seconds = (self._clock.now() - self._client.changed_at).total_seconds()
        self._log.warning(
            "still-reconnecting",
            "%s  still reconnecting after %.0f s: %s",
            self._alias,
            seconds,
            self._client.reason,
            seconds=seconds,
            reason=self._client.reason,
        )

    def _log_connected(self) -> None:
        client = self._client
        version = client.server.version if client.server else ""
        self._log.info(
            "connected",
            "%s  connected to %s (Directus %s) as %s",
            self._alias,
            client.url,
            version or "of an unknown version",
            client.identity,
            url=client.url,
            version=version,
            identity=client.identity,
        )
