"""The door alone, without a WebSocket: from a change to its signal, and what knocks cost.

Run it: ``make bench-door`` (``ARGS="--changes 60 --knocks 2000"``). The clock is out of the way:
the log is read only when the door rings.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections.abc import Iterator
from itertools import cycle, islice

import httpx

from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.setup import directus_and_site, percentile

from directus_realtime.client.doorbell_flows import DoorbellFlow  # isort: skip
from directus_realtime.door.knocks import SECRET_HEADER, SIGNATURE_HEADER, DoorKey  # isort: skip
from example_project.real_directus import DirectusServer  # isort: skip
from tests.helpers.process import Process  # isort: skip
from tests.helpers.site import Site  # isort: skip
from tests.helpers.web import start_web  # isort: skip

SECRET = "a-secret-of-the-benchmark-0123456789"
PAUSE = 0.1  # seconds between lone changes
#: Seconds to see how often Directus is asked when everything is quiet again.
QUIET = 3.0


def knocks() -> Iterator[tuple[bytes, dict[str, str], int]]:
    """Body, headers and expected status of knocks that are forged, doubled, early or malformed."""
    good = json.dumps({"event": "articles.items.update", "collection": "articles"}).encode()
    secret = {SECRET_HEADER: SECRET}
    early = DoorKey(SECRET, is_signed=True).sign(good, time.time() + 3600)
    payload = {"event": "articles.items.delete", "collection": "articles", "keys": [1], "id": 1}
    return cycle(
        [
            (good, {SECRET_HEADER: "forged"}, 403),
            (good, {}, 403),
            (good, secret, 204),
            (good, secret, 204),
            (json.dumps(payload).encode(), secret, 204),
            (good, {SIGNATURE_HEADER: early}, 403),
            (b"{", secret, 400),
            (b"[]", secret, 400),
        ]
    )


def measure_changes(server: DirectusServer, site: Site, count: int) -> None:
    """Print the times from lone changes to their signals."""
    begun: dict[int, float] = {}
    with server.admin() as admin:
        for number in range(count):
            at = time.time()
            begun[admin.create_item("articles", {"title": str(number)})["id"]] = at
            time.sleep(PAUSE)
    received = site.wait_for_received(count)
    late = [entry["at"] - begun[entry["key"]] for entry in received if entry["key"] in begun]
    p50, p99 = (percentile(late, share) * 1000 for share in (0.5, 0.99))
    print(f"{count} lone changes, ms: p50 {p50:.0f}, p99 {p99:.0f}, max {max(late) * 1000:.0f}")


def measure_knocks(site: Site, web: Process, listener: Process, url: str, count: int) -> None:
    """Print what knocks without a change cost, and what came of them."""
    events, queries = site.inbox.count(), _asked(listener)
    before, started = cpu_seconds(web.pid), time.monotonic()
    with httpx.Client() as client:
        for body, headers, status in islice(knocks(), count):
            answer = client.post(url, content=body, headers=headers)
            assert answer.status_code == status, (answer.status_code, status, answer.text)
    seconds, cpu = time.monotonic() - started, cpu_seconds(web.pid) - before
    time.sleep(QUIET)
    print(
        f"{count} knocks in {seconds:.1f} s: {cpu / count * 1000:.2f} ms CPU of the web process "
        f"each, {site.inbox.count() - events} false events, "
        f"{(_asked(listener) - queries) / (seconds + QUIET):.1f} reads of the log a second"
    )


def _asked(listener: Process) -> int:
    """How often the listener has asked Directus, by its log."""
    return sum("HTTP Request: SEARCH" in line and "/activity" in line for line in listener.lines)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.door")
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--knocks", type=int, default=10_000)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/directus/door/"
    directus = {"WEBSOCKETS_ENABLED": "false", "IMPORT_IP_DENY_LIST": "169.254.169.254"}
    env = {"DIRECTUS_DOOR_SECRET": SECRET, "DIRECTUS_POLL_INTERVAL": "600"}
    with directus_and_site(directus, **env) as (server, site):
        web = start_web(site, "tests.asgi:application", "uvicorn", port)
        listener = site.listen(LOG_HTTP="1")
        flow = DoorbellFlow("bench", url, SECRET, ["articles"], SECRET_HEADER)
        with server.admin() as admin:
            flow_id = admin.request("POST", "/flows", flow.trigger)["id"]
            operation = {"operation": flow.operation(flow_id)}
            admin.request("PATCH", f"/flows/{flow_id}", operation)
        time.sleep(1)  # until Directus has loaded the Flow
        measure_changes(server, site, options.changes)
        measure_knocks(site, web, listener, url, options.knocks)


if __name__ == "__main__":
    main()
