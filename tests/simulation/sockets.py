"""WebSockets in memory, between a machine and a simulated Directus."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMessage, WSMsgType
from websockets.exceptions import ConnectionClosedError

from directus_realtime.testing.fake.accounts import PUBLIC
from directus_realtime.testing.fake.fake_directus import FakeDirectus
from directus_realtime.testing.fake.socket_connection import SocketConnection
from tests.simulation import clock
from tests.simulation.loop import MACHINE, Machine, on_machine


@dataclass
class RingWeather:
    """What happens to the frames with changes; times are true seconds.

    Attributes:
        late_until: Frames take long.
        lost_until: Most of them are lost.
        doubled_until: Each comes twice.
    """

    late_until: float = 0.0
    lost_until: float = 0.0
    doubled_until: float = 0.0


class MemorySocket:
    """Both ends of a WebSocket: for our client, and for the fake server.

    Args:
        hall: Knows what happens to frames on their way.
        chance: Gives the delays.
    """

    def __init__(self, hall: SocketHall, chance: random.Random) -> None:
        self.machine: Machine | None = MACHINE.get()
        self.is_closed = False
        self._hall = hall
        self._chance = chance
        self._to_client: asyncio.Queue[str | None] = asyncio.Queue()
        self._to_server: asyncio.Queue[str | None] = asyncio.Queue()
        self._arrives_at = 0.0

    # The client's end

    @property
    def transport(self) -> MemorySocket:
        """What is below the socket."""
        return self

    async def recv(self) -> str:
        """Return the next message."""
        text = await self._to_client.get()
        if text is None:
            raise ConnectionClosedError(None, None)
        return text

    async def send(self, text: str) -> None:
        """Send a message."""
        if self.is_closed:
            raise ConnectionClosedError(None, None)
        self._to_server.put_nowait(text)

    # The server's end

    async def receive(self) -> WSMessage:
        """Return the next message of the client, or that there is none any more."""
        text = await self._to_server.get()
        kind = WSMsgType.CLOSED if text is None else WSMsgType.TEXT
        return WSMessage(kind, text, None)

    async def send_frame(self, content: bytes, kind: WSMsgType) -> None:
        """Send a frame to the client; it arrives in order, though not at once."""
        if kind is WSMsgType.CLOSE:
            self.abort()
            return
        text, weather, now = content.decode(), self._hall.weather, clock.true_seconds()
        is_change = '"type":"subscription"' in text.replace(" ", "") and '"init"' not in text
        if is_change and now < weather.lost_until and self._chance.random() < 0.7:
            return
        delay = self._chance.expovariate(500)
        if now < weather.late_until:
            delay += self._chance.expovariate(0.3)
        copies = 2 if is_change and now < weather.doubled_until else 1
        self._arrives_at = max(self._arrives_at, now + delay)
        for _ in range(copies):
            asyncio.get_running_loop().call_at(self._arrives_at, self._arrive, text)

    def _arrive(self, text: str) -> None:
        if not self.is_closed:
            self._to_client.put_nowait(text)

    # Both

    async def close(self) -> None:
        """End the connection."""
        self.abort()

    def abort(self) -> None:
        """End the connection."""
        if not self.is_closed:
            self.is_closed = True
            self._to_client.put_nowait(None)
            self._to_server.put_nowait(None)


class _Transport:
    """What the fake server takes for the connection below a socket."""

    def __init__(self, socket: MemorySocket) -> None:
        self.abort = self.close = socket.abort

    def write(self, content: bytes) -> None:
        """Do nothing: a frame that is cut in two does not arrive."""


class SocketHall:
    """All sockets of a simulated Directus.

    Args:
        fake: The server.
        chance: Gives the delays.
        check_network: Raises where a machine does not reach the server.
    """

    def __init__(
        self, fake: FakeDirectus, chance: random.Random, check_network: Callable[[str], None]
    ) -> None:
        self.weather = RingWeather()
        self._fake = fake
        self._chance = chance
        self._check_network = check_network
        self._open: list[MemorySocket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> MemorySocket:
        """Open a socket from the machine that runs.

        Raises:
            OSError: The server cannot be reached.
        """
        machine = MACHINE.get()
        await asyncio.sleep(self._chance.expovariate(400))
        try:
            self._check_network(machine.name if machine else "")
        except Exception as error:
            raise ConnectionRefusedError(str(error)) from None
        socket = MemorySocket(self, self._chance)
        self._open = [each for each in self._open if not each.is_closed] + [socket]
        with on_machine(None):
            task = asyncio.get_running_loop().create_task(self._serve(socket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return socket

    async def _serve(self, socket: Any) -> None:
        sockets = self._fake._sockets
        transport: Any = _Transport(socket)
        connection = SocketConnection(socket, transport, self._fake.faults, self._fake._options)
        sockets.connections.add(connection)
        try:
            await sockets._serve(connection, PUBLIC)
        finally:
            await sockets._disconnect(connection)

    def cut(self, machine: str = "") -> None:
        """End the sockets of a machine, or all of them."""
        for socket in self._open:
            if not machine or (socket.machine is not None and socket.machine.name == machine):
                socket.abort()

    async def close(self) -> None:
        """End every socket and its task."""
        self.cut()
        self._fake._sockets._stop_heartbeat()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
