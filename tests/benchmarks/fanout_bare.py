"""One subscriber of Directus that hands each frame to all browsers: no Django, no ASGI.

Run by ``tests.benchmarks.fanout``: ``… PORT DIRECTUS_URL``, with the token on stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast, serve

SUBSCRIBE = {"type": "subscribe", "collection": "articles", "event": "create", "uid": "1"}


async def main(port: str, url: str) -> None:
    """Relay, until killed."""
    browsers: set[Any] = set()

    async def welcome(browser: Any) -> None:
        browsers.add(browser)
        try:
            async for _ in browser:
                await browser.send('{"type":"subscription","event":"init","uid":"1"}')
        finally:
            browsers.discard(browser)

    async with serve(
        welcome, "127.0.0.1", int(port), compression=None, ping_interval=None, backlog=1000
    ):
        token = sys.stdin.readline().strip()
        async with connect(f"{url}/websocket", ping_interval=None, compression=None) as directus:
            await directus.send(json.dumps({"type": "auth", "access_token": token}))
            await directus.recv()
            await directus.send(json.dumps({**SUBSCRIBE, "query": {"fields": ["id", "title"]}}))
            await directus.recv()
            print("ready", flush=True)
            async for message in directus:
                if json.loads(message)["type"] == "ping":
                    await directus.send('{"type":"pong"}')
                else:
                    broadcast(browsers, message)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
