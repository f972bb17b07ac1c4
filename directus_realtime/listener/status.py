"""Status of connections and subscriptions, written to the database for the admin and commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from directus_realtime.database import DatabaseThread, own_alias, sqlite_write_lock
from directus_realtime.listener.desired_subscriptions import write_states, write_tallies
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.inbox_entry import Tally
from directus_realtime.listener.listened_connection import ListenedConnection
from directus_realtime.models import ConnectionStatus, DirectusSubscription, EventCount
from directus_realtime.utils.redaction import storable

#: How long the counts are kept.
KEPT = timedelta(hours=6)


def count_by_minute(tallies: Mapping[str, Tally]) -> None:
    """Add what came in since the last call, by the name of the subscription.

    All of a tally is put to the minute of its last event: it is two seconds long, so that
    nothing has to be counted by the minute while events come in. A handful of queries,
    however many subscriptions there are. The caller holds the lease of the connections, in
    a transaction.
    """
    if not tallies:
        return
    rows = DirectusSubscription.objects.filter(name__in=tallies)
    connections = dict(rows.values_list("name", "connection"))
    minutes = {
        name: _minute(tally.last_event_at)
        for name, tally in tallies.items()
        if name in connections and tally.last_event_at is not None
    }
    begun = {
        (each.subscription, each.minute): each
        for each in EventCount.objects.filter(
            minute__in=set(minutes.values()), subscription__in=minutes
        )
    }
    new = []
    for name, minute in minutes.items():
        if (count := begun.get((name, minute))) is None:
            count = EventCount(subscription=name, connection=connections[name], minute=minute)
            new.append(count)
        count.events += tallies[name].events
    EventCount.objects.bulk_update(begun.values(), ["events"])
    if new:
        # MariaDB takes a name for the same as before where only its case was changed; the
        # pictures can do without that minute.
        EventCount.objects.bulk_create(new, ignore_conflicts=True)
        EventCount.objects.filter(minute__lt=timezone.now() - KEPT).delete()


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


#: Seconds between two heartbeats.
HEARTBEAT_INTERVAL = 2.0
#: Seconds between a change and its writing.
_SETTLE = 0.1

#: State and error of each subscription, by uid and name.
States = dict[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class StatusReport:
    """How one connection stands at a moment; plain values, for the database thread."""

    alias: str
    status: dict[str, object]
    states: States


class StatusWriter:
    """Keeps the rows of :class:`ConnectionStatus` and the subscriptions' state columns true.

    Args:
        database: The thread to write in.
        inbox: Counts the events.
        connections: What to write about, by alias; looked at for each write.
        fence: Called in each transaction; raises where another listener is active now.
    """

    def __init__(
        self,
        database: DatabaseThread,
        inbox: Inbox,
        connections: Mapping[str, ListenedConnection],
        fence: Callable[[], None],
    ) -> None:
        self._fence = fence
        self._database = database
        self._inbox = inbox
        self._connections = connections
        self._written: dict[str, States] = {}
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Say that something changed."""
        self._changed.set()

    async def run(self) -> None:
        """Write every two seconds and soon after each change, until cancelled."""
        while True:
            await self.write()
            self._changed.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_INTERVAL):
                    await self._changed.wait()
                await asyncio.sleep(_SETTLE)
            except TimeoutError:
                pass

    async def write(self) -> None:
        """Write down how things stand now."""
        snapshots = [_snapshot(connection) for connection in self._connections.values()]
        news = [self._news(snapshot) for snapshot in snapshots]
        await self._database.run_with_retry(
            _write, snapshots, news, self._inbox.take_tallies(), self._fence
        )
        self._written = {snapshot.alias: snapshot.states for snapshot in snapshots}

    def _news(self, snapshot: StatusReport) -> dict[str, tuple[str, str]]:
        """The states that are not written yet, by name."""
        written = self._written.get(snapshot.alias, {})
        return {
            name: state
            for (uid, name), state in snapshot.states.items()
            if written.get((uid, name)) != state
        }


def _snapshot(connection: ListenedConnection) -> StatusReport:
    client = connection.client
    until = connection.complete_until
    return StatusReport(
        alias=connection.alias,
        status={
            "state": client.state.value,
            "reason": storable(client.reason),
            "changed_at": client.changed_at,
            "url": storable(client.url, 500),
            "version": storable(client.server.version if client.server else "", 40),
            "identity": storable(client.identity, 255),
            "errors": connection.errors,
            "socket_problem": storable(client.socket_problem),
            **({"complete_until": until} if until else {}),
        },
        states=connection.subscription_states(),
    )


def _write(
    snapshots: list[StatusReport],
    news: list[dict[str, tuple[str, str]]],
    tallies: Mapping[str, Tally],
    fence: Callable[[], None],
) -> None:
    now = timezone.now()
    with sqlite_write_lock(own_alias()), transaction.atomic(own_alias()):
        fence()
        for snapshot, states in zip(snapshots, news, strict=True):
            ConnectionStatus.objects.update_or_create(
                alias=snapshot.alias, defaults={**snapshot.status, "heartbeat_at": now}
            )
            write_states(states, snapshot.alias)
        write_tallies(tallies)
        count_by_minute(tallies)
