"""Server-Sent Events: the same offers and the same hub, for pages without WebSockets.

::

    const events = new EventSource("/directus/events/?collection=articles");
    events.addEventListener("create", ({ data }) => …);
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET

from directus_realtime.gateway.browser_connections import BrowserConnection
from directus_realtime.gateway.browser_query import QueryRefused, parse_subscribe
from directus_realtime.gateway.frames import Json, encode
from directus_realtime.gateway.hub import current_hub
from directus_realtime.gateway.limits import SILENT, BrowserLimits
from directus_realtime.gateway.subscription_requests import subscribe

#: Bytes after which a stream ends and the browser comes back for the rest: a server that
#: does not push back would keep them all for one that does not read.
STREAM_SIZE = 4 * 1024 * 1024
#: Seconds between two comments that keep the connection open.
HEARTBEAT = 15.0
#: Seconds without anybody taking from a stream after which it ends.
_PATIENCE = 60.0
#: Milliseconds after which a browser comes back.
RETRY = 1000

_STATUSES = {"FORBIDDEN": 403, "SERVICE_UNAVAILABLE": 503, "INTERNAL_SERVER_ERROR": 500}
_OPTIONS = ("fields", "filter", "sort", "limit")


@require_GET
async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """A stream of the events of one subscription.

    What a subscribe message has is in the URL: ``collection``, ``event``, ``item``, and of the
    query ``fields``, ``filter`` (as JSON), ``sort`` and ``limit``. A browser that comes back
    says by itself which event it saw last, and gets what it missed.

    Args:
        request: With the user of the session, where the site has sessions.
    """
    if not isinstance(request, ASGIRequest):
        # WSGI has a thread for each stream, and no loop for the hub.
        return _error(501, "NOT_IMPLEMENTED", "This stream needs an ASGI server.")
    try:
        asked = parse_subscribe(_message(request))
    except QueryRefused as refused:
        return _error(400, refused.code, refused.message)
    user = await request.auser() if hasattr(request, "auser") else None
    stream = EventStream(user, getattr(request, "session", None))
    await subscribe(stream.hub, stream, asked)
    if (refusal := stream.refusal()) is not None:
        await stream.hub.leave(stream)
        code = refusal["code"]
        return _error(_STATUSES.get(code, 400), code, refusal["message"])
    response = StreamingHttpResponse(Body(stream), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # for nginx
    return response


class EventStream(BrowserConnection):
    """A browser that only listens.

    What the server has taken counts as read; a server that pushes back leaves the rest here.

    Args:
        user: Whose browser it is.
        session: Their session.
    """

    __slots__ = ("_arrived", "_frames", "_leaving", "_taken_at", "hub")

    def __init__(self, user: Any, session: Any) -> None:
        super().__init__(user, session, BrowserLimits())
        self.hub = current_hub()
        self.hub.join(self)
        self._frames: deque[Json] = deque()
        self._arrived = asyncio.Event()
        self._taken_at = monotonic()
        self._leaving: asyncio.Task[None] | None = None

    def refusal(self) -> Json | None:
        """Why the subscription is refused; ``None`` where it is not."""
        for message in self._frames:
            if "error" in message:
                error: Json = message["error"]
                return error
        return None

    async def read(self) -> AsyncIterator[str]:
        """The stream, until the subscription or the patience with a slow browser ends."""
        size = 0
        try:
            yield f"retry: {RETRY}\n\n"
            while self.closing is None:
                for message in self._take():
                    text = _as_event(message)
                    size += len(text)
                    yield text
                    if "error" in message:
                        return
                if size >= STREAM_SIZE:
                    return
                await self._wait()
                if not self._frames:
                    yield ":\n\n"
        finally:
            self.leave()

    def leave(self) -> None:
        """It has ended, whoever ended it."""
        self.left()
        self._frames.clear()
        self._arrived.set()
        if self._leaving is None:
            self._leaving = asyncio.create_task(
                self.hub.leave(self), name="directus-gateway-stream-leaves"
            )

    def tick(self, now: float) -> None:
        """Let time pass; a stream that nobody reads ends."""
        if now - self._taken_at > _PATIENCE:
            self.drop(SILENT, "Nobody reads the stream.")

    def _take(self) -> list[Json]:
        taken = list(self._frames)
        self._frames.clear()
        self._arrived.clear()
        self._taken_at = monotonic()
        self.has_read()
        return taken

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(HEARTBEAT):
                await self._arrived.wait()
        except TimeoutError:
            self._taken_at = monotonic()

    def ping(self, now: float) -> None:
        """Nothing: a stream cannot answer."""

    def _write(self, text: str) -> None:
        self._frames.append(json.loads(text))
        self._arrived.set()

    def _end(self, code: int, reason: str) -> None:
        self.leave()


class Body:
    """What is sent of a stream. Django closes it in any case, also where nobody has read it.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._stream.read()

    def close(self) -> None:
        """End the stream; called in a thread."""
        self._loop.call_soon_threadsafe(self._stream.leave)


def _message(request: HttpRequest) -> Json:
    """A request as a subscribe message."""
    given = request.GET
    message: Json = {name: given[name] for name in ("collection", "event", "item") if name in given}
    message["query"] = {name: given[name] for name in _OPTIONS if name in given}
    last = request.headers.get("Last-Event-ID") or given.get("last_event_id")
    return {**message, "last_event_id": last} if last else message


def _as_event(message: Json) -> str:
    """A message as an event of the stream."""
    kind = message["event"] if message["type"] == "subscription" else message["type"]
    lines = [f"event: {'refused' if 'error' in message else kind}", f"data: {encode(message)}"]
    if "id" in message:
        lines.insert(0, f"id: {message['id']}")
    return "\n".join(lines) + "\n\n"


def _error(status: int, code: str, message: str) -> HttpResponse:
    """An error in Directus's form."""
    errors = [{"message": message, "extensions": {"code": code}}]
    return JsonResponse({"errors": errors}, status=status)
