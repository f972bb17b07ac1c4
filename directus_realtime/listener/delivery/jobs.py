"""An event on its way to its receivers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Self

from directus_realtime.events import Event
from directus_realtime.listener.delivery.receiver_calls import Call, Failure, calls_for
from directus_realtime.listener.delivery.shared_transaction import call_outside
from directus_realtime.models import InboxEvent

#: Connection, collection and key (as JSON): what order is kept for.
Item = tuple[str, str, str]


def item_of(row: InboxEvent) -> Item:
    """The item whose order a row is part of."""
    return row.connection, row.collection, row.key_json


@dataclass(eq=False, slots=True)
class Job:
    """One attempt to hand a row to its receivers.

    Attributes:
        row: As it was read.
        event: What the receivers get.
        item: Whose order it is part of.
        left: The calls that are not made yet; those that share a transaction come first.
        delivered: Names of the receivers that are through.
        failures: What the receivers of this attempt raised.
        is_begun: Whether a receiver was called.
        isolated: Whether each call has a transaction of its own.
        is_suspect: Whether the process may have ended in it before, and may do so again.
        is_written_ahead: Whether it is written down already that it was begun.
    """

    row: InboxEvent
    event: Event
    item: Item
    left: list[Call]
    delivered: list[str]
    failures: list[Failure] = field(default_factory=list)
    is_begun: bool = False
    isolated: bool = False
    is_suspect: bool = False
    is_written_ahead: bool = False

    @classmethod
    def of(cls, row: InboxEvent, *, isolated: bool = False, is_suspect: bool = False) -> Self:
        """The job of a row; the receivers that are through are not called again."""
        event = row.to_event()
        calls = calls_for(event, row.delivered)
        return cls(
            row,
            event,
            item_of(row),
            calls,
            list(row.delivered),
            isolated=isolated,
            is_suspect=is_suspect,
        )

    @classmethod
    def ended(cls, row: InboxEvent, failure: Failure) -> Self:
        """An attempt of which only its end is known: no receiver is called."""
        job = cls(row, row.to_event(), item_of(row), [], list(row.delivered))
        job.failures.append(failure)
        return job

    @property
    def next(self) -> Call | None:
        """The call to be made next."""
        return self.left[0] if self.left else None

    @property
    def is_outside(self) -> bool:
        """Whether the next call is made outside of a transaction."""
        return bool(self.left) and not self.left[0].is_atomic

    @property
    def ends_outside(self) -> bool:
        """Whether some call is made outside of a transaction."""
        return bool(self.left) and not self.left[-1].is_atomic

    @property
    def is_awaited(self) -> bool:
        """Whether only ``async def`` receivers are left."""
        return bool(self.left) and self.left[0].is_async

    def take(self, call: Call, failure: Failure | None) -> None:
        """Note that a call was made, and how it ended."""
        self.is_begun = True
        self.left.remove(call)
        if failure is None:
            self.delivered.append(call.name)
        else:
            self.failures.append(failure)

    def take_back(self, call: Call, error: Exception) -> None:
        """Note that the transaction of a call broke, in the call or behind it."""
        failure = Failure.of(call, error)
        if call in self.left:
            self.take(call, failure)
        elif call.name in self.delivered:
            self.delivered.remove(call.name)
            self.failures.append(failure)

    def run_next(self) -> None:
        """Make the next call, in the thread of the caller."""
        call = self.left[0]
        self.take(call, call_outside(call))

    async def run_async(self) -> None:
        """Call the ``async def`` receivers."""
        calls = list(self.left)
        failures = await asyncio.gather(*(call.arun() for call in calls))
        for call, failure in zip(calls, failures, strict=True):
            self.take(call, failure)
