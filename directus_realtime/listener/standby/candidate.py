"""Candidate for the lease, and the row of its process in the database."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import NoReturn
from uuid import UUID, getnode, uuid1

from directus_realtime.database import DATABASE_IS_AWAY, DatabaseThread, check_tables
from directus_realtime.listener.standby.lease import (
    POLL_INTERVAL,
    RENEW_INTERVAL,
    Fence,
    LeaseWatch,
    acquire,
    read_leases,
    release,
)
from directus_realtime.listener.standby.login_check import LoginCheck
from directus_realtime.models import ListenerProcess, ListenerRole
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Rows without a heartbeat for this long are deleted.
FORGOTTEN_AFTER = timedelta(days=1)


class Presence:
    """Row of this process.

    Args:
        aliases: Aliases of its connections.
        clock: The clock.
    """

    def __init__(self, aliases: Collection[str], clock: SystemClock | None = None) -> None:
        self.id = new_id()
        self._aliases = list(aliases)
        self._clock = clock or SystemClock()
        self._started_at = self._clock.now()

    def write(self, role: str, problems: Mapping[str, str] | None = None) -> None:
        """Write a heartbeat, and delete outdated rows of other processes.

        Args:
            role: Value of :class:`ListenerRole`.
            problems: Reasons why a log-in failed, by alias.
        """
        now = self._clock.now()
        values = {
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "aliases": self._aliases,
            "role": role,
            "started_at": self._started_at,
            "heartbeat_at": now,
            "problems": dict(problems or {}),
        }
        ListenerProcess.objects.update_or_create(id=self.id, defaults=values)
        ListenerProcess.objects.filter(heartbeat_at__lt=now - FORGOTTEN_AFTER).delete()

    def remove(self) -> None:
        """Delete the row."""
        ListenerProcess.objects.filter(id=self.id).delete()


def new_id() -> UUID:
    """Return a UUID of version 1, whose node identifies the machine."""
    return uuid1(node=_machine(), clock_seq=random.getrandbits(14))


def _machine() -> int:
    """Return 48 bits that identify the PID namespace of this process.

    The name of the host is not enough: two containers may share it but not their processes, and
    a machine keeps it over a restart.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux
        parts.append(str(getnode()))
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return int.from_bytes(digest[:6])


def dead_processes(ids: Iterable[UUID | None], me: UUID) -> set[UUID]:
    """Return the listeners that ran on this machine and whose process has ended."""
    here = [id_ for id_ in ids if id_ and id_ != me and id_.node == me.node]
    if not here:
        return set()
    rows = ListenerProcess.objects.filter(id__in=here)
    return {row.id for row in rows if not _is_alive(row.pid)}


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # the PID was reused by this process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process of another user
    return True


def name_of(id_: UUID | None) -> str:
    """Return ``HOST:PID`` of a listener."""
    if id_ is None:
        return "nobody"
    row = ListenerProcess.objects.filter(id=id_).first()
    return str(row) if row else "another listener"


