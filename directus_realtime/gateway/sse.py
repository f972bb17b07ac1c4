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
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET

from directus_realtime.gateway.browser_connections import SILENT, BrowserConnection, BrowserLimits
from directus_realtime.gateway.browser_query import QueryRefused, parse_subscribe
from directus_realtime.gateway.frames import Json, encode
from directus_realtime.gateway.hub_tasks import current_hub
from directus_realtime.gateway.subscription_requests import subscribe

#: Bytes after which a stream ends and the browser reconnects for the rest: a server without
#: back-pressure would keep them all for one that does not read.
STREAM_SIZE = 4 * 1024 * 1024
#: Seconds between two comments that keep the connection open.
HEARTBEAT = 15.0
#: Seconds after which a stream ends that the server does not read.
_READ_TIMEOUT = 60.0
#: Milliseconds after which a browser reconnects.
RETRY = 1000

_STATUSES = {"FORBIDDEN": 403, "SERVICE_UNAVAILABLE": 503, "INTERNAL_SERVER_ERROR": 500}
_OPTIONS = ("fields", "filter", "sort", "limit")


@require_GET
async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Stream the events of one subscription.

    The URL has the values of a subscribe message: ``collection``, ``event``, ``item``, and of
    the query ``fields``, ``filter`` (as JSON), ``sort`` and ``limit``. A browser that reconnects
    sends the id of its last event by itself, and gets the events that it missed.

    Args:
        request: Request, with the user of the session if the site has sessions.
    """
    if not isinstance(request, ASGIRequest):
        # WSGI has a thread for each stream, and no loop for the hub.
        return _error(501, "NOT_IMPLEMENTED", "This stream needs an ASGI server.")
    try:
        subscription = parse_subscribe(_message(request))
    except QueryRefused as refused:
        return _error(400, refused.code, refused.message)
    user = await request.auser() if hasattr(request, "auser") else None
    stream = EventStream(user, getattr(request, "session", None))
    await subscribe(stream.hub, stream, subscription)
    if (refusal := stream.refusal()) is not None:
        await stream.hub.leave(stream)
        code = refusal["code"]
        return _error(_STATUSES.get(code, 400), code, refusal["message"])
    response = StreamingHttpResponse(Body(stream), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # for nginx
    return response


class EventStream(BrowserConnection):
    """A browser that only receives.

    Frames that the server has read are acknowledged; with back-pressure the rest is kept here.

    Args:
        user: User of the browser.
        session: Session of the user.
    """

    __slots__ = ("_arrived", "_frames", "_leaving", "_read_at", "hub")

    def __init__(self, user: Any, session: Any) -> None:
        self.hub = current_hub()
        super().__init__(user, session, BrowserLimits(), self.hub.clock)
        self.hub.join(self)
        self._frames: deque[Json] = deque()
        self._arrived = asyncio.Event()
        self._read_at = self.clock.monotonic()
        self._leaving: asyncio.Task[None] | None = None

    def refusal(self) -> Json | None:
        """Return the error of the subscription; ``None`` if it is active."""
        for message in self._frames:
            if "error" in message:
                error: Json = message["error"]
                return error
        return None

    async def read(self) -> AsyncIterator[str]:
        """Yield the stream, until the subscription ends or the browser is too slow."""
        size = 0
        try:
            yield f"retry: {RETRY}\n\n"
            while self.closing is None:
                for message in self._pop_all():
                    text = _as_event(message)
                    size += len(text)
                    yield text
                    if "error" in message:
                        return
                if size >= STREAM_SIZE:
                    return
                if not await self.clock.wait(self._arrived, HEARTBEAT):
                    self._read_at = self.clock.monotonic()
                if not self._frames:
                    yield ":\n\n"
        finally:
            self.leave()

    def leave(self) -> None:
        """End the stream and leave the hub."""
        self.mark_left()
        self._frames.clear()
        self._arrived.set()
        if self._leaving is None:
            self._leaving = asyncio.create_task(
                self.hub.leave(self), name="directus-gateway-stream-leaves"
            )

    def tick(self, now: float) -> None:
        """End a stream that is not read."""
        if now - self._read_at > _READ_TIMEOUT:
            self.drop(SILENT, "Nobody reads the stream.")

    def ping(self, now: float) -> None:
        """Do nothing: a stream cannot answer."""

    def _pop_all(self) -> list[Json]:
        popped = list(self._frames)
        self._frames.clear()
        self._arrived.clear()
        self._read_at = self.clock.monotonic()
        self.acknowledge_all()
        return popped

    def _write(self, text: str) -> None:
        self._frames.append(json.loads(text))
        self._arrived.set()

    def _on_drop(self) -> None:
        self.leave()


class Body:
    """Body of the response. Django closes it in any case, also if it was not read.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._stream.read()

    def close(self) -> None:
        """End the stream; Django calls this in a thread."""
        self._loop.call_soon_threadsafe(self._stream.leave)


def _message(request: HttpRequest) -> Json:
    """Return a request as a subscribe message."""
    given = request.GET
    message: Json = {name: given[name] for name in ("collection", "event", "item") if name in given}
    message["query"] = {name: given[name] for name in _OPTIONS if name in given}
    last = request.headers.get("Last-Event-ID") or given.get("last_event_id")
    return {**message, "last_event_id": last} if last else message


def _as_event(message: Json) -> str:
    """Return a message as an event of the stream."""
    kind = message["event"] if message["type"] == "subscription" else message["type"]
    lines = [f"event: {'refused' if 'error' in message else kind}", f"data: {encode(message)}"]
    if "id" in message:
        lines.insert(0, f"id: {message['id']}")
    return "\n".join(lines) + "\n\n"


def _error(status: int, code: str, message: str) -> HttpResponse:
    """Return an error in Directus's format."""
    errors = [{"message": message, "extensions": {"code": code}}]
    return JsonResponse({"errors": errors}, status=status)
