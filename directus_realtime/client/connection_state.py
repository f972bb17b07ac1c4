"""The states of a connection and the stream of their changes."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


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
        # Weak: a reader that nobody iterates any more is forgotten.
        self._readers: weakref.WeakSet[StateReader] = weakref.WeakSet()

    def publish(self, change: StateChange) -> None:
        """Tell every reader."""
        for reader in list(self._readers):
            reader.queue.put_nowait(change)

    def close(self) -> None:
        """End the iteration of every reader."""
        for reader in list(self._readers):
            reader.queue.put_nowait(None)

    def read(self, current: StateChange) -> AsyncIterator[StateChange]:
        """The current state first, then each change from now on, however late it is read."""
        reader = StateReader(current)
        self._readers.add(reader)
        return reader


class StateReader:
    """What one reader has not read yet; a queue of changes, ended by ``None``."""

    def __init__(self, current: StateChange) -> None:
        self.queue: asyncio.Queue[StateChange | None] = asyncio.Queue()
        self.queue.put_nowait(current)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StateChange:
        change = await self.queue.get()
        if change is None:
            self.queue.put_nowait(None)  # for whoever asks again
            raise StopAsyncIteration
        return change
