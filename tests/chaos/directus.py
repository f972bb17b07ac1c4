"""A real Directus on PostgreSQL that keeps a history of every row in its own transactions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from directus_realtime.testing import DirectusAdmin, DirectusServer

COLLECTIONS = {"articles": "integer", "notes": "uuid"}
FIELDS = {"title": "string", "status": "string", "version": "integer"}

# A trigger gives out the versions: it runs while the row is locked, so the versions of one
# row grow in the order of the commits, whoever writes.
_HISTORY = """
CREATE SCHEMA chaos;
CREATE SEQUENCE chaos.version AS integer;
CREATE TABLE chaos.history (
    id bigserial PRIMARY KEY, collection text, key text, action text,
    version integer, status text, title text
);
CREATE FUNCTION chaos.number_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('chaos.version');
    RETURN NEW;
END $$;
CREATE FUNCTION chaos.write_history() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE item record;
BEGIN
    item := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    INSERT INTO chaos.history (collection, key, action, version, status, title) VALUES (
        TG_TABLE_NAME, item.id::text,
        CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
        item.version, item.status, item.title
    );
    RETURN NULL;
END $$;
"""
_TRIGGERS = """
CREATE TRIGGER chaos_number BEFORE INSERT OR UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION chaos.number_row();
CREATE TRIGGER chaos_history AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION chaos.write_history();
"""


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
        database_url: An empty PostgreSQL database.
        folder: For the server's files.
    """

    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.server = DirectusServer(database=database_url, workdir=folder)
        #: The addresses of the flows, by what they do and whether they emit events.
        self.flows: dict[tuple[str, bool], str] = {}

    def start(self) -> None:
        """Start it for the first time, with its collections, triggers and flows."""
        self.server.start()
        with self.server.admin() as admin:
            for name, key_type in COLLECTIONS.items():
                admin.create_collection(name, FIELDS, key_type)
            self._execute(_HISTORY)
            for name in COLLECTIONS:
                self._execute(_TRIGGERS.format(table=name))
            for operation in ("create", "update", "delete"):
                for is_loud in (True, False):
                    flow = make_flow(admin, operation, is_loud)
                    self.flows[operation, is_loud] = f"/flows/trigger/{flow}"

    def last_activity(self) -> int:
        """The highest id of the activity log."""
        (found,) = self._query("SELECT coalesce(max(id), 0) FROM directus_activity")
        return int(found[0])

    def last_change(self) -> int:
        """The highest id of the activity log that is of our collections."""
        (found,) = self._query(
            "SELECT coalesce(max(id), 0) FROM directus_activity WHERE collection = ANY(%s)",
            [list(COLLECTIONS)],
        )
        return int(found[0])

    def is_quiet(self) -> bool:
        """Whether no transaction is under way in its database."""
        (found,) = self._query(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        return not found[0]

    def activity(self, after: int = 0) -> list[Logged]:
        """What the log has of our collections."""
        rows = self._query(
            "SELECT id, action, collection, item FROM directus_activity"
            " WHERE collection = ANY(%s) AND id > %s"
            " AND action IN ('create', 'update', 'delete') ORDER BY id",
            [list(COLLECTIONS), after],
        )
        return [Logged(*row) for row in rows]

    def history(self) -> list[Version]:
        """Every state that every row had."""
        rows = self._query(
            "SELECT id, collection, key, action, version, coalesce(status, ''),"
            " coalesce(title, '') FROM chaos.history ORDER BY id"
        )
        return [Version(*row) for row in rows]

    def rows(self) -> dict[tuple[str, str], tuple[int, str, str]]:
        """Version, status and title of each row as it is now, by collection and key."""
        found = {}
        for name in COLLECTIONS:
            query = f"SELECT id::text, version, coalesce(status, ''), title FROM {name}"
            for key, *state in self._query(query):
                found[name, key] = tuple(state)
        return found

    def _execute(self, statements: str) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as database:
            database.execute(statements)

    def _query(self, query: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as database:
            return database.execute(query, params).fetchall()


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
