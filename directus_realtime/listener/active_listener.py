"""The active listener: client, inbox and delivery of its connections, until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from directus_realtime.client.connection import StateChange
from directus_realtime.database import DatabaseThread
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.exceptions import ConnectionImpossible, LeaseLost
from directus_realtime.listener.delivery.delivery import Delivery
from directus_realtime.listener.delivery.delivery_queue import RetryPolicy
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.tasks import HandOver
from directus_realtime.listener.inbox import FreshRows, Inbox
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.listener.listened_connection import ListenedConnection
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.listener.retention import DailyPrune
from directus_realtime.listener.status import StatusWriter
from directus_realtime.settings import INLINE, TASKS, ConnectionSettings

logger = logging.getLogger("directus_realtime.listener")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds in which a second signal is taken for the first: a terminal and a wrapper such as
#: make or timeout each pass on the same Ctrl-C.
SAME_SIGNAL = 0.5


class StopTimedOut(Exception):
    """Something hangs in a thread, which Python would wait for at its exit.

    Attributes:
        ended_by: What the listener ended by; ``None`` where it was asked to stop.
    """

    def __init__(self, ended_by: BaseException | None) -> None:
        super().__init__("A receiver or the database hangs.")
        self.ended_by = ended_by


@contextlib.contextmanager
def stop_on_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Set an event on the first signal; end the process on the second.

    The handlers only set a flag: raising in the middle of a commit would be worse than
    waiting. Outside the main thread, where Python allows no handlers, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    first_at = 0.0

    def handle(number: signal.Signals) -> None:
        nonlocal first_at
        if stopping.is_set() and loop.time() - first_at < SAME_SIGNAL:
            return
        if stopping.is_set():
            logger.warning(
                "%s again: stopping at once.",
                number.name,
                extra={"event": "stopping-at-once", "signal": number.name},
            )
            os._exit(128 + number)
        logger.info(
            "%s: finishing the delivery at hand.",
            number.name,
            extra={"event": "stopping", "signal": number.name},
        )
        first_at = loop.time()
        stopping.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


#: Seconds that stopping may take, all in all.
STOP_TIMEOUT = 8.0
#: Seconds until a connection that was given up is tried again, where others go on.
REFUSED_AGAIN = 300.0


class ActiveListener:
    """Runs the connections until told to stop, or until the lease is lost.

    Reading, storing and delivering are tasks of their own: none waits for another.
    Storing has a database thread to itself, so that a slow receiver cannot keep an event
    in memory that should be in the inbox.

    Args:
        connections: The settings of the connections to listen to.
        fence: Called in each transaction that writes; raises where the lease is lost.
        after_crash: Whether the listener before this one was killed, or hangs.
    """

    def __init__(
        self,
        connections: Iterable[ConnectionSettings],
        fence: Callable[[], None],
        *,
        after_crash: bool = False,
    ) -> None:
        self._settings = list(connections)
        self._fence = fence
        self._inbox_database = DatabaseThread("inbox")
        delivery_database = DatabaseThread("delivery")
        handover_database = DatabaseThread("handover")
        notices_database = DatabaseThread("notices")
        retention_database = DatabaseThread("retention")
        self._databases = [
            self._inbox_database,
            delivery_database,
            handover_database,
            notices_database,
            retention_database,
        ]
        self._sender = GroupSender()
        self._notices = LifecycleSignals(notices_database)
        inline = [settings for settings in self._settings if settings.delivery == INLINE]
        policies = {settings.alias: RetryPolicy.of(settings) for settings in inline}
        fresh = FreshRows(policies)
        self._delivery = Delivery(
            delivery_database, policies, self._sender, fence, fresh, after_crash=after_crash
        )
        by_tasks = [settings for settings in self._settings if settings.delivery == TASKS]
        timeouts = {settings.alias: settings.task_timeout for settings in by_tasks}
        ceiling = max((settings.retry_ceiling for settings in by_tasks), default=0.0)
        self._handover = HandOver(handover_database, timeouts, self._sender, fence, ceiling)
        self._inbox = Inbox(self._inbox_database, self._wake_delivery, fence=fence, fresh=fresh)
        counts.watch_unstored(lambda: self._inbox.waiting)
        self._retention = DailyPrune(retention_database, self._settings, fence)
        self._status: StatusWriter | None = None
        self._connections: dict[str, ListenedConnection] = {}
        self._given_up: set[str] = set()
        self._is_lost = False
        self._state_sends: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a receiver that it did not wait for has not come back."""
        return any(database.is_busy for database in self._databases)

    async def run(self, stopping: asyncio.Event, holding: Coroutine[Any, Any, NoReturn]) -> None:
        """Listen until ``stopping`` is set, then finish the delivery at hand.

        Args:
            stopping: Asks to stop.
            holding: Keeps the lease, until everything else has ended.

        Raises:
            ConnectionImpossible: No connection is left that could be had.
            LeaseLost: Another listener is active now; nothing is finished then.
            StopTimedOut: A receiver hangs and cannot be waited for.
        """
        hold = asyncio.create_task(holding, name="lease")
        try:
            await self._run(stopping, hold)
        except (LeaseLost, StopTimedOut):
            # Without waiting: a thread may be busy with a receiver for long.
            for database in self._databases:
                database.close_soon()
            raise
        finally:
            await _end([hold])
            await self._sender.aclose()

    async def _run(self, stopping: asyncio.Event, hold: asyncio.Task[NoReturn]) -> None:
        await self._inbox_database.run_with_retry(sync_declared)
        for settings in self._settings:
            self._connections[settings.alias] = self._make_connection(settings)
        self._status = StatusWriter(
            self._inbox_database, self._inbox, self._connections, self._fence
        )
        delivering = asyncio.Event()
        services = [
            asyncio.create_task(self._inbox.run(), name="inbox"),
            asyncio.create_task(self._notices.run(), name="notices"),
            asyncio.create_task(self._status.run(), name="status"),
            asyncio.create_task(self._retention.run(), name="retention"),
        ]
        delivery = asyncio.create_task(self._deliver(delivering), name="delivery")
        ended_by: BaseException | None = None
        try:
            await self._listen([*services, delivery, hold], stopping)
        except BaseException as error:
            ended_by = error
            raise
        finally:
            if not self._is_lost:
                delivering.set()
                self._wake_delivery()
                await self._finish(delivery, services, ended_by)

    async def _deliver(self, stopping: asyncio.Event) -> None:
        ways = [
            asyncio.create_task(self._delivery.run(stopping)),
            asyncio.create_task(self._handover.run(stopping)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            await _end(ways)

    def _wake_delivery(self) -> None:
        self._delivery.wake()
        self._handover.wake()

    def _make_connection(self, settings: ConnectionSettings) -> ListenedConnection:
        return ListenedConnection(
            settings, self._inbox_database, self._inbox, self._notices, self._state_changed
        )

    async def _listen(self, services: Sequence[asyncio.Task[Any]], stopping: asyncio.Event) -> None:
        """Run the connections until stopped, or until none is left."""
        stop = asyncio.create_task(stopping.wait(), name="stop")
        alive = [
            asyncio.create_task(self._keep(settings), name=f"connection-{settings.alias}")
            for settings in self._settings
        ]
        try:
            await _watch([*services, *alive], stop)
        except LeaseLost:
            # First of all: what the connections say while they end is not ours to tell.
            self._is_lost = True
            await _end(services)
            raise
        finally:
            await _end([stop, *alive])

    async def _keep(self, settings: ConnectionSettings) -> None:
        """Run a connection. One that is given up is tried again, as long as others go on: what a
        person mended meanwhile needs no restart then.

        Raises:
            ConnectionImpossible: It cannot be had, and neither can any other.
        """
        alias = settings.alias
        while True:
            try:
                return await self._connections[alias].run()
            except ConnectionImpossible:
                self._given_up.add(alias)
                if self._given_up == self._connections.keys():
                    raise
            logger.warning(
                "%s  is tried again in %g s; the other connections go on.",
                alias,
                REFUSED_AGAIN,
                extra={"event": "tried-again", "connection": alias, "seconds": REFUSED_AGAIN},
            )
            await asyncio.sleep(REFUSED_AGAIN)
            self._connections[alias] = self._make_connection(settings)
            self._given_up.discard(alias)

    async def _finish(
        self,
        delivery: asyncio.Task[None],
        services: list[asyncio.Task[None]],
        ended_by: BaseException | None,
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
                extra={"event": "stop-timeout", "seconds": STOP_TIMEOUT},
            )
            raise StopTimedOut(ended_by) from None
        finally:
            await _end([delivery, *services])
        for database in self._databases:
            await database.aclose()

    def _state_changed(self, alias: str, change: StateChange) -> None:
        if self._is_lost:
            return
        if self._status is not None:
            self._status.wake()
        send = self._sender.send_state(alias, change.state.value, change.reason)
        task = asyncio.create_task(send)
        self._state_sends.add(task)
        task.add_done_callback(self._state_sends.discard)


async def _watch(tasks: Sequence[asyncio.Task[Any]], stop: asyncio.Task[Any]) -> None:
    """Return when ``stop`` is done; raise what ends any other, of the first in the order."""
    done, _ = await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
    if stop in done:
        return
    ended = next(task for task in tasks if task in done)
    ended.result()
    raise RuntimeError(f"The task {ended.get_name()} ended by itself.")


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
