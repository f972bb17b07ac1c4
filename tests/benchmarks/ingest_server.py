"""As much of Directus as a listener needs, sending events as fast as they are taken.

Run it: ``python -m tests.benchmarks.ingest_server EVENTS [RATE]``. It prints its port, and
sends so many events to whoever subscribes, at most so many in a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from websockets.frames import Frame, Opcode

EVENT_SIZE = 821  # bytes of a message with one event
CHUNK = 200  # events of one write
MOST_UNSENT = 1 << 20  # bytes


def message(key: int, uid: str, text: str = "") -> bytes:
    """The message of one created article."""
    data = {
        "id": key,
        "status": "published",
        "title": f"Article {key:08}",
        "author": {"id": 7, "name": "Ada Lovelace"},
        "tags": ["news", "science"],
        "date_created": "2026-11-20T09:30:00.000Z",
        "body": text,
    }
    content = {"event": "create", "data": [data], "type": "subscription", "uid": uid}
    return json.dumps(content, separators=(",", ":")).encode()


def chunks(count: int, uid: str) -> Iterator[bytes]:
    """Frames of so many events, some in one piece."""
    text = "x" * (EVENT_SIZE - len(message(1, uid)))
    for start in range(1, count + 1, CHUNK):
        keys = range(start, min(start + CHUNK, count + 1))
        frames = [Frame(Opcode.TEXT, message(key, uid, text)) for key in keys]
        yield b"".join(frame.serialize(mask=False) for frame in frames)


class Server:
    """Answers what connecting takes, and sends events to the first subscription.

    Args:
        count: Of the events.
        rate: Events in a second, 0 for as many as go.
    """

    def __init__(self, count: int, rate: float) -> None:
        self._count = count
        self._rate = rate

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/websocket":
            return await self._talk(request)
        return web.json_response({"data": _answer(request.path)})

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False, compress=False)
        await socket.prepare(request)
        sending: list[asyncio.Task[None]] = []
        async for received in socket:
            content = received.json()
            if content["type"] == "auth":
                await socket.send_json({"type": "auth", "status": "ok"})
            elif content["type"] == "ping":
                await socket.send_json({"type": "pong"})
            elif content["type"] == "subscribe":
                uid = content["uid"]
                await socket.send_json({"type": "subscription", "event": "init", "uid": uid})
                sending.append(asyncio.create_task(self._send(request.transport, uid)))
        return socket

    async def _send(self, transport: Any, uid: str) -> None:
        started, sent = time.monotonic(), 0
        # The library would write frame by frame and be the slowest part.
        for chunk in chunks(self._count, uid):
            transport.write(chunk)
            sent += CHUNK
            due = started + (sent / self._rate if self._rate else 0)
            await asyncio.sleep(max(0, due - time.monotonic()))
            while transport.get_write_buffer_size() > MOST_UNSENT:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def _answer(path: str) -> Any:
    if path == "/server/info":
        rest = {"authentication": "handshake", "path": "/websocket"}
        return {"project": {}, "version": "11.17.4", "websocket": {"rest": rest}}
    if path.startswith("/fields/"):
        return [{"field": "id", "type": "integer", "schema": {"is_primary_key": True}}]
    return {"id": "1", "email": "bench@example.com"} if path == "/users/me" else []


async def main() -> None:
    """Serve until the process is ended."""
    count, rate = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", Server(count, rate).handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
