"""From a change to its signal, inbox and delivery included, beside a bare ``websockets`` script.

Run it: ``make bench-latency`` (``ARGS="--quick"``; ``ARGS="--only cpu"`` for one of its tables;
``ARGS="--old ../checkout"`` for the listener of another checkout in the same run). A lone
change's time starts just before its REST request; one of a burst, when the request was answered,
that is, right after its commit. Each listener runs beside the bare script for the times, and
alone for Directus's CPU; Directus serves its subscribers one after another, so who subscribed
first is ahead, and the halves swap that.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.benchmarks.bare_socket import BareSocket, bare_socket
from tests.benchmarks.checkouts import CheckoutSite
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.setup import percentile
from tests.conftest import own_database
from tests.helpers.process import ROOT

LONE, BURST, WRITERS = 300, 1000, 4
#: Seconds between lone changes; with less, they are a slow burst.
PAUSE = 0.1
PUBLISHED = {"status": {"_eq": "published"}}
#: Number of subscriptions, and whether they have a filter.
CASES = ((1, False), (1, True), (20, False), (20, True))
TABLES = ("lone", "burst", "cpu")
#: Waits until so many changes were received.
Wait = Callable[[int], object]


@dataclass(frozen=True)
class Changes:
    """Changes that were made, by key.

    Attributes:
        begun: When each request began.
        answered: When it was answered.
        seconds: How long all of them took.
        cpu: Seconds of CPU that Directus used for them, with everything that they caused.
    """

    begun: dict[int, float]
    answered: dict[int, float]
    seconds: float
    cpu: float


@dataclass(frozen=True)
class Costs:
    """What changes cost Directus.

    Attributes:
        lone: Seconds of CPU for a lone change.
        burst: The same for one of a burst.
        rate: Changes of a burst in a second.
    """

    lone: float
    burst: float
    rate: float


class Bench:
    """One Directus, and the rounds on it.

    Args:
        server: The Directus.
        folder: For the files of each round.
        checkouts: The checkouts whose listeners are measured, by what to call them.
        lone: Number of lone changes of a round.
        burst: Number of changes of a burst.
    """

    def __init__(
        self,
        server: DirectusServer,
        folder: Path,
        checkouts: dict[str, Path],
        lone: int,
        burst: int,
    ) -> None:
        self._server = server
        self._folder = folder
        self._checkouts = checkouts
        self._lone = lone
        self._burst = burst
        self._rounds = 0

    def run(self, tables: Sequence[str] = TABLES) -> None:
        """Do the rounds of some tables, and print them.

        Args:
            tables: Some of :data:`TABLES`.
        """
        prints = {"lone": self._print_lone, "burst": self._print_burst, "cpu": self._print_cpu}
        for table in tables:
            prints[table]()

    # The tables

    def _print_lone(self) -> None:
        print(f"{self._lone} lone creates, milliseconds from the start of the request")
        print(f"{'':44}{'p50':>8}{'p99':>8}")
        for subscriptions, is_filtered in CASES:
            for name in self._checkouts:
                self._print_case(name, subscriptions, is_filtered)

    def _print_case(self, name: str, subscriptions: int, is_filtered: bool) -> None:
        ours: list[tuple[float, float]] = []
        bare: list[float] = []
        for is_bare_first in (True, False):
            changes, signals, received = self._beside_bare(
                name, subscriptions, is_filtered, self._lone // 2, is_bare_first
            )
            ours += [(min(signals[k]) - at, max(signals[k]) - at) for k, at in changes.items()]
            bare += [received[k] - at for k, at in changes.items()]
        label = f"{name}, {subscriptions} subscription(s){', filter' if is_filtered else ''}"
        _row(f"{label}: bare script", bare)
        _row("  first signal", [first for first, _ in ours])
        if subscriptions > 1:
            _row("  last signal", [last for _, last in ours])

    def _beside_bare(
        self, name: str, subscriptions: int, is_filtered: bool, count: int, is_bare_first: bool
    ) -> tuple[dict[int, float], dict[Any, list[float]], dict[int, float]]:
        with contextlib.ExitStack() as stack:
            starters: list[Callable[[], Any]] = [
                lambda: stack.enter_context(self._bare(is_filtered)),
                lambda: stack.enter_context(self._listener(name, subscriptions, is_filtered)),
            ]
            parts = [start() for start in (starters if is_bare_first else starters[::-1])]
            bare, site = parts if is_bare_first else parts[::-1]
            changes = self._make_lone(count)
            signals = site.signals(count * subscriptions)
            return changes.begun, signals, bare.received(count)

    def _print_burst(self) -> None:
        print(f"\nA burst of {self._burst} creates by {WRITERS} writers, 1 subscription")
        print(f"{'':44}{'p50':>8}{'p99':>8}  ms from the answer")
        for name in self._checkouts:
            with self._listener(name, 1, False) as site:
                changes = self._make_burst()
                signals = site.signals(self._burst)
            late = [signals[key][0] - at for key, at in changes.answered.items()]
            _row(f"{name}: signal", late)

    def _print_cpu(self) -> None:
        print("\nDirectus's CPU for a change, with one subscriber alone")
        print(f"{'':28}{'lone':>10}{'':>8}{'burst':>10}{'':>8}{'changes/s':>11}")
        self._make_burst()  # a server that has just started is slower
        nobody, bare = self._costs_of_nobody(), self._costs_of_bare()
        _cpu_row("nobody", nobody, bare)
        _cpu_row("bare script", bare, bare)
        for name in self._checkouts:
            _cpu_row(name, self._costs_of_listener(name), bare)

    def _costs_of_nobody(self) -> Costs:
        return self._costs(lambda count: None, lambda count: None)

    def _costs_of_bare(self) -> Costs:
        with self._bare(False) as bare:
            return self._costs(bare.received, lambda count: bare.received(count + self._lone))

    def _costs_of_listener(self, name: str) -> Costs:
        with self._listener(name, 1, False) as site:
            return self._costs(site.signals, lambda count: site.signals(count + self._lone))

    def _costs(self, wait_lone: Wait, wait_burst: Wait) -> Costs:
        lone = self._measured(lambda: self._make_lone(self._lone), wait_lone, self._lone)
        burst = self._measured(self._make_burst, wait_burst, self._burst)
        return Costs(lone.cpu / self._lone, burst.cpu / self._burst, self._burst / burst.seconds)

    # The parts of a round

    @contextlib.contextmanager
    def _listener(self, name: str, subscriptions: int, is_filtered: bool) -> Iterator[CheckoutSite]:
        fields = {"collection": "articles", "filter": PUBLISHED if is_filtered else {}}
        named = [{**fields, "name": f"s{number}"} for number in range(subscriptions)]
        access = {"DIRECTUS_URL": self._server.url, "DIRECTUS_TOKEN": self._server.admin_token}
        site = CheckoutSite(self._checkouts[name], self._new_folder(), access, named)
        listener = site.listen()
        try:
            yield site
        finally:
            listener.kill()

    def _bare(self, is_filtered: bool) -> contextlib.AbstractContextManager[BareSocket]:
        log = self._new_folder() / "bare.jsonl"
        query = {"filter": PUBLISHED} if is_filtered else {}
        return bare_socket(self._server.url, self._server.admin_token, log, query)

    def _new_folder(self) -> Path:
        self._rounds += 1
        folder = self._folder / str(self._rounds)
        folder.mkdir()
        return folder

    def _measured(self, make: Callable[[], Changes], wait: Wait, count: int) -> Changes:
        """Make changes, and count Directus's CPU until all of them were received."""
        pid = self._server.pid
        assert pid is not None
        before = cpu_seconds(pid)
        changes = make()
        wait(count)
        cpu = cpu_seconds(pid) - before
        return Changes(changes.begun, changes.answered, changes.seconds, cpu)

    def _make_lone(self, count: int) -> Changes:
        return self._write([count], PAUSE)

    def _make_burst(self) -> Changes:
        return self._write([self._burst // WRITERS] * WRITERS, 0)

    def _write(self, counts: Sequence[int], pause: float) -> Changes:
        """Create articles, by as many writers as there are counts."""
        begun: dict[int, float] = {}
        answered: dict[int, float] = {}

        def write(count: int) -> None:
            with self._server.admin() as admin:
                for number in range(count):
                    _create(admin, number, begun, answered)
                    time.sleep(pause)

        started = time.monotonic()
        threads = [threading.Thread(target=write, args=(count,)) for count in counts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Changes(begun, answered, time.monotonic() - started, 0)


def _create(
    admin: DirectusAdmin, number: int, begun: dict[int, float], answered: dict[int, float]
) -> None:
    at = time.time()
    key = admin.create_item("articles", {"title": str(number), "status": "published"})["id"]
    begun[key], answered[key] = at, time.time()


def _row(label: str, seconds: list[float]) -> None:
    p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
    print(f"{label:44}{p50:8.1f}{p99:8.1f}", flush=True)


def _cpu_row(label: str, costs: Costs, base: Costs) -> None:
    pairs = (costs.lone, base.lone), (costs.burst, base.burst)
    cells = [f"{cost * 1000:7.1f} ms ({cost / other:4.2f} x)" for cost, other in pairs]
    print(f"{label:28}{cells[0]:>18}{cells[1]:>18}{costs.rate:>11.0f}", flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.latency")
    parser.add_argument("--old", type=Path, help="folder of another checkout to measure as well")
    parser.add_argument("--directus", choices=["sqlite", "postgres", "mariadb"], default="postgres")
    parser.add_argument("--only", choices=TABLES, help="one table")
    parser.add_argument("--quick", action="store_true", help="a fifth of the changes")
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    options = parse()
    part = 5 if options.quick else 1
    checkouts = {"this": ROOT} | ({"old": options.old.resolve()} if options.old else {})
    with (
        tempfile.TemporaryDirectory() as folder,
        own_database(options.directus) as url,
        DirectusServer(database=url) as server,
    ):
        with server.admin() as admin:
            admin.create_collection("articles", {"title": "string", "status": "string"})
        Bench(server, Path(folder), checkouts, LONE // part, BURST // part).run(
            [options.only] if options.only else TABLES
        )


if __name__ == "__main__":
    main()
