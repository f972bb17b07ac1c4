"""A child process whose lines can be waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.helpers.waiting import DEADLINE, wait_for

ROOT = Path(__file__).parents[2]
#: Lines come at once, and no process compiles what the one before it has compiled.
_OURS = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": ""}


class Process:
    """Runs ``python -m django …`` with the tests' settings and keeps its lines.

    Args:
        arguments: Of the command line.
        env: Added to the environment.
        module: Run instead of ``django``.
        root: The checkout whose code runs.
    """

    def __init__(
        self,
        *arguments: str,
        env: Mapping[str, str],
        module: str = "django",
        root: Path = ROOT,
    ) -> None:
        self.lines: list[str] = []
        self._popen = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={"PYTHONDEVMODE": "1", **os.environ, **env, **_OURS},
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, text: str, timeout: float = DEADLINE, count: int = 1) -> str:
        """Wait until a text is in so many lines, and give the last of them."""

        def found() -> str:
            hits = [line for line in list(self.lines) if text in line]
            if self._popen.poll() is not None and len(hits) < count:
                self._reader.join(2)
                hits = [line for line in self.lines if text in line]
                assert len(hits) >= count, f"ended without {text!r}:\n{self.output}"
            return hits[-1] if len(hits) >= count else ""

        try:
            return wait_for(found, timeout, text)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def send_signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def wait(self, timeout: float = DEADLINE) -> int:
        status = self._popen.wait(timeout)
        self._reader.join(5)
        return status

    def kill(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
