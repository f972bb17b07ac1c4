"""This process as a candidate for the lease, and its row in the database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import socket
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import NoReturn
from uuid import UUID

from django.utils import timezone

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
from directus_realtime.models import ListenerProcess, ListenerRole
from directus_realtime.settings import ConnectionSettings

#: Rows without a heartbeat for this long are deleted.
FORGOTTEN_AFTER = timedelta(days=1)


class Presence:
    """Writes the row of this process.

    Args:
        aliases: Of the connections that it listens to, or would.
    """

    def __init__(self, aliases: Collection[str]) -> None:
        self.id = new_id()
        self._aliases = list(aliases)
        self._started_at = timezone.now()

    def write(self, role: str, problems: Mapping[str, str] | None = None) -> None:
        """Record that this process is alive; outdated rows of others are deleted.

        Args:
            role: Of :class:`ListenerRole`.
            problems: Why this process could not log in, by connection.
        """
        now = timezone.now()
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
        """Say that this process is gone."""
        ListenerProcess.objects.filter(id=self.id).delete()


def new_id() -> uuid.UUID:
    """An id whose node tells which machine made it, as version 1 has it."""
    return uuid.uuid1(node=_machine(), clock_seq=random.getrandbits(14))


def _machine() -> int:
    """48 bits that stand for where a process id means the same process.

    The name of the host is not enough: two containers may share it and not their
    processes, and a machine keeps it when it is started again.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux
        parts.append(str(uuid.getnode()))
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return int.from_bytes(digest[:6])


def dead_processes(ids: Iterable[uuid.UUID | None], me: uuid.UUID) -> set[uuid.UUID]:
    """Which of these listeners ran on this machine and are surely dead."""
    here = [id_ for id_ in ids if id_ and id_ != me and id_.node == me.node]
    if not here:
        return set()
    rows = ListenerProcess.objects.filter(id__in=here)
    return {row.id for row in rows if not _is_alive(row.pid)}


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # ours now; whoever had it before is gone
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # alive, and somebody else's
    return True


def name_of(id_: uuid.UUID | None) -> str:
    """``HOST:PID`` of a listener, for people."""
    if id_ is None:
        return "nobody"
    row = ListenerProcess.objects.filter(id=id_).first()
    return str(row) if row else "another listener"


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
        await self._database.run_with_retry(check_tables)

    async def stand_by(self) -> Fence:
        """Wait until this process is the active one."""
        self._presence_due = 0.0
        self._login_check = LoginCheck(self._connections)
        checking: asyncio.Task[None] | None = None
        watch = Watch(self._presence.id, may_be_first=not self._standby_only)
        said: UUID | None = self._presence.id  # nobody yet, which is not the same as None
        try:
            while True:
                fence, holder = await self._database.run_with_retry(self._try, watch)
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
            "active, with the fencing token %s",
            fence,
            extra={"event": "active", "connections": self._aliases, "fencing": fence.tokens},
        )
        self._standby_only = False  # it is one of those now who were active
        return fence

    async def _log_standby(self, holder: UUID | None) -> None:
        name = await self._database.run_with_retry(name_of, holder)
        logger.info(
            "standing by; %s is active",
            name,
            extra={"event": "standing-by", "connections": self._aliases, "holder": name},
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
        name = await self._database.run_with_retry(self._lose)
        logger.warning(
            "The lease is lost: %s is active now. Nothing more is delivered here.",
            name,
            extra={"event": "lease-lost", "connections": self._aliases, "holder": name},
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
                extra={
                    "event": "release-failed",
                    "connections": self._aliases,
                    "error": str(error),
                },
            )
        finally:
            self._database.close_soon()

    def _leave(self) -> None:
        if not self._takes_part:
            return
        release(self._aliases, self._presence.id)
        self._presence.remove()
