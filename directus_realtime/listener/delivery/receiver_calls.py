"""Calls of receivers, and the delivery of one event as a job of calls."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Self

from asgiref.sync import async_to_sync
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from directus_realtime.events import Event
from directus_realtime.listener.metrics.counts import counts
from directus_realtime.models import InboxEvent
from directus_realtime.receivers import ConnectedReceiver, connected_receivers
from directus_realtime.signals import DirectusSignal, signals_for
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.redaction import redact, storable
from directus_realtime.utils.site_code import await_contained, contained, original

logger = EventLogger("directus_realtime.receivers")

#: Seconds after which a receiver is logged as slow.
SLOW = 1.0
#: Characters of an error and of its traceback that are kept.
_ERROR_LENGTH, _TRACEBACK_LENGTH = 500, 8000

#: Failure of a coroutine function that a decorator, or a lambda, hides.
NOT_AWAITED = (
    "The receiver returned a coroutine, which nobody awaits. Connect the async def function "
    "itself, or one that is async def, too."
)

#: Failure of a receiver that leaves a transaction open.
LEFT_OPEN = "The receiver began a transaction and did not end it. Use atomic() in a with statement."

#: Connection, collection and key (as JSON): events of one item are delivered in order.
Item = tuple[str, str, str]


class TransactionBroken(Error):
    """A receiver destroyed the transaction that it shares with others, or left one open."""


def item_of(row: InboxEvent) -> Item:
    """Return the item of a row."""
    return row.connection, row.collection, row.key_json


@dataclass(frozen=True, slots=True)
class Call:
    """Call of one receiver.

    Attributes:
        name: Name of the receiver; the same in every process.
        signal: Signal that the receiver is connected to.
        receiver: The receiver.
        sender: Collection, or alias of a connection.
        arguments: Keyword arguments of the signal.
        is_async: Whether the receiver must be awaited.
        is_atomic: Whether it is called in the transaction that marks it as done.
        may_return_coroutine: Whether it wraps an ``async def`` function, so that a coroutine
            that it returns is run.
        mark: Text that is stored when it has succeeded.
    """

    name: str
    signal: DirectusSignal
    receiver: Callable[..., Any]
    sender: str
    arguments: dict[str, Any]
    is_async: bool
    is_atomic: bool = False
    may_return_coroutine: bool = False
    mark: str = ""

    def run(self) -> Failure | None:
        """Call a ``def`` receiver in this thread.

        Any error is its failure, ``SystemExit`` and ``KeyboardInterrupt`` included.
        """
        started = perf_counter()
        try:
            with contained():
                result = self._call()
            if inspect.iscoroutine(result) and self.may_return_coroutine:
                async_to_sync(await_contained)(lambda: result)
            elif inspect.iscoroutine(result):
                result.close()
                raise TypeError(NOT_AWAITED)
        except Exception as error:
            return Failure.of(self, error)
        finally:
            self._record_time(perf_counter() - started)
        return None

    def run_outside(self) -> Failure | None:
        """Call a ``def`` receiver outside of a transaction, and close one that it leaves open.

        Later writes would become part of that transaction, and would never be committed.
        """
        before = _in_transaction()
        failure = self.run()
        for connection in _in_transaction():
            if connection not in before:
                connection.savepoint_ids, connection.atomic_blocks = [], []
                connection.in_atomic_block = connection.needs_rollback = False
                connection.close()
                failure = failure or Failure.of(self, TransactionBroken(LEFT_OPEN))
        return failure

    async def arun(self) -> Failure | None:
        """Call an ``async def`` receiver."""
        started = perf_counter()
        try:
            await await_contained(self._call)
        except Exception as error:
            return Failure.of(self, error)
        finally:
            self._record_time(perf_counter() - started)
        return None

    def _call(self) -> Any:
        return self.receiver(signal=self.signal, sender=self.sender, **self.arguments)

    def _record_time(self, seconds: float) -> None:
        counts.receiver_seconds.observe((self.name,), seconds)
        if seconds >= SLOW:
            logger.repeated(
                self.name,
                "receiver-slow",
                "The receiver %s took %.1f s for %s; hand long work to a task queue.",
                self.name,
                seconds,
                self.sender,
                receiver=self.name,
                sender=self.sender,
                seconds=seconds,
            )


def _in_transaction() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread that have an open transaction."""
    initialized = connections.all(initialized_only=True)
    return [connection for connection in initialized if connection.in_atomic_block]


@dataclass(frozen=True, slots=True)
class Failure:
    """Error of a receiver.

    Attributes:
        receiver: Name of the receiver.
        error: Type and message, on one line.
        traceback: End of the traceback.
        place: Line in the module of the receiver, for example ``receivers.py:12``; else the
            line that raised.
    """

    receiver: str
    error: str
    traceback: str
    place: str

    @classmethod
    def of(cls, call: Call, error: BaseException) -> Failure:
        """Make the failure of a call."""
        error = original(error)
        line = f"{type(error).__name__}: {_message(error)}"
        try:
            text = "".join(traceback.format_exception(error))
        except Exception:  # str() of an exception can fail, too
            text = "".join(traceback.format_tb(error.__traceback__)) + line
        return cls(
            call.name,
            storable(" ".join(redact(line).split()), _ERROR_LENGTH),
            storable(redact(text))[-_TRACEBACK_LENGTH:],
            _place(call.receiver, error),
        )


