"""Database access of the follower: positions, places of subscriptions, parked changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from directus_realtime.client.log_position import Hole, Position
from directus_realtime.database import chunks, grouped
from directus_realtime.models import (
    DirectusSubscription,
    LogPosition,
    ParkedChange,
    ParkedState,
)
from directus_realtime.utils.redaction import storable


@dataclass(frozen=True)
class Progress:
    """Changes of one step of the follower.

    Attributes:
        alias: Alias of the connection.
        values: Columns of :class:`~directus_realtime.models.LogPosition`.
        places: Columns of subscriptions, by primary key.
        parked: Changes to park.
        found: Items that were found, as subscription and key in JSON.
        deleted: Items whose delete was logged, as collection and key in JSON.
    """

    alias: str
    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    parked: Sequence[ParkedChange] = ()
    found: Collection[tuple[int, str]] = ()
    deleted: Collection[tuple[str, str]] = ()

    def write(self) -> None:
        """Write the changes; call it in the transaction that stores the events."""
        if self.values:
            write_values(self.alias, self.values)
        for subscription_id, columns in self.places.items():
            DirectusSubscription.objects.filter(pk=subscription_id).update(**columns)
        if self.parked:
            _park(self.parked)
        _unpark(self.alias, self.found, self.deleted)


def read(alias: str) -> LogPosition:
    """Return the stored position of a connection; not saved where there is none."""
    return LogPosition.objects.filter(alias=alias).first() or LogPosition(alias=alias)


def position_of(row: LogPosition) -> Position:
    """Return the position that a row holds."""
    return Position(
        row.top or 0,
        [Hole(first, last, seen_at, 0) for first, last, seen_at in row.holes],
        [(number, datetime.fromisoformat(moment)) for number, moment in row.anchors],
    )


def values_of(position: Position, dropped: int) -> dict[str, Any]:
    """Return a position as columns.

    Args:
        position: The position.
        dropped: Number of ids that were given up before it was loaded.
    """
    return {
        "top": position.top,
        "holes": [[hole.first, hole.last, hole.seen_at] for hole in position.holes],
        "anchors": [[number, moment.isoformat()] for number, moment in position.anchors],
        "dropped": dropped + position.dropped,
    }


def write_values(alias: str, values: Mapping[str, Any]) -> None:
    """Write columns of a position."""
    if not LogPosition.objects.filter(alias=alias).update(**values):
        LogPosition.objects.update_or_create(alias=alias, defaults=dict(values))


def write_problem(alias: str, problem: str) -> None:
    """Write why the log cannot be read; empty where it can."""
    write_values(alias, {"problem": storable(problem)})


def forget_places(alias: str, followed: Collection[int]) -> None:
    """Delete the places of subscriptions that are not followed; they are of another log.

    Args:
        alias: Alias of the connection.
        followed: Primary keys of the followed subscriptions.
    """
    rows = DirectusSubscription.objects.filter(connection=alias).exclude(pk__in=followed)
    rows.exclude(followed_from=None).update(followed_from=None, followed_in="", unread=[])


def read_parked(alias: str) -> list[ParkedChange]:
    """Return the parked changes of a connection that are not given up."""
    return list(
        ParkedChange.objects.filter(connection=alias, state=ParkedState.PARKED).order_by("id")
    )


def give_up_parked(alias: str, before: datetime) -> int:
    """Mark the changes that were parked before a time as unexplained; return their number."""
    rows = ParkedChange.objects.filter(
        connection=alias, state=ParkedState.PARKED, parked_at__lt=before
    )
    return rows.update(state=ParkedState.UNEXPLAINED)


def explain(subscription_id: int, before: datetime) -> None:
    """Delete the unexplained changes of a subscription whose items were all loaded.

    Args:
        subscription_id: Primary key of the subscription.
        before: Start of the load; changes that were parked later are kept.
    """
    ParkedChange.objects.filter(
        subscription_id=subscription_id, state=ParkedState.UNEXPLAINED, parked_at__lt=before
    ).delete()


def _park(changes: Iterable[ParkedChange]) -> None:
    known = set(
        DirectusSubscription.objects.filter(
            pk__in={each.subscription_id for each in changes}
        ).values_list("pk", flat=True)
    )
    for each in changes:
        each.pk = None  # the transaction may run a second time
    ParkedChange.objects.bulk_create(
        [each for each in changes if each.subscription_id in known],
        ignore_conflicts=True,
        batch_size=500,
    )


def _unpark(
    alias: str, found: Collection[tuple[int, str]], deleted: Collection[tuple[str, str]]
) -> None:
    rows = ParkedChange.objects.filter(connection=alias)
    for subscription_id, keys in grouped(found).items():
        for chunk in chunks(keys):
            rows.filter(subscription_id=subscription_id, key_json__in=chunk).delete()
    for collection, keys in grouped(deleted).items():
        for chunk in chunks(keys):
            rows.filter(collection=collection, key_json__in=chunk).delete()
