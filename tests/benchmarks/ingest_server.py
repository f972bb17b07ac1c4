"""As much of Directus as a listener needs, sending events as fast as they are taken.

Run it: ``python -m tests.benchmarks.ingest_server EVENTS [WINDOW]``. It prints its port, and
sends so many events to whoever subscribes; with a window, at most so many more than were
reported as handled by ``GET /handled/COUNT``.
"""

from __future__ import annotations

import asyncio
import json
import sys
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
        window: Events that may be sent and not handled, 0 for as many as go.
    """

    def __init__(self, count: int, window: int) -> None:
        self._count = count
        self._window = window
        self._handled = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/websocket":
            return await self._talk(request)
        if request.path.startswith("/handled/"):
            self._handled = int(request.path.rpartition("/")[2])
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
        sent = 0
        # The library would write frame by frame and be the slowest part.
        for chunk in chunks(self._count, uid):
            transport.write(chunk)
            sent += CHUNK
            while (  # noqa: ASYNC110
                transport.get_write_buffer_size() > MOST_UNSENT
                or (self._window and sent - self._handled > self._window)
            ):
                await asyncio.sleep(0.001)


def _answer(path: str) -> Any:
    if path == "/server/info":
        rest = {"authentication": "handshake", "path": "/websocket"}
        return {"project": {}, "version": "11.17.4", "websocket": {"rest": rest}}
    if path == "/permissions/me":
        return {}  # no activity log: this is about the socket
    if path.startswith("/fields/"):
        return [{"field": "id", "type": "integer", "schema": {"is_primary_key": True}}]
    return {"id": "1", "email": "bench@example.com"} if path == "/users/me" else []


async def main() -> None:
    """Serve until the process is ended."""
    count, window = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", Server(count, window).handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
