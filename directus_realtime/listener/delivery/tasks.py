"""What a worker of ``django.tasks`` does with an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import async_to_sync

from directus_realtime.compat import task
from directus_realtime.listener.delivery.jobs import Job
from directus_realtime.listener.delivery.outcomes import RetryPolicy, RowsChanged
from directus_realtime.listener.delivery.slices import SliceRunner
from directus_realtime.models import InboxEvent, InboxState
from directus_realtime.settings import connection_settings

#: Names of receivers that were slow in this process.
_slow: set[str] = set()


def deliver_row(pk: int) -> None:
    """Call the receivers of an event that was handed over, and mark it.

    Args:
        pk: Of its row. Where it is not with a worker (any more), nothing is done: it is
            through, or it will be handed over again.
    """
    row = InboxEvent.objects.filter(pk=pk, state=InboxState.DELIVERING).first()
    if row is None:
        return
    policy = RetryPolicy.of(connection_settings(row.connection))
    runner = SliceRunner({row.connection: policy}, slow=_slow)
    jobs: Sequence[Job] = [Job.of(row)]
    try:
        while jobs:
            _call_outside(jobs[0])
            jobs = runner.run(jobs).unfinished
    except RowsChanged:
        return  # handed over twice, because the first one took too long


def _call_outside(job: Job) -> None:
    if job.is_awaited:
        async_to_sync(job.run_async)()
    elif job.is_outside:
        job.run_next()


def enqueue(pk: int) -> None:
    """Have a worker deliver a row."""
    deliver_event.enqueue(pk)


#: The task; ``None`` where there is no tasks framework.
deliver_event: Any = None
if task is not None:

    @task()  # type: ignore[untyped-decorator]
    def deliver_event(pk: int) -> None:
        """Deliver one event to its receivers."""
        deliver_row(pk)
