"""A real Directus with collections of every type of key, and flows that write."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.chaos.directus_data import DirectusData, PostgresData, SqliteData
from tests.helpers.writes import WRITES

#: The type of each collection's key.
COLLECTIONS = {
    "articles": "integer",
    "notes": "uuid",
    "labels": "string",
    "orders": "bigInteger",
}
FILES = "directus_files"
FIELDS = {"title": "string", "status": "string", "version": "integer", "sort": "integer"}
#: Beginning of the titles that unlogged writes give.
UNLOGGED = "unlogged "
#: Settings of Directus by the name of a variant.
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "": {},
    "sqlite": {},
    "cache": {"CACHE_ENABLED": "true"},
    "no-websockets": {"WEBSOCKETS_ENABLED": "false"},
    "heartbeat-off": {"WEBSOCKETS_HEARTBEAT_ENABLED": "false"},
    "query-limit": {"QUERY_LIMIT_MAX": "50"},
    "rate-limit": {
        "RATE_LIMITER_ENABLED": "true",
        "RATE_LIMITER_POINTS": "30",
        "RATE_LIMITER_DURATION": "1",
    },
}


def canonical(collection: str, key: str) -> str:
    """The key in the spelling of the database, however a request has spelled it."""
    kind = COLLECTIONS.get(collection, "uuid")
    with contextlib.suppress(ValueError):
        if kind == "uuid":
            return str(UUID(key))
        if kind != "string":
            return str(int(key))
    return key


@dataclass(frozen=True)
class Logged:
    """A row of Directus's activity log."""

    id: int
    action: str
    collection: str
    key: str


@dataclass(frozen=True)
class Version:
    """A state of a row, as the trigger wrote it down; of a delete, the last one."""

    id: int
    collection: str
    key: str
    action: str
    version: int
    status: str
    title: str


class ChaosDirectus:
    """The server, its database and the flows that write.

    Args:
        database: An empty PostgreSQL database, or ``sqlite``.
        folder: For the server's files.
        env: More settings of the server.
    """

    def __init__(
        self, database: str, folder: Path, env: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.database_url = database
        self.is_on_sqlite = database == "sqlite"
        self.server = DirectusServer(
            database=database, workdir=folder, env=env, extensions=[WRITES]
        )
        self._data: DirectusData = (
            SqliteData(folder) if self.is_on_sqlite else PostgresData(database)
        )
        #: The addresses of the flows, by what they do and whether they emit events.
        self.flows: dict[tuple[str, bool], str] = {}

    def start(self) -> None:
        """Start it for the first time, with its collections, triggers and flows."""
        self.server.start()
        with self.server.admin() as admin:
            for name, key_type in COLLECTIONS.items():
                admin.create_collection(name, FIELDS, key_type, sort_field="sort")
            self._data.keep_history(COLLECTIONS)
            for operation in ("create", "update", "delete"):
                for is_loud in (True, False):
                    flow = make_flow(admin, operation, is_loud)
                    self.flows[operation, is_loud] = f"/flows/trigger/{flow}"

    def last_activity(self) -> int:
        """The highest id of the activity log."""
        ((found,),) = self._data.query("SELECT coalesce(max(id), 0) FROM directus_activity")
        return int(found)

    def last_change(self) -> int:
        """The highest id of the activity log that is of our collections."""
        ((found,),) = self._data.query(
            f"SELECT coalesce(max(id), 0) FROM directus_activity WHERE {_ours()}"
        )
        return int(found)

    def is_quiet(self) -> bool:
        """Whether no transaction is under way in its database."""
        return self._data.is_quiet()

    def activity_ids(self, after: int) -> set[int]:
        """The ids of the rows of the log that are visible now, after an id."""
        rows = self._data.query(f"SELECT id FROM directus_activity WHERE id > {after:d}")
        return {int(row[0]) for row in rows}

    def activity(self, after: int = 0) -> list[Logged]:
        """What the log has of our collections."""
        rows = self._data.query(
            "SELECT id, action, collection, item FROM directus_activity"
            f" WHERE {_ours()} AND id > {after:d}"
            " AND action IN ('create', 'update', 'delete') ORDER BY id"
        )
        return [
            Logged(number, action, collection, canonical(collection, item))
            for number, action, collection, item in rows
        ]

    def history(self) -> list[Version]:
        """Every state that every row had."""
        rows = self._data.query(
            "SELECT id, collection, key, action, version, coalesce(status, ''),"
            " coalesce(title, '') FROM chaos_history ORDER BY id"
        )
        return [Version(*row) for row in rows]

    def rows(self) -> dict[tuple[str, str], tuple[int, str, str]]:
        """Version, status and title of each row as it is now, by collection and key."""
        found = {}
        for name in COLLECTIONS:
            query = (
                "SELECT CAST(id AS text), version, coalesce(status, ''), coalesce(title, '')"
                f" FROM {name}"
            )
            for key, *state in self._data.query(query):
                found[name, key] = tuple(state)
        return found

    def files(self) -> dict[str, tuple[str, int]]:
        """Title and size of each file, by key."""
        rows = self._data.query(
            "SELECT CAST(id AS text), coalesce(title, ''), coalesce(filesize, 0)"
            " FROM directus_files"
        )
        return {key: (title, int(size)) for key, title, size in rows}


def _ours() -> str:
    names = ", ".join(f"'{name}'" for name in [*COLLECTIONS, FILES])
    return f"collection IN ({names})"


def make_flow(admin: DirectusAdmin, operation: str, is_loud: bool) -> str:
    """A flow that a POST triggers and that creates, updates or deletes what its body says.

    Args:
        admin: Of the server.
        operation: ``create``, ``update`` or ``delete``.
        is_loud: Whether its operation emits events.

    Returns:
        The id of the flow.
    """
    flow = admin.request(
        "POST",
        "/flows",
        {
            "name": f"{operation} {is_loud}",
            "trigger": "webhook",
            "status": "active",
            "accountability": "all",
            "options": {"method": "POST", "return": "$last", "async": False},
        },
    )["id"]
    options: dict[str, Any] = {
        "collection": "{{$trigger.body.collection}}",
        "permissions": "$full",
        "emitEvents": is_loud,
    }
    if operation != "create":
        options["key"] = "{{$trigger.body.keys}}"
    if operation != "delete":
        options["payload"] = "{{$trigger.body.payload}}"
    made = admin.request(
        "POST",
        "/operations",
        {
            "flow": flow,
            "key": "write",
            "name": "write",
            "type": f"item-{operation}",
            "position_x": 1,
            "position_y": 1,
            "options": options,
        },
    )["id"]
    admin.request("PATCH", f"/flows/{flow}", {"operation": made})
    return str(flow)
