"""Dead letters: have them delivered again, or put them away.

For the admin, and for code that mends what it broke::

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

#: Rows of one transaction: on SQLite nobody else writes meanwhile.
CHUNK = 1000
#: Ids that a look for newer events of an item goes through: no index leads to an item.
LOOKED_THROUGH = 10_000
#: Within it, all subscriptions that want a change have their event of it.
_SAME_CHANGE = timedelta(seconds=1)


def retry_now(rows: QuerySet[InboxEvent]) -> int:
    """Have dead and failed events delivered again, at once.

    Only the receivers that are not through are called. A dead letter gets all its attempts
    anew; an event in another state stays as it is.

    Args:
        rows: Any rows of the inbox.

    Returns:
        How many there were.
    """
    dead = rows.filter(state=InboxState.DEAD)
    failed = rows.filter(state=InboxState.FAILED)
    count = sum(
        chunk.update(state=InboxState.PENDING, attempts=0, next_attempt_at=None)
        for chunk in _chunks(dead)
    )
    return count + sum(chunk.update(next_attempt_at=timezone.now()) for chunk in _chunks(failed))


def mark_handled(rows: QuerySet[InboxEvent]) -> int:
    """Put dead letters away: a person has seen to them, and they are not delivered.

    What failed is kept with them. An event in another state stays as it is; one that is still
    tried holds back the later events of its item, and must become a dead letter first.

    Args:
        rows: Any rows of the inbox.

    Returns:
        How many there were.
    """
    dead = rows.filter(state=InboxState.DEAD)
    return sum(
        chunk.update(state=InboxState.HANDLED, done_at=timezone.now()) for chunk in _chunks(dead)
    )


def alike(row: InboxEvent) -> QuerySet[InboxEvent]:
    """The dead letters of the same subscription and collection that failed for the same reason.

    That is: each receiver that failed for this one has failed for them, with an error of the
    same type. The texts of errors often name the item, so they are not compared.
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
    """Whether a newer event of the same item is through, as far as a short look tells.

    To deliver this one now would deliver the item as it was before. What another subscription
    got of the same change is not newer.
    """
    end = row.pk + LOOKED_THROUGH
    newer = InboxEvent.objects.filter(pk__gt=row.pk, pk__lte=end, state=InboxState.DONE)
    of_item = newer.filter(
        connection=row.connection, collection=row.collection, key_json=row.key_json
    )
    is_later = Q(received_at__gt=row.received_at + _SAME_CHANGE)
    found = of_item.filter(Q(subscription=row.subscription) | is_later)
    # MariaDB finds items, too, whose keys differ in case only.
    items = found.values_list("collection", "key_json").distinct().order_by()
    return (row.collection, row.key_json) in set(items)


def error_type(error: str) -> str:
    """The type of an error as it is kept with a failed event: ``ValueError``."""
    return error.partition(":")[0]


def _chunks(rows: QuerySet[InboxEvent]) -> Iterator[QuerySet[InboxEvent]]:
    """The rows, a thousand at a time; each is still asked whether it is one of them."""
    last = 0
    while pks := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        yield rows.filter(pk__in=pks)
        last = pks[-1]
