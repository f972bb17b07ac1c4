"""A Django site of its own for end-to-end tests: a database, a listener, what arrived."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import environ
from django.core.management import call_command
from django.db import connections

from directus_realtime.models import ConnectionStatus, DirectusSubscription, InboxEvent
from tests.helpers.process import Process
from tests.helpers.waiting import DEADLINE, wait_for

#: Alias of the site's database in the process of the tests.
ALIAS = "site"
#: A migrated SQLite file without rows, once there was one: the migrations take half a second.
_migrated: list[bytes] = []


class Site:
    """A site with a database of its own, which the tests' process sees as ``site``."""

    def __init__(self, folder: Path, database_url: str, env: Mapping[str, str]) -> None:
        self.log = folder / "received.jsonl"
        self.log.touch()
        self.env = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": database_url,
            "SAMPLE_LOG": str(self.log),
            "REDIS_URL": "",
            **env,
        }
        self.listeners: list[Process] = []
        self._processes: list[Process] = []
        default = connections.databases["default"]
        database = {**default, **environ.Env.db_url_config(database_url)}
        if not database["ENGINE"].endswith("sqlite3"):
            database["OPTIONS"] = {}
        else:
            database["OPTIONS"] = {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
            }
        connections.databases[ALIAS] = database
        _migrate(database)

    # Processes

    def start(self, *arguments: str, module: str = "django", **env: str) -> Process:
        process = Process(*arguments, env={**self.env, **env}, module=module)
        self._processes.append(process)
        return process

    def listen(self, *arguments: str, ready: bool = True, **env: str) -> Process:
        """Start ``directus_listen``, and wait until it is connected and all is subscribed."""
        listener = self.start("directus_listen", *arguments, **env)
        self.listeners.append(listener)
        if ready:
            listener.wait_for_line("connected to")
            for subscription in self.subscriptions.filter(enabled=True):
                listener.wait_for_line(f"subscribed {subscription.name}:")
        return listener

    def print_group(self, *groups: str, **env: str) -> Process:
        process = self.start("print_group", *groups, **env)
        process.wait_for_line("joined")
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]

    # The database

    @property
    def subscriptions(self) -> Any:
        return DirectusSubscription.objects.using(ALIAS)

    @property
    def inbox(self) -> Any:
        return InboxEvent.objects.using(ALIAS)

    @property
    def statuses(self) -> Any:
        return ConnectionStatus.objects.using(ALIAS)

    def subscribe(self, name: str = "all", collection: str = "articles", **fields: Any) -> Any:
        return self.subscriptions.create(name=name, collection=collection, **fields)

    # What arrived

    def received(self, kind: str = "signal") -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        # The last line may be half written.
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return [entry for entry in entries if entry["kind"] == kind]

    def wait_for_received(
        self, count: int, kind: str = "signal", timeout: float = DEADLINE
    ) -> list[dict[str, Any]]:
        wait_for(lambda: len(self.received(kind)) >= count, timeout, f"{count} × {kind}")
        return self.received(kind)


def _migrate(database: Mapping[str, Any]) -> None:
    """Migrate the site's database; a new one on SQLite is a copy of the first one."""
    if not database["ENGINE"].endswith("sqlite3") or Path(database["NAME"]).exists():
        call_command("migrate", database=ALIAS, verbosity=0)
        return
    if not _migrated:
        call_command("migrate", database=ALIAS, verbosity=0)
        connections[ALIAS].close()  # what the log has goes into the file
        _migrated.append(Path(database["NAME"]).read_bytes())
    Path(database["NAME"]).write_bytes(_migrated[0])


def messages(process: Process) -> list[dict[str, Any]]:
    """The group messages that ``print_group`` has printed."""
    return [json.loads(line) for line in list(process.lines) if line.startswith("{")]
