"""Runs processes side by side, and stops them all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from example_project.demo.steps import say

#: Seconds for stopping all processes, before SIGKILL.
STOP_TIMEOUT = 8.0
#: Seconds between two checks.
_POLL = 0.1
#: Number of ``prctl``'s option, in Linux's ``sys/prctl.h``.
_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec, nothing that may wait for a lock is safe.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass
class Child:
    """A process and the thread that prints its output."""

    name: str
    process: subprocess.Popen[str]
    printer: threading.Thread


class ChildDied(Exception):
    """A process ended by itself; the message says which one, and how."""


class Supervisor:
    """Starts processes, prints their output with a name before each line, stops them.

    Each gets its own session, so that Ctrl-C reaches only this process, which stops them in order.
    On Linux they end with us, too, where we are killed and can stop nothing.

    Args:
        folder: Where they run.
        write: Called with each line; prints it by default.

    Output is buffered until :meth:`show`, so that it does not mix with the steps.
    """

    def __init__(self, folder: Path, write: Callable[[str], None] = say) -> None:
        self._folder = folder
        self._write = write
        self._children: list[Child] = []
        self._others: dict[str, Callable[[], bool]] = {}
        self._held: list[str] | None = []
        self._lock = threading.Lock()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Start a process and return its id."""
        process = subprocess.Popen(  # noqa: S603 - the demo's own commands
            command,
            cwd=self._folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        printer = threading.Thread(target=self._print, args=(name, process), daemon=True)
        printer.start()
        self._children.append(Child(name, process, printer))
        return process.pid

    def watch(self, name: str, is_alive: Callable[[], bool]) -> None:
        """Also supervise a process that is started and stopped elsewhere."""
        self._others[name] = is_alive

    def check(self) -> None:
        """Say if one is gone.

        Raises:
            ChildDied: The first that is.
        """
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                child.printer.join(1)  # its last words come first
                raise ChildDied(f"{child.name} has ended by itself ({_how(code)}).")
        for name, is_alive in self._others.items():
            if not is_alive():
                raise ChildDied(f"{name} has ended by itself.")

    def wait(self, until: Callable[[], bool] = lambda: False, timeout: float = 0) -> bool:
        """Wait for a condition, or for ever without one, as long as all are alive.

        Args:
            until: The condition.
            timeout: Seconds; 0 for no limit.

        Returns:
            Whether the condition has come true in time.

        Raises:
            ChildDied: A process is gone.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            if until():
                return True
            if timeout and time.monotonic() > deadline:
                return False
            time.sleep(_POLL)

    def show(self) -> None:
        """Print the buffered lines, and then each line as it arrives."""
        with self._lock:
            for line in self._held or []:
                self._write(line)
            self._held = None

    def stop(self) -> None:
        """Stop all, the last started first, so that none misses one it needs."""
        self.show()
        deadline = time.monotonic() + STOP_TIMEOUT
        for child in reversed(self._children):
            _stop(child.process, max(deadline - time.monotonic(), 0.5))
        for child in self._children:
            child.printer.join(1)
        self._children.clear()

    def _print(self, name: str, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                self._take(f"{name:<8} | {line.rstrip()}")

    def _take(self, line: str) -> None:
        with self._lock:
            if self._held is None:
                self._write(line)
            else:
                self._held.append(line)


def _end_with_parent() -> None:
    """Have Linux send SIGTERM to this process when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(process: subprocess.Popen[str], timeout: float) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal a process that has not been waited for, and its children."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
