"""The receivers of a simulation, and how they fail."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, connections

from directus_realtime.events import Event
from directus_realtime.signals import directus_event, directus_gap_detected
from tests.simulation import clock
from tests.simulation.loop import MACHINE

_INSERT = (
    "INSERT INTO simulation_effect (event_id, receiver, subscription, collection, item, action,"
    " version, status, left_filter, origin, activity_id, machine, at)"
    ' VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) -- "simulation_effect"'
)
_TALLY = (
    "INSERT INTO simulation_tally VALUES (%s, %s, 1)"
    " ON CONFLICT (subscription, item) DO UPDATE SET count = count + 1"
)


class Interrupted(BaseException):
    """What an extension, or a time-out of another framework, raises."""


@dataclass
class Book:
    """What the receivers of the running simulation do and did.

    Attributes:
        failures: By receiver, the ways in which its next calls fail.
        outside: Calls of the receiver that has no part in a transaction, by event.
        gaps: Announced gaps, each with the machine and the true second.
    """

    failures: dict[str, list[str]] = field(default_factory=dict)
    outside: Counter[str] = field(default_factory=Counter)
    gaps: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)

    def way(self, name: str) -> str:
        """Take the way in which a call fails; empty where it succeeds."""
        waiting = self.failures.get(name)
        return waiting.pop(0) if waiting else ""


book = Book()


def begin() -> Book:
    """Forget the simulation before."""
    global book
    book = Book()
    return book


def _machine() -> str:
    machine = MACHINE.get()
    return machine.name if machine else ""


def _write(receiver: str, event: Event) -> None:
    data = event.data or {}
    with connections["default"].cursor() as cursor:
        cursor.execute(
            _INSERT,
            [
                event.id,
                receiver,
                event.subscription,
                event.collection,
                str(event.key),
                event.action,
                data.get("version"),
                data.get("status"),
                event.left_filter,
                event.origin,
                event.activity_id,
                _machine(),
                clock.true_seconds(),
            ],
        )


def _fail(way: str, receiver: str, event: Event) -> None:
    if way == "raise":
        raise RuntimeError("Simulated: the receiver fails.")
    if way == "base":
        raise Interrupted
    if way == "write":
        _write(receiver, event)
        raise RuntimeError("Simulated: the receiver fails after it has written.")
    if way == "hide":
        with contextlib.suppress(DatabaseError), connections["default"].cursor() as cursor:
            cursor.execute("INSERT INTO simulation_nowhere VALUES (1)")


def record(event: Event, **kwargs: Any) -> None:
    """Write an effect, and count it in a way that is not idempotent."""
    _fail(book.way("record"), "record", event)
    _write("record", event)
    with connections["default"].cursor() as cursor:
        cursor.execute(_TALLY, [event.subscription, str(event.key)])


def flaky(event: Event, **kwargs: Any) -> None:
    """Write an effect beside that of the other receiver."""
    _fail(book.way("flaky"), "flaky", event)
    _write("flaky", event)


async def outside(event: Event, **kwargs: Any) -> None:
    """Do something that no transaction can undo."""
    if book.way("outside"):
        raise RuntimeError("Simulated: the receiver fails.")
    book.outside[event.id] += 1


def note_gap(**kwargs: Any) -> None:
    """Note an announced gap."""
    names = ("since", "until", "recovered", "collections")
    values = {name: kwargs[name] for name in names}
    book.gaps.append((clock.true_seconds(), _machine(), values))


def connect() -> None:
    """Connect the receivers."""
    for receiver in (record, flaky, outside):
        directus_event.connect(receiver)
    directus_gap_detected.connect(note_gap)


def disconnect() -> None:
    """Disconnect the receivers."""
    for receiver in (record, flaky, outside):
        directus_event.disconnect(receiver)
    directus_gap_detected.disconnect(note_gap)
