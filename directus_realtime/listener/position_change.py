"""Setting the position in the activity log, with the changes that this skips or repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import transaction

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import ActivityLog, IdRange
from directus_realtime.client.log_position import Position
from directus_realtime.database import own_alias, sqlite_write_lock
from directus_realtime.listener.diagnostics import connect
from directus_realtime.listener.follower import gaps, position_store
from directus_realtime.listener.follower.log_cursor import begin_position
from directus_realtime.listener.standby.lease import revoke
from directus_realtime.models import LogPosition
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")


class PositionOutOfRange(ValueError):
    """An id is not in the activity log."""


@dataclass(frozen=True)
class PositionPlan:
    """A new position, and the effect of setting it.

    Attributes:
        alias: Alias of the connection.
        before: Present position; ``None`` where there is none.
        position: The new position.
        newest: Newest id of the log; 0 where it is empty.
        skipped: Number of logged changes that will never be read, by followed collection.
        repeated: Number of logged changes that will be read again, by followed collection.
    """

    alias: str
    before: int | None
    position: Position
    newest: int
    skipped: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)


async def plan_position(
    settings: ConnectionSettings,
    stored: LogPosition,
    collections: Sequence[str],
    target: int | None,
    clock: SystemClock | None = None,
) -> PositionPlan:
    """Read the effect of a new position from the activity log; nothing is changed.

    Args:
        settings: Settings of the connection.
        stored: The present position.
        collections: Collections that are followed.
        target: Id of the last row that counts as read; ``None`` for the end of the log.
        clock: Gives the time.

    Raises:
        PositionOutOfRange: The id is not in the log.
        ConnectionFailed: Directus could not be reached.
        RequestRefused: The token may not read the log.
    """
    client = settings.make_client(socket="optional")
    try:
        await connect(client)
        return await _plan(client, settings, stored, collections, target, clock or SystemClock())
    finally:
        await client.disconnect()


async def _plan(
    client: DirectusClient,
    settings: ConnectionSettings,
    stored: LogPosition,
    collections: Sequence[str],
    target: int | None,
    clock: SystemClock,
) -> PositionPlan:
    log = client.activity
    newest = await log.newest()
    top = newest.id if newest else 0
    if target is not None and not 0 <= target <= top:
        raise PositionOutOfRange(
            f"{target} is not in the activity log, whose newest id is {top}. Use an id from 0 to "
            f"{top}, or now."
        )
    before = position_store.position_of(stored)
    if target is None:
        since = client.clock.now() - timedelta(seconds=settings.hole_age)
        position = await begin_position(log, newest, since, clock.now().timestamp())
    else:
        row = (await log.find([target])).get(target)
        anchors = [(row.id, row.timestamp)] if row else []
        holes = [hole for hole in before.holes if hole.last <= target]
        position = Position(target, holes, anchors)
    plan = PositionPlan(settings.alias, stored.top, position, top)
    if stored.top is not None:
        plan.skipped.update(await _count(log, _skipped(before, position), collections))
        plan.repeated.update(await _count(log, _repeated(before, position), collections))
    return plan


def _skipped(before: Position, after: Position) -> list[IdRange]:
    """Return the ids that were not read and will not be."""
    kept = {(hole.first, hole.last) for hole in after.holes}
    return [
        IdRange(each.first, min(each.last or after.top, after.top))
        for each in before.unread()
        if each.first <= after.top and (each.first, each.last) not in kept
    ]


def _repeated(before: Position, after: Position) -> list[IdRange]:
    """Return the ids that were read and will be again."""
    return [IdRange(after.top + 1, before.top)] if after.top < before.top else []


async def _count(
    log: ActivityLog, ranges: Sequence[IdRange], collections: Sequence[str]
) -> dict[str, int]:
    if not ranges:
        return {}
    counts = {each: await log.count(ranges, [each]) for each in collections}
    return {collection: count for collection, count in counts.items() if count}


def set_position(plan: PositionPlan, clock: SystemClock | None = None) -> None:
    """Set the position; skipped changes become a gap that the listener announces.

    A listener that is active loses its lease, and acquires it again with the new position.

    Args:
        plan: The new position.
        clock: Gives the time.
    """
    clock, alias, using = clock or SystemClock(), plan.alias, own_alias()
    with sqlite_write_lock(using), transaction.atomic(using):
        revoke(alias)
        dropped = position_store.read(alias).dropped
        if plan.skipped:
            gaps.open_gap(alias, gaps.POSITION_SET, plan.skipped, clock.now())
        values = position_store.values_of(plan.position, dropped)
        position_store.write_values(alias, {**values, "rows_done": 0, "rows_total": 0})
    logger.warning(
        "position-set",
        "%s  the position in the activity log was set from %s to %d; changes skipped: %d, to be "
        "read again: %d",
        alias,
        plan.before,
        plan.position.top,
        sum(plan.skipped.values()),
        sum(plan.repeated.values()),
        connection=alias,
        before=plan.before,
        position=plan.position.top,
        skipped=sum(plan.skipped.values()),
        repeated=sum(plan.repeated.values()),
    )
