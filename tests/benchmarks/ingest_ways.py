"""Ways from Directus to a receiver and a group; each runs in a process of its own.

Ours reads the log and the items by key; the others believe what the socket sends.

Run by ``tests.benchmarks.ingest``: ``python -m tests.benchmarks.ingest_ways WAY URL EVENTS``.
It prints seconds and CPU seconds as JSON: from the first event to the last mark, and for ours
from when the rows are in the log.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
import httpx
from django.conf import settings

if os.environ.get("BENCH_LAYER"):
    settings.CHANNEL_LAYERS["default"]["BACKEND"] = os.environ["BENCH_LAYER"]
django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from websockets.asyncio.client import connect  # noqa: E402

from directus_realtime.events import Event  # noqa: E402
from directus_realtime.groups import event_message  # noqa: E402
from directus_realtime.listener.listener import Listener  # noqa: E402
from directus_realtime.listener.metrics.metrics_server import Sampler, serving_metrics  # noqa: E402
from directus_realtime.management.commands.directus_listen import tune_gc  # noqa: E402
from directus_realtime.models import DirectusSubscription, InboxEvent  # noqa: E402
from directus_realtime.settings import ConnectionSettings  # noqa: E402
from directus_realtime.signals import directus_event  # noqa: E402

GROUP = "directus.articles"
BATCH = 200  # events of a hand-written batch
PRUNE_EVERY = 5.0  # seconds
METRICS_PORT = 9123


class Stopwatch:
    """A trivial receiver that notes how often it was called, and since when."""

    def __init__(self) -> None:
        self.count = 0
        self._began: tuple[float, float] | None = None

    def __call__(self, sender: str, event: Event, **kwargs: Any) -> None:
        self.count += 1
        self.start()

    def start(self) -> None:
        """Begin, unless it has begun; at the latest with the first call."""
        if self._began is None:
            self._began = time.monotonic(), time.process_time()

    def result(self) -> dict[str, float]:
        wall, cpu = self._began or (0.0, 0.0)
        return {"seconds": time.monotonic() - wall, "cpu": time.process_time() - cpu}


# Ours


async def ours(url: str, count: int, watch: Stopwatch) -> None:
    """The listener, until every row is marked."""
    async with _listening(url):
        watch.start()
        while watch.count < count or await _undone():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def metrics(url: str, count: int, watch: Stopwatch) -> None:
    """The listener, with an endpoint that is read every second."""
    with serving_metrics("127.0.0.1", METRICS_PORT) as sampler:
        reading = asyncio.create_task(_read_metrics())
        async with _listening(url, sampler):
            watch.start()
            while watch.count < count or await _undone():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        reading.cancel()


async def _read_metrics() -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            await asyncio.sleep(1)
            await http.get(f"http://127.0.0.1:{METRICS_PORT}/metrics")


async def memory(url: str, count: int, watch: Stopwatch) -> None:
    """The listener, whose resident memory is printed on the way; done rows are pruned."""
    marks = [10_000 * step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)]
    pruned_at = time.monotonic()
    async with _listening(url), httpx.AsyncClient() as http:
        while watch.count < count:
            await http.get(f"{url}/handled/{watch.count}")
            await asyncio.sleep(0.05)
            if marks and watch.count >= marks[0]:
                print(f"{marks.pop(0):>9} events {_resident_mb():7.1f} MB", flush=True)
            if time.monotonic() - pruned_at > PRUNE_EVERY:
                await InboxEvent.objects.filter(state="done").adelete()
                pruned_at = time.monotonic()


@asynccontextmanager
async def _listening(url: str, sampler: Sampler | None = None) -> AsyncIterator[None]:
    tune_gc()  # as directus_listen does
    await DirectusSubscription.objects.acreate(
        name="bench", collection="articles", on_update=False, on_delete=False
    )
    stopping = asyncio.Event()
    connections = [ConnectionSettings("default", url, token="bench")]
    listener = Listener(connections, sampler=sampler)
    task = asyncio.create_task(listener.run(stopping))
    following = DirectusSubscription.objects.filter(state="subscribed", followed_from__isnull=False)
    while not await following.aexists():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.get(f"{url}/begin")
    # The answer comes before anything was read.
    yield
    stopping.set()
    await task


async def _undone() -> bool:
    return await InboxEvent.objects.exclude(state="done").aexists()


def _resident_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


# Naive


async def naive(url: str, count: int, watch: Stopwatch) -> None:
    """One await after another for each event."""
    layer = get_channel_layer()
    async with _subscribed(url) as socket:
        for _ in range(count):
            event = _event(json.loads(await socket.recv()))
            row = InboxEvent.from_event(event)
            await row.asave()
            await directus_event.asend("articles", event=event)
            await layer.group_send(GROUP, event_message(event))
            row.state, row.done_at = "done", timezone.now()
            await row.asave()


# Hand-written


async def handmade(url: str, count: int, watch: Stopwatch) -> None:
    """Raw SQL in batches, one hop for each, and one pipeline of PUBLISH."""
    layer = get_channel_layer()._get_layer()
    shard = layer._shards[0]
    shard._ensure_redis()
    frames: asyncio.Queue[str] = asyncio.Queue()

    async def read() -> None:
        async with _subscribed(url) as socket:
            async for frame in socket:
                frames.put_nowait(frame)

    reading = asyncio.create_task(read())
    done = 0
    while done < count:
        batch = [await frames.get()]
        while len(batch) < BATCH and not frames.empty():
            batch.append(frames.get_nowait())
        events = await sync_to_async(_handle_batch)(batch)
        pipeline = shard._redis.pipeline(transaction=False)
        for event in events:
            message = layer.channel_layer.serialize(event_message(event))
            pipeline.publish(layer._get_group_channel_name(GROUP), message)
        await pipeline.execute()
        done += len(batch)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


_COLUMNS = (
    *("event_id", "connection", "subscription", "group", "collection", "action", "key_json"),
    *("data_json", "left_filter", "origin", "received_at", "state", "attempts", "failures"),
    *("delivered", "changed_by"),
)


def _handle_batch(frames: list[str]) -> list[Event]:
    connection = connections["default"]
    events = [_event(json.loads(frame)) for frame in frames]
    is_sqlite = connection.vendor == "sqlite"
    names = ", ".join(f'"{name}"' for name in _COLUMNS)
    places = ", ".join(["%s"] * len(_COLUMNS))
    table = "directus_realtime_inboxevent"
    rows = [
        (
            uuid.UUID(event.id).hex if is_sqlite else uuid.UUID(event.id),
            *(event.connection, event.subscription, "", event.collection, event.action),
            *(json.dumps(event.key), json.dumps(event.data), False, event.origin),
            *(event.received_at, "pending", 0, "{}", "[]", ""),
        )
        for event in events
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)
    for event in events:
        directus_event.send_robust("articles", event=event)
    marks = [(timezone.now(), row[0]) for row in rows]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET state = 'done', done_at = %s WHERE event_id = %s", marks
        )
    return events


@asynccontextmanager
async def _subscribed(url: str) -> AsyncIterator[Any]:
    address = url.replace("http", "ws", 1) + "/websocket"
    async with connect(address, compression=None, ping_interval=None) as socket:
        await socket.send(json.dumps({"type": "auth", "access_token": "bench"}))
        await socket.recv()
        subscribe = {"type": "subscribe", "collection": "articles", "event": "create", "uid": "1"}
        await socket.send(json.dumps(subscribe))
        await socket.recv()
        yield socket


def _event(content: dict[str, Any]) -> Event:
    (item,) = content["data"]
    return Event(
        connection="default",
        subscription="bench",
        collection="articles",
        action="create",
        key=item["id"],
        data=item,
    )


# The member of the group


async def member() -> None:
    """Join the group and count, until the input ends."""
    layer: Any = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    print("joined", flush=True)
    count = 0

    async def receive() -> None:
        nonlocal count
        while True:
            await layer.receive(channel)
            count += 1

    receiving = asyncio.create_task(receive())
    await asyncio.to_thread(sys.stdin.read)
    print(count if not receiving.done() else -1, flush=True)
    os._exit(0)  # leaving a group takes the layer long, and is not the subject


async def main() -> None:
    """Run a way and print what it took."""
    way, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    watch = Stopwatch()
    directus_event.connect(watch)
    await globals()[way](url, count, watch)
    print(json.dumps(watch.result()), flush=True)


if __name__ == "__main__":
    asyncio.run(member() if sys.argv[1] == "member" else main())
