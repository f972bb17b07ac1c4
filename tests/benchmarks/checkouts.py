"""A site that runs the code of any checkout: this one, or an older version beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.helpers.process import Process
from tests.helpers.waiting import wait_for

#: Seconds; a deadline, for a machine that is busy.
TIMEOUT = 300.0

_SUBSCRIBE = """
import json
from directus_realtime.models import DirectusSubscription
for fields in json.loads({fields!r}):
    DirectusSubscription.objects.create(**fields)
"""


class CheckoutSite:
    """A site with an SQLite database of its own; everything in it is done by child processes.

    Args:
        root: The checkout.
        folder: For the database and what the receivers write.
        env: More environment, such as the address of Directus.
        subscriptions: The fields of each subscription.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        env: Mapping[str, str],
        subscriptions: Sequence[Mapping[str, Any]],
    ) -> None:
        self._root = root
        self._log = folder / "received.jsonl"
        self._log.touch()
        self._names = [each["name"] for each in subscriptions]
        self._env = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
            "SAMPLE_LOG": str(self._log),
            "REDIS_URL": "",
            "PYTHONDEVMODE": "",
            **env,
        }
        self._run("migrate", "-v", "0")
        self._run("shell", "-c", _SUBSCRIBE.format(fields=json.dumps(subscriptions)))

    def _run(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "django", *arguments]
        env = {**os.environ, **self._env}
        subprocess.run(command, cwd=self._root, env=env, check=True, capture_output=True)

    def listen(self) -> Process:
        """Start ``directus_listen`` and wait until everything is subscribed."""
        listener = Process("directus_listen", env=self._env, root=self._root)
        for name in self._names:
            listener.wait_for_line(f"subscribed {name}:")
        return listener

    def signals(self, events: int) -> dict[Any, list[float]]:
        """Wait for so many events and return the moments of the signals of each key, in order."""
        # Parsing all of it every time would take the CPU from what is measured.
        wait_for(lambda: self._count() >= events, TIMEOUT, f"{events} signals")
        found: dict[Any, list[float]] = {}
        for line in self._lines():
            found.setdefault(line["key"], []).append(line["at"])
        return found

    def _count(self) -> int:
        return self._log.read_text().count('"kind": "signal"')

    def _lines(self) -> list[dict[str, Any]]:
        lines = [line for line in self._log.read_text().splitlines() if line.endswith("}")]
        return [each for each in map(json.loads, lines) if each["kind"] == "signal"]
