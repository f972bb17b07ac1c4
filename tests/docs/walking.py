"""Follows a page literally: its commands in a shell, its files where it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.docs.markdown import Block, blocks_of
from tests.helpers.waiting import wait_for

#: Seconds: a deadline for one command, of which installing takes longest.
TIMEOUT = 600.0
#: What differs from one run to the next, in the lines that a page shows.
_VARIES = {
    r"\d\d:\d\d:\d\d": r"\\d\\d:\\d\\d:\\d\\d",
    r"fencing\\ token\\ \d+": r"fencing\\ token\\ \\d+",
    r"\\ as\\ \S+$": r"\\ as\\ .+",
    r"(create|update|delete)\\ articles\\ \d+": r"(create|update|delete)\\ articles\\ \\d+",
    r"\d+\\\.\d\\ s": r"\\d+\\.\\d\\ s",
    r"\d+\\ events?\\ caught": r"\\d+\\ events?\\ caught",
    r"In\\ print:\\ .*": r"In\\ print:\\ .+",
}


class Walk:
    """Somebody who follows a page, from a folder.

    Args:
        folder: Where it begins.
        replaced: Texts of the page that cannot be the same everywhere, such as a port.
        env: Added to the environment.
    """

    def __init__(self, folder: Path, replaced: Mapping[str, str], env: Mapping[str, str]) -> None:
        self.folder = folder
        self._replaced = replaced
        self._env = {**_clean_environment(), **env}
        self._background: list[Terminal] = []

    def follow(self, page: str | Path) -> None:
        """Do all that the page says, in order."""
        for block in blocks_of(page):
            self.do(block)

    def do(self, block: Block) -> None:
        """Do what one block says."""
        said = block.directives
        code = self._localised(block.code)
        if name := said.get("file"):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
        elif name := said.get("append"):
            with (self.folder / name).open("a", encoding="utf-8") as file:
                file.write(f"\n{code}")
        elif "run" in said:
            self.run(code)
        elif text := said.get("background"):
            self._open(code, self._localised(text))
        elif "transcript" in said:
            self._compare(code)
        else:
            assert "elsewhere" in said, f"nobody knows what to do with line {block.line}"

    def run(self, code: str) -> str:
        """Run a command to its end, as if typed: where it leads and the PATH it sets remain."""
        script = f"set -e\n{code}\npwd > .walk-folder; echo $PATH > .walk-path"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}"
        if "cd " in code:
            (written,) = self.folder.glob("*/.walk-folder")
            self.folder = Path(written.read_text().strip())
        self._env["PATH"] = (self.folder / ".walk-path").read_text().strip()
        return done.stdout

    def output(self) -> str:
        """What all terminals have printed."""
        return "\n".join(terminal.output for terminal in self._background)

    def wait_for(self, text: str) -> None:
        """Wait until a terminal has printed a text."""
        try:
            wait_for(lambda: text in self.output())
        except AssertionError:
            raise AssertionError(f"{text!r} is not in:\n{self.output()}") from None

    def close(self) -> None:
        """End what runs in the background, and wait for it."""
        for terminal in reversed(self._background):
            terminal.close()

    def _open(self, code: str, text: str) -> None:
        # One listener at a time, as in the page: it says to stop the one before.
        command = code.strip().rpartition("\n")[2]
        for terminal in self._background:
            if terminal.command.split("--")[0].strip() == command.split("--")[0].strip():
                terminal.close()
        terminal = Terminal(code, command, self.folder, self._env)
        self._background.append(terminal)
        terminal.wait_for(text)

    def _compare(self, transcript: str) -> None:
        for line in transcript.splitlines():
            pattern = re.escape(line)
            for varies, stands_for in _VARIES.items():
                pattern = re.sub(varies, stands_for, pattern)
            try:
                wait_for(lambda shown=f"^{pattern}$": re.search(shown, self.output(), re.M))
            except AssertionError:
                raise AssertionError(f"{line!r} is not in:\n{self.output()}") from None

    def _localised(self, text: str) -> str:
        for here, there in self._replaced.items():
            text = text.replace(here, there)
        return text


class Terminal:
    """A command that goes on in the background."""

    def __init__(self, code: str, command: str, folder: Path, env: Mapping[str, str]) -> None:
        self.command = command
        self._lines: list[str] = []
        first, _, last = code.strip().rpartition("\n")
        # The shell becomes the command, so that a signal reaches it.
        script = f"set -e\n{first}\nexec env {last}"
        self._popen = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def wait_for(self, text: str) -> None:
        def found() -> bool:
            assert self._popen.poll() is None, f"{self.command} ended:\n{self.output}"
            return text in self.output

        try:
            wait_for(found, what=text)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.command}:\n{self.output}") from None

    def close(self) -> None:
        if self._popen.poll() is None:
            self._popen.terminate()
            self._popen.wait(30)
        self._reader.join(10)
        assert self._popen.stdout is not None
        self._popen.stdout.close()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._lines.append(line)


def _clean_environment() -> dict[str, str]:
    """The environment without what belongs to this project, or to pytest."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "DJANGO", "DIRECTUS", "COV_")) and name != "VIRTUAL_ENV"
    }
    # "python3" is the Python of the tests, whatever else is there.
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}
