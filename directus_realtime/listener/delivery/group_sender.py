"""Sends events and connection states to Channels groups, many at once where Redis allows it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
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
from directus_realtime.listener.metrics.counts import counts

_Known: Any
try:
    from channels_redis.pubsub import RedisPubSubChannelLayer as _Known
except ImportError:  # channels-redis is not installed
    _Known = None

#: Groups, and what is sent to each of them.
Messages = Iterable[tuple[Sequence[str], dict[str, Any]]]

_LAYER_NAMES = ("_get_shard", "_get_group_channel_name", "_shards", "channel_layer")
_SHARD_NAMES = ("_ensure_redis", "_redis", "_lock")


async def send_all(layer: Any, messages: Messages) -> list[BaseException]:
    """Send messages to their groups, in order for each group.

    Returns:
        What went wrong, once for each message and group that was not sent.
    """
    if _Known is not None and type(layer) is _Known:
        loop_layer = layer._get_layer()
        if _is_as_known(loop_layer):
            return await _publish_all(loop_layer, messages)
    return await _send_one_by_one(layer, messages)


def _is_as_known(loop_layer: Any) -> bool:
    return all(hasattr(loop_layer, name) for name in _LAYER_NAMES) and all(
        hasattr(shard, name) for shard in loop_layer._shards for name in _SHARD_NAMES
    )


async def _send_one_by_one(layer: Any, messages: Messages) -> list[BaseException]:
    sends = [layer.group_send(group, message) for groups, message in messages for group in groups]
    results = await asyncio.gather(*sends, return_exceptions=True)
    return [result for result in results if isinstance(result, BaseException)]


async def _publish_all(layer: Any, messages: Messages) -> list[BaseException]:
    errors: list[BaseException] = []
    by_shard: defaultdict[Any, list[tuple[str, bytes]]] = defaultdict(list)
    for groups, message in messages:
        try:
            content = layer.channel_layer.serialize(message)
        except Exception as error:  # what one message holds is no reason to drop others
            errors += [error] * len(groups)
            continue
        for group in groups:
            channel = layer._get_group_channel_name(group)
            by_shard[layer._get_shard(channel)].append((channel, content))
    for found in await asyncio.gather(*(_publish(*entry) for entry in by_shard.items())):
        errors += found
    return errors


async def _publish(shard: Any, contents: list[tuple[str, bytes]]) -> list[BaseException]:
    async with shard._lock:
        shard._ensure_redis()
        pipeline = shard._redis.pipeline(transaction=False)
        for channel, content in contents:
            pipeline.publish(channel, content)
        try:
            results = await pipeline.execute(raise_on_error=False)
        except Exception as error:
            results = [error] * len(contents)
    return [result for result in results if isinstance(result, BaseException)]


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
                extra={"event": "layer-away", "error": f"{type(errors[0]).__name__}: {errors[0]}"},
            )
        elif not errors and self._is_away:
            logger.info(
                "Group messages are sent again; %d were dropped.",
                self.dropped,
                extra={"event": "layer-back", "dropped": self.dropped},
            )
            self.dropped = 0
        self._is_away = bool(errors)
