"""Write-ahead marker of an attempt: lets the next listener detect a crash during it."""

from __future__ import annotations

import uuid
from dataclasses import asdict

from directus_realtime.listener.delivery.delivery_queue import update_rows
from directus_realtime.listener.delivery.receiver_calls import Failure, Job
from directus_realtime.models import InboxEvent

#: Key of the process itself among the failures by receiver.
_LISTENER = "directus_listen"
#: Markers of this process are no sign of a crash.
_THIS_PROCESS = uuid.uuid4().hex
_BEGUN = Failure(_LISTENER, "Begun: It is delivered now, or the process ended meanwhile.", "", "")
#: Failure of an attempt that has a marker of another process and no result.
CRASHED = Failure(
    _LISTENER, "ProcessEnded: The process ended while this event was delivered.", "", ""
)


def write_ahead(job: Job) -> None:
    """Store the marker of an attempt; the result of the attempt replaces it.

    Raises:
        RowsChanged: The row changed since it was read.
    """
    marker = {**asdict(_BEGUN), "process": _THIS_PROCESS}
    update_rows([job], failures={**job.row.failures, _LISTENER: marker})


def has_crashed(row: InboxEvent) -> bool:
    """Whether another process crashed during an attempt."""
    own: dict[str, str] = row.failures.get(_LISTENER, {})
    return own.get("error") == _BEGUN.error and own.get("process") != _THIS_PROCESS


def maybe_poison(row: InboxEvent) -> bool:
    """Whether the next attempt may crash the process, as an earlier one did."""
    return _LISTENER in row.failures
