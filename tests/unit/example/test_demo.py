"""The whole demo, in a copy of the checkout that has no state yet."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from example_project.demo import ROOT
from tests.conftest import free_port
from tests.helpers.waiting import wait_for

UNSET = ("DIRECTUS_URL", "DIRECTUS_TOKEN", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")


class Demo:
    """``python -m example_project.demo``, and what it has printed."""

    def __init__(self, folder: Path, **env: str) -> None:
        self._log = folder / "log.txt"
        inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "example_project.demo"],
                cwd=folder,
                env={**inherited, "PYTHONDONTWRITEBYTECODE": "", **env},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        wait_for(lambda: text in self.output or self.process.poll() is not None, 60, f"{text!r}")
        assert text in self.output, self.output

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("directus_realtime", "example_project"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "manage.py", tmp_path)
    return tmp_path


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def demo(checkout: Path, port: int) -> Iterator[Demo]:
    demo = Demo(checkout, PORT=str(port))
    yield demo
    demo.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo__runs_and_stops(
    demo: Demo, checkout: Path, port: int, number: signal.Signals
) -> None:
    demo.wait_for("Ctrl-C stops everything.")
    data = httpx.get(f"http://127.0.0.1:{port}/status/").json()
    assert data["connection"]["state"] == "connected"
    figures = httpx.get(f"http://127.0.0.1:{port}/dashboard/figures/").json()
    assert figures["completed"] > 100
    children = demo.children()
    assert len(children) == 3

    demo.process.send_signal(number)
    assert demo.process.wait(10) == 0
    assert "Traceback" not in demo.output
    assert "CONTROL-C" not in demo.output
    assert demo.output.endswith("Stopped.\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    password = checkout / ".demo" / "admin-password"
    assert password.stat().st_mode & 0o777 == 0o600
    assert not (checkout / ".env").exists()


def test_demo__says_which_process_died(demo: Demo) -> None:
    demo.wait_for("Ctrl-C stops everything.")
    children = demo.children()
    os.kill(children[0], signal.SIGKILL)
    assert demo.process.wait(10) == 1
    assert demo.output.endswith("\ndirectus has ended by itself (SIGKILL).\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_demo__port_in_use(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        demo = Demo(checkout, PORT=str(port))
        assert demo.process.wait(20) == 1
    assert f"Port {port} is in use." in demo.output
    assert f"make demo PORT={port + 1}" in demo.output


def test_demo__yours_without_a_token(checkout: Path, port: int) -> None:
    demo = Demo(checkout, PORT=str(port), DIRECTUS_URL="http://127.0.0.1:9")
    assert demo.process.wait(20) == 1
    assert "there is no DIRECTUS_TOKEN" in demo.output
