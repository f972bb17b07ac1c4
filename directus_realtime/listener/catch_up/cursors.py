"""How far the activity log is worked through: written down, and told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import transaction

from directus_realtime.database import own_alias
from directus_realtime.listener.wanted import forget_disabled, write_caught_up
from directus_realtime.models import (
    NO_ROW,
    ActivityCursor,
    DirectusSubscription,
    InboxEvent,
    InboxState,
)

logger = logging.getLogger("directus_realtime.listener")

#: Seconds between two lines about the progress.
REPORT_INTERVAL = 5.0


@dataclass(frozen=True)
class Look:
    """A look at the end of the log.

    Attributes:
        at: When, of the server's clock.
        newest: Id of the newest row; 0 where there is none.
        newest_at: Its time.
    """

    at: datetime
    newest: int
    newest_at: datetime | None


class Progress:
    """Of one catch-up through a gap.

    Args:
        alias: Of the connection.

    Attributes:
        done: Rows that are through.
        total: Rows to read.
        events: How many were made of them.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.total = 0
        self.done = 0
        self.events = 0
        self._reported = monotonic()

    def add(self, rows: int, events: int) -> None:
        """So many rows are through, and so many events were made of them."""
        self.done += rows
        self.events += events

    def report(self) -> None:
        """Say how far it is, now and then."""
        if monotonic() - self._reported >= REPORT_INTERVAL:
            self._reported = monotonic()
            logger.info(
                "%s  catching up: %d of %d changes in the activity log",
                self._alias,
                self.done,
                max(self.total, self.done),
                extra={
                    "what": "catch-up-progress",
                    "connection": self._alias,
                    "done": self.done,
                    "total": max(self.total, self.done),
                },
            )

    def report_end(self) -> None:
        """Say what came of it, where there was something to do."""
        if self.done:
            logger.info(
                "%s  caught up: %d changes in the activity log, %d of them missed",
                self._alias,
                self.done,
                self.events,
                extra={
                    "what": "caught-up",
                    "connection": self._alias,
                    "done": self.done,
                    "events": self.events,
                },
            )


def read(alias: str) -> ActivityCursor:
    """How far the log of a connection was worked through; not saved where it never was."""
    return ActivityCursor.objects.filter(alias=alias).first() or ActivityCursor(alias=alias)


def write(
    alias: str,
    positions: Mapping[int, int],
    look: Look | None,
    progress: Progress | None,
) -> None:
    """Write down how far it is.

    Args:
        alias: Of the connection.
        positions: The last settled row of each subscription, by primary key.
        look: After which everything was settled that was visible then.
        progress: Of a gap that is being caught up.
    """
    values: dict[str, Any] = {}
    if look is not None:
        values |= {
            "caught_up_at": look.at,
            "position": look.newest,
            "position_at": look.newest_at,
            "rows_done": 0,
            "rows_total": 0,
        }
    if progress is not None:
        values |= {"rows_done": progress.done, "rows_total": max(progress.total, progress.done)}
    by_position: dict[int, list[int]] = {}
    for subscription_id, position in positions.items():
        by_position.setdefault(position, []).append(subscription_id)
    with transaction.atomic(own_alias()):
        for position, subscription_ids in by_position.items():
            write_caught_up(subscription_ids, position)
        forget_disabled(alias)
        note(alias, **values)


def begin_anew(alias: str, positions: Mapping[int, int], since: datetime) -> None:
    """Put subscriptions at a place of another log, which may be before the one they had.

    What came in lately belongs to no row of that log, whatever its number.

    Args:
        alias: Of the connection.
        positions: The last row that is none of their business, by primary key.
        since: From when on the other log is read.
    """
    lately = InboxEvent.objects.filter(connection=alias, received_at__gte=since)
    with transaction.atomic(own_alias()):
        # Those that wait came in on the new connection.
        lately.exclude(state=InboxState.WAITING).update(activity_id=NO_ROW)
        for subscription_id, position in positions.items():
            rows = DirectusSubscription.objects.filter(pk=subscription_id)
            rows.update(caught_up_to=position)


def note(alias: str, **values: Any) -> None:
    """Write some columns of the cursor down."""
    if values:
        ActivityCursor.objects.update_or_create(alias=alias, defaults=values)
