"""A channel layer that needs no server: each web process follows the inbox.

::

    CHANNEL_LAYERS = {"default": {"BACKEND": "directus_realtime.layers.InboxChannelLayer"}}

Within a process it is Channels' in-memory layer. Across processes it carries what this
app sends, events and connection states, and nothing else: where there is a member, the
process polls the inbox by id and hands new rows to its own groups.
"""

from __future__ import annotations

import asyncio
from typing import Any

from channels.layers import InMemoryChannelLayer

from directus_realtime.database import DatabaseThread
from directus_realtime.groups import (
    connection_group_name,
    connection_message,
    event_groups,
    event_message,
)

#: Seconds between two looks at the inbox.
POLL_INTERVAL = 0.1
#: Looks at the inbox between two looks at the connections.
_STATUS_EVERY = 5
#: Rows of one look.
_BATCH = 500

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
        self._has_begun = asyncio.Event()

    async def group_add(self, group: str, channel: str) -> None:
        """Add a member, and follow the inbox from now on."""
        if self._follower is None or self._follower.done() or _is_foreign(self._follower):
            self._has_begun = asyncio.Event()
            self._follower = asyncio.create_task(
                self._follow(self._has_begun), name="directus-inbox"
            )
        await super().group_add(group, channel)  # type: ignore[no-untyped-call]
        await self._has_begun.wait()

    async def close(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await super().close()  # type: ignore[no-untyped-call]

    async def _follow(self, has_begun: asyncio.Event) -> None:
        """Hand over what is new, as long as there is a member."""
        # A thread of its own: requests close the connections of theirs.
        database = DatabaseThread("inbox-follower")
        try:
            cursor = await database.run_surely(InboxCursor.at_end)
            has_begun.set()
            looks = 0
            while any(self.groups.values()):
                await asyncio.sleep(self._poll_interval)
                looks += 1
                with_states = looks % _STATUS_EVERY == 0
                for group, message in await database.run_surely(cursor.read, with_states):
                    await self.group_send(group, message)  # type: ignore[no-untyped-call]
        finally:
            # Nothing is awaited between the last look at the members and the end.
            database.close_soon()


class InboxCursor:
    """What of the inbox, and of the connections' states, has been read.

    Args:
        last_id: Id of the last row that was read.
    """

    def __init__(self, last_id: int) -> None:
        self._last_id = last_id
        self._debounced: set[int] = set()
        self._states: dict[str, tuple[str, str]] = {}

    @classmethod
    def at_end(cls) -> InboxCursor:
        """A cursor behind everything that was sent already."""
        from directus_realtime.models import InboxEvent, InboxState

        newest = InboxEvent.objects.filter(sent_at__isnull=False).order_by("-id").first()
        cursor = cls(newest.pk if newest else 0)
        debounced = InboxEvent.objects.filter(
            state=InboxState.PENDING, sent_at=None, id__lt=cursor._last_id
        )
        cursor._debounced = set(debounced.values_list("pk", flat=True))
        cursor._new_states()
        return cursor

    def read(self, with_states: bool) -> _Outgoing:
        """What is new, in order.

        Args:
            with_states: Also look at the connections' states.

        Returns:
            Pairs of group and message.
        """
        return [*self._new_events(), *(self._new_states() if with_states else [])]

    def _new_events(self) -> _Outgoing:
        """The events that were delivered since the last look.

        A row that delivery has not come to yet holds back those behind it, so that order
        is kept. One that waits for the end of its debounce window does not: it is
        remembered and looked for again.
        """
        from directus_realtime.models import InboxEvent, InboxState

        outgoing: _Outgoing = []
        rows = InboxEvent.objects.order_by("id")
        debounced = list(rows.filter(pk__in=self._debounced)) if self._debounced else []
        for row in [*debounced, *rows.filter(id__gt=self._last_id)[:_BATCH]]:
            is_waiting = row.sent_at is None and row.state == InboxState.PENDING
            if is_waiting and row.next_attempt_at is None:
                break
            self._last_id = max(self._last_id, row.pk)
            self._debounced.discard(row.pk)
            if is_waiting:
                self._debounced.add(row.pk)
            elif row.state != InboxState.MERGED:
                event = row.to_event()
                message = event_message(event)
                outgoing += [(group, message) for group in event_groups(event, row.group)]
        return outgoing

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


def _is_foreign(task: asyncio.Task[None]) -> bool:
    """Whether a task belongs to a loop that is gone (each test has its own)."""
    return task.get_loop() is not asyncio.get_running_loop()
