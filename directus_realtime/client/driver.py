"""Runs a :class:`~directus_realtime.protocol.session.Session` on a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from websockets.asyncio.client import ClientConnection

from directus_realtime.client.concurrency import run_until_first
from directus_realtime.exceptions import BadFrame, ConnectionFailed
from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.redaction import excerpt
from directus_realtime.protocol.session import Ignored, PeerSilent, Session, SessionAction


class SocketDriver:
    """Moves frames between a socket and a session, and the clock forward.

    Reading waits for nobody: frames to send have a task of their own, and actions are
    handed over by a plain call.

    Args:
        socket: An open WebSocket.
        session: The protocol's state.
        handle: Called with each action, in order; must not block.
        max_message_size: Bytes; a larger message is reported and left out.

    Attributes:
        heard_at: When the last frame came in while authenticated, aware; ``None`` before.
    """

    def __init__(
        self,
        socket: ClientConnection,
        session: Session,
        handle: Callable[[SessionAction], None],
        max_message_size: int,
    ) -> None:
        self._socket = socket
        self._session = session
        self._handle = handle
        self._max_message_size = max_message_size
        self.heard_at = datetime.now(UTC) if session.authenticated else None
        self._to_send: asyncio.Queue[str] = asyncio.Queue()
        self._clock_changed = asyncio.Event()

    async def run(self) -> None:
        """Work until the connection ends.

        Raises:
            ConnectionFailed: The server is silent.
            websockets.exceptions.ConnectionClosed: The connection ended.
        """
        self._flush()
        await run_until_first(self._read, self._write, self._watch_clock)

    def authenticate(self, credentials: dict[str, str]) -> None:
        """Send credentials, also on a socket that is authenticated already."""
        self._session.authenticate(credentials, monotonic())
        self._flush()

    def subscribe(self, subscription: WireSubscription) -> None:
        """Ask for a subscription."""
        self._session.subscribe(subscription, monotonic())
        self._flush()

    def unsubscribe(self, uid: str) -> None:
        """End a subscription."""
        self._session.unsubscribe(uid, monotonic())
        self._flush()

    async def _read(self) -> None:
        while True:
            frame = await self._socket.recv()
            arrived_at = datetime.now(UTC)
            if (size := self._size(frame)) > self._max_message_size:
                problem = f"A message of {size} bytes is over MAX_MESSAGE_SIZE"
                self._handle(Ignored(BadFrame(problem, excerpt(frame))))
                continue
            self._session.receive(frame, monotonic())
            if self._session.authenticated:
                self.heard_at = arrived_at
            self._flush()

    def _size(self, frame: str | bytes) -> int:
        """Bytes of a frame; a text is only measured where it may be too long."""
        if isinstance(frame, str) and len(frame) * 4 > self._max_message_size:
            return len(frame.encode("utf-8", "surrogatepass"))
        return len(frame)

    async def _write(self) -> None:
        while True:
            await self._socket.send(await self._to_send.get())

    async def _watch_clock(self) -> None:
        while True:
            self._clock_changed.clear()
            wait = self._session.next_deadline() - monotonic()
            try:
                async with asyncio.timeout(max(wait, 0)):
                    await self._clock_changed.wait()
            except TimeoutError:
                self._session.tick(monotonic())
                self._flush()

    def _flush(self) -> None:
        """Send and act on what the session has to say."""
        for frame in self._session.take_frames():
            self._to_send.put_nowait(frame)
        for action in self._session.take_actions():
            if isinstance(action, PeerSilent):
                raise ConnectionFailed(
                    f"Directus did not answer a ping within {action.seconds:g} s."
                )
            self._handle(action)
        self._clock_changed.set()
