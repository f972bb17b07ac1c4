"""A process of ``directus_listen``: standby and active by turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from directus_realtime.exceptions import LeaseLost
from directus_realtime.listener.active_listener import ActiveListener, StopTimedOut
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.listener.metrics.metrics_server import Sampler
from directus_realtime.listener.standby.candidate import Candidate
from directus_realtime.listener.standby.lease import Fence
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.system_clock import SystemClock

T = TypeVar("T")

#: Seconds to wait at the end for the database, and then for a receiver that was called before
#: the lease was lost.
LEAVE_TIMEOUT = 2.0
#: Seconds between two checks whether such a receiver has returned.
_POLL_INTERVAL = 0.05


class Listener:
    """Listener that is active while no other listener of the same connections is.

    Args:
        connections: The settings of the connections to listen to.
        standby_only: Only take over from another listener, never be the first one.
        sampler: Takes samples for the metrics while this listener is active.
        clock: Gives the time.
    """

    def __init__(
        self,
        connections: Iterable[ConnectionSettings],
        *,
        standby_only: bool = False,
        sampler: Sampler | None = None,
        clock: SystemClock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._settings = list(connections)
        self._aliases = [settings.alias for settings in self._settings]
        self._candidate = Candidate(self._settings, standby_only=standby_only, clock=self._clock)
        self._sampler = sampler
        self._lost: list[ActiveListener] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Stand by and listen in turn, until ``stopping`` is set.

        Raises:
            ConnectionImpossible: No connection is left that can be made.
            ImproperlyConfigured: The tables are missing.
            StopTimedOut: A receiver or the database hangs.
        """
        counts.begin(self._aliases)
        ended_by: BaseException | None = None
        try:
            await _or_stop(self._candidate.check_tables(), stopping)
            while not stopping.is_set():
                if fence := await _or_stop(self._candidate.stand_by(), stopping):
                    await self._be_active(fence, stopping)
        except StopTimedOut as error:
            ended_by = error.ended_by
            raise
        except BaseException as error:
            ended_by = error
            raise
        finally:
            await self._leave(ended_by)

    async def _leave(self, ended_by: BaseException | None) -> None:
        try:
            await self._candidate.leave(LEAVE_TIMEOUT)
            async with asyncio.timeout(LEAVE_TIMEOUT):  # a receiver may be about to return
                while any(each.is_busy for each in self._lost):
                    await self._clock.sleep(_POLL_INTERVAL)
        except TimeoutError:
            raise StopTimedOut(ended_by) from None

    async def _be_active(self, fence: Fence, stopping: asyncio.Event) -> None:
        active = ActiveListener(
            self._settings, fence.check, after_crash=fence.after_crash, clock=self._clock
        )
        counts.active.update(fence.tokens)
        try:
            async with self._sampling():
                await active.run(stopping, self._candidate.hold(fence))
        except LeaseLost:
            self._lost = [*(each for each in self._lost if each.is_busy), active]
            await self._candidate.log_takeover()
        finally:
            counts.active.update(dict.fromkeys(self._aliases, 0))
            counts.connected.update(dict.fromkeys(self._aliases, False))
            counts.watch_unstored(None)

    @contextlib.asynccontextmanager
    async def _sampling(self) -> AsyncIterator[None]:
        if self._sampler is None:
            yield
            return
        sampling = asyncio.create_task(self._sampler.run(self._aliases), name="sampling")
        try:
            yield
        finally:
            await cancel_all([sampling])


async def _or_stop(work: Coroutine[Any, Any, T], stopping: asyncio.Event) -> T | None:
    """Return the result of a coroutine; ``None`` where a stop is requested before it ends."""
    task = asyncio.create_task(work)
    stop = asyncio.create_task(stopping.wait(), name="stop")
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        return None if stop.done() else task.result()
    finally:
        await cancel_all([task, stop])
