"""Whether the activity log is still the one that was read, and reaches back far enough."""

from __future__ import annotations

import enum
from datetime import datetime

from directus_realtime.client.activity import ActivityLog, ActivityRow, IdRange
from directus_realtime.client.log_position import LogPosition

#: Ids that are looked at, at the most, for holes below a new position.
_MOST_LOOKED_BACK = 200_000
#: Likewise, where the log has no older row: the others may have been deleted.
_WITHOUT_A_ROW = 1000


class Continuity(enum.Enum):
    """What the log is, beside the one that was read before."""

    SAME = enum.auto()
    #: Rows may have been deleted that were not read.
    PRUNED = enum.auto()
    #: Its ids belong to other changes, as after a restored backup.
    ANOTHER = enum.auto()


async def compare(
    log: ActivityLog, position: LogPosition, newest: ActivityRow | None
) -> Continuity:
    """Compare the log with what was read of it.

    Retention deletes rows by action and in batches without an order (M59), so only rows that
    were read, or older changes, prove that what follows is whole.

    Args:
        log: The log.
        position: How far it was read.
        newest: Its newest row.
    """
    if newest is None or newest.id < position.top:
        return Continuity.ANOTHER if position.top else Continuity.SAME
    anchors = dict(position.anchors)
    found = await log.find(anchors) if anchors else {}
    if any(row.timestamp != anchors[number] for number, row in found.items()):
        return Continuity.ANOTHER
    if position.top in found or newest.id == position.top or position.top == 0:
        return Continuity.SAME
    is_whole = await log.has_change_up_to(position.top)
    return Continuity.SAME if is_whole else Continuity.PRUNED


async def begin(
    log: ActivityLog, newest: ActivityRow | None, since: datetime, now: float
) -> LogPosition:
    """Return the position at the end of a log, with the holes that may still be filled.

    Args:
        log: The log.
        newest: Its newest row.
        since: Start of the oldest transaction that may still be open, by the server's clock.
        now: Seconds since 1970.
    """
    if newest is None:
        return LogPosition()
    first = await log.since(since)
    if first is None:
        return LogPosition(newest.id, anchors=[(newest.id, newest.timestamp)])
    # The first ids that a transaction took are right behind the row before.
    before = await log.last_before(first.id)
    lowest = before.id + 1 if before else max(first.id - _WITHOUT_A_ROW, 1)
    start = max(lowest, newest.id - _MOST_LOOKED_BACK)
    position = LogPosition(start - 1)
    async for page in log.pages([IdRange(start, newest.id)]):
        position.take(page.ids, page.rows, now)
    position.top = max(position.top, newest.id)
    return position