def calls_for(event: Event, delivered: Collection[str] = ()) -> list[Call]:
    """Return the calls for an event: atomic ones first, ``async def`` receivers last.

    Args:
        event: The event.
        delivered: Marks of the receivers that have succeeded already.
    """
    calls = calls_of(signals_for(event.action), event.collection, {"event": event})
    missing = [call for call in calls if call.mark not in delivered]
    return sorted(missing, key=lambda call: (call.is_async, not call.is_atomic))


def calls_of(
    signals: Iterable[DirectusSignal], sender: str, arguments: dict[str, Any]
) -> list[Call]:
    """Return the calls of the receivers of signals; receivers with equal names are numbered."""
    return [_call(each, sender, arguments) for each in connected_receivers(signals, sender)]


def _call(connected: ConnectedReceiver, sender: str, arguments: dict[str, Any]) -> Call:
    may_return_coroutine = connected.may_be_async and not connected.is_async
    return Call(
        connected.name,
        connected.signal,
        connected.function,
        sender,
        arguments,
        is_async=connected.is_async,
        is_atomic=not (connected.may_be_async or connected.is_non_atomic),
        may_return_coroutine=may_return_coroutine,
        mark=connected.mark,
    )


def _place(receiver: Callable[..., Any], error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(receiver), "__code__", None)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    return "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (own or frames)[-1:])


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"


@dataclass(eq=False, slots=True)
class Job:
    """One attempt to deliver a row to its receivers.

    Attributes:
        row: The row as it was read.
        event: The event for the receivers.
        item: Item of the event.
        remaining: Calls that are not made yet; atomic ones first.
        delivered: Marks of the receivers that have succeeded.
        failures: Failures of this attempt.
        retry_at: Time of the retry of a failed job; ``None`` for a dead letter.
        is_started: Whether a receiver was called.
        isolated: Whether each call has a transaction of its own.
        maybe_poison: Whether a process may have crashed in an earlier attempt.
        is_written_ahead: Whether the crash marker of this attempt is stored.
        conflicts: Number of transactions of this attempt that conflicted with others.
    """

    row: InboxEvent
    event: Event
    item: Item
    remaining: list[Call]
    delivered: list[str]
    failures: list[Failure] = field(default_factory=list)
    retry_at: datetime | None = None
    is_started: bool = False
    isolated: bool = False
    maybe_poison: bool = False
    is_written_ahead: bool = False
    conflicts: int = 0

    @classmethod
    def of(cls, row: InboxEvent, *, isolated: bool = False, maybe_poison: bool = False) -> Self:
        """Make the job of a row; receivers that have succeeded are not called again."""
        job = cls._without_calls(row)
        job.remaining = calls_for(job.event, row.delivered)
        job.isolated, job.maybe_poison = isolated, maybe_poison
        return job

    def again(self) -> Job:
        """Return a job for the same attempt after the transaction of this one was rolled back."""
        job = Job.of(self.row, isolated=self.isolated, maybe_poison=self.maybe_poison)
        job.conflicts = self.conflicts + 1
        return job

    @classmethod
    def crashed(cls, row: InboxEvent, failure: Failure) -> Self:
        """Make the job of an attempt in which the process crashed; it has no calls."""
        job = cls._without_calls(row)
        job.failures.append(failure)
        return job

    @classmethod
    def _without_calls(cls, row: InboxEvent) -> Self:
        return cls(row, row.to_event(), item_of(row), [], list(row.delivered))

    @property
    def attempts(self) -> int:
        """Number of attempts, this one included."""
        return self.row.attempts + 1

    @property
    def next(self) -> Call | None:
        """The next call."""
        return self.remaining[0] if self.remaining else None

    @property
    def is_outside(self) -> bool:
        """Whether the next call is made outside of a transaction."""
        return bool(self.remaining) and not self.remaining[0].is_atomic

    @property
    def ends_outside(self) -> bool:
        """Whether any call is made outside of a transaction."""
        return bool(self.remaining) and not self.remaining[-1].is_atomic

    @property
    def is_awaited(self) -> bool:
        """Whether only ``async def`` receivers remain."""
        return bool(self.remaining) and self.remaining[0].is_async

    def record(self, call: Call, failure: Failure | None) -> None:
        """Record the result of a call."""
        self.is_started = True
        self.remaining.remove(call)
        if failure is None:
            self.delivered.append(call.mark)
        else:
            self.failures.append(failure)

    def record_rollback(self, call: Call, error: Exception) -> None:
        """Record that the transaction of a call failed, during the call or after it."""
        failure = Failure.of(call, error)
        if call in self.remaining:
            self.record(call, failure)
        elif call.mark in self.delivered:
            self.delivered.remove(call.mark)
            self.failures.append(failure)

    def run_next(self) -> None:
        """Make the next call, outside of a transaction, in this thread."""
        call = self.remaining[0]
        self.record(call, call.run_outside())

    async def run_async(self) -> None:
        """Call the ``async def`` receivers."""
        calls = list(self.remaining)
        failures = await asyncio.gather(*(call.arun() for call in calls))
        for call, failure in zip(calls, failures, strict=True):
            self.record(call, failure)
