"""The enabled subscriptions in the database, and their progress."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.db.models import Q

from directus_realtime.listener.inbox_entry import Debounce, Memory
from directus_realtime.models import (
    LOAD_AGAIN,
    DirectusSubscription,
    LogPosition,
    ParkedChange,
    SubscriptionState,
)
from directus_realtime.protocol.queries import Query
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.listener")


@dataclass(frozen=True)
class DesiredSubscription:
    """An enabled subscription.

    Attributes:
        uid: Identifies the subscription and its query: another one after a change, the same
            one after a restart.
        name: Name of the subscription.
        query: Its query.
        group: Channels group of its own, or ``""``.
        debounce: Its debounce settings; ``None`` for not at all.
        snapshot_of: Digest of the load to run; empty where none is due.
        load_request: The request of that load; empty where it is a first load.
        subscription_id: Primary key of the row.
        memory: Its matched items; ``None`` without a filter.
        unmatched: Whether some matched items are not remembered yet.
        followed_from: Top of the activity log when the subscription began to follow it;
            ``None`` before that.
        followed_in: Connection and collection at that time.
        unread: Ranges of ids that were not read for it, as first and last; ``None`` as last
            for no end.
    """

    uid: str
    name: str
    query: Query
    group: str
    debounce: Debounce | None = None
    snapshot_of: str = field(default="", compare=False)
    subscription_id: int = 0
    memory: Memory | None = field(default=None, compare=False)
    unmatched: bool = field(default=False, compare=False)
    followed_from: int | None = field(default=None, compare=False)
    followed_in: str = field(default="", compare=False)
    unread: tuple[tuple[int, int | None], ...] = field(default=(), compare=False)
    load_request: str = field(default="", compare=False)

    @classmethod
    def of(cls, row: DirectusSubscription) -> DesiredSubscription:
        """Return the desired subscription of a row."""
        query = row.to_query()
        debounce = Debounce(row.debounce, row.debounce_by) if row.debounce else None
        query_digest = _digest(query.fingerprint())
        is_due = row.snapshot and row.snapshot_of != query_digest
        load_request = row.snapshot_of if row.snapshot_of.startswith(LOAD_AGAIN) else ""
        snapshot_of = query_digest if is_due or load_request else ""
        digest = _digest(repr((row.pk, row.name, query_digest, row.group, debounce)))[:12]
        memory = _memory_of(row, query)
        return cls(
            f"{row.pk}-{digest}",
            row.name,
            query,
            row.group,
            debounce,
            snapshot_of,
            row.pk,
            memory,
            memory is not None and memory.matched_of != row.matched_of,
            row.followed_from,
            row.followed_in,
            tuple((first, last) for first, last in row.unread),
            load_request,
        )


def _memory_of(row: DirectusSubscription, query: Query) -> Memory | None:
    """Return the reference to the matched items of a subscription that has such.

    Only with all creates and updates it is known which items match.
    """
    if not query.filter or not {"create", "update"} <= set(query.events):
        return None
    condition = json.dumps([query.collection, query.filter, query.item], sort_keys=True)
    return Memory(row.pk, _digest(condition))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def query_problem(row: DirectusSubscription) -> str:
    """Return why the query of a row is invalid; empty where it is valid."""
    try:
        row.clean_query()
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def valid_subscriptions(alias: str) -> list[DesiredSubscription]:
    """Return the valid subscriptions of a connection; nothing is written."""
    rows = DirectusSubscription.objects.followed().filter(connection=alias)
    return [DesiredSubscription.of(row) for row in rows if not query_problem(row)]


def desired_subscriptions(alias: str) -> dict[str, DesiredSubscription]:
    """Return the enabled subscriptions of a connection, by uid; refuse invalid rows."""
    desired = []
    for row in DirectusSubscription.objects.followed().filter(connection=alias):
        if problem := query_problem(row):
            _refuse(row, problem)
        else:
            desired.append(DesiredSubscription.of(row))
    return {each.uid: each for each in desired}


def _refuse(row: DirectusSubscription, problem: str) -> None:
    """Write that a row is refused; it keeps its place in the log."""
    if (row.state, row.last_error) == (SubscriptionState.REFUSED, problem):
        return
    row.hold_place(LogPosition.objects.filter(alias=row.connection).first())
    DirectusSubscription.objects.filter(pk=row.pk).update(
        state=SubscriptionState.REFUSED, last_error=problem, unread=row.unread
    )
    logger.error(
        "subscription-refused",
        "%s  refused %s: %s",
        row.connection,
        row.name,
        problem,
        connection=row.connection,
        subscription=row.name,
        collection=row.collection,
        error=problem,
    )


def write_load(name: str, done: int, total: int) -> None:
    """Write the progress of a load.

    Args:
        name: Name of the subscription.
        done: Number of items that were read.
        total: Number of all items.
    """
    rows = DirectusSubscription.objects.filter(name=name)
    rows.update(snapshot_done=done, snapshot_total=total)
    # The previous load is outdated; a request of another one stays.
    rows.exclude(snapshot_of__startswith=LOAD_AGAIN).update(snapshot_of="")


def complete_load(desired: DesiredSubscription, total: int, deleted: int) -> None:
    """Note that a load is complete; a newer request of another one stays.

    Args:
        desired: The subscription, with the load.
        total: Number of items.
        deleted: Number of items that were reported as deleted.
    """
    rows = DirectusSubscription.objects.filter(name=desired.name)
    rows.update(snapshot_done=total, snapshot_total=total, snapshot_deleted=deleted)
    is_this_one = Q(snapshot_of=desired.load_request) | ~Q(snapshot_of__startswith=LOAD_AGAIN)
    rows.filter(is_this_one).update(snapshot_of=desired.snapshot_of)


def forget_disabled(alias: str) -> None:
    """Delete the places of disabled subscriptions: they miss the changes in the meantime."""
    rows = DirectusSubscription.objects.filter(connection=alias, enabled=False)
    rows.exclude(followed_from=None).update(followed_from=None, followed_in="", unread=[])
    ParkedChange.objects.filter(subscription__in=rows).delete()
