"""A throw-away Django project: commands of its settings in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from directus_realtime.testing.fake.threaded_fake import ThreadedFakeDirectus
from tests.helpers.process import ROOT, Process

TIMEOUT = 120.0  # seconds


class Project:
    """Runs ``manage.py`` commands of a project under ``tests/projects``.

    Args:
        name: Name of its package.
        folder: Folder of its databases.
        env: Added to the environment.
    """

    def __init__(self, name: str, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._name = name
        self.folder = folder
        self._env = {"PROJECT_FOLDER": str(folder), **(env or {})}
        self._processes: list[Process] = []

    def manage(self, *arguments: str, settings: str = "settings", status: int = 0) -> str:
        """Run a command; return its output.

        Args:
            arguments: Command and its arguments.
            settings: Module of the project's settings.
            status: Expected exit status.
        """
        done = self._run("-m", "django", *arguments, settings=settings)
        assert done.returncode == status, done.stdout
        return done.stdout

    def rows(self, model: str, *columns: str, database: str = "default") -> list[Any]:
        """Return columns of all rows of a model of the app, sorted."""
        code = (
            "import django, json; django.setup(); from directus_realtime import models; "
            f"rows = models.{model}.objects.using({database!r}).values_list(*{columns!r}); "
            "print(json.dumps(sorted(rows), default=str))"
        )
        done = self._run("-c", code, settings="settings")
        assert done.returncode == 0, done.stdout
        return [tuple(row) for row in json.loads(done.stdout.splitlines()[-1])]

    def listen(self, settings: str = "settings") -> Process:
        """Start the listener."""
        process = Process("directus_listen", env=self._environment(settings))
        self._processes.append(process)
        return process

    def connect(self, fake: ThreadedFakeDirectus) -> None:
        """Use a Directus."""
        self._env |= {"DIRECTUS_URL": fake.url, "DIRECTUS_TOKEN": fake.token}

    def close(self) -> None:
        """End the listeners that still run."""
        for process in self._processes:
            process.kill()

    def _run(self, *arguments: str, settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **self._environment(settings)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def _environment(self, settings: str) -> dict[str, str]:
        module = f"tests.projects.{self._name}.{settings}"
        return {**self._env, "DJANGO_SETTINGS_MODULE": module}
