"""Five idle minutes on a real Directus: reconnects and CPU of the listener.

Run it: ``make bench-idle`` (or with other minutes: ``make bench-idle MINUTES=1``).
"""

from __future__ import annotations

import sys
import time

from tests.benchmarks.processes import cpu_seconds, memory
from tests.benchmarks.setup import directus_and_site

WARM_UP = 5.0  # seconds; starting is not idling


def main(minutes: float) -> None:
    """Print what the listener used."""
    with directus_and_site() as (server, site):
        listener = site.listen()
        time.sleep(WARM_UP)  # a span of time is what is measured here
        before, started = cpu_seconds(listener.pid), time.monotonic()
        time.sleep(minutes * 60)
        used, passed = cpu_seconds(listener.pid) - before, time.monotonic() - started
        with server.admin() as admin:
            admin.create_item("articles", {"title": "still there"})
        site.wait_for_received(1)
        print(
            f"{passed:.0f} s idle: {listener.output.count('reconnecting')} reconnects, "
            f"{100 * used / passed:.2f} % CPU, {memory(listener.pid) / 2**20:.0f} MiB resident; "
            "a change made then arrived."
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
