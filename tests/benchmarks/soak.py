"""A listener for an hour: changes all the time, and a connection that breaks now and then.

A real Directus takes changes from several writers; between it and the listener is a proxy that
resets all connections at every interval and refuses new ones for a moment. The inbox is on
PostgreSQL. In the end every change is looked for in the inbox, and what the process holds is
printed as it was at the beginning and at the end. Run it: ``make bench-soak`` (or shorter:
``make bench-soak ARGS="--minutes 5 --every 60"``).
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from example_project.real_directus import DirectusServer
from tests.benchmarks.processes import memory
from tests.benchmarks.setup import percentile
from tests.chaos.proxy import Proxy
from tests.conftest import POSTGRES_URL, own_postgres
from tests.helpers.process import Process
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

WRITERS = 4
REFUSED = 3.0  # seconds after each break in which nobody can connect
WARM_UP = 60.0  # seconds until the first measurement: caches and pools are filled
OLD = 120.0  # seconds; an item is not deleted before, so that each change has its event
SETTLE = 120.0  # seconds for what is on its way in the end

#: Action and key.
Change = tuple[str, str]


class Writer(threading.Thread):
    """Makes changes at a steady rate, one after another, and writes down what it made.

    Args:
        server: Where.
        rate: Changes a second.
    """

    def __init__(self, server: DirectusServer, rate: float) -> None:
        super().__init__(daemon=True)
        self.ledger: Counter[Change] = Counter()
        self._server = server
        self._pause = 1 / rate
        self._stopping = threading.Event()
        self._items: list[tuple[float, int]] = []

    def stop(self) -> None:
        """Ask it to end."""
        self._stopping.set()

    def run(self) -> None:
        due = time.monotonic() + random.uniform(0, self._pause)
        with self._server.admin() as admin:
            while not self._stopping.wait(max(due - time.monotonic(), 0)):
                due += self._pause
                action, key = self._next()
                if action == "create":
                    key = admin.create_item("articles", {"title": "new", "body": "x" * 500})["id"]
                    self._items.append((time.monotonic(), key))
                elif action == "update":
                    admin.update_item("articles", key, {"title": f"changed {time.time()}"})
                else:
                    admin.delete_item("articles", key)
                self.ledger[action, str(key)] += 1

    def _next(self) -> tuple[str, int]:
        kind = random.random()
        if self._items and self._items[0][0] < time.monotonic() - OLD and kind < 0.4:
            return "delete", self._items.pop(0)[1]
        if self._items and kind > 0.6:
            return "update", random.choice(self._items[len(self._items) // 2 :])[1]
        return "create", 0


@dataclass(frozen=True)
class Held:
    """What the listener holds at a moment."""

    memory: int
    files: int
    threads: int
    database: int

    @classmethod
    def by(cls, listener: Process, database_url: str) -> Held:
        process = Path(f"/proc/{listener.pid}")
        return cls(
            memory(listener.pid) // 2**20,
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
            # Our own connection to that database is the site's.
            _database_connections(database_url) - 1,
        )

    def __str__(self) -> str:
        return (
            f"{self.memory} MiB, {self.files} file descriptors, {self.threads} threads, "
            f"{self.database} database connections"
        )


def _database_connections(url: str) -> int:
    with psycopg.connect(POSTGRES_URL, connect_timeout=5) as server:
        name = url.rpartition("/")[2]
        row = server.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name]
        ).fetchone()
    return int(row[0]) if row else 0


@contextlib.contextmanager
def soaking(rate: float) -> Iterator[tuple[Site, Proxy, list[Writer], str]]:
    """Directus, a proxy, a site, and writers at work."""
    with tempfile.TemporaryDirectory() as name, DirectusServer() as server, own_postgres() as url:
        with server.admin() as admin:
            admin.create_collection("articles", {"title": "string", "body": "text"})
        proxy = Proxy(server.port)
        proxy.start()
        access = {"DIRECTUS_URL": proxy.url, "DIRECTUS_TOKEN": server.admin_token}
        site = Site(Path(name), url, {**access, "DIRECTUS_CATCH_UP_INTERVAL": "30"})
        site.subscribe()
        writers = [Writer(server, rate / WRITERS) for _ in range(WRITERS)]
        try:
            yield site, proxy, writers, url
        finally:
            stop([writer for writer in writers if writer.is_alive()])
            site.close()
            proxy.close()


def break_now_and_then(proxy: Proxy, until: float, every: float) -> int:
    """Break the connections at every interval; says how often."""
    breaks = 0
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(every, left))
        if time.monotonic() < until:
            proxy.refuse()
            time.sleep(REFUSED)
            proxy.accept()
            breaks += 1
    return breaks


def stop(writers: list[Writer]) -> None:
    """End the writers, each after the change at hand."""
    for writer in writers:
        writer.stop()
    for writer in writers:
        writer.join(30)


def settle(site: Site, made: int) -> None:
    """Wait for what is on its way; what never arrives is counted later."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: site.inbox.count() >= made, SETTLE)
    undone = site.inbox.exclude(state__in=["done", "merged"])
    wait_for(lambda: not undone.exists(), SETTLE, "all is delivered")


def compare(site: Site, writers: list[Writer]) -> tuple[int, int, int]:
    """Changes that were made, that are missing in the inbox, and that are in it once too often."""
    made: Counter[Change] = Counter()
    for writer in writers:
        made += writer.ledger
    found = Counter((action, key) for action, key in site.inbox.values_list("action", "key_json"))
    missing, surplus = made - found, found - made
    for change, count in [*missing.items(), *surplus.items()][:10]:
        print("  differs:", *change, count, flush=True)
    return made.total(), missing.total(), surplus.total()


def main() -> None:
    """Print what the listener held, and what was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=20, help="changes a second")
    parser.add_argument("--every", type=float, default=120, help="seconds between two breaks")
    options = parser.parse_args()
    with soaking(options.rate) as (site, proxy, writers, url):
        listener = site.listen()
        for writer in writers:
            writer.start()
        time.sleep(WARM_UP)
        before, started = Held.by(listener, url), time.monotonic()
        print(f"after {WARM_UP:.0f} s: {before}", flush=True)
        breaks = break_now_and_then(proxy, started + options.minutes * 60, options.every)
        after = Held.by(listener, url)
        stop(writers)
        settle(site, sum(writer.ledger.total() for writer in writers))
        made, missing, surplus = compare(site, writers)
        minutes = (time.monotonic() - started) / 60
        print(f"after {options.minutes:g} min: {after}")
        print(
            f"{made} changes in {minutes:.0f} min, {breaks} breaks, "
            f"{listener.output.count('back after')} times back: "
            f"lost {missing}, delivered twice {surplus}"
        )
        back = [line.split("back after ")[1] for line in listener.lines if "back after " in line]
        if waits := [float(line.split(" s")[0]) for line in back]:
            print(f"away for p50 {percentile(waits, 0.5):.1f} s, max {max(waits):.1f} s")


if __name__ == "__main__":
    main()
