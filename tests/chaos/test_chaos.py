"""The short form of ``make test-chaos``: every promise, with some faults, on both databases."""

from __future__ import annotations

import subprocess
import sys
import time

import psycopg
import pytest

from example_project.real_directus import DirectusUnavailable, install
from tests.conftest import POSTGRES_URL, missing
from tests.helpers.process import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.postgres, pytest.mark.redis]

#: Seconds; a run takes about 60.
TIMEOUT = 420.0
#: Seed, database of the site, and variant of Directus.
RUNS = ((1, "sqlite", ""), (2, "postgres", "cache"))


@pytest.fixture
def parts() -> None:
    """Skip without what a run needs."""
    try:
        install()
        psycopg.connect(POSTGRES_URL, connect_timeout=3).close()
    except (DirectusUnavailable, psycopg.OperationalError) as error:
        missing(str(error))


def start(seed: int, database: str, variant: str) -> subprocess.Popen[str]:
    options = f"--seed {seed} --changes 600 --faults 5 --database {database}"
    options += f" --variant {variant}" if variant else ""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", *options.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_promise_holds_under_faults(parts: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs side by side; the second with a Directus that answers GET out of its cache."""
    runs = [start(*options) for options in RUNS]
    until = time.monotonic() + TIMEOUT
    try:
        outputs = [run.communicate(timeout=until - time.monotonic())[0] for run in runs]
    finally:
        for run in runs:
            run.terminate()
            run.wait()
    with capsys.disabled():
        for output in outputs:
            print("\n" + output.strip().splitlines()[0])
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode == 0, output
