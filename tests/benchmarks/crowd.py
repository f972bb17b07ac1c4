"""Many browsers in a process of their own, as a benchmark uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.benchmarks import crowd_process

Talk = Sequence[tuple[str, str]]

SUBSCRIBE = json.dumps(
    {
        "type": "subscribe",
        "collection": "articles",
        "event": "create",
        "query": {"fields": ["id", "title"]},
        "uid": "1",
    }
)
#: What a browser says to the gateway, and what it waits for.
SUBSCRIBED: Talk = [(SUBSCRIBE, '"init"')]


class Crowd:
    """Browsers that are connected, and receive.

    Attributes:
        seconds: It took until all had subscribed.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.seconds: float = self._answer()["seconds"]

    @property
    def pid(self) -> int:
        """Of the browsers' process."""
        return self._process.pid

    def wait(self, count: int, seconds: float) -> int:
        """Wait until so many changes came since the last report; how many did."""
        arrived: int = self._order(f"wait {count} {seconds}")["count"]
        return arrived

    def report(self) -> dict[str, Any]:
        """What came since the last: ``count``, ``pings``, and ``p50``, ``p99``, ``last`` (ms)."""
        found: dict[str, Any] = self._order("report")
        return found

    def _order(self, order: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise CrowdFailed("The browsers could not all connect; see above.")
        return json.loads(line)


class CrowdFailed(Exception):
    """The server did not take all browsers."""


@contextmanager
def crowd(port: int, path: str, count: int, talk: Talk = SUBSCRIBED) -> Iterator[Crowd]:
    """So many browsers, until the end of the block.

    Args:
        port: Of the server.
        path: Of its WebSocket.
        count: Browsers.
        talk: What each says, and what the answers have in them.

    Raises:
        CrowdFailed: Not all could connect.
    """
    command = [sys.executable, crowd_process.__file__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    try:
        given = {"port": port, "path": path, "count": count, "talk": list(talk)}
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        yield Crowd(process)
    finally:
        process.kill()
        process.communicate()
