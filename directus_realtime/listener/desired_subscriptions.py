"""The subscriptions that are wanted now, and the writing down of how they stand."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from directus_realtime.database import own_alias
from directus_realtime.listener.inbox_entry import Debounce, Memory, Tally
from directus_realtime.models import (
    LOAD_AGAIN,
    DirectusSubscription,
    ParkedChange,
    SubscriptionState,
)
from directus_realtime.protocol.queries import Query
from directus_realtime.utils.redaction import storable

logger = logging.getLogger("directus_realtime.listener")


@dataclass(frozen=True)
class DesiredSubscription:
    """One subscription to be had.

    Attributes:
        uid: Names the subscription and what it asks for, so that a changed one gets
            another; stable over restarts.
        name: Of the subscription.
        query: What is asked for.
        group: Own Channels group, or ``""``.
        debounce: How changes are gathered; ``None`` for not at all.
        snapshot_of: Names the first load that is wanted; empty where none is, or where it
            is through.
        subscription_id: Primary key of the row.
        memory: Where the items in the filter are remembered; ``None`` without a filter.
        unmatched: Whether the items in the filter are not all remembered yet.
        followed_from: Top of the activity log when the subscription began to follow it;
            ``None`` for one that never did.
        followed_in: Connection and collection then.
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

    @classmethod
    def of(cls, row: DirectusSubscription) -> DesiredSubscription:
        """What a row asks for."""
        query = row.to_query()
        debounce = Debounce(row.debounce, row.debounce_by) if row.debounce else None
        asked = _digest(query.fingerprint())
        is_to_load = row.snapshot and row.snapshot_of != asked
        snapshot_of = asked if is_to_load or row.snapshot_of == LOAD_AGAIN else ""
        digest = _digest(repr((row.pk, row.name, asked, row.group, debounce)))[:12]
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
        )


def _memory_of(row: DirectusSubscription, query: Query) -> Memory | None:
    """Where the items in a filter are remembered.

    Only who hears of every new and every changed item can know what is in the filter.
    """
    if not query.filter or not {"create", "update"} <= set(query.events):
        return None
    asked = json.dumps([query.collection, query.filter, query.item], sort_keys=True)
    return Memory(row.pk, _digest(asked))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def desired_subscriptions(alias: str) -> dict[str, DesiredSubscription]:
    """The enabled subscriptions of a connection, by uid."""
    rows = DirectusSubscription.objects.filter(connection=alias, enabled=True)
    wanted = [DesiredSubscription.of(row) for row in rows if _is_valid(row)]
    return {entry.uid: entry for entry in wanted}


def _is_valid(row: DirectusSubscription) -> bool:
    """Whether a row can be asked for; one that was never cleaned is refused with the reason."""
    try:
        row.clean_query()
    except ValidationError as error:
        reason = " ".join(error.messages)
        if (row.state, row.last_error) != (SubscriptionState.REFUSED, reason):
            DirectusSubscription.objects.filter(pk=row.pk).update(
                state=SubscriptionState.REFUSED, last_error=reason
            )
            logger.error(
                "%s  refused %s: %s",
                row.connection,
                row.name,
                reason,
                extra={
                    "event": "subscription-refused",
                    "connection": row.connection,
                    "subscription": row.name,
                    "collection": row.collection,
                    "error": reason,
                },
            )
        return False
    return True


def write_states(states: Mapping[str, tuple[str, str]], alias: str) -> None:
    """Write down the state and the error of subscriptions, by name."""
    rows = DirectusSubscription.objects.filter(connection=alias)
    with transaction.atomic(own_alias()):
        for name, (state, error) in states.items():
            rows.filter(name=name).update(state=state, last_error=storable(error))


def write_tallies(tallies: Mapping[str, Tally]) -> None:
    """Add to the counts of subscriptions, by name."""
    with transaction.atomic(own_alias()):
        for name, tally in tallies.items():
            values: dict[str, Any] = {
                "event_count": F("event_count") + tally.events,
                "last_event_at": tally.last_event_at,
            }
            DirectusSubscription.objects.filter(name=name).update(**values)


def write_load(name: str, done: int, total: int, snapshot_of: str = "") -> None:
    """Write down how far a first load is.

    Args:
        name: Of the subscription.
        done: Items looked at.
        total: Items there are.
        snapshot_of: Names the load once it is through.
    """
    rows = DirectusSubscription.objects.filter(name=name)
    rows.update(snapshot_done=done, snapshot_total=total)
    if snapshot_of:
        rows.update(snapshot_of=snapshot_of)
    else:  # what is loaded is no longer what it was; that it was asked for is to stay
        rows.exclude(snapshot_of=LOAD_AGAIN).update(snapshot_of="")


def forget_disabled(alias: str) -> None:
    """Forget the places of disabled subscriptions: they miss what happens meanwhile."""
    rows = DirectusSubscription.objects.filter(connection=alias, enabled=False)
    rows.exclude(followed_from=None).update(followed_from=None, followed_in="", unread=[])
    ParkedChange.objects.filter(subscription__in=rows).delete()
