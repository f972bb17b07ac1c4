"""One change, and a burst of 100, to many browsers: what it costs, and how late it comes.

Run it: ``make bench-fanout`` (``ARGS=--quick`` for 100 and 500 browsers). In one run on one
machine: browsers on Directus itself, on plain consumers of Channels, on the gateway, and on a
relay that is nothing but ``websockets.broadcast``. Changes are single creates by REST on a real
Directus; their time starts just before the request. The browsers are a process of their own on
the same machine. The full run takes some ten minutes; it writes ``docs/images/fanout.json`` and
``fanout.svg``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

import tests.benchmarks.setup  # noqa: F401 - sets up Django
from tests.benchmarks.crowd import Crowd, crowd
from tests.benchmarks.fanout_plot import draw
from tests.benchmarks.fanout_ways import WAYS, Machine, Way, machine
from tests.benchmarks.processes import busy_seconds, cpu_seconds

BROWSERS = (100, 500, 1000, 5000)
QUICK = (100, 500)
BURST = 100
CONNECTIONS = 16  # that make the changes of a burst
DELIVERIES = 20_000  # of single changes, over which the processor time is taken
FEWEST, MOST = 5, 100  # single changes
ENOUGH = 6.0  # seconds of single changes
PATIENCE = 40.0  # seconds until what has come of a burst is counted
FOLDER = Path(__file__).parents[2] / "docs" / "images"


@dataclass(frozen=True)
class Measured:
    """Single changes, or a burst.

    Attributes:
        changes: How many were made.
        arrived: The share of their deliveries that arrived in time.
        p50: Milliseconds from a change to a browser.
        p99: The same.
        front: Processor time of the process with the browsers, µs for each delivery.
        summed: With all others that take part, Directus among them.
        directus: Processor time of Directus, ms for each change.
        others: Processors that programs outside of the benchmark were using.
    """

    changes: int
    arrived: float
    p50: float
    p99: float
    front: float
    summed: float
    directus: float
    others: float


@dataclass(frozen=True)
class Cell:
    """One way with so many browsers."""

    way: str
    name: str
    browsers: int
    connecting: float
    single: Measured
    burst: Measured


class Clocks:
    """Processor times since it was made."""

    def __init__(self, way: Way, directus: int, crowd: Crowd) -> None:
        self._front, self._directus, self._behind = way.front, directus, way.behind
        self._beside = crowd.pid
        self._began = self._read()

    def _read(self) -> dict[str, float]:
        front, directus = cpu_seconds(self._front), cpu_seconds(self._directus)
        summed = front + sum(cpu_seconds(pid) for pid in self._behind)
        beside = cpu_seconds(self._beside) + time.process_time()
        return {
            "front": front,
            "directus": directus,
            "summed": summed,
            "others": busy_seconds() - summed - beside,
            "wall": time.monotonic(),
        }

    def passed(self) -> dict[str, float]:
        """Seconds of each."""
        return {name: value - self._began[name] for name, value in self._read().items()}


class Changes:
    """Makes articles by REST."""

    def __init__(self, machine: Machine) -> None:
        self._http = httpx.Client(
            base_url=machine.server.url,
            headers={"Authorization": f"Bearer {machine.server.admin_token}"},
            params={"fields": "id"},
            timeout=PATIENCE * 2,
            trust_env=False,
        )
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def make(self, _: int = 0) -> None:
        """One; it carries the time."""
        title = f"@{time.time_ns()}"
        self._http.post("/items/articles", json={"title": title}).raise_for_status()

    def make_burst(self) -> list[Any]:
        """Begin so many that as many as there are connections are under way."""
        return [self._pool.submit(self.make) for _ in range(BURST)]


def single(changes: Changes, crowd: Crowd, browsers: int) -> int:
    """One change after another, each when the one before has arrived everywhere; how many."""
    began = time.monotonic()
    wanted = max(FEWEST, min(MOST, DELIVERIES // browsers))
    made = 0
    while made < wanted and (made < FEWEST or time.monotonic() - began < ENOUGH):
        changes.make()
        made += 1
        if crowd.wait(made * browsers, PATIENCE) < made * browsers:
            break
    return made


def burst(changes: Changes, crowd: Crowd, browsers: int) -> int:
    """All at once; how many."""
    began = time.monotonic()
    making = changes.make_burst()
    crowd.wait(BURST * browsers, PATIENCE)
    for change in making:
        change.result()
    if time.monotonic() - began < PATIENCE:
        crowd.wait(BURST * browsers, PATIENCE - (time.monotonic() - began))
    return BURST


def measure(machine: Machine, way: Way, key: str, browsers: int) -> Cell:
    """One way with so many browsers."""
    changes = Changes(machine)
    with crowd(way.port, way.path, browsers, way.talk) as there:
        for count in range(3):
            changes.make()
            there.wait((count + 1) * browsers, PATIENCE)
        there.report()
        results = []
        for part in (single, burst):
            clocks = Clocks(way, machine.directus, there)
            made = part(changes, there, browsers)
            results.append(_measured(made, browsers, clocks.passed(), there.report()))
        return Cell(key, way.name, browsers, there.seconds, *results)


def _measured(made: int, browsers: int, used: dict[str, float], found: dict[str, Any]) -> Measured:
    arrived = max(1, found["count"])
    return Measured(
        changes=made,
        arrived=found["count"] / (made * browsers),
        p50=found.get("p50", 0.0),
        p99=found.get("p99", 0.0),
        front=used["front"] / arrived * 1e6,
        summed=used["summed"] / arrived * 1e6,
        directus=used["directus"] / made * 1e3,
        others=max(0.0, used["others"] / used["wall"]),
    )


HEAD = (
    "| browsers | way | CPU µs per delivery: browsers' process | with Directus and all "
    "| Directus, ms per change | one change p50 / p99, ms | burst p50 / p99, ms "
    "| burst arrived | others' CPU |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|"
)


def row(cell: Cell) -> str:
    """A row of the table, in Markdown."""
    one, many = cell.single, cell.burst
    parts = [
        f"{cell.browsers:,}",
        cell.name,
        f"{one.front:.0f}; {many.front:.0f}",
        f"{one.summed:.0f}; {many.summed:.0f}",
        f"{one.directus:.0f}; {many.directus:.0f}",
        f"{one.p50:,.0f} / {one.p99:,.0f}",
        f"{many.p50:,.0f} / {many.p99:,.0f}",
        f"{many.arrived:.0%}",
        f"{one.others:.0%}; {many.others:.0%}",
    ]
    return f"| {' | '.join(parts)} |"


def aims(cells: Sequence[Cell]) -> list[str]:
    """The figures that decide, at 500 browsers."""
    found = {(cell.way, cell.browsers): cell for cell in cells}
    wanted = [("directus", 1), ("directus", 500), ("bare", 500)]
    if not all(cell in found for cell in wanted):
        return []
    alone, direct, bare = (found[cell] for cell in wanted)
    lines = []
    for ours in [cell for cell in cells if cell.way.startswith("gateway")]:
        if ours.browsers == 500:
            changes = ours.single.directus / alone.single.directus
            front, summed = (
                ours.burst.front / bare.burst.front,
                ours.burst.summed / bare.burst.summed,
            )
            late = ours.burst.p99 / direct.burst.p99
            lines.append(
                f"{ours.name}, 500 browsers: Directus's CPU per change {changes:.2f} times that "
                f"with one subscriber; CPU per delivery {front:.2f} times the bare broadcast "
                f"({summed:.2f} with all); p99 of the burst {late:.3f} times Directus's own."
            )
    return lines


def main() -> None:
    """Measure, print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 and 500 browsers; keeps nothing")
    parser.add_argument("--browsers", type=int, nargs="+", help="so many instead")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--out", type=Path, help="folder for the results; docs/images")
    options = parser.parse_args()
    numbers = options.browsers or (QUICK if options.quick else BROWSERS)
    folder = options.out or (None if options.quick or options.browsers else FOLDER)
    cells: list[Cell] = []
    print(HEAD, flush=True)
    with machine() as shared:
        for key in options.ways:
            with WAYS[key](shared) as way:
                for browsers in (1, *numbers) if key == "directus" else numbers:
                    cells.append(measure(shared, way, key, browsers))
                    print(row(cells[-1]), flush=True)
    print("\n".join(["", *aims(cells)]))
    if folder is not None:
        keep(folder, cells)


def keep(folder: Path, cells: Sequence[Cell]) -> None:
    """Write the results and the plot."""
    described: dict[str, Any] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "directus": "11.17.4",
        "cells": [asdict(cell) for cell in cells],
    }
    (folder / "fanout.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    (folder / "fanout.svg").write_text(draw(described["cells"]), encoding="utf-8")


if __name__ == "__main__":
    main()
