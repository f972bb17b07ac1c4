"""A naive cursor over the activity log, beside the catch-up (T8), on PostgreSQL.

Run it: ``make bench-cursor``. Eight writers make 1,280 articles in batches, by a Flow that
emits no events, so that only the log tells of them. Ids of the log are given out before the
commit, so a reader that goes on from the highest id it saw misses rows. Both readers follow
the same writes; the connection of ours is cut every second, and each time it reads the log
up to its very end.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.chaos.settings"

import django

django.setup()

import httpx  # noqa: E402

from tests.chaos.directus import ChaosDirectus  # noqa: E402
from tests.chaos.world import World  # noqa: E402

WRITERS = 8
BATCHES = 4  # of each writer
BATCH = 40
#: Seconds between two looks of the naive reader.
INTERVAL = 0.05


class NaiveCursor:
    """Reads what has a higher id than everything it has seen, as one is tempted to."""

    def __init__(self, directus: ChaosDirectus, last: int) -> None:
        self.seen: set[int] = set()
        self._last = last
        self._server = directus.server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._server.admin() as admin:
            is_last = False
            while not is_last:
                is_last = self._stopping.wait(INTERVAL)
                rows = admin.request(
                    "GET",
                    "/activity",
                    params={
                        "filter[id][_gt]": str(self._last),
                        "filter[collection][_eq]": "articles",
                        "sort": "id",
                        "limit": "-1",
                        "fields": "id",
                    },
                )
                self.seen.update(row["id"] for row in rows)
                self._last = max(self.seen, default=self._last)

    def stop(self) -> None:
        """Read a last time, and end."""
        self._stopping.set()
        self._thread.join()


def write(directus: ChaosDirectus, number: int) -> None:
    """What one writer does."""
    url = directus.server.url + directus.flows["create", False]
    with httpx.Client(timeout=60, trust_env=False) as http:
        for batch in range(BATCHES):
            title = f"{number}-{batch}"
            payload = [{"title": f"{title}-{row}", "status": "draft"} for row in range(BATCH)]
            body = {"collection": "articles", "payload": payload}
            http.post(url, json=body).raise_for_status()


def write_all(world: World) -> tuple[float, int]:
    """Let all writers write, and cut the listener's connection meanwhile.

    Returns:
        Seconds it took, and how often the connection was cut.
    """
    started, cuts = time.monotonic(), 0
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, world.directus, number) for number in range(WRITERS)]
        while not all(each.done() for each in writing):
            time.sleep(1)
            world.proxy.restore(close=True)
            cuts += 1
        for each in writing:
            each.result()
    return time.monotonic() - started, cuts


def main() -> None:
    """Print what each of the two missed."""
    with (
        tempfile.TemporaryDirectory(prefix="cursor-") as name,
        World(Path(name), "postgres", env={"CHAOS_FOLDER": ""}) as world,
    ):
        world.site.subscriptions.exclude(name="articles-all").delete()
        world.listen()
        since = world.directus.last_activity()
        naive = NaiveCursor(world.directus, since)
        seconds, cuts = write_all(world)
        naive.stop()
        if missing := world.wait_until_settled(120):
            print(f"The listener has not settled: {missing}")
        logged = {row.id for row in world.directus.activity(since)}
        ours = list(world.site.inbox.values_list("activity_id", flat=True))
    print(f"{len(logged)} rows by {WRITERS} writers in {seconds:.1f} s, {cuts} cuts of ours")
    print(f"naive cursor, a look every {INTERVAL:g} s: missed {len(logged - naive.seen)}")
    print(
        f"catch-up of directus_listen: missed {len(logged - set(ours))}, "
        f"delivered twice {len(ours) - len(set(ours))}"
    )


if __name__ == "__main__":
    main()
