"""The listener: client → inbox → delivery, for one or more connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from directus_realtime.client.states import StateChange
from directus_realtime.database import DatabaseThread, check_tables
from directus_realtime.declared import sync_declared
from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.listener.connection import ListenedConnection
from directus_realtime.listener.delivery import Delivery
from directus_realtime.listener.handover import HandOver
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.notices import Notices
from directus_realtime.listener.outcomes import RetryPolicy
from directus_realtime.listener.sending import GroupSender
from directus_realtime.listener.status import StatusWriter, last_heartbeats
from directus_realtime.settings import INLINE, TASKS, ConnectionSettings

logger = logging.getLogger("directus_realtime.listener")

#: Seconds that stopping may take, all in all.
STOP_TIMEOUT = 8.0


class Listener:
    """Runs the connections until told to stop.

    Reading, storing and delivering are tasks of their own: none waits for another.
    Storing has a database thread to itself, so that a slow receiver cannot keep an event
    in memory that should be in the inbox.

    Args:
        connections: The settings of the connections to listen to.
    """

    def __init__(self, connections: Iterable[ConnectionSettings]) -> None:
        self._settings = list(connections)
        self._inbox_database = DatabaseThread("inbox")
        self._delivery_database = DatabaseThread("delivery")
        self._sender = GroupSender()
        self._notices_database = DatabaseThread("notices")
        self._notices = Notices(self._notices_database)
        inline = [settings for settings in self._settings if settings.delivery == INLINE]
        policies = {settings.alias: RetryPolicy.of(settings) for settings in inline}
        self._delivery = Delivery(self._delivery_database, policies, self._sender)
        by_tasks = [settings for settings in self._settings if settings.delivery == TASKS]
        timeouts = {settings.alias: settings.task_timeout for settings in by_tasks}
        self._handover_database = DatabaseThread("handover")
        self._handover = HandOver(self._handover_database, timeouts, self._sender)
        self._inbox = Inbox(self._inbox_database, self._wake_delivery)
        self._status: StatusWriter | None = None
        self._state_sends: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until ``stopping`` is set, then finish the delivery at hand.

        Raises:
            ConnectionImpossible: No connection is left that could be had.
            ImproperlyConfigured: The tables are not there.
        """
        await self._inbox_database.run_surely(check_tables)
        await self._inbox_database.run_surely(sync_declared)
        heartbeats = await self._inbox_database.run_surely(last_heartbeats)
        connections = [
            ListenedConnection(
                settings,
                self._inbox_database,
                self._inbox,
                self._notices,
                self._state_changed,
                heartbeats.get(settings.alias),
            )
            for settings in self._settings
        ]
        self._status = StatusWriter(self._inbox_database, self._inbox, connections)
        delivering = asyncio.Event()
        services = [
            asyncio.create_task(self._inbox.run(), name="inbox"),
            asyncio.create_task(self._notices.run(), name="notices"),
            asyncio.create_task(self._status.run(), name="status"),
        ]
        delivery = asyncio.create_task(self._deliver(delivering), name="delivery")
        try:
            await self._listen(connections, [*services, delivery], stopping)
        finally:
            delivering.set()
            self._wake_delivery()
            await self._finish(delivery, services)

    async def _deliver(self, stopping: asyncio.Event) -> None:
        await asyncio.gather(self._delivery.run(stopping), self._handover.run(stopping))

    def _wake_delivery(self) -> None:
        self._delivery.wake()
        self._handover.wake()

    async def _listen(
        self,
        connections: list[ListenedConnection],
        services: list[asyncio.Task[None]],
        stopping: asyncio.Event,
    ) -> None:
        """Run the connections until stopped, or until none is left."""
        stop = asyncio.create_task(stopping.wait(), name="stop")
        alive = {asyncio.create_task(c.run(), name=f"connection-{c.alias}") for c in connections}
        running = {stop, *services}
        try:
            while True:
                done, _ = await asyncio.wait(alive | running, return_when=asyncio.FIRST_COMPLETED)
                if stop in done:
                    return
                for task in done & running:
                    task.result()
                    raise RuntimeError(f"The task {task.get_name()} ended by itself.")
                failures = [task.exception() for task in done & alive]
                alive -= done
                if unexpected := [e for e in failures if not isinstance(e, ConnectionImpossible)]:
                    raise unexpected[0] or RuntimeError("A connection ended by itself.")
                if not alive:
                    raise failures[0] or RuntimeError("A connection ended by itself.")
        finally:
            for task in {stop, *alive}:
                task.cancel()
            await asyncio.gather(stop, *alive, return_exceptions=True)

    async def _finish(
        self, delivery: asyncio.Task[None], services: list[asyncio.Task[None]]
    ) -> None:
        """Store what is in memory, finish the delivery at hand, say that we are gone."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._inbox.flush()
                await delivery
                await self._notices.drain()
                if self._status is not None:
                    await self._status.write()
        except TimeoutError:
            logger.error(
                "Stopping took longer than %g s; what a receiver is busy with will be "
                "delivered again.",
                STOP_TIMEOUT,
            )
            raise
        finally:
            for task in [delivery, *services]:
                task.cancel()
            await asyncio.gather(delivery, *services, return_exceptions=True)
        await self._sender.aclose()
        await self._inbox_database.aclose()
        await self._delivery_database.aclose()
        await self._handover_database.aclose()
        await self._notices_database.aclose()

    def _state_changed(self, alias: str, change: StateChange) -> None:
        if self._status is not None:
            self._status.wake()
        send = self._sender.send_state(alias, change.state.value, change.reason)
        task = asyncio.create_task(send)
        self._state_sends.add(task)
        task.add_done_callback(self._state_sends.discard)
