"""A channel layer that needs no server: each web process follows the inbox.

::

    CHANNEL_LAYERS = {"default": {"BACKEND": "directus_realtime.layers.InboxChannelLayer"}}

Within a process it is Channels' in-memory layer. Across processes it carries only the messages
of this app, events and connection states: while a group has members, the process polls the
inbox by id and sends new rows to its own groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from channels.layers import InMemoryChannelLayer

from directus_realtime.database import DatabaseThread
from directus_realtime.groups import (
    connection_group_name,
    connection_message,
    event_groups,
    event_message,
)
from directus_realtime.settings import aliases
from directus_realtime.utils.aio import cancel_all
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

if TYPE_CHECKING:
    from directus_realtime.models import InboxEvent

__all__ = ["InboxChannelLayer"]

logger = EventLogger("directus_realtime.layers")

#: Seconds between two reads of the inbox.
POLL_INTERVAL = 0.1
#: Reads of the inbox between two reads of the connections' states.
_STATES_EVERY = 5
#: Seconds until the next read after one that failed.
_PAUSE = 5.0
#: Rows of one read.
_BATCH = 500

_Outgoing = list[tuple[str, dict[str, Any]]]


class InboxChannelLayer(InMemoryChannelLayer):
    """The in-memory layer, fed from the inbox.

    Args:
        poll_interval: Seconds between two reads of the inbox.
        capacity: Messages that may wait for one consumer; further ones are dropped.
        clock: Clock of the layer.
    """

    def __init__(
        self,
        *,
        poll_interval: float = POLL_INTERVAL,
        capacity: int = 1000,
        clock: SystemClock | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(capacity=capacity, **kwargs)  # type: ignore[no-untyped-call]
        self._poll_interval = poll_interval
        self._clock = clock or SystemClock()
        self._follower: asyncio.Task[None] | None = None
        self._start: asyncio.Future[None] | None = None

    async def group_add(self, group: str, channel: str) -> None:
        """Add a member, and follow the inbox from now on."""
        if self._follower is None or self._follower.done() or _is_foreign(self._follower):
            self._start = asyncio.get_running_loop().create_future()
            self._follower = asyncio.create_task(self._follow(self._start), name="directus-inbox")
        await super().group_add(group, channel)  # type: ignore[no-untyped-call]
        if self._start is not None:
            await asyncio.shield(self._start)

    async def close(self) -> None:
        """Stop following the inbox."""
        await cancel_all([self._follower])
        await super().close()  # type: ignore[no-untyped-call]

    async def _follow(self, start: asyncio.Future[None]) -> None:
        """Send new messages while any group has a member."""
        # A thread of its own: requests close the connections of theirs.
        database = DatabaseThread("inbox-follower")
        try:
            feed = await self._open_feed(database, start)
            reads = 0
            while feed is not None and any(self.groups.values()):
                await self._clock.sleep(self._poll_interval)
                reads += 1
                await self._send_new(database, feed, with_states=reads % _STATES_EVERY == 0)
        finally:
            # Nothing is awaited between the last check of the members and the end.
            database.close_soon()

    async def _open_feed(
        self, database: DatabaseThread, start: asyncio.Future[None]
    ) -> LayerFeed | None:
        """Find the end of the inbox; a failure is raised in the members that wait for it."""
        feed = LayerFeed(self._clock)
        try:
            await database.run_with_retry(feed.start, aliases())
        except Exception as error:
            _log_failure()
            start.set_exception(error)
            return None
        start.set_result(None)
        return feed

    async def _send_new(
        self, database: DatabaseThread, feed: LayerFeed, *, with_states: bool
    ) -> None:
        try:
            outgoing = await database.run_with_retry(feed.read, with_states)
        except Exception:
            _log_failure()
            await self._clock.sleep(_PAUSE)
            return
        for group, message in outgoing:
            try:
                await self.group_send(group, message)  # type: ignore[no-untyped-call]
            except Exception as error:
                logger.warning(
                    "message-dropped",
                    "A message to %s is dropped: %s",
                    group,
                    type(error).__name__,
                    group=group,
                    error=type(error).__name__,
                )


class LayerFeed:
    """New group messages: events of the inbox, and connection states; uses the database.

    Args:
        clock: Clock of the inbox's debounce windows.
    """

    def __init__(self, clock: SystemClock) -> None:
        # Late: Channels imports the layer, maybe before the models can be.
        from directus_realtime.inbox_tail import InboxTail

        self._tail = InboxTail(clock, batch=_BATCH)
        self._states: dict[str, tuple[str, str]] = {}

    def start(self, aliases: Iterable[str]) -> None:
        """Skip everything that was sent before."""
        self._tail.follow(aliases)
        self._new_states()

    def read(self, with_states: bool) -> _Outgoing:
        """Return pairs of group and message that are new, in order for each connection.

        Args:
            with_states: Whether to read the connections' states, too.
        """

        def convert(rows: list[InboxEvent]) -> _Outgoing:
            events = [pair for row in rows for pair in _event_messages(row)]
            return [*events, *(self._new_states() if with_states else [])]

        return self._tail.read(convert)

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
    logger.exception("follower-failed", "The inbox cannot be followed; browsers get no events.")


def _event_messages(row: InboxEvent) -> _Outgoing:
    from directus_realtime.inbox_tail import read_back

    event = read_back(row)
    if event is None:
        event_id = str(row.event_id)
        logger.warning(
            "event-unreadable", "The event %s cannot be read back.", event_id, event_id=event_id
        )
        return []
    message = event_message(event)
    return [(group, message) for group in event_groups(event, row.group)]


def _is_foreign(task: asyncio.Task[None]) -> bool:
    """Return whether a task belongs to another event loop (each test has its own)."""
    return task.get_loop() is not asyncio.get_running_loop()
