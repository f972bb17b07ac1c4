"""The support matrix: ``nox -s matrix`` runs all cells, ``nox -s table`` prints what came out.

Each cell has an environment of its own, made by uv, and runs the unit and the integration
tests with deprecation and resource warnings as errors. A database of a cell must be there:
``TEST_POSTGRES_URL``, ``TEST_MARIADB_URL`` and ``TEST_REDIS_URL`` say where.
"""

from __future__ import annotations

import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["matrix", "table"]

RESULTS = Path(".nox") / "results"
DATABASES = {
    "sqlite": "",  # the default of the tests' settings
    "postgres": os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
    "mariadb": os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test"),
}
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
#: What runs in each cell; benchmarks, chaos, browsers, the example and a real Directus do not.
TESTS = ("tests/unit", "tests/integration", "--ignore=tests/unit/example")
#: Of the tests; the package needs none of them.
TOOLS = (
    "aiohttp>=3.11",
    "daphne>=4.1",
    "django-environ",
    "django-tasks>=0.12",
    "django-tasks-db>=0.12",
    "hypothesis>=6.130",
    "prometheus-client>=0.22",
    "psycopg[binary]>=3.2",
    "psycopg-pool>=3.2",
    "pytest>=8.4",
    "pytest-asyncio>=1.1",
    "pytest-django>=4.11",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.8",
    "uvicorn>=0.30",
)


@dataclass(frozen=True)
class Cell:
    """One combination of versions and servers.

    Attributes:
        python: Such as ``3.13``.
        django: Such as ``6.1``: its newest patch release, or its first with ``lowest``.
        database: A key of :data:`DATABASES`.
        redis: Whether the channel layer is Redis; else ``channels-redis`` is not installed.
        lowest: Whether the dependencies are the oldest that ``pyproject.toml`` allows.
    """

    python: str
    django: str
    database: str = "sqlite"
    redis: bool = False
    lowest: bool = False

    def __str__(self) -> str:
        parts = [f"py{self.python}", f"dj{self.django}", self.database]
        return "-".join(parts + ["redis"] * self.redis + ["lowest"] * self.lowest)


OLDEST = Cell("3.11", "5.2", lowest=True)
NEWEST = Cell("3.13", "6.1", "postgres", redis=True)
ENDS = [OLDEST, NEWEST]
#: Django 6 needs Python 3.12.
CELLS = [
    OLDEST,
    Cell("3.11", "5.2", "postgres", redis=True),
    Cell("3.12", "5.2", "mariadb"),
    Cell("3.12", "6.0", lowest=True),
    Cell("3.12", "6.1", "postgres"),
    Cell("3.13", "5.2"),
    Cell("3.13", "6.0", "mariadb", redis=True),
    Cell("3.13", "6.1"),
    NEWEST,
    Cell("3.13", "6.1", "mariadb"),
    Cell("3.14", "5.2", "postgres"),
    Cell("3.14", "6.0"),
    Cell("3.14", "6.1", "postgres", redis=True),
]


def _parameters(cells: list[Cell]) -> list[object]:
    return [nox.param(cell.python, cell, id=str(cell)) for cell in cells]


@nox.session
@nox.parametrize(["python", "cell"], _parameters(CELLS))
def matrix(session: nox.Session, cell: Cell) -> None:
    """Every cell."""
    _run(session, cell)


@nox.session
@nox.parametrize(["python", "cell"], _parameters(ENDS))
def short(session: nox.Session, cell: Cell) -> None:
    """The two ends: the oldest of everything, and the newest."""
    _run(session, cell)


@nox.session(python=False)
def table(session: nox.Session) -> None:
    """Print what came out, cell by cell; of the short one with ``-- short``."""
    cells = ENDS if "short" in session.posargs else CELLS
    rows = [f"{'cell':34} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}"]
    rows += [f"{cell!s:34} {_outcome(RESULTS / f'{cell}.xml')}" for cell in cells]
    sys.stdout.write("\n".join([*rows, ""]))


def _run(session: nox.Session, cell: Cell) -> None:
    report = RESULTS / f"{cell}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    _install(session, cell)
    session.run(
        *("python", "-X", "dev", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        f"--junitxml={report}",
        *TESTS,
        *session.posargs,
        env={
            "REDIS_URL": REDIS if cell.redis else "",
            "REDIS_PREFIX": str(cell),  # databases of one Redis share their channels
            "TEST_POSTGRES_URL": DATABASES["postgres"],
            **({"DATABASE_URL": url} if (url := _database_url(cell)) else {}),
        },
    )


def _database_url(cell: Cell) -> str:
    """A database of its own on the cell's server, so that cells may run side by side."""
    server, slash, _ = DATABASES[cell.database].rpartition("/")
    name = re.sub("[^0-9a-z]", "_", f"{cell}")
    return f"{server}{slash}{name}" if slash else ""


def _install(session: nox.Session, cell: Cell) -> None:
    """The package as the cell wants it, then the tools, which change nothing of that."""
    extras = ",".join(["postgres", "metrics"] + ["redis"] * cell.redis)
    resolution = "lowest-direct" if cell.lowest else "highest"
    upgrade = [] if cell.lowest else ["--upgrade"]
    session.install(
        *upgrade, "--resolution", resolution, f".[{extras}]", f"django~={cell.django}.0"
    )
    driver = ["mysqlclient"] if cell.database == "mariadb" else []
    session.install(*TOOLS, *driver, f"django~={cell.django}.0")


def _outcome(report: Path) -> str:
    if not report.exists():
        return "not run: no such Python here, or its packages could not be installed"
    suite = ElementTree.parse(report).getroot()[0]  # noqa: S314 - pytest's own report
    count = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    seconds = float(suite.get("time", "0"))
    return f"{passed:7} {failed:7} {count['skipped']:8} {seconds:8.0f}"
