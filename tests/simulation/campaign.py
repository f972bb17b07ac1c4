"""Many seeds on several cores, and what came of them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from tests.simulation.oracle import Violation


@dataclass(frozen=True)
class Result:
    """What came of a seed, without its story."""

    seed: int
    seconds: float
    cpu: float
    changes: int
    faults: int
    effects: int
    digest: str
    violations: tuple[Violation, ...]

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.seconds:.0f} s, {self.changes} changes, {self.faults} "
            f"faults, {self.effects} effects, {self.cpu:.2f} s CPU, trace {self.digest}"
        )


@dataclass
class Summary:
    """What came of all seeds."""

    results: int = 0
    failed: list[int] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count a seed."""
        self.results += 1
        for name in ("seconds", "cpu", "changes", "faults", "effects"):
            self.totals[name] += getattr(result, name)
        self.lines.update({violation.line for violation in result.violations})
        if result.violations:
            self.failed.append(result.seed)

    def __str__(self) -> str:
        total, cpu = self.totals, max(self.totals["cpu"], 0.001)
        broken = ", ".join(f"{line} in {count}" for line, count in self.lines.most_common())
        return (
            f"{self.results} seeds, {total['seconds'] / 3600:.1f} simulated hours, "
            f"{total['changes']} changes, {total['faults']} faults, {total['effects']} effects, "
            f"{cpu:.0f} s CPU; in a second of CPU {total['seconds'] / cpu:.0f} simulated seconds, "
            f"{total['changes'] / cpu:.1f} changes and {total['faults'] / cpu:.2f} faults; "
            f"broken promises: {broken or 'none'}"
        )


def run_seed(seed: int, seconds: float) -> Result:
    """Run one seed in this process."""
    from tests.simulation.plan import draw
    from tests.simulation.world import simulate

    plan = draw(seed, seconds)
    outcome = simulate(plan)
    return Result(
        seed,
        outcome.seconds,
        outcome.cpu,
        outcome.changes,
        plan.faults,
        outcome.effects,
        outcome.trace.digest,
        tuple(outcome.violations),
    )


def _begin_worker() -> None:
    import django

    django.setup()
    from tests.simulation import database

    multiprocessing.util.Finalize(None, database.clean_up, exitpriority=10)


def workers(jobs: int) -> ProcessPoolExecutor:
    """Return processes for simulations; each has a database of its own."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker)


def run_seeds(seeds: Iterator[int], seconds: float, jobs: int, until: float) -> Iterator[Result]:
    """Run seeds in processes of their own, until some moment.

    Args:
        seeds: The seeds.
        seconds: Simulated seconds of each.
        jobs: How many processes.
        until: Time of the monotonic clock after which none is begun.
    """
    with workers(jobs) as pool:
        waiting: set[Future[Result]] = set()
        for seed in islice(seeds, 2 * jobs):
            waiting.add(pool.submit(run_seed, seed, seconds))
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
                seed = next(seeds, None) if time.monotonic() < until else None
                if seed is not None:
                    waiting.add(pool.submit(run_seed, seed, seconds))
