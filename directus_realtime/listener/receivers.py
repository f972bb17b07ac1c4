"""Calls the receivers of an event and says which ones failed."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from directus_realtime.events import Event
from directus_realtime.protocol.redaction import redact
from directus_realtime.signals import DirectusSignal, signals_for

logger = logging.getLogger("directus_realtime.receivers")

#: Seconds after which a receiver is named in the log as slow.
SLOW = 1.0
#: Characters of a traceback that are kept.
_TRACEBACK_LENGTH = 8000


@dataclass(frozen=True, slots=True)
class Call:
    """One receiver to be called with one event.

    Attributes:
        name: Of the receiver; the same in every process.
    """

    name: str
    signal: DirectusSignal
    receiver: Callable[..., Any]
    event: Event
    is_async: bool

    def run(self) -> Failure | None:
        """Call a ``def`` receiver, in the thread of the caller."""
        started = monotonic()
        try:
            self._call()
        except (Exception, SystemExit) as error:
            return Failure.of(self, error)
        finally:
            self._report_slow(started)
        return None

    async def arun(self) -> Failure | None:
        """Call an ``async def`` receiver."""
        started = monotonic()
        try:
            await self._call()
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # The receiver's own: something it waited for was cancelled.
            return Failure.of(self, error)
        except (Exception, SystemExit) as error:
            return Failure.of(self, error)
        finally:
            self._report_slow(started)
        return None

    def _call(self) -> Any:
        return self.receiver(signal=self.signal, sender=self.event.collection, event=self.event)

    def _report_slow(self, started: float) -> None:
        seconds = monotonic() - started
        if seconds >= SLOW:
            logger.warning(
                "The receiver %s took %.1f s for %s %s; hand long work to a task queue.",
                self.name,
                seconds,
                self.event.collection,
                self.event.key,
            )


@dataclass(frozen=True, slots=True)
class Failure:
    """A receiver that raised.

    Attributes:
        receiver: Its name.
        error: Type and message, on one line.
        traceback: The end of the traceback.
    """

    receiver: str
    error: str
    traceback: str

    @classmethod
    def of(cls, call: Call, error: BaseException) -> Failure:
        """The failure of a call."""
        text = "".join(traceback.format_exception(error))
        return cls(
            call.name,
            _storable(f"{type(error).__name__}: {error}")[:500],
            _storable(text)[-_TRACEBACK_LENGTH:],
        )


def calls_for(event: Event, only: set[str] | None = None) -> list[Call]:
    """The calls an event asks for.

    Args:
        event: The event.
        only: Names of the receivers that are wanted; ``None`` for all.
    """
    return [
        call
        for signal in signals_for(event.action)
        for call in _calls(signal, event)
        if only is None or call.name in only
    ]


def _calls(signal: DirectusSignal, event: Event) -> Iterator[Call]:
    sync, asynchronous = signal.receivers_for(event.collection)
    seen: dict[str, int] = {}
    for receiver in [*sync, *asynchronous]:
        name = receiver_name(receiver)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name}#{seen[name]}"
        yield Call(name, signal, receiver, event, receiver in asynchronous)


def receiver_name(receiver: Callable[..., Any]) -> str:
    """A receiver's module and qualified name; those of its class for a callable object."""
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


def _storable(text: str) -> str:
    """A text without secrets, NUL characters and lone surrogates."""
    text = redact(text).replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()
