"""A TCP proxy that can stop forwarding without telling anybody, as a cut network does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

_CHUNK = 65536


class Proxy:
    """Forwards a port of its own to another one of 127.0.0.1, in a thread.

    Args:
        target: The port to forward to.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._sockets_open = asyncio.Event()
        self._is_refusing = False
        self._streams: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Accept connections."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def cut(self) -> None:
        """Forward nothing more; connections stay open, and new ones are accepted."""
        self._call(self._open.clear)

    def delay_sockets(self) -> None:
        """Keep back what the server sends on WebSockets; everything else goes on."""
        self._call(self._sockets_open.clear)

    def release_sockets(self) -> None:
        """Send what was kept back."""
        self._call(self._sockets_open.set)

    def restore(self, *, close: bool) -> None:
        """Forward again.

        Args:
            close: Reset the connections that were cut, instead of going on with what waits.
        """
        if close:
            self._call(self._abort_all)
        self._call(self._open.set)

    def refuse(self) -> None:
        """Reset all connections, and new ones as soon as they come."""
        self._is_refusing = True
        self._call(self._abort_all)

    def accept(self) -> None:
        """Take connections again."""
        self._is_refusing = False

    def close(self) -> None:
        """End it."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, function: Callable[[], Any]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(10), "the proxy does not answer"

    async def _start(self) -> None:
        self._open.set()
        self._sockets_open.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abort_all(self) -> None:
        for stream in self._streams:
            stream.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_refusing:
            writer.transport.abort()
            return
        streams = {writer}
        self._streams.add(writer)
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            streams.add(back)
            self._streams.add(back)
            request = await reader.read(_CHUNK)
            await self._open.wait()
            back.write(request)
            gates = [self._open]
            if b"upgrade: websocket" in request.lower():
                gates.append(self._sockets_open)
            pumps = [
                asyncio.create_task(self._pump(reader, back, [self._open])),
                asyncio.create_task(self._pump(there, writer, gates)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # nobody listens behind the proxy
        finally:
            self._streams -= streams
            for stream in streams:
                stream.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gates: list[asyncio.Event]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                for gate in gates:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
            for gate in gates:  # the end is not heard through a cut, either
                await gate.wait()
