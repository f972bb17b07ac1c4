"""A bare WebSocket that knows nothing but JSON, for what is true of the server alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.contract.servers import Server

TIMEOUT = 60.0  # seconds: a deadline, never a wait


class Wire:
    """One socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> Any:
        """The next message that is not a ping of the server; those are answered."""
        while True:
            message = json.loads(await asyncio.wait_for(self.socket.recv(), TIMEOUT))
            if message != {"type": "ping"}:
                return message
            await self.send({"type": "pong"})

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.receive()

    async def subscribe(self, collection: str = "articles", **more: Any) -> Any:
        return await self.ask({"type": "subscribe", "collection": collection, **more})

    async def until(self, uid: str, event: str | None = None) -> list[Any]:
        """The messages up to the first of this uid (and event), which is the last."""
        found = []
        while True:
            found.append(message := await self.receive())
            if message.get("uid") == uid and event in (None, message.get("event")):
                return found

    async def close_code(self) -> int | None:
        """Wait until the server ends the connection, and return the code."""
        try:
            while True:
                await asyncio.wait_for(self.socket.recv(), TIMEOUT)
        except ConnectionClosed:
            return self.socket.close_code


@contextlib.asynccontextmanager
async def open_wire(server: Server, token: str | None = None) -> AsyncIterator[Wire]:
    """A socket that is authenticated, by default as the administrator."""
    token = token or server.token
    url = server.websocket_url + (f"?access_token={token}" if server.is_strict else "")
    async with connect(url, ping_interval=None, close_timeout=1) as socket:
        wire = Wire(socket)
        if not server.is_strict:
            answer = await wire.ask({"type": "auth", "access_token": token})
            assert answer["status"] == "ok", answer
        yield wire
