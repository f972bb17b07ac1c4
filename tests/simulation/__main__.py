"""Whole outages in virtual time: ``python -m tests.simulation --seed 42 --trace``.

Without a seed, fresh ones are run. A seed that breaks a promise is shortened, and its story is
printed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.plan import Plan
    from tests.simulation.world import Outcome

#: Simulated seconds of a seed in which changes and faults go on.
SECONDS = 120.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="the first seed; a fresh one if not given")
    parser.add_argument("--seeds", type=int, default=0, help="how many seeds to run")
    parser.add_argument("--minutes", type=float, default=0, help="run for so many minutes")
    parser.add_argument("--jobs", type=int, default=1, help="processes; 0 takes all cores")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="simulated, of a seed")
    parser.add_argument("--trace", action="store_true", help="print the whole story")
    parser.add_argument("--detailed", action="store_true", help="with requests and jobs")
    parser.add_argument("--quiet", action="store_true", help="print seeds that fail only")
    parser.add_argument("--shrink", type=float, default=60, help="seconds of CPU for shortening")
    parser.add_argument("--regression", help="run the plan of a bug that was fixed")
    parser.add_argument("--mutants", nargs="?", const="", help="hunt mutants by part of their name")
    return parser.parse_args()


def main() -> int:
    """Run what the arguments ask for; 1 where a promise was broken."""
    arguments = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of texts have the same order then, so that a seed tells the same story.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.simulation.settings"
    import django

    django.setup()
    from tests.simulation import database

    try:
        if arguments.mutants is not None:
            return _hunt(arguments)
        if arguments.regression:
            return _run_again(arguments)
        return _run_one(arguments) if _is_one(arguments) else _run_many(arguments)
    finally:
        database.clean_up()


def _is_one(arguments: argparse.Namespace) -> bool:
    return arguments.seed is not None and not arguments.seeds and not arguments.minutes


def _run_one(arguments: argparse.Namespace) -> int:
    from tests.simulation.campaign import run_seed
    from tests.simulation.plan import draw
    from tests.simulation.world import simulate

    if not arguments.trace:
        result = run_seed(arguments.seed, arguments.seconds)
        print(result)
        _tell(arguments, result.seed, bool(result.violations))
        return bool(result.violations)
    outcome = simulate(draw(arguments.seed, arguments.seconds), is_detailed=arguments.detailed)
    print(outcome.trace.text())
    for violation in outcome.violations:
        print(f"    {violation}")
    return bool(outcome.violations)


def _run_again(arguments: argparse.Namespace) -> int:
    from tests.simulation.regressions import REGRESSIONS
    from tests.simulation.shrink import story
    from tests.simulation.world import simulate

    found = next(each for each in REGRESSIONS if each.name == arguments.regression)
    outcome = simulate(found.plan, is_detailed=arguments.detailed)
    if arguments.trace or outcome.violations:
        print("\n".join(story(outcome)))
    return bool(outcome.violations)


def _run_many(arguments: argparse.Namespace) -> int:
    from tests.simulation.campaign import Summary, run_seeds

    until = time.monotonic() + arguments.minutes * 60 if arguments.minutes else float("inf")
    summary = Summary()
    for result in run_seeds(_seeds(arguments), arguments.seconds, _jobs(arguments), until):
        summary.add(result)
        if result.violations or not arguments.quiet:
            print(result, flush=True)
        for violation in result.violations:
            print(f"    {violation}", flush=True)
    print(summary)
    for seed in summary.failed[:3]:
        _tell(arguments, seed, True)
    return bool(summary.failed)


def _seeds(arguments: argparse.Namespace) -> Iterator[int]:
    first = arguments.seed if arguments.seed is not None else time.time_ns() // 1000 % 10**10
    return (
        iter(range(first, first + arguments.seeds)) if arguments.seeds else itertools.count(first)
    )


def _tell(arguments: argparse.Namespace, seed: int, is_broken: bool) -> None:
    """Print the shortest story of a seed that breaks a promise."""
    from tests.simulation.plan import draw
    from tests.simulation.shrink import Shrinker, story
    from tests.simulation.world import simulate

    if not is_broken:
        return
    print(f"Replay it: .venv/bin/python -m tests.simulation --seed {seed} --trace")
    outcome = simulate(draw(seed, arguments.seconds))
    if arguments.shrink and outcome.violations:

        def run(plan: Plan) -> Outcome:
            return simulate(plan)

        shrinker = Shrinker(run, {outcome.violations[0].line}, arguments.shrink)
        outcome = shrinker.shrink(outcome)
        print(f"The shortest story of seed {seed}, after {shrinker.runs} runs:")
    for line in story(outcome):
        print(line)


def _hunt(arguments: argparse.Namespace) -> int:
    from tests.simulation.campaign import workers
    from tests.simulation.mutants import hunt_number, numbers

    first = arguments.seed if arguments.seed is not None else 1
    most, missed = arguments.seeds or 30, 0
    with workers(_jobs(arguments)) as pool:
        hunts = [
            pool.submit(hunt_number, number, first, most, arguments.seconds)
            for number in numbers(arguments.mutants)
        ]
        for hunt in hunts:
            words, is_found = hunt.result()
            print(words, flush=True)
            missed += not is_found
    print(f"{len(hunts) - missed} of {len(hunts)} mutants were found")
    return bool(missed)


def _jobs(arguments: argparse.Namespace) -> int:
    return int(arguments.jobs) or len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(main())
