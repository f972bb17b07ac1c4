"""From a change to its signal, beside a bare ``websockets`` script, on a real Directus.

Run it: ``make bench-latency``. Both receive the same changes in the same run; a change's
time starts just before its REST request. Directus serves its subscribers one after
another, so who subscribed first is ahead: the rounds swap that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from directus_realtime.testing import DirectusAdmin
from tests.benchmarks.setup import directus_and_site, percentile
from tests.helpers.process import Process
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

CHANGES = 150  # in each of two rounds
BARE = """
import asyncio, json, sys, time
from websockets.asyncio.client import connect

async def main(url, log):
    token = sys.stdin.readline().strip()
    async with connect(url, ping_interval=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "auth", "access_token": token}))
        await socket.recv()
        await socket.send(json.dumps(
            {"type": "subscribe", "collection": "articles", "event": "create", "uid": "b"}))
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


def start_bare(url: str, token: str, log: Path) -> subprocess.Popen[str]:
    """Start the script that only receives."""
    command = [sys.executable, "-c", BARE, url.replace("http", "ws") + "/websocket", str(log)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(token + "\n")
    process.stdin.flush()
    process.stdout.readline()
    return process


def make_changes(admin: DirectusAdmin) -> dict[int, float]:
    """Create articles one by one; each key with when its request began."""
    started = {}
    for number in range(CHANGES):
        at = time.time()
        started[admin.create_item("articles", {"title": str(number)})["id"]] = at
        time.sleep(0.02)  # isolated changes, not a burst: this is what is measured
    return started


def one_round(site: Site, url: str, token: str, bare_first: bool) -> list[tuple[float, float]]:
    """Milliseconds of each change, to our signal and to the bare script."""
    log = site.log.with_name(f"bare-{bare_first}.jsonl")
    starters = [lambda: start_bare(url, token, log), site.listen]
    parts = [start() for start in (starters if bare_first else reversed(starters))]
    bare = next(part for part in parts if isinstance(part, subprocess.Popen))
    listener = next(part for part in parts if isinstance(part, Process))
    before = len(site.received())
    with DirectusAdmin(url, token) as admin:
        started = make_changes(admin)
    signals = {e["key"]: e["at"] for e in site.wait_for_received(before + CHANGES)}
    wait_for(lambda: len(log.read_text().splitlines()) >= CHANGES)
    received = dict(json.loads(line) for line in log.read_text().splitlines())
    bare.kill()
    bare.communicate()
    listener.kill()
    return [((signals[k] - at) * 1000, (received[k] - at) * 1000) for k, at in started.items()]


def main() -> None:
    """Print p50 and p99."""
    with directus_and_site() as (server, site):
        arguments = site, server.url, server.admin_token
        times = [*one_round(*arguments, True), *one_round(*arguments, False)]
    ours, bare = [list(column) for column in zip(*times, strict=True)]
    extra = [signal - received for signal, received in times]
    print(f"{len(ours)} single creates, milliseconds from the start of the REST request")
    print(f"{'':26}{'p50':>6}  {'p99':>6}")
    rows = {"signal in directus_listen": ours, "bare websockets": bare, "difference": extra}
    for name, column in rows.items():
        print(f"{name:26}{percentile(column, 0.5):6.1f}  {percentile(column, 0.99):6.1f}")


if __name__ == "__main__":
    main()
