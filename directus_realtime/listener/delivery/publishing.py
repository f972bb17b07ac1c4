"""Many messages to many groups at once, where the channel layer can be made to do so.

A channel layer offers one ``group_send`` after another, each a round trip, which is what
limits a burst. ``RedisPubSubChannelLayer`` publishes what it is given, so that a pipeline of
the same commands does the same. It takes private names of that class; where they are not
found, or the layer is another one, messages are sent one by one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

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
