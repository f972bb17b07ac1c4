"""Rows of the inbox."""

from __future__ import annotations

from typing import Any

from directus_realtime.events import Event
from directus_realtime.models import InboxEvent

#: What a receiver leaves that failed.
FAILURE = {
    "receiver": "app.receiver",
    "error": "ValueError: <b>no</b>",
    "traceback": "Traceback (most recent call last):\n  <i>here</i>",
}
FAILURES = {"app.receiver": FAILURE}


def new_row(**values: Any) -> InboxEvent:
    """A row that is not saved; values of the event and of the row."""
    given: dict[str, Any] = {
        "connection": "default",
        "subscription": "all",
        "collection": "articles",
        "action": "update",
        "key": 42,
        "data": {"title": "x"},
    }
    event = Event(**{name: values.pop(name, value) for name, value in given.items()})
    row = InboxEvent.from_event(event)
    for name, value in values.items():
        setattr(row, name, value)
    return row


def add_row(**values: Any) -> InboxEvent:
    """A row of the inbox."""
    row = new_row(**values)
    row.save()
    return row


def dead_letter(
    error: str = "ValueError: no", receiver: str = "app.receiver", **values: Any
) -> Any:
    """A dead letter; one receiver failed."""
    failures = {receiver: {**FAILURE, "receiver": receiver, "error": error}}
    return add_row(**{"state": "dead", "attempts": 8, "failures": failures, **values})
