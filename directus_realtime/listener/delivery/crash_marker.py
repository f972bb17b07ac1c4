"""What is written down before an attempt, so that a process that ends in it is known of."""

from __future__ import annotations

import uuid
from dataclasses import asdict

from directus_realtime.listener.delivery.delivery_queue import update_rows
from directus_realtime.listener.delivery.jobs import Job
from directus_realtime.listener.delivery.receiver_calls import Failure
from directus_realtime.models import InboxEvent

#: Stands among the receivers for the process itself.
_LISTENER = "directus_listen"
#: What this process has begun is no sign of an end.
_THIS_PROCESS = uuid.uuid4().hex
_BEGUN = Failure(_LISTENER, "Begun: It is delivered now, or the process ended meanwhile.", "", "")
#: The failure of an attempt that was begun, and of which nothing else was written down.
ENDED = Failure(
    _LISTENER, "ProcessEnded: The process ended while this event was delivered.", "", ""
)


def write_ahead(job: Job) -> None:
    """Write down that an attempt is begun.

    Nothing else of the row is changed, and what comes of the attempt takes its place.

    Raises:
        RowsChanged: The row is not as it was read.
    """
    begun = {**asdict(_BEGUN), "process": _THIS_PROCESS}
    update_rows([job], failures={**job.row.failures, _LISTENER: begun})


def has_ended(row: InboxEvent) -> bool:
    """Whether another process ended in an attempt that it had begun."""
    own: dict[str, str] = row.failures.get(_LISTENER, {})
    return own.get("error") == _BEGUN.error and own.get("process") != _THIS_PROCESS


def may_end(row: InboxEvent) -> bool:
    """Whether a process may end in the next attempt, as one did in an attempt before."""
    return _LISTENER in row.failures
