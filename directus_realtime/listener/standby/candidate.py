"""This process among the listeners: it stands by, becomes active, and may lose it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from time import monotonic
from typing import NoReturn
from uuid import UUID

from directus_realtime.database import DATABASE_IS_AWAY, DatabaseThread, check_tables
from directus_realtime.listener.standby.lease import (
    POLL_INTERVAL,
    RENEW_INTERVAL,
    Fence,
    Watch,
    look,
    release,
    take,
)
from directus_realtime.listener.standby.login_check import LoginCheck
from directus_realtime.listener.standby.presence import Presence, dead_processes, name_of
from directus_realtime.models import ListenerRole
from directus_realtime.settings import ConnectionSettings

logger = logging.getLogger("directus_realtime.listener")


class Candidate:
    """Takes the leases of some connections, holds them and gives them up.

    All of it is done in a database thread of its own, so that no slow store and no slow
    receiver keeps the lease from being renewed.

    Args:
        connections: The settings of the connections.
        standby_only: Never take what no other listener has had before.
    """

    def __init__(
        self, connections: Collection[ConnectionSettings], *, standby_only: bool = False
    ) -> None:
        self._connections = connections
        self._aliases = sorted(settings.alias for settings in connections)
        self._standby_only = standby_only
        self._database = DatabaseThread("lease")
        self._presence = Presence(self._aliases)
        self._presence_due = 0.0
        self._takes_part = False
        self._login_check = LoginCheck(self._connections)
        self._ending: set[asyncio.Task[None]] = set()

    async def check_tables(self) -> None:
        """Make sure that the app was migrated.

        Raises:
            ImproperlyConfigured: It was not.
        """
        await self._database.run_surely(check_tables)

    async def stand_by(self) -> Fence:
        """Wait until this process is the active one."""
        self._presence_due = 0.0
        self._login_check = LoginCheck(self._connections)
        checking: asyncio.Task[None] | None = None
        watch = Watch(self._presence.id, may_be_first=not self._standby_only)
        said: UUID | None = self._presence.id  # nobody yet, which is not the same as None
        try:
            while True:
                fence, holder = await self._database.run_surely(self._try, watch)
                if fence is not None:
                    break
                checking = checking or asyncio.create_task(self._login_check.run())
                if holder != said:
                    await self._log_standby(holder)
                    said = holder
                await asyncio.sleep(POLL_INTERVAL)
        finally:
            # It is not awaited: a takeover waits for no server.
            if checking is not None:
                self._end_soon(checking)
        logger.info(
            "active, with the fencing number %s",
            fence,
            extra={"what": "active", "connections": self._aliases, "fencing": fence.tokens},
        )
        self._standby_only = False  # it is one of those now who were active
        return fence

    async def _log_standby(self, holder: UUID | None) -> None:
        name = await self._database.run_surely(name_of, holder)
        logger.info(
            "standing by; %s is active",
            name,
            extra={"what": "standing-by", "connections": self._aliases, "holder": name},
        )

    def _end_soon(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _try(self, watch: Watch) -> tuple[Fence | None, UUID | None]:
        """Take the leases if they are to be had; otherwise tell who has one."""
        me = self._presence.id
        if monotonic() >= self._presence_due:
            self._takes_part = True
            # Before anything is taken: whoever comes after us looks there whether we live.
            self._presence.write(ListenerRole.STANDBY, self._login_check.problems)
            self._presence_due = monotonic() + RENEW_INTERVAL
        leases = look(self._aliases)
        holders = [lease.holder for lease in leases]
        if watch.may_take(leases, dead_processes(holders, me)) and (fence := take(leases, me)):
            return fence, me
        return None, next((id_ for id_ in holders if id_ and id_ != me), None)

    async def hold(self, fence: Fence) -> NoReturn:
        """Renew the leases until cancelled.

        Raises:
            LeaseLost: Another listener has taken one.
        """
        while True:
            try:
                await self._database.run(self._renew, fence)
            except DATABASE_IS_AWAY:
                # That alone is no loss: where nobody can take the lease, it is still ours.
                await asyncio.sleep(POLL_INTERVAL)
            else:
                await asyncio.sleep(RENEW_INTERVAL)

    def _renew(self, fence: Fence) -> None:
        fence.renew()
        self._presence.write(ListenerRole.ACTIVE)

    async def tell_loss(self) -> None:
        """Say who is active now, and give up what is left."""
        name = await self._database.run_surely(self._lose)
        logger.warning(
            "The lease is lost: %s is active now. Nothing more is delivered here.",
            name,
            extra={"what": "lease-lost", "connections": self._aliases, "holder": name},
        )

    def _lose(self) -> str:
        release(self._aliases, self._presence.id)
        holders = [lease.holder for lease in look(self._aliases) if lease.holder]
        return name_of(holders[0] if holders else None)

    async def leave(self, timeout: float) -> None:
        """Give up the leases and say that this process is gone, where it ever was there.

        A database that is away is not waited for.

        Args:
            timeout: Seconds that it may take.

        Raises:
            TimeoutError: The database does not answer.
        """
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*self._ending, return_exceptions=True)
                await self._database.run(self._leave)
        except DATABASE_IS_AWAY as error:
            logger.warning(
                "The lease could not be given up: %s",
                error,
                extra={"what": "release-failed", "connections": self._aliases, "error": str(error)},
            )
        finally:
            self._database.close_soon()

    def _leave(self) -> None:
        if not self._takes_part:
            return
        release(self._aliases, self._presence.id)
        self._presence.remove()
