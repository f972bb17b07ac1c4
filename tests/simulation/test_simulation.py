"""The short form of ``make test-simulation``, and what the simulation itself promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.process import ROOT
from tests.simulation.regressions import REGRESSIONS, Regression

#: Seeds of the short form.
SEEDS = 6


def simulate(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run simulations in a process of their own: they have a time and a database of their own."""
    command = [sys.executable, "-m", "tests.simulation", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_promises_hold() -> None:
    """``make test-simulation`` runs fresh seeds, and names the command that replays a failure."""
    ran = simulate("--seed", 1, "--seeds", SEEDS)

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda each: each.name)
def test_plan_that_failed_once_holds(regression: Regression) -> None:
    ran = simulate("--regression", regression.name, "--shrink", 0)

    assert ran.returncode == 0, regression.was_wrong + "\n" + ran.stdout + ran.stderr


def test_seed_tells_the_same_story_twice() -> None:
    first, second = (
        simulate("--seed", 5, "--trace", "--detailed", "--seconds", 60).stdout for _ in range(2)
    )

    assert len(first) > 10_000
    assert first == second


def test_mutant_is_found_and_its_story_is_short() -> None:
    """The oracle can fail: a listener that forgets holes loses the rows of long transactions."""
    ran = simulate("--mutants", "holes are forgotten", "--seed", 1, "--seeds", 20)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "NOT FOUND" not in ran.stdout
