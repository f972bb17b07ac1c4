"""How tests share the workers of pytest-xdist: what stays together, comes first, runs alone.

``tests/conftest.py`` has these hooks; without workers they do nothing.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest

#: Tests whose servers are shared by a file, or by the suite on one version of Directus.
_BY_FILE = (
    "tests/browser/",
    "tests/chaos/",
    "tests/e2e/",
    "tests/packaging/",
    "tests/unit/example/test_demo.py",  # it looks for a free port, and another demo would take it
)
_BY_VERSION = "tests/contract/"
#: What takes long begins early, so that no worker has it left when the others are through.
#: What runs alone is last of these: then all others are short, and nobody waits for long.
_FIRST = (
    "tests/chaos/test_chaos.py",
    "tests/contract/",
    "tests/e2e/test_catch_up.py",
    "tests/e2e/",
    "tests/packaging/test_walks.py",
    "tests/browser/",
    "tests/fuzz/test_conversations.py",
    "tests/unit/example/test_demo.py",
    "tests/docs/",
    "tests/e2e/test_lease.py",
)
#: Bytes of a file that stand for what the workers lock.
_GATE, _MACHINE = 0, 1


def scope_of(nodeid: str) -> str:
    """What a test belongs to: tests of one scope run in one worker, one after the other."""
    path, _, name = nodeid.partition("::")
    if path.startswith(_BY_FILE):
        return path
    if path.startswith(_BY_VERSION) and "[" in name and "[fake" not in name:
        version = name.partition("[")[2].partition("-")[0].rstrip("]")
        return f"{_BY_VERSION}{version}"
    return nodeid


def rank_of(nodeid: str) -> int:
    """The place of a test in the order in which workers take them."""
    if "[fake" in nodeid:
        return len(_FIRST)
    starts = [start for start in _FIRST if nodeid.startswith(start)]
    return _FIRST.index(max(starts, key=len)) if starts else len(_FIRST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out scopes, in the order of the tests."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test that is marked ``alone`` wait until no other one runs."""
    basetemp = item.config.getoption("basetemp")
    if not hasattr(item.config, "workerinput") or basetemp is None:
        return (yield)
    file = _open(Path(basetemp).parent / "turns.lock")
    kind = fcntl.LOCK_SH if item.get_closest_marker("alone") is None else fcntl.LOCK_EX
    # Who waits to be alone keeps the gate closed, so that nobody begins meanwhile.
    fcntl.lockf(file, fcntl.LOCK_EX, 1, _GATE)
    fcntl.lockf(file, kind, 1, _MACHINE)
    fcntl.lockf(file, fcntl.LOCK_UN, 1, _GATE)
    try:
        return (yield)
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, _MACHINE)


@cache
def _open(path: Path) -> IO[bytes]:
    """One for the life of a worker: closing it would drop its locks."""
    return path.open("ab+")
