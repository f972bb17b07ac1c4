"""The active listener: client, inbox and delivery of its connections, until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from django.db import transaction

from directus_realtime.client.connection import StateChange
from directus_realtime.database import DatabaseThread, own_alias, sqlite_write_lock
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.exceptions import ConnectionImpossible, LeaseLost
from directus_realtime.listener.delivery.delivery import Delivery
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.retries import RetryPolicy
from directus_realtime.listener.delivery.tasks import TaskDispatcher
from directus_realtime.listener.door_poller import DoorPoller
from directus_realtime.listener.follower.gaps import open_gap
from directus_realtime.listener.inbox import FreshRows, Inbox
from directus_realtime.listener.lifecycle_signals import LifecycleSignals
from directus_realtime.listener.listened_connection import ListenedConnection
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.listener.retention import DailyPrune
from directus_realtime.listener.status import StatusReport, StatusWriter
from directus_realtime.settings import INLINE, TASKS, ConnectionSettings
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds in which a second signal counts as the first: a terminal and a wrapper (make, timeout)
#: each pass on the same Ctrl-C.
SAME_SIGNAL = 0.5
#: Seconds that stopping may take in total.
STOP_TIMEOUT = 8.0
#: Seconds until a connection that was given up is retried, where others are alive.
REFUSED_AGAIN = 300.0


class StopTimedOut(Exception):
    """A thread hangs, which Python would wait for at its exit.

    Attributes:
        ended_by: The error that ended the listener; ``None`` where it was asked to stop.
    """

    def __init__(self, ended_by: BaseException | None) -> None:
        super().__init__("A receiver or the database hangs.")
        self.ended_by = ended_by


@contextlib.contextmanager
def stop_on_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Set an event on the first signal; end the process on the second.

    The handlers only set a flag: raising in the middle of a commit would be worse than
    waiting. Outside the main thread Python allows no handlers, and this does nothing.
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
                "stopping-at-once", "%s again: stopping at once.", number.name, signal=number.name
            )
            os._exit(128 + number)
        logger.info(
            "stopping", "%s: finishing the delivery at hand.", number.name, signal=number.name
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


class ActiveListener:
    """Run of the connections until a stop is requested or the lease is lost.

    Reading, storing and delivering are separate tasks: none waits for another. Storing has a
    database thread to itself, so that a slow receiver cannot keep an event in memory that should
    be in the inbox.

    Args:
        connections: The settings of the connections to listen to.
        fence: Called in each transaction that writes; raises where the lease is lost.
        after_crash: Whether the previous listener was killed, or hangs.
        clock: Gives the time.
    """

    def __init__(
        self,
        connections: Iterable[ConnectionSettings],
        fence: Callable[[], None],
        *,
        after_crash: bool = False,
        clock: SystemClock,
    ) -> None:
        self._settings = list(connections)
        self._fence = fence
        self._clock = clock
        self._databases = [
            DatabaseThread(name, clock)
            for name in ("inbox", "delivery", "dispatch", "notices", "retention")
        ]
        inbox_database, delivery_database, dispatch_database, *others = self._databases
        self._inbox_database = inbox_database
        self._sender = GroupSender(clock=clock)
        self._lifecycle_signals = LifecycleSignals(others[0])
        inline = [settings for settings in self._settings if settings.delivery == INLINE]
        policies = {settings.alias: RetryPolicy.of(settings) for settings in inline}
        fresh = FreshRows(policies)
        self._delivery = Delivery(
            delivery_database,
            policies,
            self._sender,
            fence,
            fresh,
            after_crash=after_crash,
            clock=clock,
        )
        by_tasks = [settings for settings in self._settings if settings.delivery == TASKS]
        timeouts = {settings.alias: settings.task_timeout for settings in by_tasks}
        ceiling = max((settings.retry_ceiling for settings in by_tasks), default=0.0)
        self._dispatcher = TaskDispatcher(
            dispatch_database, timeouts, self._sender, fence, ceiling, clock=clock
        )
        self._inbox = Inbox(
            inbox_database, self._wake_delivery, fence=fence, fresh=fresh, clock=clock
        )
        counts.watch_unstored(lambda: self._inbox.waiting)
        self._retention = DailyPrune(others[1], self._settings, fence, clock)
        self._status = StatusWriter(inbox_database, self._inbox, self._reports, fence, clock)
        self._connections: dict[str, ListenedConnection] = {}
        self._given_up: set[str] = set()
        self._is_lost = False
        self._state_sends: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a receiver is still running in a thread that was closed without waiting."""
        return any(database.is_busy for database in self._databases)

    async def run(self, stopping: asyncio.Event, holding: Coroutine[Any, Any, NoReturn]) -> None:
        """Listen until ``stopping`` is set, then finish the present delivery.

        Args:
            stopping: Requests the stop.
            holding: Renews the lease, until everything else has ended.

        Raises:
            ConnectionImpossible: No connection is left that can be made.
            LeaseLost: Another listener is active now; nothing is finished then.
            StopTimedOut: A receiver hangs.
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
            await cancel_all([hold])
            await self._sender.aclose()

    async def _run(self, stopping: asyncio.Event, hold: asyncio.Task[NoReturn]) -> None:
        await self._inbox_database.run_with_retry(self._sync_declared)
        for settings in self._settings:
            self._connections[settings.alias] = self._make_connection(settings)
        delivering = asyncio.Event()
        services = [
            asyncio.create_task(self._inbox.run(), name="inbox"),
            asyncio.create_task(self._lifecycle_signals.run(), name="lifecycle-signals"),
            asyncio.create_task(self._status.run(), name="status"),
            asyncio.create_task(self._retention.run(), name="retention"),
        ]
        if doors := [each.alias for each in self._settings if each.door_secret]:
            poller = DoorPoller(self._inbox_database, doors, self._knock, self._clock)
            services.append(asyncio.create_task(poller.run(), name="door"))
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

    def _sync_declared(self) -> None:
        """Write the declarations, and a gap for each collection that lost its subscription."""
        using = own_alias()
        with sqlite_write_lock(using), transaction.atomic(using):
            for departure in sync_declared([settings.alias for settings in self._settings]):
                open_gap(departure.connection, departure.reason, [departure.collection])
            self._fence()

    async def _deliver(self, stopping: asyncio.Event) -> None:
        ways = [
            asyncio.create_task(self._delivery.run(stopping)),
            asyncio.create_task(self._dispatcher.run(stopping)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            await cancel_all(ways)

    def _wake_delivery(self) -> None:
        self._delivery.wake()
        self._dispatcher.wake()

    def _make_connection(self, settings: ConnectionSettings) -> ListenedConnection:
        return ListenedConnection(
            settings,
            self._inbox_database,
            self._inbox,
            self._lifecycle_signals,
            self._state_changed,
            self._clock,
        )

    def _knock(self, alias: str, knocks: int, collection: str) -> None:
        self._connections[alias].knock(knocks, collection)

    def _reports(self) -> list[StatusReport]:
        return [connection.report() for connection in self._connections.values()]

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
            # Before the connections end: their last changes of state must not be published.
            self._is_lost = True
            await cancel_all(services)
            raise
        finally:
            await cancel_all([stop, *alive])

    async def _keep(self, settings: ConnectionSettings) -> None:
        """Run a connection, and retry it where it is given up, as long as others are alive.

        Raises:
            ConnectionImpossible: Neither this connection nor any other can be made.
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
                "tried-again",
                "%s  is tried again in %g s; the other connections go on.",
                alias,
                REFUSED_AGAIN,
                connection=alias,
                seconds=REFUSED_AGAIN,
            )
            await self._clock.sleep(REFUSED_AGAIN)
            self._connections[alias] = self._make_connection(settings)
            self._given_up.discard(alias)

    async def _finish(
        self,
        delivery: asyncio.Task[None],
        services: list[asyncio.Task[None]],
        ended_by: BaseException | None,
    ) -> None:
        """Store the events in memory, finish the present delivery, and write the last status."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._inbox.flush()
                await delivery
                await self._lifecycle_signals.drain()
                await self._status.write()
        except TimeoutError:
            logger.error(
                "stop-timeout",
                "Stopping took longer than %g s; what a receiver is busy with will be "
                "delivered again.",
                STOP_TIMEOUT,
                seconds=STOP_TIMEOUT,
            )
            raise StopTimedOut(ended_by) from None
        finally:
            await cancel_all([delivery, *services])
        for database in self._databases:
            await database.aclose()

    def _state_changed(self, alias: str, change: StateChange) -> None:
        if self._is_lost:
            return
        self._status.wake()
        send = self._sender.send_state(alias, change.state.value, change.reason)
        task = asyncio.create_task(send)
        self._state_sends.add(task)
        task.add_done_callback(self._state_sends.discard)


async def _watch(tasks: Sequence[asyncio.Task[Any]], stop: asyncio.Task[Any]) -> None:
    """Return when ``stop`` is done; where another task ends before, raise its error."""
    done, _ = await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
    if stop in done:
        return
    ended = next(task for task in tasks if task in done)
    ended.result()
    raise RuntimeError(f"The task {ended.get_name()} ended by itself.")
