"""Sends events and connection states to Channels groups, by one pipeline where Redis allows it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

_PubSubLayer: Any
try:
    from channels_redis.pubsub import RedisPubSubChannelLayer as _PubSubLayer
except ImportError:  # channels-redis is not installed
    _PubSubLayer = None

logger = EventLogger("directus_realtime.listener")

#: Groups, and the message for each of them.
Messages = Sequence[tuple[Sequence[str], dict[str, Any]]]

#: Seconds that the layer may take for one batch of messages.
TIMEOUT = 5.0
#: Seconds without further attempts after a time-out: delivery goes on in the meantime.
PAUSE = 30.0

# Private names of channels_redis that the pipeline uses; without one of them, messages are sent
# by ``group_send``. Of 1,000 events to 3 groups each, on a Redis of the same machine: batches of
# 100 take 74 ms by the pipeline and 577 ms by ``group_send`` (28 and 224 ms of CPU time), batches
# of 20 take 122 and 481 ms, single events 176 and 216 ms.
_LAYER_NAMES = ("_get_shard", "_get_group_channel_name", "_shards", "channel_layer")
_SHARD_NAMES = ("_ensure_redis", "_redis", "_lock")


async def send_all(layer: Any, messages: Messages) -> list[BaseException]:
    """Send messages to their groups, in order for each group.

    Returns:
        One error for each message and group that failed.
    """
    if _PubSubLayer is not None and type(layer) is _PubSubLayer:
        loop_layer = layer._get_layer()
        if all(hasattr(loop_layer, name) for name in _LAYER_NAMES) and all(
            hasattr(shard, name) for shard in loop_layer._shards for name in _SHARD_NAMES
        ):
            return await _publish_all(loop_layer, messages)
    return await _send_one_by_one(layer, messages)


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
        except Exception as error:  # the other messages are sent
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


class GroupSender:
    """Sends to the default channel layer, which delays delivery for a bounded time only.

    Groups are hints, so a message that cannot be sent is dropped. The first failure and
    the recovery are logged, not each message.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: SystemClock | None = None) -> None:
        layer = get_channel_layer()
        # Processes with that layer read the inbox themselves.
        self._layer = None if isinstance(layer, InboxChannelLayer) else layer
        self._clock = clock or SystemClock()
        self._is_unavailable = False
        self._paused_until = 0.0
        self.dropped = 0

    async def send_events(self, events: Iterable[tuple[Event, str]]) -> None:
        """Send events to their groups.

        Args:
            events: Events, each with the own group of its subscription, or ``""``.
        """
        if self._layer is not None:
            messages = [(event_groups(each, own), event_message(each)) for each, own in events]
            await self._send(messages)

    async def send_state(self, connection: str, state: str, reason: str) -> None:
        """Send the state of a connection to its group."""
        message = connection_message(connection, state, reason)
        await self._send([((connection_group_name(connection),), message)])

    async def aclose(self) -> None:
        """Close the connections of the layer in this event loop, where it has any."""
        if close := getattr(self._layer, "close_pools", None):
            await close()

    async def _send(self, messages: Messages) -> None:
        if self._layer is None or not messages:
            return
        count = sum(len(groups) for groups, _ in messages)
        if self._clock.monotonic() < self._paused_until:
            self._drop(count)
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                errors = await send_all(self._layer, messages)
        except TimeoutError as error:
            errors = [error] * count
            self._paused_until = self._clock.monotonic() + PAUSE
        self._drop(len(errors))
        self._log_change(errors)

    def _drop(self, count: int) -> None:
        self.dropped += count
        counts.dropped_messages.add((), count)

    def _log_change(self, errors: list[BaseException]) -> None:
        if errors and not self._is_unavailable:
            error = f"{type(errors[0]).__name__}: {errors[0]}"
            logger.warning(
                "layer-away",
                "Group messages cannot be sent and are dropped: %s",
                error,
                error=error,
            )
        elif not errors and self._is_unavailable:
            logger.info(
                "layer-back",
                "Group messages are sent again; %d were dropped.",
                self.dropped,
                dropped=self.dropped,
            )
            self.dropped = 0
        self._is_unavailable = bool(errors)
