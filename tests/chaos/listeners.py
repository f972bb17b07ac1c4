"""Processes of ``directus_listen`` whose output goes to a file, and who keeps them running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.helpers.process import ROOT

#: Seconds that a listener may take to stop.
STOP_TIMEOUT = 20.0


class Listeners:
    """Starts, ends and restarts the listeners of a site, as a supervisor does.

    Args:
        folder: For their output, a file each.
        env: Of the processes.
        count: How many run at the same time.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], count: int = 1) -> None:
        self.troubles: list[str] = []
        self._folder = folder
        self._env = {**os.environ, **env, "PYTHONUNBUFFERED": "1"}
        self._running: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}
        self._count = count
        self._started = 0

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [process.pid for process in self._running]

    def start(self) -> None:
        """Start as many as are missing."""
        while len(self._running) < self._count:
            self._started += 1
            log = self._folder / f"listener-{self._started:03}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "django", "directus_listen", "-v", "2"],
                    env=self._env,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            with (self._folder / "listeners.txt").open("a") as names:
                names.write(f"{log.name} pid {process.pid}\n")
            self._running.append(process)
            self._logs[process.pid] = log

    @contextlib.contextmanager
    def one_more(self) -> Iterator[int]:
        """Run one listener more; at the end there are as many as before, whichever they are."""
        self._count += 1
        try:
            self.start()
            yield self._running[-1].pid
        finally:
            self._count -= 1

    def watch(self) -> None:
        """Restart those that ended by themselves, and remember that they did."""
        for process in [*self._running]:
            if (status := process.poll()) is not None:
                self._running.remove(process)
                self.troubles.append(f"listener {process.pid} ended by itself, status {status}")
        self.start()

    def pop(self, pid: int) -> subprocess.Popen[bytes]:
        """Take a process out, to end it."""
        process = next(each for each in self._running if each.pid == pid)
        self._running.remove(process)
        return process

    def kill(self, pid: int) -> None:
        """End a process with SIGKILL, as a crash does."""
        process = self.pop(pid)
        process.kill()
        process.wait(STOP_TIMEOUT)

    def terminate(self, pid: int) -> None:
        """End a process with SIGTERM, and see that it goes."""
        process = self.pop(pid)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            status = process.wait(STOP_TIMEOUT)
            if status not in (0, self._status_of_unready(pid)):
                self.troubles.append(f"listener {pid} ended with status {status} on SIGTERM")
        except subprocess.TimeoutExpired:
            self.troubles.append(f"listener {pid} did not end within {STOP_TIMEOUT} s of SIGTERM")
            process.kill()
            process.wait(STOP_TIMEOUT)

    def _status_of_unready(self, pid: int) -> int:
        """The exit status on SIGTERM of a process that is still starting; else 0."""
        has_spoken = self._logs[pid].stat().st_size > 0
        return 0 if has_spoken else -signal.SIGTERM

    def pause(self, pid: int) -> None:
        """Freeze a process, as a paused machine does."""
        os.kill(pid, signal.SIGSTOP)

    def resume(self, pid: int) -> None:
        """Let a frozen process go on."""
        os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End them all."""
        for pid in self.pids:
            self.kill(pid)
