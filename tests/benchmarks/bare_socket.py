"""A script that only receives, with nothing but the websockets library: the yardstick."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.waiting import wait_for

#: Seconds; a deadline, for a machine that is busy.
TIMEOUT = 300.0

_SCRIPT = """
import asyncio, json, sys, time
from websockets.asyncio.client import connect

async def main(url, log, query):
    token = sys.stdin.readline().strip()
    async with connect(url, ping_interval=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "auth", "access_token": token}))
        await socket.recv()
        await socket.send(json.dumps({"type": "subscribe", "collection": "articles",
            "event": "create", "query": json.loads(query), "uid": "b"}))
        await socket.recv()
        print("ready", flush=True)
        with open(log, "w") as file:
            while True:
                message = json.loads(await socket.recv())
                now = time.time()
                if message["type"] == "ping":
                    await socket.send('{"type":"pong"}')
                elif message.get("data"):
                    for row in message["data"]:
                        file.write(json.dumps([row["id"], now]) + "\\n")
                    file.flush()

asyncio.run(main(*sys.argv[1:]))
"""


class BareSocket:
    """A running script, and what it received.

    Args:
        url: The address of Directus.
        token: The administrator's token.
        log: The file that it writes.
        query: The query of its subscription to creates of ``articles``.
    """

    def __init__(self, url: str, token: str, log: Path, query: object) -> None:
        self._log = log
        address = url.replace("http", "ws", 1) + "/websocket"
        command = [sys.executable, "-c", _SCRIPT, address, str(log), json.dumps(query)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(token + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def received(self, count: int) -> dict[int, float]:
        """Wait for so many items and return when each came, by key."""

        def is_there() -> bool:
            return len(self._log.read_text().splitlines()) >= count

        wait_for(is_there, TIMEOUT, "the bare script")
        return dict(json.loads(line) for line in self._log.read_text().splitlines())


@contextlib.contextmanager
def bare_socket(url: str, token: str, log: Path, query: object) -> Iterator[BareSocket]:
    """Run the script inside the block."""
    bare = BareSocket(url, token, log, query)
    try:
        yield bare
    finally:
        bare.process.kill()
        bare.process.communicate()
