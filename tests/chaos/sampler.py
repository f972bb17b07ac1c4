"""Samples what the product says of itself during a run, and which log rows are visible then."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Self

import psycopg
from django.db import DatabaseError, connections

from directus_realtime.models import ConnectionStatus
from tests.chaos.directus import ChaosDirectus
from tests.chaos.evidence import Claim
from tests.helpers.process import ROOT
from tests.helpers.site import ALIAS

#: Seconds between two looks at the tables.
PERIOD = 0.5
#: Samples for each run of ``directus_status``, which is a process of its own.
SAMPLES_PER_STATUS = 16
#: Seconds that an event may be on its way while the status is still good: ``--max-lag``.
STATUS_LAG = 60.0
STATUS_TIMEOUT = 30.0
#: Ids below the highest one that a longer transaction may still fill.
OPEN_IDS = 20_000


class Sampler:
    """Collects claims in a thread of its own, inside a ``with`` block.

    Args:
        directus: Whose activity log is looked at.
        env: Of the site.
        since: Highest id of the log when the run began.
    """

    def __init__(self, directus: ChaosDirectus, env: Mapping[str, str], since: int) -> None:
        self.claims: list[Claim] = []
        self.first_seen: dict[int, float] = {}
        self._directus = directus
        self._env = {**os.environ, **env}
        self._since = since
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, after the sample that is under way."""
        self._stopping.set()
        self._thread.join(STATUS_TIMEOUT + 10)

    def _sample(self) -> None:
        number = 0
        while not self._stopping.wait(PERIOD):
            number += 1
            # Faults end connections and lock tables: then this sample is left out.
            with contextlib.suppress(psycopg.Error, sqlite3.Error):
                self._see_rows()
            with contextlib.suppress(DatabaseError):
                self._ask_table()
            connections[ALIAS].close()
            if number % SAMPLES_PER_STATUS == 0:
                self._ask_command()

    def _see_rows(self) -> None:
        lowest = max(self._since, max(self.first_seen, default=0) - OPEN_IDS)
        found = self._directus.activity_ids(lowest)
        now = time.time()
        for number in found - self.first_seen.keys():
            self.first_seen[number] = now

    def _ask_table(self) -> None:
        status = ConnectionStatus.objects.using(ALIAS).first()
        if status is not None and status.complete_until is not None:
            until = status.complete_until.timestamp()
            self.claims.append(Claim(time.time(), until, "complete_until"))

    def _ask_command(self) -> None:
        asked_at = time.time()
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
            done = subprocess.run(
                [sys.executable, "-m", "django", "directus_status", "--json"],
                env=self._env,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=STATUS_TIMEOUT,
            )
            is_healthy = all(each["ok"] for each in json.loads(done.stdout))
            if done.returncode == 0 and is_healthy:
                until = asked_at - STATUS_LAG
                self.claims.append(Claim(time.time(), until, "directus_status: healthy"))
