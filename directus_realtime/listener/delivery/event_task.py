"""The task that delivers one event; imported only where a connection's ``DELIVERY`` is tasks.

The decorator asks the project for its backend and queue.
"""

from __future__ import annotations

from typing import Any

from directus_realtime.compat import find_task
from directus_realtime.listener.delivery.tasks import deliver_row
from directus_realtime.settings import default_task_route

_task: Any = find_task()


@_task(**default_task_route())  # type: ignore[untyped-decorator]
def deliver_event(pk: int) -> None:
    """Deliver one event to its receivers."""
    deliver_row(pk)
