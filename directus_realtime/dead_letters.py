"""Dead letters: retry them, or mark them as handled.

For the admin, and for code that fixes the cause of failures::

    from directus_realtime.dead_letters import retry_now
    from directus_realtime.models import InboxEvent

    retry_now(InboxEvent.objects.filter(collection="articles"))
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.utils import timezone

from directus_realtime.models import InboxEvent, InboxState

__all__ = ["mark_handled", "retry_now"]

#: Rows of one transaction: on SQLite it blocks other writers.
CHUNK = 1000
#: Ids that are searched for newer events of an item, for which there is no index.
SEARCHED = 10_000
#: Time within which all subscriptions receive their events of one change.
_SAME_CHANGE = timedelta(seconds=1)


def retry_now(rows: QuerySet[InboxEvent]) -> int:
    """Deliver dead and failed events again, at once.

    Receivers that have succeeded are not called again. The attempts of a dead letter start at
    0; events in other states are unchanged.

    Args:
        rows: Any rows of the inbox.

    Returns:
        Number of dead and failed events.
    """
    dead = rows.filter(state=InboxState.DEAD)
    failed = rows.filter(state=InboxState.FAILED)
    count = sum(
        chunk.update(state=InboxState.PENDING, attempts=0, next_attempt_at=None)
        for chunk in _chunks(dead)
    )
    return count + sum(chunk.update(next_attempt_at=timezone.now()) for chunk in _chunks(failed))


def mark_handled(rows: QuerySet[InboxEvent]) -> int:
    """Mark dead letters as handled by a person; they are not delivered.

    Their failures are kept. Events in other states are unchanged: one that is still retried
    blocks the later events of its item, and must become a dead letter first.

    Args:
        rows: Any rows of the inbox.

    Returns:
        Number of dead letters.
    """
    dead = rows.filter(state=InboxState.DEAD)
    return sum(
        chunk.update(state=InboxState.HANDLED, done_at=timezone.now()) for chunk in _chunks(dead)
    )


def alike(row: InboxEvent) -> QuerySet[InboxEvent]:
    """Return the dead letters of the same subscription and collection with the same failures.

    Each receiver that failed for this row failed for them with an error of the same type.
    Messages of errors often name the item, so they are not compared.
    """
    found = InboxEvent.objects.filter(
        state=InboxState.DEAD, subscription=row.subscription, collection=row.collection
    )
    for number, (receiver, failure) in enumerate(sorted(row.failures.items())):
        error = KeyTextTransform("error", KeyTransform(receiver, "failures"))
        found = found.alias(**{f"error_{number}": error}).filter(
            **{f"error_{number}__startswith": f"{error_type(failure['error'])}:"}
        )
    return found


def is_overtaken(row: InboxEvent) -> bool:
    """Whether a newer event of the same item was delivered, among the next :data:`SEARCHED` ids.

    A retry of this row would then deliver an older state of the item. Events of other
    subscriptions for the same change are not newer.
    """
    end = row.pk + SEARCHED
    newer = InboxEvent.objects.filter(pk__gt=row.pk, pk__lte=end, state=InboxState.DONE)
    of_item = newer.filter(
        connection=row.connection, collection=row.collection, key_json=row.key_json
    )
    is_later = Q(received_at__gt=row.received_at + _SAME_CHANGE)
    found = of_item.filter(Q(subscription=row.subscription) | is_later)
    # MariaDB also finds items whose keys differ only in case.
    items = found.values_list("collection", "key_json").distinct().order_by()
    return (row.collection, row.key_json) in set(items)


def error_type(error: str) -> str:
    """Return the type of a stored error, for example ``ValueError``."""
    return error.partition(":")[0]


def _chunks(rows: QuerySet[InboxEvent]) -> Iterator[QuerySet[InboxEvent]]:
    """Yield chunks of the rows, with their original conditions."""
    last = 0
    while pks := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        yield rows.filter(pk__in=pks)
        last = pks[-1]