class Candidate:
    """Acquires the leases of some connections, holds them and releases them.

    It has a database thread of its own, so that slow stores and receivers do not delay a renewal.

    Args:
        connections: Settings of the connections.
        standby_only: Never acquire a lease without having seen another holder.
        clock: The clock.
    """

    def __init__(
        self,
        connections: Collection[ConnectionSettings],
        *,
        standby_only: bool = False,
        clock: SystemClock | None = None,
    ) -> None:
        self._connections = connections
        self._aliases = sorted(settings.alias for settings in connections)
        self._standby_only = standby_only
        self._clock = clock or SystemClock()
        self._log = logger.bind(connections=self._aliases)
        self._database = DatabaseThread("lease")
        self._presence = Presence(self._aliases, self._clock)
        self._presence_due = 0.0
        self._is_present = False
        self._login_check = LoginCheck(connections, self._clock)
        self._ending: set[asyncio.Task[None]] = set()

    async def check_tables(self) -> None:
        """Verify that the migrations are applied.

        Raises:
            ImproperlyConfigured: A table is missing.
        """
        await self._database.run_with_retry(check_tables)

    async def stand_by(self) -> Fence:
        """Wait until the leases are acquired."""
        self._presence_due = 0.0
        self._login_check = LoginCheck(self._connections, self._clock)
        checking: asyncio.Task[None] | None = None
        watch = LeaseWatch(
            self._presence.id, may_be_first=not self._standby_only, clock=self._clock
        )
        logged: UUID | None = self._presence.id  # a value that no holder has
        try:
            while True:
                fence, holder = await self._database.run_with_retry(self._try, watch)
                if fence is not None:
                    break
                checking = checking or asyncio.create_task(self._login_check.run())
                if holder != logged:
                    name = await self._database.run_with_retry(name_of, holder)
                    self._log.info("standing-by", "standing by; %s is active", name, holder=name)
                    logged = holder
                await self._clock.sleep(POLL_INTERVAL)
        finally:
            # It is not awaited: a server that hangs must not delay a takeover.
            if checking is not None:
                checking.cancel()
                self._ending.add(checking)
                checking.add_done_callback(self._ending.discard)
        self._log.info("active", "active, with the fencing token %s", fence, fencing=fence.tokens)
        self._standby_only = False  # from now on it is one that was active
        return fence

    def _try(self, watch: LeaseWatch) -> tuple[Fence | None, UUID | None]:
        """Acquire the leases if they are available; return the fence and the holder."""
        me = self._presence.id
        if self._clock.monotonic() >= self._presence_due:
            self._is_present = True
            # Before the leases are acquired: the next candidate checks there whether we live.
            self._presence.write(ListenerRole.STANDBY, self._login_check.problems)
            self._presence_due = self._clock.monotonic() + RENEW_INTERVAL
        leases = read_leases(self._aliases)
        holders = [lease.holder for lease in leases]
        dead = dead_processes(holders, me)
        if watch.may_acquire(leases, dead) and (fence := acquire(leases, me)):
            return fence, me
        return None, next((id_ for id_ in holders if id_ and id_ != me), None)

    async def hold(self, fence: Fence) -> NoReturn:
        """Renew the leases until cancelled.

        Raises:
            LeaseLost: Another listener has acquired one.
        """
        while True:
            try:
                await self._database.run(self._renew, fence)
            except DATABASE_IS_AWAY:
                # No other listener can acquire the lease, either.
                await self._clock.sleep(POLL_INTERVAL)
            else:
                await self._clock.sleep(RENEW_INTERVAL)

    def _renew(self, fence: Fence) -> None:
        fence.renew()
        self._presence.write(ListenerRole.ACTIVE)

    async def log_takeover(self) -> None:
        """Log the new holder, and release the other leases."""
        name = await self._database.run_with_retry(self._lose)
        self._log.warning(
            "lease-lost",
            "The lease is lost: %s is active now. Nothing more is delivered here.",
            name,
            holder=name,
        )

    def _lose(self) -> str:
        release(self._aliases, self._presence.id)
        holders = [lease.holder for lease in read_leases(self._aliases) if lease.holder]
        return name_of(holders[0] if holders else None)

    async def leave(self, timeout: float) -> None:
        """Release the leases and delete the row of this process; the database may be unavailable.

        Args:
            timeout: Time limit in seconds.

        Raises:
            TimeoutError: The database does not answer.
        """
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*self._ending, return_exceptions=True)
                await self._database.run(self._leave)
        except DATABASE_IS_AWAY as error:
            self._log.warning(
                "release-failed", "The lease could not be released: %s", error, error=str(error)
            )
        finally:
            self._database.close_soon()

    def _leave(self) -> None:
        if self._is_present:
            release(self._aliases, self._presence.id)
            self._presence.remove()
