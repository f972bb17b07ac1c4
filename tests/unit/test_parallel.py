"""What the workers of ``make test`` run together, first and alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.parallel import rank_of, scope_of
from tests.helpers.process import ROOT

REAL = "tests/contract/test_events.py::test_x[11.17.4-articles]"
FAKE = "tests/contract/test_events.py::test_x[fake-articles]"
LISTENER = "tests/e2e/test_lifecycle.py::test_x"
LEASE = "tests/e2e/test_lease.py::test_x"
UNIT = "tests/unit/test_x.py::test_x[11.17.4]"

SUITE = """
import time
from pathlib import Path

import pytest

LOG = Path(__file__).with_name("log")


def note(what):
    with LOG.open("a") as log:
        log.write(what)


@pytest.mark.parametrize("number", range(20))
def test_beside_others(number):
    note("(")
    time.sleep(0.02)
    note(")")


@pytest.mark.alone
@pytest.mark.parametrize("number", range(5))
def test_alone(number):
    note("[")
    time.sleep(0.02)
    note("]")
"""
HOOKS = "pytest_runtest_protocol, pytest_xdist_make_scheduler"
CONFTEST = f"from tests.helpers.parallel import {HOOKS}\n"
SETTINGS = "[pytest]\nmarkers =\n    alone: x\n"


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        (REAL, "tests/contract/11.17.4"),
        (FAKE, FAKE),
        (LISTENER, "tests/e2e/test_lifecycle.py"),
        (UNIT, UNIT),
    ],
)
def test_tests_stay_together_where_they_share_a_server(nodeid: str, scope: str) -> None:
    assert scope_of(nodeid) == scope


def test_what_takes_long_comes_first() -> None:
    expected = [REAL, LISTENER, LEASE, UNIT, FAKE]
    assert sorted([UNIT, LEASE, FAKE, LISTENER, REAL], key=rank_of) == expected


def test_nothing_runs_beside_a_test_that_wants_to_be_alone(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    options = ["-q", "-n", "3", "-p", "no:cacheprovider", "-p", "no:django", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "25 passed" in done.stdout, done.stdout + done.stderr
    log = (tmp_path / "log").read_text()
    assert log.count("[]") == 5
    depth = 0
    for sign in log:
        assert depth == 0 or sign not in "[]"
        depth += {"(": 1, ")": -1}.get(sign, 0)
