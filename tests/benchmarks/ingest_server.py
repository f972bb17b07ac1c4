"""As much of Directus as a listener needs, with changes as fast as they are taken.

Run it: ``python -m tests.benchmarks.ingest_server EVENTS [WINDOW]``. It prints its port. Whoever
subscribes by a uid of its own is sent so many events. For a listener, so many rows are in the
activity log from ``GET /begin`` on, with the same items; with a window, at most so many more
than were reported as handled by ``GET /handled/COUNT``. The socket rings when there are more.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aiohttp import web
from websockets.frames import Frame, Opcode

EVENT_SIZE = 821  # bytes of a message with one event
FIRST_ROW = 1  # a row of the log that is there before, and is no change
CHUNK = 200  # events of one write
MOST_UNSENT = 1 << 20  # bytes


def article(key: int, text: str = "") -> dict[str, Any]:
    """One article."""
    return {
        "id": key,
        "status": "published",
        "title": f"Article {key:08}",
        "author": {"id": 7, "name": "Ada Lovelace"},
        "tags": ["news", "science"],
        "date_created": "2026-11-20T09:30:00.000Z",
        "body": text,
    }


def message(key: int, uid: str, text: str = "") -> bytes:
    """The message of one created article."""
    data = article(key, text)
    content = {"event": "create", "data": [data], "type": "subscription", "uid": uid}
    return json.dumps(content, separators=(",", ":")).encode()


def chunks(count: int, uid: str) -> Iterator[bytes]:
    """Frames of so many events, some in one piece."""
    text = "x" * (EVENT_SIZE - len(message(1, uid)))
    for start in range(1, count + 1, CHUNK):
        keys = range(start, min(start + CHUNK, count + 1))
        frames = [Frame(Opcode.TEXT, message(key, uid, text)) for key in keys]
        yield b"".join(frame.serialize(mask=False) for frame in frames)


class Log:
    """The activity log and its articles.

    The row of each article has the id after its key.

    Attributes:
        top: The highest id that is visible.
    """

    def __init__(self) -> None:
        self.top = FIRST_ROW
        self._text = "x" * (EVENT_SIZE - len(message(1, "1")))

    def rows(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows that a query of a listener asks for."""
        ids = self._ids(query.get("filter", {}))
        if query.get("sort") == ["-id"]:
            ids = ids[::-1]
        return [_row(number) for number in ids[: query["limit"]]]

    def articles(self, keys: Iterable[int]) -> list[dict[str, Any]]:
        """Articles by key."""
        return [article(key, self._text) for key in keys]

    def _ids(self, condition: dict[str, Any]) -> Sequence[int]:
        """The ids of rows to which a condition applies, in ascending order."""
        if "_and" in condition:
            return self._ids(condition["_and"][0])
        if "_or" in condition:
            return sorted({number for each in condition["_or"] for number in self._ids(each)})
        bounds = condition.get("id", {})
        if "_in" in bounds:
            return sorted(number for number in bounds["_in"] if number <= self.top)
        last = min(bounds.get("_lte", self.top), bounds.get("_lt", self.top + 1) - 1, self.top)
        return range(max(bounds.get("_gte", FIRST_ROW), FIRST_ROW), last + 1)


def _row(number: int) -> dict[str, Any]:
    is_first = number == FIRST_ROW
    return {
        "id": number,
        "action": "login" if is_first else "create",
        "collection": "directus_users" if is_first else "articles",
        "item": str(number - FIRST_ROW),
        "timestamp": "2026-11-20T09:30:00.000Z",
        "user": None,
    }


class Server:
    """Answers what connecting and following take, and sends events to whoever asks for them.

    Args:
        count: Of the events.
        window: Events that may be ahead of what is handled, 0 for as many as go.
    """

    def __init__(self, count: int, window: int) -> None:
        self._count = count
        self._window = window
        self._log = Log()
        self._rings: dict[str, web.WebSocketResponse] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/websocket":
            return await self._talk(request)
        if request.path == "/begin":
            await self._show(self._window or self._count)
        elif request.path.startswith("/handled/"):
            await self._show(int(request.path.rpartition("/")[2]) + self._window)
        if request.method == "SEARCH":
            return web.json_response({"data": self._found(request.path, await request.json())})
        return web.json_response({"data": _answer(request.path)})

    def _found(self, path: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
        if path == "/activity":
            return self._log.rows(asked["query"])
        if path == "/collections":
            return [{"collection": "articles", "meta": {"accountability": "all"}}]
        return self._log.articles(asked.get("keys", []))

    async def _show(self, changes: int) -> None:
        """Make so many changes visible, and ring."""
        top = FIRST_ROW + min(changes, self._count)
        if top > self._log.top:
            self._log.top = top
            for uid, socket in self._rings.items():
                ring = {"event": "create", "data": [{"id": top - FIRST_ROW}], "uid": uid}
                await socket.send_json({"type": "subscription", **ring})

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
                if not uid.startswith("ring:"):
                    sending.append(asyncio.create_task(self._send(request.transport, uid)))
                elif content["event"] == "create":
                    self._rings[uid] = socket
        return socket

    async def _send(self, transport: Any, uid: str) -> None:
        # The library would write frame by frame and be the slowest part.
        for chunk in chunks(self._count, uid):
            transport.write(chunk)
            while transport.get_write_buffer_size() > MOST_UNSENT:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def _answer(path: str) -> Any:
    if path == "/server/info":
        rest = {"authentication": "handshake", "path": "/websocket"}
        return {"project": {}, "version": "11.17.4", "websocket": {"rest": rest}}
    if path == "/permissions/me":
        right = {"read": {"access": "full", "fields": ["*"]}}
        names = ("articles", "directus_activity", "directus_collections", "directus_fields")
        return dict.fromkeys(names, right)
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
