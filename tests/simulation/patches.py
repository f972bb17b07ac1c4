"""What a simulation replaces in the product: time, chance, threads, network and process ids.

Everything that has a seam is handed in by :mod:`tests.simulation.world`; here is the rest. Nothing
below knows a rule of the product.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import socket
import ssl
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import httpx
from django.utils import timezone

import directus_realtime.client.rest
import directus_realtime.database
import directus_realtime.events
import directus_realtime.listener.delivery.crash_marker
import directus_realtime.listener.listener
import directus_realtime.listener.standby.candidate
from directus_realtime.client.socket_driver import SocketOpener
from directus_realtime.utils.system_clock import SystemClock
from tests.simulation import clock
from tests.simulation.directus import SimulatedDirectus, SimulatedTransport
from tests.simulation.loop import MACHINE, SimulatedExecutor
from tests.simulation.sockets import MemorySocket

_PACKAGE = "directus_realtime."
_make_context = functools.cache(ssl.create_default_context)


def _modules() -> list[Any]:
    return [module for name, module in sorted(sys.modules.items()) if name.startswith(_PACKAGE)]


class _Processes:
    """Process ids and hosts of the machines, as the module ``os`` tells them."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def getpid(self) -> int:
        """Return the process id of the machine that asks."""
        machine = MACHINE.get()
        return int(self._world.pid_of(machine)) if machine else os.getpid()

    def kill(self, pid: int, number: int) -> None:
        """Say whether a process is there."""
        if not self._world.is_running(pid):
            raise ProcessLookupError

    def readlink(self, path: str) -> str:
        """Say which host it is."""
        machine = MACHINE.get()
        return f"host {self._world.host_of(machine)}" if machine else "host"


@contextlib.contextmanager
def installed(world: Any, directus: SimulatedDirectus, seed: int) -> Iterator[None]:
    """Replace everything for the time of a simulation.

    Args:
        world: Knows the processes.
        directus: The server behind every request.
        seed: Of the chance that the product has.
    """
    chance = random.Random(f"{seed}/product")
    ids = random.Random(f"{seed}/ids")
    state = random.getstate()
    random.seed(chance.getrandbits(64))

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=ids.getrandbits(128), version=4)

    def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        low = ids.getrandbits(32)
        fields = (low, ids.getrandbits(16), ids.getrandbits(12), ids.getrandbits(6), 1, node or 1)
        return uuid.UUID(fields=fields, version=1)

    def make_http(**kwargs: Any) -> httpx.AsyncClient:
        kept = {name: kwargs[name] for name in ("base_url", "timeout", "headers") if name in kwargs}
        return httpx.AsyncClient(**kept, transport=SimulatedTransport(directus), trust_env=False)

    async def open_socket(self: object, path: str, auth_mode: str, token: object) -> MemorySocket:
        return await directus.sockets.open()

    rest = directus_realtime.client.rest
    candidate = directus_realtime.listener.standby.candidate
    http = SimpleNamespace(**{name: getattr(httpx, name) for name in httpx.__all__})
    http.AsyncClient = make_http
    processes = _Processes(world)
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context
        patch(mock.patch.object(timezone, "now", clock.now))
        patch(mock.patch.object(uuid, "uuid4", uuid4))
        patch(mock.patch.object(candidate, "uuid1", uuid1))
        patch(mock.patch.object(ssl, "create_default_context", _make_context))
        patch(mock.patch.object(rest, "httpx", http))
        patch(mock.patch.object(SocketOpener, "_connect", open_socket))
        patch(mock.patch.object(candidate, "os", processes))
        patch(mock.patch.object(candidate, "_machine", partial(_node, world)))
        patch(mock.patch.object(socket, "gethostname", partial(_host, world)))
        patch(
            mock.patch.object(directus_realtime.database, "ThreadPoolExecutor", SimulatedExecutor)
        )
        patch(mock.patch.object(directus_realtime.database.AsyncConnections, "check", _look))
        for name in ("monotonic", "now", "sleep", "wait"):
            method = getattr(_Clock, name)
            patch(mock.patch.object(SystemClock, name, method))
        for module in _modules():
            if getattr(module, "monotonic", None) is time.monotonic:
                patch(mock.patch.object(module, "monotonic", clock.monotonic))
            if getattr(module, "datetime", None) is datetime:
                patch(mock.patch.object(module, "datetime", clock.SimulatedDatetime))
        directus_realtime.events._random.seed(ids.getrandbits(64))
        yield
    random.setstate(state)


async def _look(self: object) -> None:
    """Do nothing: no receiver of a simulation uses asynchronous connections."""


class _Clock(SystemClock):
    """The clock of whatever machine asks."""

    def monotonic(self) -> float:
        return clock.monotonic()

    def now(self) -> datetime:
        return clock.now()


def _node(world: Any) -> int:
    machine = MACHINE.get()
    return 1 + int(world.host_of(machine)) if machine else 1


def _host(world: Any) -> str:
    machine = MACHINE.get()
    return f"host{world.host_of(machine)}" if machine else "host"
