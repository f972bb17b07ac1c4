"""Calls the receivers of an event and says which ones failed."""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from directus_realtime.events import Event
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.signals import DirectusSignal, is_non_atomic, signals_for
from directus_realtime.utils.logs import Repetitions
from directus_realtime.utils.redaction import redact, storable

logger = logging.getLogger("directus_realtime.receivers")

#: Seconds after which a receiver is named in the log as slow.
SLOW = 1.0
#: Which of them were named lately.
_slow = Repetitions()
#: Characters of an error and of its traceback that are kept.
_ERROR_LENGTH, _TRACEBACK_LENGTH = 500, 8000


@dataclass(frozen=True, slots=True)
class Call:
    """One receiver to be called.

    Attributes:
        name: Of the receiver; the same in every process.
        signal: The signal it is connected to.
        receiver: The receiver.
        sender: A collection, or the alias of a connection.
        arguments: What the signal carries.
        is_async: Whether the receiver is to be awaited.
        is_atomic: Whether it is called in the transaction that marks it as through.
    """

    name: str
    signal: DirectusSignal
    receiver: Callable[..., Any]
    sender: str
    arguments: dict[str, Any]
    is_async: bool
    is_atomic: bool = False

    def run(self) -> Failure | None:
        """Call a ``def`` receiver, in the thread of the caller.

        Whatever it raises is its failure: ``exit()`` is for commands, and time-outs of gevent
        or a panic of an extension in Rust are no ``Exception``.
        """
        started = monotonic()
        try:
            if inspect.iscoroutine(result := self._call()):
                result.close()
                raise TypeError(NOT_AWAITED)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Failure.of(self, error)
        finally:
            self._note_time(started)
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
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Failure.of(self, error)
        finally:
            self._note_time(started)
        return None

    def _call(self) -> Any:
        return self.receiver(signal=self.signal, sender=self.sender, **self.arguments)

    def _note_time(self, started: float) -> None:
        seconds = monotonic() - started
        counts.receiver_seconds.observe((self.name,), seconds)
        if seconds >= SLOW:
            logger.log(
                logging.WARNING if _slow.first_within(self.name) else logging.DEBUG,
                "The receiver %s took %.1f s for %s; hand long work to a task queue.",
                self.name,
                seconds,
                self.sender,
                extra={
                    "event": "receiver-slow",
                    "receiver": self.name,
                    "sender": self.sender,
                    "seconds": seconds,
                },
            )


#: What happens to a coroutine function that a decorator, or a lambda, hides.
NOT_AWAITED = (
    "The receiver returned a coroutine, which nobody awaits. Connect the async def function "
    "itself, or one that is async def, too."
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A receiver that raised.

    Attributes:
        receiver: Its name.
        error: Type and message, on one line.
        traceback: The end of the traceback.
        place: Where in the receiver's module, such as ``receivers.py:12``; else where it was
            raised.
    """

    receiver: str
    error: str
    traceback: str
    place: str

    @classmethod
    def of(cls, call: Call, error: BaseException) -> Failure:
        """The failure of a call."""
        line = f"{type(error).__name__}: {_message(error)}"
        try:
            text = "".join(traceback.format_exception(error))
        except Exception:  # an exception's own text can fail, too
            text = "".join(traceback.format_tb(error.__traceback__)) + line
        return cls(
            call.name,
            storable(" ".join(redact(line).split()), _ERROR_LENGTH),
            storable(redact(text))[-_TRACEBACK_LENGTH:],
            _place(call.receiver, error),
        )


def calls_for(event: Event, delivered: Collection[str] = ()) -> list[Call]:
    """The calls an event asks for, in the order in which they are made.

    Those that share a transaction come first, those that are awaited last.

    Args:
        event: The event.
        delivered: Names of the receivers that are through.
    """
    calls = calls_of(signals_for(event.action), event.collection, {"event": event})
    wanted = [call for call in calls if call.name not in delivered]
    return sorted(wanted, key=lambda call: (call.is_async, not call.is_atomic))


def calls_of(
    signals: Iterable[DirectusSignal], sender: str, arguments: dict[str, Any]
) -> list[Call]:
    """The calls that some signals ask for; receivers of one name are numbered."""
    calls: list[Call] = []
    seen: dict[str, int] = {}
    for signal in signals:
        sync, asynchronous = signal.receivers_for(sender)
        for receiver in [*sync, *asynchronous]:
            name = receiver_name(receiver)
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                name = f"{name}#{seen[name]}"
            is_async = receiver in asynchronous or _has_async_call(receiver)
            is_atomic = not is_async and not is_non_atomic(receiver)
            calls.append(Call(name, signal, receiver, sender, arguments, is_async, is_atomic))
    return calls


def receiver_name(receiver: Callable[..., Any]) -> str:
    """A receiver's module and qualified name; those of its class for a callable object."""
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


def _has_async_call(receiver: Callable[..., Any]) -> bool:
    """Whether a receiver is an object with ``async def __call__``, which Django overlooks."""
    return inspect.iscoroutinefunction(type(receiver).__call__)


def _place(receiver: Callable[..., Any], error: BaseException) -> str:
    """The innermost line of a traceback that is in the receiver's own module."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(receiver), "__code__", None)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    return "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (own or frames)[-1:])


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"
