"""How long a takeover takes: the active listener is killed 20 times, with another standing by.

Each listener believes to be on a machine of its own; on the same one, the standby would know
at once that the process is gone. Run it: ``make bench-takeover``.
"""

from __future__ import annotations

import random
import sys
import time

from tests.benchmarks.setup import directus_and_site, percentile
from tests.helpers.process import Process
from tests.helpers.site import Site

RENEW_INTERVAL = 2.0  # seconds; a kill may come at any time between two renewals


def start(site: Site, number: int) -> Process:
    """Start a listener on a machine of its own."""
    return site.listen(
        ready=False, DJANGO_SETTINGS_MODULE="tests.other_host", OTHER_HOST=f"machine-{number}"
    )


def takeover(active: Process, standby: Process, number: int) -> tuple[float, float]:
    """Kill one, and give the seconds until the other is active, and subscribed."""
    time.sleep(random.uniform(0, RENEW_INTERVAL))
    killed = time.monotonic()
    active.kill()
    standby.wait_for_line(f"active, with the fencing token {number}")
    taken = time.monotonic() - killed
    standby.wait_for_line("subscribed all:")
    return taken, time.monotonic() - killed


def main(times: int) -> None:
    """Print how long it took until the other one was active, and subscribed."""
    found = []
    with directus_and_site() as (_, site):
        active = start(site, 0)
        active.wait_for_line("subscribed all:")
        for number in range(1, times + 1):
            standby = start(site, number)
            standby.wait_for_line("is active")
            found.append(takeover(active, standby, number + 1))
            active = standby
    for what, values in zip(("active", "subscribed"), zip(*found, strict=True), strict=True):
        print(
            f"{times} × SIGKILL, until the other one is {what}: "
            f"p50 {percentile(values, 0.5):.1f} s, max {max(values):.1f} s"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
