"""What ids cost that never appear in the activity log, and what is missed beside them (M37).

Run it: ``make bench-holes`` (``ARGS="--rows 2000 --hole-age 60"``). On PostgreSQL, ids of the log
are given out before the commit: a list that is rolled back leaves holes for ever, and a
transaction that stays open for some seconds fills its holes late. Both happen here beside lone
changes; once with a list of new items, and once with a PATCH of a list, of which the socket
tells before it is rolled back. After that nothing happens any more, and what the holes cost is
counted until they are given up.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import psycopg

import tests.benchmarks.setup  # noqa: F401 - sets Django up
from directus_realtime.models import LogPosition
from example_project.real_directus import DirectusServer
from tests.benchmarks.processes import cpu_seconds
from tests.conftest import own_postgres
from tests.helpers.process import Process
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import wait_for
from tests.helpers.writes import WRITES, OpenTransaction, described

#: Seconds for which a transaction stays open, and its rows.
OPEN, OPEN_ROWS = 7.0, 60
#: Writers with transactions, the transactions of each, and writers of lone changes.
SLOW_WRITERS, TRANSACTIONS, LONE_WRITERS = 2, 4, 2
#: Seconds between the changes of a lone writer.
PAUSE = 0.1
#: Seconds of a line of the table.
SPAN = 30.0
TIMEOUT = 600.0
#: Items of one request that makes what a list changes.
_CHUNK = 1000
#: Directus writes down each request.
_DIRECTUS_ENV = {"LOG_LEVEL": "info", "LOG_STYLE": "raw"}


@dataclass(frozen=True)
class Used:
    """What was used up to a moment.

    Attributes:
        at: The moment, by the monotonic clock.
        polls: Requests for the log.
        reads: Other requests of the listener: for items, mostly.
        theirs: Seconds of CPU of Directus.
        ours: Seconds of CPU of the listener.
    """

    at: float
    polls: int
    reads: int
    theirs: float
    ours: float


class Experiment:
    """One Directus, a listener, and a list that is rolled back.

    Args:
        server: The Directus.
        site: Of the listener.
        listener: The listener.
        rows: Of the list.
    """

    def __init__(self, server: DirectusServer, site: Site, listener: Process, rows: int) -> None:
        self._server = server
        self._site = site
        self._listener = listener
        self._rows = rows
        self._stopping = threading.Event()

    def run(self, method: str, keys: list[Any]) -> None:
        """Do it, and print a line for each span of time.

        Args:
            method: ``POST`` or ``PATCH``.
            keys: Items that a PATCH changes.
        """
        since, before = self._last_row(), self._used()
        time.sleep(SPAN)
        self._print("before", before)
        before = self._used()
        self._write(method, keys)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self._logged(since) - set(self._stored()), 120)
        self._print("the list and the transactions", before)
        self._print_truth(since)
        while self._holes():
            before = self._used()
            time.sleep(SPAN)
            self._print("nothing happens", before)
        before = self._used()
        time.sleep(SPAN)
        self._print("all are given up", before)
        self._print_truth(since)

    # The writers

    def _write(self, method: str, keys: list[Any]) -> None:
        with ThreadPoolExecutor(SLOW_WRITERS + LONE_WRITERS) as pool:
            slow = [pool.submit(self._write_slowly) for _ in range(SLOW_WRITERS)]
            lone = [pool.submit(self._write_alone) for _ in range(LONE_WRITERS)]
            try:
                self._fail(method, keys)
                for writing in slow:
                    writing.result()
            finally:
                self._stopping.set()
            for writing in lone:
                writing.result()

    def _fail(self, method: str, keys: list[Any]) -> None:
        """Send a list whose last item cannot be written."""
        items: list[dict[str, Any]] = [{"title": "never"} for _ in range(self._rows)]
        if method == "PATCH":
            items = [{"id": key, "title": "never"} for key in keys]
        items[-1]["number"] = "no number"
        answer = httpx.request(
            method,
            f"{self._server.url}/items/articles",
            json=items,
            headers={"Authorization": f"Bearer {self._server.admin_token}"},
            timeout=TIMEOUT,
            trust_env=False,
        )
        assert answer.status_code >= HTTPStatus.BAD_REQUEST, answer.status_code

    def _write_slowly(self) -> None:
        write = described("articles", "create", payload=[{"title": "late"}] * OPEN_ROWS)
        with self._server.admin() as admin:
            for number in range(TRANSACTIONS):
                with OpenTransaction(admin, write) as transaction:
                    time.sleep(OPEN)
                    if number:  # the first is rolled back
                        transaction.commit()

    def _write_alone(self) -> None:
        with self._server.admin() as admin:
            while not self._stopping.wait(PAUSE):
                admin.create_item("articles", {"title": "lone"})

    # What came of it

    def _last_row(self) -> int:
        return max(self._logged(0), default=0)

    def _logged(self, since: int) -> set[int]:
        with psycopg.connect(self._server.database) as database:
            rows = database.execute(
                "SELECT id FROM directus_activity WHERE collection = 'articles' AND id > %s",
                [since],
            )
            return {row[0] for row in rows}

    def _stored(self) -> list[int | None]:
        return list(self._site.inbox.values_list("activity_id", flat=True))

    def _holes(self) -> list[tuple[int, int, float]]:
        row = LogPosition.objects.using(ALIAS).first()
        return row.holes if row else []

    def _print_truth(self, since: int) -> None:
        logged, stored = self._logged(since), self._stored()
        made = [number for number in stored if number is not None]
        print(
            f"{len(logged)} rows: missed {len(logged - set(made))}, "
            f"doubled {len(made) - len(set(made))}; "
            f"{stored.count(None)} events without a row",
            flush=True,
        )

    def _used(self) -> Used:
        assert self._server.pid is not None
        log = self._server.log_path.read_text(errors="replace").splitlines()
        searches = [line for line in log if '"method":"SEARCH"' in line]
        polls = sum('"url":"/activity"' in line for line in searches)
        return Used(
            time.monotonic(),
            polls,
            len(searches) - polls,
            cpu_seconds(self._server.pid),
            cpu_seconds(self._listener.pid),
        )

    def _print(self, what: str, before: Used) -> None:
        after, holes = self._used(), self._holes()
        seconds = after.at - before.at
        theirs, ours = after.theirs - before.theirs, after.ours - before.ours
        print(
            f"{what:31}{seconds:6.0f} s{len(holes):7}{sum(h[1] - h[0] + 1 for h in holes):9}"
            f"{after.polls - before.polls:7}{after.reads - before.reads:7}"
            f"{theirs:9.2f} s{theirs / seconds:7.1%}{ours:9.2f} s{ours / seconds:7.1%}",
            flush=True,
        )


@contextlib.contextmanager
def experiment(rows: int, hole_age: float) -> Iterator[tuple[Experiment, list[Any]]]:
    """An experiment whose listener runs, and the keys of as many items as the list has rows."""
    with (
        tempfile.TemporaryDirectory(prefix="holes-") as name,
        own_postgres() as url,
        DirectusServer(database=url, env=_DIRECTUS_ENV, extensions=[WRITES]) as server,
        contextlib.ExitStack() as exits,
    ):
        keys: list[Any] = []
        with server.admin() as admin:
            admin.create_collection("articles", {"title": "string", "number": "integer"})
            while len(keys) < rows:
                items = [{"title": "old"}] * min(_CHUNK, rows - len(keys))
                keys += [item["id"] for item in admin.create_items("articles", items)]
        env = {
            "DIRECTUS_URL": server.url,
            "DIRECTUS_TOKEN": server.admin_token,
            "DIRECTUS_HOLE_AGE": str(hole_age),
            "DIRECTUS_CATCH_UP_INTERVAL": "30",  # the default, which the tests' settings change
            "PYTHONDEVMODE": "",
        }
        site = Site(Path(name), f"sqlite:///{name}/site.sqlite3", env)
        exits.callback(site.close)
        site.subscribe()
        listener = site.listen()
        wait_for(lambda: site.subscriptions.get().followed_from is not None)
        yield Experiment(server, site, listener, rows), keys


def main() -> None:
    """Print a table for each kind of list."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.holes")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the list")
    parser.add_argument("--hole-age", type=float, default=120.0, help="the setting HOLE_AGE")
    parser.add_argument("--only", choices=["POST", "PATCH"], help="one kind of list")
    options = parser.parse_args()
    for method in [options.only] if options.only else ["POST", "PATCH"]:
        print(f"{method} of {options.rows} rows, rolled back; HOLE_AGE {options.hole_age:g} s")
        print(f"{'':31}{'':>8}{'holes':>7}{'ids':>9}{'polls':>7}{'reads':>7}", end="")
        print(f"{'Directus':>11}{'':7}{'listener':>11}")
        with experiment(options.rows, options.hole_age) as (each, keys):
            each.run(method, keys)


if __name__ == "__main__":
    main()
