"""The row of a listener's process: who it is, where it runs, and that it is alive."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from directus_realtime.models import ListenerProcess

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
