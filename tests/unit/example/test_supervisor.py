from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from example_project.demo import ROOT
from example_project.demo import supervisor as module
from example_project.demo.supervisor import ChildDied, Supervisor
from tests.helpers.waiting import wait_for

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


class Runner:
    """A supervisor whose lines are kept."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.supervisor = Supervisor(folder, self.lines.append)
        self.supervisor.show()

    def start(self, name: str, code: str) -> int:
        return self.supervisor.start(name, [sys.executable, "-u", "-c", code], os.environ)

    def wait_for_line(self, text: str) -> None:
        wait_for(lambda: any(text in line for line in self.lines), what=text)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path)
    yield runner
    runner.supervisor.stop()


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A zombie whose parent is gone waits for init.
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_output__has_the_name_before_each_line(runner: Runner) -> None:
    runner.start("web", "print('one'); print('two'); " + SLEEP)
    runner.wait_for_line("ready")
    assert runner.lines == ["web      | one", "web      | two", "web      | ready"]


def test_output__is_held_back_until_shown(tmp_path: Path) -> None:
    lines: list[str] = []
    supervisor = Supervisor(tmp_path, lines.append)
    supervisor.start("web", [sys.executable, "-c", "print('early')"], os.environ)
    with pytest.raises(ChildDied):
        supervisor.wait()
    assert lines == []
    supervisor.stop()
    assert lines == ["web      | early"]


def test_stop__ends_all(runner: Runner) -> None:
    pids = [runner.start(name, SLEEP) for name in ("one", "two")]
    runner.wait_for_line("two      | ready")
    runner.wait_for_line("one      | ready")
    runner.supervisor.stop()
    assert not any(is_alive(pid) for pid in pids)


def test_stop__grandchildren_too(runner: Runner) -> None:
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        "print('child', child.pid, flush=True)\n"
        "child.wait()"
    )
    runner.start("web", code)
    runner.wait_for_line("child ")
    grandchild = int(runner.lines[0].split()[-1])
    runner.wait_for_line("ready")
    runner.supervisor.stop()
    wait_for(lambda: not is_alive(grandchild), what="the grandchild to end")


def test_stop__kills_what_does_not_end(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.2)
    pid = runner.start("web", STUBBORN)
    runner.wait_for_line("ready")
    runner.supervisor.stop()
    assert not is_alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_killed__leaves_no_children() -> None:
    code = (
        "import os, pathlib, sys\n"
        "from example_project.demo.supervisor import Supervisor\n"
        "supervisor = Supervisor(pathlib.Path.cwd())\n"
        f"pid = supervisor.start('web', [sys.executable, '-c', {SLEEP!r}], os.environ)\n"
        "print(pid, flush=True)\n"
        "supervisor.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            assert is_alive(child)
        finally:
            parent.kill()
    wait_for(lambda: not is_alive(child), what="the child to end")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    ],
)
def test_wait__reports_a_death(runner: Runner, code: str, how: str) -> None:
    runner.start("web", SLEEP)
    runner.start("listener", "print('last words'); " + code)
    with pytest.raises(ChildDied, match=rf"^listener has ended by itself \({how}\)\.$"):
        runner.supervisor.wait()
    assert "listener | last words" in runner.lines


def test_wait__reports_the_death_of_a_watched_one(runner: Runner) -> None:
    gone = threading.Event()
    runner.supervisor.watch("Directus", lambda: not gone.is_set())
    runner.supervisor.check()
    gone.set()
    with pytest.raises(ChildDied, match="Directus"):
        runner.supervisor.wait()


def test_wait__for_a_condition(runner: Runner) -> None:
    runner.start("web", SLEEP)
    assert runner.supervisor.wait(lambda: "web      | ready" in runner.lines, 15)
    assert not runner.supervisor.wait(lambda: False, 0.1)
