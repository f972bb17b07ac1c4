"""From reconnect to caught up, for gaps of several sizes.

Run it: ``make bench-catchup`` (``ARGS="--gaps 100"`` for some). The connection of a running
listener is cut, the gap is made, the network comes back. On the real Directus (11.17.4 on
PostgreSQL) the rows of a gap are written into the tables ``articles`` and
``directus_activity`` directly, spread over the hour before: through Directus 100,000 would
take the better part of an hour. The fake makes its 10,000 itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.chaos.settings"

import django

django.setup()

import psycopg  # noqa: E402

from directus_realtime.models import InboxState  # noqa: E402
from directus_realtime.testing import FakeCollection, run_in_thread  # noqa: E402
from tests.chaos.directus import ChaosDirectus  # noqa: E402
from tests.chaos.listeners import Listeners  # noqa: E402
from tests.chaos.proxy import Proxy  # noqa: E402
from tests.chaos.world import World  # noqa: E402
from tests.helpers.site import Site  # noqa: E402
from tests.helpers.waiting import wait_for  # noqa: E402

GAPS = (100, 10_000, 100_000)
FAKE_GAP = 10_000
#: Seconds between two looks at the database and at the memory.
INTERVAL = 0.1
TIMEOUT = 1200.0

_MAKE_GAP = """
WITH made AS (
    INSERT INTO articles (title, status)
    SELECT 'gap ' || n, 'draft' FROM generate_series(1, %(rows)s) AS n RETURNING id
)
INSERT INTO directus_activity (action, collection, item, "timestamp", ip, user_agent)
SELECT 'create', 'articles', id::text,
    (now() - interval '1 hour' * (1 - row_number() OVER (ORDER BY id)::float8 / %(rows)s)),
    '127.0.0.1', 'benchmark'
FROM made ORDER BY id
"""


@dataclass
class Measured:
    """One gap.

    Attributes:
        caught_up: Seconds from the reconnect until all of it was in the inbox.
        delivered: Seconds from the reconnect until all of it was delivered.
        before: Resident memory of the listener before, in MB.
        peak: The same at its highest.
    """

    caught_up: float
    delivered: float
    before: float
    peak: float


class MemoryWatch:
    """Watches the resident memory of a process."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self.before = self.peak = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _now(self) -> float:
        line = next(x for x in self._status.read_text().splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.peak = max(self.peak, self._now())

    def stop(self) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()


def measure(
    site: Site, pid: int, cut: Callable[[], None], make: Callable[[], int], mend: Callable[[], None]
) -> Measured:
    """Cut, make a gap, mend, and wait until it is caught up.

    Args:
        site: Of the listener.
        pid: Of the listener.
        cut: Ends the listener's connection.
        make: Makes the gap, and says how many rows it has.
        mend: Lets the listener connect again.
    """
    inbox = site.inbox.all()
    known = inbox.count()
    cut()
    wait_for(lambda: site.statuses.get().state == "reconnecting", 60, "the cut to be noticed")
    memory = MemoryWatch(pid)
    rows = make()
    mend()
    connected_at = wait_for(lambda: _connected_at(site), 60, "the reconnect")
    _wait_slowly(lambda: inbox.count() >= known + rows)
    caught_up = time.time() - connected_at
    _wait_slowly(lambda: not inbox.exclude(state=InboxState.DONE).exists())
    delivered = time.time() - connected_at
    memory.stop()
    return Measured(caught_up, delivered, memory.before, memory.peak)


def _connected_at(site: Site) -> float:
    status = site.statuses.get()
    return status.changed_at.timestamp() if status.state == "connected" else 0.0


def _wait_slowly(condition: Callable[[], bool]) -> None:
    """Wait with fewer looks than the tests, so that looking costs the listener little."""
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until, f"not caught up within {TIMEOUT} s"
        time.sleep(INTERVAL)


def make_rows(directus: ChaosDirectus, rows: int) -> int:
    """Write articles and their rows of the log into Directus's tables."""
    with psycopg.connect(directus.database_url) as database:
        database.execute(_MAKE_GAP, {"rows": rows})
    return rows


def measure_real(database: str, gap: int) -> Measured:
    """A gap of the real server."""
    with (
        tempfile.TemporaryDirectory(prefix="catchup-") as name,
        World(Path(name), database, env={"CHAOS_FOLDER": ""}) as world,
    ):
        world.site.subscriptions.exclude(name="articles-all").delete()
        world.listen()
        assert world.wait_until_live(60)
        return measure(
            world.site,
            world.active_listener(),
            world.proxy.refuse,
            lambda: make_rows(world.directus, gap),
            world.proxy.accept,
        )


@contextlib.contextmanager
def fake_site(folder: Path) -> Iterator[tuple[Site, int, Proxy, Callable[[int], int]]]:
    """A site on the fake: with the listener's pid, the proxy, and what makes a gap."""
    articles = FakeCollection("articles", fields={"title": "string"})
    with run_in_thread(collections=[articles]) as fake, contextlib.ExitStack() as exits:
        proxy = Proxy(int(fake.url.rpartition(":")[2]))
        proxy.start()
        exits.callback(proxy.close)
        env = {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DIRECTUS_URL": proxy.url,
            "DIRECTUS_TOKEN": fake.token,
            "PYTHONDEVMODE": "",
        }
        site = Site(folder, f"sqlite:///{folder}/site.sqlite3", env)
        exits.callback(site.close)
        site.subscribe("articles-all", "articles")
        listeners = Listeners(folder, site.env)
        exits.callback(listeners.close)
        listeners.start()

        def make(rows: int) -> int:
            for start in range(0, rows, 500):
                fake.create("articles", [{"title": f"gap {start + n}"} for n in range(500)])
            return rows

        wait_for(lambda: site.subscriptions.get().state == "subscribed", 60, "the subscription")
        yield site, listeners.pids[0], proxy, make


def measure_fake(gap: int) -> Measured:
    """A gap of the fake."""
    with (
        tempfile.TemporaryDirectory(prefix="catchup-") as name,
        fake_site(Path(name)) as (site, pid, proxy, make),
    ):
        return measure(site, pid, proxy.refuse, lambda: make(gap), proxy.accept)


def main() -> None:
    """Print a line for each gap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaps", type=int, nargs="*", default=GAPS)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    print(f"Inbox on {options.database}; seconds from the reconnect; no receivers but the group")
    print("Rows of the real Directus are inserted into its tables directly.")
    print(f"{'':14}{'rows':>8}{'caught up':>11}{'rows/s':>9}", end="")
    print(f"{'delivered':>11}{'RSS before':>12}{'peak':>8}")
    for gap in options.gaps:
        show("real Directus", gap, measure_real(options.database, gap))
    show("fake", FAKE_GAP, measure_fake(FAKE_GAP))


def show(server: str, gap: int, measured: Measured) -> None:
    """One line of the table."""
    print(
        f"{server:14}{gap:8}{measured.caught_up:9.2f} s{gap / measured.caught_up:9.0f}"
        f"{measured.delivered:9.2f} s{measured.before:9.1f} MB{measured.peak:5.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
