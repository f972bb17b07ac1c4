"""Many browsers on raw sockets, in one cheap process.

Run by ``tests.benchmarks.crowd``. The first line of stdin is JSON: ``port``, ``path``,
``count``, and ``talk``: pairs of a message to send (or an empty text) and of what its answer
has in it, one after another. It prints a line of JSON when all are through. Then each line of
stdin is an order: ``wait COUNT SECONDS`` waits for so many changes, and prints how many came;
``report`` prints their times, and begins anew.

A change says when it was made by ``@`` and 19 digits in it: nanoseconds since 1970.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from array import array
from collections import deque
from typing import Any

AT_ONCE = 50  # browsers that are about to connect
CHUNK = 256 * 1024
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
PONG_MESSAGE = b'{"type":"pong"}'
GIVE_UP = 240.0  # seconds without any progress while connecting
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n"
)


def frame(content: bytes, opcode: int = TEXT) -> bytes:
    """A client's frame; its mask is zero, so that it need not be applied."""
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + content


class Browser:
    """One connection."""

    __slots__ = ("rest", "socket", "stage")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=30)
        self.socket.setblocking(False)
        self.rest = b""
        self.stage = -1  # the answer to the upgrade is waited for


class Crowd:
    """All of them.

    Args:
        port: Of the server, on 127.0.0.1.
        path: Of its WebSocket.
        count: Browsers.
        talk: See above.
    """

    def __init__(self, port: int, path: str, count: int, talk: list[tuple[str, str]]) -> None:
        self._address = ("127.0.0.1", port)
        self._upgrade = UPGRADE.format(path=path, port=port).encode()
        self._count = count
        self._talk = [(frame(said.encode()) if said else b"", want.encode()) for said, want in talk]
        self._poll = select.epoll()
        self._browsers: dict[int, Browser] = {}
        self.ready = 0
        self.lost = 0
        self.pings = 0
        self.times = array("d")  # milliseconds
        self.reasons: deque[str] = deque(maxlen=3)

    def connect(self) -> float:
        """Connect all, and talk until each is through; the seconds that it took."""
        began = changed = time.monotonic()
        opened = before = 0
        while self.ready < self._count:
            while opened < self._count and opened - self.ready - self.lost < AT_ONCE:
                self._open()
                opened += 1
            self.look(0.5)
            if self.lost or time.monotonic() - changed > GIVE_UP:
                raise SystemExit(f"{self.ready} of {self._count} are through: {[*self.reasons]}")
            if self.ready != before:
                before, changed = self.ready, time.monotonic()
        return time.monotonic() - began

    def _open(self) -> None:
        browser = Browser(self._address)
        number = browser.socket.fileno()
        self._browsers[number] = browser
        self._poll.register(number, select.EPOLLIN)
        browser.socket.sendall(self._upgrade)

    def wait(self, count: int, seconds: float) -> dict[str, Any]:
        """Receive until so many changes came, or the time is over; how many did."""
        deadline = time.monotonic() + seconds
        while len(self.times) < count and (left := deadline - time.monotonic()) > 0:
            self.look(min(left, 0.5))
        return {"count": len(self.times)}

    def report(self) -> dict[str, Any]:
        """What came since the last report."""
        times, self.times = sorted(self.times), array("d")
        pings, self.pings = self.pings, 0
        found: dict[str, Any] = {"count": len(times), "lost": self.lost, "pings": pings}
        if times:
            last = len(times) - 1
            found |= {"p50": times[last // 2], "p99": times[last * 99 // 100], "last": times[-1]}
        return found

    def look(self, seconds: float) -> None:
        """Receive what is there."""
        for number, _ in self._poll.poll(seconds):
            browser = self._browsers[number]
            try:
                received = browser.socket.recv(CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lose(number, str(error))
                continue
            if received:
                self._take(browser, browser.rest + received if browser.rest else received)
            else:
                self._lose(number, "the end of the connection")

    def _take(self, browser: Browser, data: bytes) -> None:
        start = 0
        if browser.stage < 0:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                browser.rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._lose(browser.socket.fileno(), data[:40].decode("latin-1"))
                return
            start = end + 4
            self._advance(browser)
        now = time.time_ns()
        available = len(data)
        while available - start >= 2:
            size, begin = data[start + 1], start + 2
            if size == 126:
                size, begin = int.from_bytes(data[begin : begin + 2], "big"), begin + 2
            elif size == 127:
                size, begin = int.from_bytes(data[begin : begin + 8], "big"), begin + 8
            end = begin + size
            if end > available:
                break
            opcode = data[start] & 0x0F
            # A ping may hold any byte.
            at = data.find(b"@", begin, end) if opcode == TEXT else -1
            if at >= 0 and browser.stage == len(self._talk):
                self.times.append((now - int(data[at + 1 : at + 20])) / 1e6)
            else:
                self._answer(browser, opcode, data[begin:end])
            start = end
        browser.rest = data[start:]

    def _answer(self, browser: Browser, opcode: int, content: bytes) -> None:
        if opcode == PING:
            self.pings += 1
            browser.socket.send(frame(content, PONG))
        elif opcode == CLOSE:
            self._lose(browser.socket.fileno(), f"closed: {content[2:].decode()}")
        elif content.startswith(b'{"type":"ping"'):
            self.pings += 1
            browser.socket.send(frame(PONG_MESSAGE))
        elif b'"status":"error"' in content:
            self._lose(browser.socket.fileno(), content.decode())
        elif browser.stage < len(self._talk) and self._talk[browser.stage][1] in content:
            self._advance(browser)

    def _advance(self, browser: Browser) -> None:
        browser.stage += 1
        if browser.stage == len(self._talk):
            self.ready += 1
        elif said := self._talk[browser.stage][0]:
            browser.socket.send(said)

    def _lose(self, number: int, reason: str) -> None:
        browser = self._browsers.pop(number, None)
        if browser is not None:
            self._poll.unregister(number)
            browser.socket.close()
            self.lost += 1
            self.reasons.append(reason)


def main() -> None:
    """Connect, and obey until stdin ends."""
    crowd = Crowd(**json.loads(sys.stdin.readline()))
    print(json.dumps({"seconds": crowd.connect()}), flush=True)
    order = b""
    while True:
        # Heartbeats are answered while there is no order.
        while not select.select([0], [], [], 0)[0]:
            crowd.look(0.05)
        received = os.read(0, 4096)
        if not received:
            return
        order += received
        if order.endswith(b"\n"):
            print(json.dumps(obey(crowd, order.decode())), flush=True)
            order = b""


def obey(crowd: Crowd, order: str) -> dict[str, Any]:
    """Do what an order says; the answer."""
    name, *arguments = order.split()
    if name == "report":
        return crowd.report()
    count, seconds = arguments
    return crowd.wait(int(count), float(seconds))


if __name__ == "__main__":
    main()
