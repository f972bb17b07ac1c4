"""One WebSocket of a fake Directus: sending, closing, expiry of its token."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque

from aiohttp import WSMsgType, web

from directus_realtime.testing.fake import socket_messages as messages
from directus_realtime.testing.fake.accounts import EXPIRED, PUBLIC, Access
from directus_realtime.testing.fake.server_state import Faults, RateLimit, ServerOptions
from directus_realtime.testing.fake.socket_messages import Message

CLOSE_TIMEOUT = 5.0  # seconds until a client that does not answer a close is cut off
HALF_A_TEXT_FRAME = b"\x81\x7e\x01\x00" + b'{"type":"subscription"'  # announces 256 bytes


class SocketConnection:
    """A socket after the upgrade."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        faults: Faults,
        options: ServerOptions,
    ) -> None:
        self.socket = socket
        self.access: Access = PUBLIC
        self.is_silent = False  # since the last heartbeat
        self._transport = transport
        self._faults = faults
        self._auth_timeout = options.auth_timeout
        self._closes_on_auth_failure = options.auth_mode != "public"
        self._outbox: asyncio.Queue[tuple[float, str | bytes | None]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._recent: deque[float] = deque()
        self._writer = asyncio.create_task(self._write())

    def send(self, message: Message | str | bytes) -> None:
        """Queue a message; the queue is unbounded, as in Directus."""
        text = message if isinstance(message, str | bytes) else messages.encode(message)
        self._outbox.put_nowait((self._loop.time() + self._faults.reply_delay, text))

    def close(self) -> None:
        """Close after the queued messages, without a code: the client sees 1005."""
        self._outbox.put_nowait((self._loop.time(), None))

    def cut(self, mid_frame: bool = False) -> None:
        """Abort the connection without a close frame, or in the middle of a message."""
        if mid_frame:
            self._transport.write(HALF_A_TEXT_FRAME)
        self._transport.abort()

    def authenticate(self, access: Access) -> None:
        """Set the rights, and watch for the expiry of the token."""
        self.access = access
        self._stop_timer()
        if access.expires_at is not None:
            self._timer = self._loop.call_later(access.expires_at - time.time(), self.expire)

    def expire(self) -> None:
        """Announce that the token expired; the client has some seconds to send another."""
        self._stop_timer()
        self.access = EXPIRED
        self.send(messages.error("auth", "TOKEN_EXPIRED", "Token expired."))
        self._timer = self._loop.call_later(self._auth_timeout, self._auth_timed_out)

    def auth_failed(self, message: Message) -> None:
        """Refuse a second authentication."""
        self._stop_timer()
        self.access = EXPIRED
        uid = message.get("uid", messages.MISSING)
        self.send(messages.error("auth", "AUTH_FAILED", "Authentication failed.", uid))
        if self._closes_on_auth_failure:
            self.close()

    def retry_after(self, limit: RateLimit) -> int:
        """Count a message; return the milliseconds to wait if it is one too many, else 0."""
        now = self._loop.time()
        while self._recent and self._recent[0] <= now - limit.seconds:
            self._recent.popleft()
        if len(self._recent) >= limit.points:
            return max(1, round((self._recent[0] + limit.seconds - now) * 1000))
        self._recent.append(now)
        return 0

    async def finish(self) -> None:
        """End the tasks of a closed socket."""
        self._stop_timer()
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer
        self._transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _auth_timed_out(self) -> None:
        self.send(messages.error("auth", "AUTH_TIMEOUT", "Authentication timed out."))
        if self._closes_on_auth_failure:
            self.close()

    async def _write(self) -> None:
        # A client may disconnect at any moment; then the reading side ends the connection.
        with contextlib.suppress(ConnectionError):
            while True:
                due, text = await self._outbox.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await self._faults.thawed.wait()
                if text is None:
                    await self._send_close()
                    return
                kind = WSMsgType.BINARY if isinstance(text, bytes) else WSMsgType.TEXT
                content = text if isinstance(text, bytes) else text.encode()
                await self.socket.send_frame(content, kind)

    async def _send_close(self) -> None:
        await self.socket.send_frame(b"", WSMsgType.CLOSE)
        self._timer = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)
