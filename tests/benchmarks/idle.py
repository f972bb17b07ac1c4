"""Idle minutes on a real Directus: reconnects, and the CPU of the listener and of Directus.

Run it: ``make bench-idle`` (``MINUTES=1`` for another time; ``ARGS=--no-socket`` for a Directus
without WebSockets).
"""

from __future__ import annotations

import argparse
import time

from tests.benchmarks.processes import cpu_seconds, memory
from tests.benchmarks.setup import directus_and_site

WARM_UP = 5.0  # seconds; starting is not idling


def measure(minutes: float, *, has_socket: bool) -> None:
    """Print what the listener and Directus used."""
    directus_env = {"WEBSOCKETS_ENABLED": str(has_socket).lower()}
    with directus_and_site(directus_env) as (server, site):
        assert server.pid is not None
        listener = site.listen()
        time.sleep(WARM_UP)  # a span of time is what is measured here
        started = time.monotonic()
        before = cpu_seconds(listener.pid), cpu_seconds(server.pid)
        time.sleep(minutes * 60)
        passed = time.monotonic() - started
        used = cpu_seconds(listener.pid) - before[0], cpu_seconds(server.pid) - before[1]
        with server.admin() as admin:
            admin.create_item("articles", {"title": "still there"})
        site.wait_for_received(1)
        ours, theirs = (100 * seconds / passed for seconds in used)
        print(
            f"{passed:.0f} s idle {'with' if has_socket else 'without'} the socket: "
            f"{listener.output.count('reconnecting')} reconnects, {ours:.2f} % CPU, "
            f"{memory(listener.pid) / 2**20:.0f} MiB resident; Directus {theirs:.2f} % CPU; "
            "a change made then arrived."
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.idle")
    parser.add_argument("minutes", type=float, nargs="?", default=5.0)
    parser.add_argument("--no-socket", action="store_true", help="a Directus without WebSockets")
    options = parser.parse_args()
    measure(options.minutes, has_socket=not options.no_socket)


if __name__ == "__main__":
    main()
