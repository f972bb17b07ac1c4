"""Writes down how the connections and subscriptions stand, for the admin and other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from directus_realtime.database import DatabaseThread, own_alias, waits_its_turn
from directus_realtime.listener.connection import ListenedConnection
from directus_realtime.listener.counting import count_by_minute
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.incoming import Tally
from directus_realtime.listener.wanted import write_states, write_tallies
from directus_realtime.models import ConnectionStatus
from directus_realtime.protocol.redaction import storable

#: Seconds between two heartbeats.
HEARTBEAT_INTERVAL = 2.0
#: Seconds between a change and its writing.
_SETTLE = 0.1

#: State and error of each subscription, by uid and name.
States = dict[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class Snapshot:
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
        await self._database.run_surely(
            _write, snapshots, news, self._inbox.take_tallies(), self._fence
        )
        self._written = {snapshot.alias: snapshot.states for snapshot in snapshots}

    def _news(self, snapshot: Snapshot) -> dict[str, tuple[str, str]]:
        """The states that are not written yet, by name."""
        written = self._written.get(snapshot.alias, {})
        return {
            name: state
            for (uid, name), state in snapshot.states.items()
            if written.get((uid, name)) != state
        }


def _snapshot(connection: ListenedConnection) -> Snapshot:
    client = connection.client
    until = connection.complete_until
    return Snapshot(
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
    snapshots: list[Snapshot],
    news: list[dict[str, tuple[str, str]]],
    tallies: Mapping[str, Tally],
    fence: Callable[[], None],
) -> None:
    now = timezone.now()
    with waits_its_turn(own_alias()), transaction.atomic(own_alias()):
        fence()
        for snapshot, states in zip(snapshots, news, strict=True):
            ConnectionStatus.objects.update_or_create(
                alias=snapshot.alias, defaults={**snapshot.status, "heartbeat_at": now}
            )
            write_states(states, snapshot.alias)
        write_tallies(tallies)
        count_by_minute(tallies)
