"""Five idle minutes on a real Directus: reconnects and CPU of the listener.

Run it: ``make bench-idle`` (or with other minutes: ``make bench-idle MINUTES=1``).
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from tests.benchmarks.setup import directus_and_site
from tests.helpers.process import Process

WARM_UP = 5.0  # seconds; starting is not idling


def cpu_seconds(process: Process) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: Process) -> int:
    """Resident memory of a process, in MiB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


def main(minutes: float) -> None:
    """Print what the listener used."""
    with directus_and_site() as (server, site):
        listener = site.listen()
        time.sleep(WARM_UP)  # a span of time is what is measured here
        before, started = cpu_seconds(listener), time.monotonic()
        time.sleep(minutes * 60)
        used, passed = cpu_seconds(listener) - before, time.monotonic() - started
        with server.admin() as admin:
            admin.create_item("articles", {"title": "still there"})
        site.wait_for_received(1)
        print(
            f"{passed:.0f} s idle: {listener.output.count('reconnecting')} reconnects, "
            f"{100 * used / passed:.2f} % CPU, {memory(listener)} MiB resident; "
            "a change made then arrived."
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
