"""A channel layer that needs no server: each web process follows the inbox.

::

    CHANNEL_LAYERS = {"default": {"BACKEND": "directus_realtime.layers.InboxChannelLayer"}}

Within a process it is Channels' in-memory layer. Across processes it carries what this
app sends, events and connection states, and nothing else: where there is a member, the
process polls the inbox by id and hands new rows to its own groups.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from channels.layers import InMemoryChannelLayer
from django.utils import timezone

from directus_realtime.database import DatabaseThread
from directus_realtime.groups import (
    connection_group_name,
    connection_message,
    event_groups,
    event_message,
)
from directus_realtime.settings import aliases

if TYPE_CHECKING:
    from directus_realtime.models import InboxEvent

__all__ = ["InboxChannelLayer"]

logger = logging.getLogger("directus_realtime.layers")

#: Seconds between two looks at the inbox.
POLL_INTERVAL = 0.1
#: Looks at the inbox between two looks at the connections.
_STATUS_EVERY = 5
#: Seconds until the next look after one that failed.
_PAUSE = 5.0
#: Rows of one look.
_BATCH = 500
#: Looks between two at the events whose debounce window has not ended: it may end before its time,
#: and the clock of another machine may be ahead of ours.
_WINDOWS_EVERY = 20
#: Rows of one statement that names them.
_CHUNK = 1000
#: States in which nothing may have been sent of a row yet.
_UNSENT = ("pending", "delivering")

_Outgoing = list[tuple[str, dict[str, Any]]]


class InboxChannelLayer(InMemoryChannelLayer):
    """The in-memory layer, fed from the inbox.

    Args:
        poll_interval: Seconds between two looks at the inbox.
        capacity: Messages that may wait for one consumer; further ones are dropped.
    """

    def __init__(
        self, *, poll_interval: float = POLL_INTERVAL, capacity: int = 1000, **kwargs: Any
    ) -> None:
        super().__init__(capacity=capacity, **kwargs)  # type: ignore[no-untyped-call]
        self._poll_interval = poll_interval
        self._follower: asyncio.Task[None] | None = None
        self._beginning: asyncio.Future[None] | None = None

    async def group_add(self, group: str, channel: str) -> None:
        """Add a member, and follow the inbox from now on."""
        if self._follower is None or self._follower.done() or _is_foreign(self._follower):
            self._beginning = asyncio.get_running_loop().create_future()
            self._follower = asyncio.create_task(
                self._follow(self._beginning), name="directus-inbox"
            )
        await super().group_add(group, channel)  # type: ignore[no-untyped-call]
        if self._beginning is not None:
            await asyncio.shield(self._beginning)

    async def close(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await super().close()  # type: ignore[no-untyped-call]

    async def _follow(self, beginning: asyncio.Future[None]) -> None:
        """Hand over what is new, as long as there is a member."""
        # A thread of its own: requests close the connections of theirs.
        database = DatabaseThread("inbox-follower")
        try:
            cursor = await self._begin(database, beginning)
            looks = 0
            while cursor is not None and any(self.groups.values()):
                await asyncio.sleep(self._poll_interval)
                looks += 1
                await self._look(database, cursor, with_states=looks % _STATUS_EVERY == 0)
        finally:
            # Nothing is awaited between the last look at the members and the end.
            database.close_soon()

    async def _begin(
        self, database: DatabaseThread, beginning: asyncio.Future[None]
    ) -> InboxCursor | None:
        """Find the end of the inbox; where that fails, the members are told."""
        try:
            cursor = await database.run_with_retry(InboxCursor.at_end, aliases())
        except Exception as error:
            _log_failure()
            beginning.set_exception(error)
            return None
        beginning.set_result(None)
        return cursor

    async def _look(
        self, database: DatabaseThread, cursor: InboxCursor, *, with_states: bool
    ) -> None:
        """Hand over what is new; where the look fails, the next one comes after a pause."""
        try:
            outgoing = await database.run_with_retry(cursor.read, with_states)
        except Exception:
            _log_failure()
            await asyncio.sleep(_PAUSE)
            return
        for group, message in outgoing:
            await self._hand_over(group, message)

    async def _hand_over(self, group: str, message: dict[str, Any]) -> None:
        try:
            await self.group_send(group, message)  # type: ignore[no-untyped-call]
        except Exception as error:
            logger.warning(
                "A message to %s is dropped: %s",
                group,
                type(error).__name__,
                extra={"event": "message-dropped", "group": group, "error": type(error).__name__},
            )


class InboxCursor:
    """What of the inbox, and of the connections' states, has been read.

    Args:
        last_ids: Id of the last row that was read of each connection, by alias.
    """

    def __init__(self, last_ids: dict[str, int]) -> None:
        self._last_ids = last_ids
        # What is passed by, by id, and when it is to be looked for; ``None`` for at each look.
        self._passed: dict[int, datetime | None] = {}
        self._looks = 0
        self._states: dict[str, tuple[str, str]] = {}

    @classmethod
    def at_end(cls, aliases: Iterable[str]) -> InboxCursor:
        """A cursor behind everything that was sent already."""
        from directus_realtime.models import InboxEvent

        rows = InboxEvent.objects.order_by("-id")
        last_ids = {}
        passed: dict[int, datetime | None] = {}
        for alias in aliases:
            sent = rows.filter(connection=alias, sent_at__isnull=False)
            newest = sent.values_list("pk", flat=True).first() or 0
            last_ids[alias] = newest
            waiting = rows.filter(connection=alias, state__in=_UNSENT, sent_at=None, id__lt=newest)
            columns = "pk", "state", "next_attempt_at"
            passed.update((row.pk, _looked_for_at(row)) for row in waiting.only(*columns))
        cursor = cls(last_ids)
        cursor._passed = passed
        cursor._new_states()
        return cursor

    def read(self, with_states: bool) -> _Outgoing:
        """What is new, in order for each connection.

        Args:
            with_states: Also look at the connections' states.

        Returns:
            Pairs of group and message.
        """
        before = self._last_ids.copy(), self._passed.copy(), self._states.copy()
        try:
            new = [pair for alias in self._last_ids for pair in self._new_events(alias)]
            return [*self._late_events(), *new, *(self._new_states() if with_states else [])]
        except BaseException:
            # Of what this look has found by now, nobody was told: the next one finds it again.
            self._last_ids, self._passed, self._states = before
            raise

    def _new_events(self, alias: str) -> _Outgoing:
        """The events of a connection that were delivered since the last look.

        A row that delivery has not come to yet holds back those behind it, so that order
        is kept. One that waits for the end of its debounce window does not: it is
        remembered and looked for again. Nor does one that waits for the catch-up: it is
        never sent under this id, but let go as a new row behind the others.
        """
        from directus_realtime.models import InboxEvent

        outgoing: _Outgoing = []
        rows = InboxEvent.objects.filter(connection=alias, id__gt=self._last_ids[alias])
        for row in rows.order_by("id")[:_BATCH]:
            if _is_unsent(row):
                if row.next_attempt_at is None:
                    break
                self._passed[row.pk] = _looked_for_at(row)
            else:
                outgoing += _messages(row)
            self._last_ids[alias] = row.pk
        return outgoing

    def _late_events(self) -> _Outgoing:
        """The events whose debounce window has ended since the last look, or whose worker is
        through."""
        from directus_realtime.models import InboxEvent

        outgoing: _Outgoing = []
        asked = self._to_ask_for()
        for start in range(0, len(asked), _CHUNK):
            rows = InboxEvent.objects.filter(pk__in=asked[start : start + _CHUNK])
            # The others stay in the database: there may be thousands, each of them many times.
            for row in rows.exclude(state__in=_UNSENT, sent_at=None).order_by("id"):
                del self._passed[row.pk]
                outgoing += _messages(row)
        return outgoing

    def _to_ask_for(self) -> list[int]:
        self._looks += 1
        if self._looks % _WINDOWS_EVERY == 0:
            return sorted(self._passed)
        now = timezone.now()
        return sorted(pk for pk, at in self._passed.items() if at is None or at <= now)

    def _new_states(self) -> _Outgoing:
        from directus_realtime.models import ConnectionStatus

        outgoing: _Outgoing = []
        for status in ConnectionStatus.objects.all():
            state = (status.current_state, status.current_reason)
            if self._states.get(status.alias) != state:
                self._states[status.alias] = state
                message = connection_message(status.alias, *state)
                outgoing.append((connection_group_name(status.alias), message))
        return outgoing


def _log_failure() -> None:
    logger.exception(
        "The inbox cannot be followed; browsers get no events.", extra={"event": "follower-failed"}
    )


def _is_unsent(row: InboxEvent) -> bool:
    return row.sent_at is None and row.state in _UNSENT


def _looked_for_at(row: InboxEvent) -> datetime | None:
    """When an event that waits may have been sent: what a worker has may be through at any time."""
    return row.next_attempt_at if row.state == "pending" else None


def _messages(row: InboxEvent) -> _Outgoing:
    """What is to be sent of a row: nothing of one that a later one overtakes, or replaces."""
    if row.state == "merged":
        return []
    try:
        event = row.to_event()
    except (ValueError, RecursionError):
        logger.warning(
            "The event %s cannot be read back.",
            row.event_id,
            extra={"event": "event-unreadable", "event_id": str(row.event_id)},
        )
        return []
    message = event_message(event)
    return [(group, message) for group in event_groups(event, row.group)]


def _is_foreign(task: asyncio.Task[None]) -> bool:
    """Whether a task belongs to a loop that is gone (each test has its own)."""
    return task.get_loop() is not asyncio.get_running_loop()
