"""What became of an event at each of its receivers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from directus_realtime.listener.delivery.receivers import calls_for
from directus_realtime.models import InboxEvent, InboxState

_LABELS = {
    "failed": _("failed"),
    "through": _("succeeded"),
    "waiting": _("not called yet"),
    "given-up": _("not called"),
}


@dataclass(frozen=True)
class Reception:
    """What became of an event at one receiver.

    Attributes:
        receiver: Its name.
        outcome: ``failed``, ``through``, ``waiting`` or ``given-up``.
        tries: Of a receiver that failed, since the event came in or was retried by a person;
            ``None`` where the number is not known.
        error: Type and message of the last failure.
        traceback: Of the last failure.
    """

    receiver: str
    outcome: str
    tries: int | None = None
    error: str = ""
    traceback: str = ""

    @property
    def label(self) -> Any:
        """The outcome, in words."""
        return _LABELS[self.outcome]

    @property
    def short_name(self) -> str:
        """The receiver without its module."""
        return self.receiver.rpartition(".")[2]


def known_receptions(row: InboxEvent) -> list[Reception]:
    """What the row itself tells: who failed, and who is through while others are not."""
    failed = [
        Reception(name, "failed", row.attempts or None, failure["error"], failure["traceback"])
        for name, failure in sorted(row.failures.items())
    ]
    return failed + [Reception(name, "through") for name in row.delivered]


def all_receptions(row: InboxEvent) -> list[Reception]:
    """Also the receivers that are connected in this process and of which the row tells nothing.

    Once all of its receivers are through, a row keeps no names: those that are connected now
    are shown as the ones that it went to.
    """
    known = known_receptions(row)
    names = {reception.receiver for reception in known}
    outcome = {InboxState.DONE: "through", InboxState.HANDLED: "given-up"}.get(
        InboxState(row.state), "waiting"
    )
    others = (name for name in _connected(row) if name not in names)
    return [*known, *(Reception(name, outcome) for name in others)]


def _connected(row: InboxEvent) -> Iterator[str]:
    """The receivers that this process would call; none for a row that is never delivered."""
    if row.state == InboxState.MERGED:
        return
    try:
        event = row.to_event()
    except (ValueError, RecursionError):
        return
    yield from (call.name for call in calls_for(event))
