"""Runs the steps of a Dockerfile in a folder, where no engine is."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

#: What a step gets of this process's environment.
PASSED_ON = ("PATH", "HOME", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "LANG")
#: What is not taken from the file: the path is another one, and a test need not download twice.
NOT_TAKEN = ("PATH", "PIP_NO_CACHE_DIR")
TIMEOUT = 300.0  # seconds for a step


class DockerfileRun:
    """The stages of a Dockerfile share a folder, which stands for ``/``.

    Args:
        context: What ``COPY`` copies from.
        root: An empty folder.

    Attributes:
        user: The last ``USER``.
        commands: Of ``CMD`` and ``HEALTHCHECK``.
    """

    def __init__(self, context: Path, root: Path) -> None:
        self._context = context
        self._root = root
        self._folder = root
        self._given: dict[str, str] = {}
        self.user = ""
        self.commands: dict[str, list[str]] = {}

    def run(self, file: Path) -> None:
        """Run every step."""
        for name, rest in _instructions(file.read_text(encoding="utf-8")):
            self._do(name, rest)

    def start(self, command: list[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a command as the image would."""
        return subprocess.Popen(
            self._command(command),
            cwd=self._folder,
            env={**self._env(), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _do(self, name: str, rest: str) -> None:
        match name:
            case "FROM":
                self._folder, self._given, self.user = self._root, {}, ""
            case "ENV":
                self._given.update(pair.split("=", 1) for pair in shlex.split(rest))
            case "WORKDIR":
                self._folder = self._root / rest.lstrip("/")
                self._folder.mkdir(parents=True)
            case "COPY":
                self._copy(*shlex.split(rest))
            case "RUN":
                command = self._command(shlex.split(rest))
                subprocess.run(
                    command, cwd=self._folder, env=self._env(), check=True, timeout=TIMEOUT
                )
            case "USER":
                self.user = rest
            case "CMD" | "HEALTHCHECK":
                self.commands[name] = json.loads(rest[rest.index("[") :])
            case "EXPOSE" | "STOPSIGNAL":
                pass
            case _:
                raise AssertionError(f"{name} is not known here")

    def _copy(self, *names: str) -> None:
        *sources, target = names
        if sources[0].startswith("--from="):
            return  # the stages share the folder
        for name in sources:
            source = self._context / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self._folder / target, ignore=ignored)
            else:
                shutil.copy(source, self._folder / target)

    def _env(self) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        given = {name: value for name, value in self._given.items() if name not in NOT_TAKEN}
        return {**passed_on, **given}

    def _command(self, words: list[str]) -> list[str]:
        """A command in the folder; ``python`` is the one of the venv once there is one."""
        venv = self._root / "venv"
        python = venv / "bin" / "python"
        first, *rest = [re.sub("^/venv", str(venv), word) for word in words]
        if first == "python":
            first = str(python) if python.exists() else sys.executable
        return [first, *rest]


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Names and rests of the instructions; lines that go on are joined."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest.strip()
