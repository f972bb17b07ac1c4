"""Sends events and connection states to their Channels groups."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

from channels.layers import get_channel_layer

from directus_realtime.events import Event
from directus_realtime.groups import (
    connection_group_name,
    connection_message,
    event_groups,
    event_message,
)
from directus_realtime.layers import InboxChannelLayer
from directus_realtime.listener.delivery.publishing import send_all
from directus_realtime.listener.metrics.counts import counts

logger = logging.getLogger("directus_realtime.listener")

#: Seconds that the layer may take for one batch of messages.
TIMEOUT = 5.0
#: Seconds for which a layer that took longer is not asked again: delivery goes on meanwhile.
PAUSE = 30.0


class GroupSender:
    """Sends to the default channel layer; a layer that is away delays nothing for long.

    Groups are hints, so a message that cannot be sent is dropped. The first failure and
    the recovery are logged, not each message.
    """

    def __init__(self) -> None:
        layer = get_channel_layer()
        # Whoever uses that layer reads the inbox by itself.
        self._layer = None if isinstance(layer, InboxChannelLayer) else layer
        self._is_away = False
        self._asked_again_at = 0.0
        self.dropped = 0

    async def send_events(self, events: Iterable[tuple[Event, str]]) -> None:
        """Send events to their groups.

        Args:
            events: Each with the own group of its subscription, or ``""``.
        """
        if self._layer is not None:
            await self._send(
                [
                    (event_groups(event, own_group), event_message(event))
                    for event, own_group in events
                ]
            )

    async def send_state(self, connection: str, state: str, reason: str) -> None:
        """Send a connection's state to its group."""
        message = connection_message(connection, state, reason)
        await self._send([((connection_group_name(connection),), message)])

    async def aclose(self) -> None:
        """Close the layer's connections of this loop, where it has any."""
        if close := getattr(self._layer, "close_pools", None):
            await close()

    async def _send(self, messages: Sequence[tuple[Sequence[str], dict[str, Any]]]) -> None:
        if self._layer is None or not messages:
            return
        count = sum(len(groups) for groups, _ in messages)
        if monotonic() < self._asked_again_at:
            self._drop(count)
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                errors = await send_all(self._layer, messages)
        except TimeoutError as error:
            errors = [error] * count
            self._asked_again_at = monotonic() + PAUSE
        self._note(errors)

    def _drop(self, count: int) -> None:
        self.dropped += count
        counts.dropped_messages.add((), count)

    def _note(self, errors: list[BaseException]) -> None:
        self._drop(len(errors))
        if errors and not self._is_away:
            logger.warning(
                "Group messages cannot be sent and are dropped: %s: %s",
                type(errors[0]).__name__,
                errors[0],
                extra={"what": "layer-away", "error": f"{type(errors[0]).__name__}: {errors[0]}"},
            )
        elif not errors and self._is_away:
            logger.info(
                "Group messages are sent again; %d were dropped.",
                self.dropped,
                extra={"what": "layer-back", "dropped": self.dropped},
            )
            self.dropped = 0
        self._is_away = bool(errors)
