"""The states of a connection and the stream of their changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ConnectionState(StrEnum):
    """Where a connection stands."""

    #: Authenticated; the subscriptions are confirmed or on their way.
    CONNECTED = "connected"
    #: Lost or not yet made; the next attempt comes by itself.
    RECONNECTING = "reconnecting"
    #: Not wanted, or given up.
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of state.

    Attributes:
        state: The new state.
        reason: Why, as a sentence; empty where there is nothing to say.
        at: When, aware.
    """

    state: ConnectionState
    reason: str
    at: datetime


class StateStream:
    """Hands each change to every reader that is there when it happens."""

    def __init__(self) -> None:
        self._readers: set[asyncio.Queue[StateChange | None]] = set()

    def publish(self, change: StateChange) -> None:
        """Tell every reader."""
        for reader in self._readers:
            reader.put_nowait(change)

    def close(self) -> None:
        """End the iteration of every reader."""
        for reader in self._readers:
            reader.put_nowait(None)

    async def read(self, current: StateChange) -> AsyncIterator[StateChange]:
        """The current state first, then each change."""
        queue: asyncio.Queue[StateChange | None] = asyncio.Queue()
        self._readers.add(queue)
        try:
            yield current
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._readers.discard(queue)
