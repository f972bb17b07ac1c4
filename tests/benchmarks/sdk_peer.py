"""Events received by our client and by the iterator of ``@directus/sdk``, in the same run.

Run it: ``python -m tests.benchmarks.sdk_peer``. It needs Node and npm, and takes about
a minute. The server is the fake, on loopback, once for each client and each case.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from websockets.frames import Frame, Opcode

from directus_realtime.client import DirectusClient
from directus_realtime.testing import FakeDirectus
from example_project.real_directus.npm import node
from tests.helpers.sdk import SDK_VERSION, install_sdk

SCRIPT = Path(__file__).with_suffix(".mjs")
START_TIMEOUT = 20.0  # seconds until a client has subscribed
PATIENCE = 4.0  # seconds without another event until what came is counted
DOWN = 3.0  # seconds that the server refuses connections
COME_BACK = 20.0  # seconds that a client has to subscribe again

Received = list[float]
Case = Callable[[FakeDirectus], Awaitable[None]]
Client = Callable[[FakeDirectus, float], AbstractAsyncContextManager[Received]]


async def fifty_in_one_segment(fake: FakeDirectus) -> None:
    """50 events in one write, as after a batch: one TCP segment on loopback."""
    _, _, uid = fake.subscriptions[0]
    frames = b"".join(
        Frame(Opcode.TEXT, json.dumps(_created(number, uid)).encode()).serialize(mask=False)
        for number in range(50)
    )
    (connection,) = fake._sockets.clients
    # The fake writes frame by frame; only below it can they be put into one segment.
    connection._transport.write(frames)


def _created(number: int, uid: str | None) -> dict[str, object]:
    return {"type": "subscription", "event": "create", "data": [{"id": number}], "uid": uid}


async def twenty_at_20_ms(fake: FakeDirectus) -> None:
    """20 events, one each 20 ms."""
    for _ in range(20):
        await fake.create("articles", {"title": "x"})
        await asyncio.sleep(0.02)  # the pace is what is measured


async def down_for_3_s(fake: FakeDirectus) -> None:
    """The server is gone and refuses connections, comes back, and makes 5 events."""
    await fake.stop_listening()
    await asyncio.sleep(DOWN)  # the span is what is measured
    await fake.resume_listening()
    with suppress(TimeoutError):
        await fake.wait_for(lambda fake: fake.subscriptions, COME_BACK)
    for _ in range(5):
        await fake.create("articles", {"title": "x"})


CASES: list[tuple[str, int, float, Case]] = [
    ("50 events in one TCP segment", 50, 0.0, fifty_in_one_segment),
    ("20 events at 20 ms, handler of 50 ms", 20, 0.05, twenty_at_20_ms),
    ("down for 3 s and refusing, then 5 events", 5, 0.0, down_for_3_s),
]


@asynccontextmanager
async def our_client(fake: FakeDirectus, handler: float) -> AsyncIterator[Received]:
    """Events as ``async for`` hands them over, each followed by the handler's time."""
    received: Received = []

    async def consume() -> None:
        async for _ in subscription:
            await asyncio.sleep(handler)
            received.append(time.monotonic())

    async with DirectusClient(fake.url, token=fake.token) as client:
        subscription = await client.subscribe("articles", events=["create"], fields=["id"])
        consumer = asyncio.create_task(consume())
        yield received
    await consumer


@asynccontextmanager
async def sdk_client(fake: FakeDirectus, handler: float) -> AsyncIterator[Received]:
    """Events as the SDK's ``for await`` hands them over, in Node."""
    received: Received = []
    process = await asyncio.create_subprocess_exec(
        node(),
        str(SCRIPT),
        env={
            "PATH": os.environ.get("PATH", ""),
            "SDK_FOLDER": str(install_sdk()),
            "DIRECTUS_URL": fake.url,
            "DIRECTUS_TOKEN": fake.token,
            "HANDLER_MS": str(handler * 1000),
        },
        stdout=asyncio.subprocess.PIPE,
    )

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.strip() == b"event":
                received.append(time.monotonic())
            else:
                print(f"    (SDK: {line.decode().strip()})")

    reader = asyncio.create_task(read())
    try:
        yield received
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader


async def count(client: Client, wanted: int, handler: float, case: Case) -> int:
    """Run a case with one client; how many events its handler was given."""
    async with FakeDirectus() as fake, client(fake, handler) as received:
        await fake.wait_for(lambda fake: len(fake.subscriptions) == 1, START_TIMEOUT)
        await case(fake)
        changed = time.monotonic()
        while len(received) < wanted and time.monotonic() - changed < PATIENCE:
            changed = max([changed, *received[-1:]])
            await asyncio.sleep(0.02)
        return len(received)


async def main() -> None:
    """Print the table."""
    install_sdk()
    rows = []
    for name, wanted, handler, case in CASES:
        ours = await count(our_client, wanted, handler, case)
        sdk = await count(sdk_client, wanted, handler, case)
        rows.append((name, wanted, ours, sdk))
    print(f"{'events received':42}{'sent':>6}{'ours':>6}{f'@directus/sdk {SDK_VERSION}':>22}")
    for name, wanted, ours, sdk in rows:
        print(f"{name:42}{wanted:6}{ours:6}{sdk:22}")


if __name__ == "__main__":
    asyncio.run(main())
