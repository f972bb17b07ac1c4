"""The database of Directus, with triggers that keep a history of every row."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from example_project.real_directus.server_database import DATABASE_FILE

# A trigger assigns the versions. It runs while the row is locked, so the versions of one row
# grow in the order of the commits. Changes of the order (/utils/sort) set another column and
# make no version: Directus neither logs nor sends those of the neighbours.
_POSTGRES = """
CREATE SEQUENCE chaos_version AS integer;
CREATE TABLE chaos_history (
    id bigserial PRIMARY KEY, collection text, key text, action text,
    version integer, status text, title text
);
CREATE FUNCTION chaos_number_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('chaos_version');
    RETURN NEW;
END $$;
CREATE FUNCTION chaos_write_history() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE item record;
BEGIN
    item := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    INSERT INTO chaos_history (collection, key, action, version, status, title) VALUES (
        TG_TABLE_NAME, item.id::text,
        CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
        item.version, item.status, item.title
    );
    RETURN NULL;
END $$;
"""
_POSTGRES_TRIGGERS = """
CREATE TRIGGER chaos_number BEFORE INSERT OR UPDATE OF title, status ON {table}
    FOR EACH ROW EXECUTE FUNCTION chaos_number_row();
CREATE TRIGGER chaos_history AFTER INSERT OR UPDATE OF title, status OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION chaos_write_history();
"""
_SQLITE = """
CREATE TABLE chaos_version (number integer);
INSERT INTO chaos_version VALUES (0);
CREATE TABLE chaos_history (
    id integer PRIMARY KEY, collection text, key text, action text,
    version integer, status text, title text
);
"""
_SQLITE_TRIGGERS = """
CREATE TRIGGER chaos_{table}_created AFTER INSERT ON {table} BEGIN
    UPDATE chaos_version SET number = number + 1;
    UPDATE {table} SET version = (SELECT number FROM chaos_version) WHERE id = NEW.id;
    INSERT INTO chaos_history (collection, key, action, version, status, title) SELECT
        '{table}', NEW.id, 'create', number, NEW.status, NEW.title FROM chaos_version;
END;
CREATE TRIGGER chaos_{table}_updated AFTER UPDATE OF title, status ON {table} BEGIN
    UPDATE chaos_version SET number = number + 1;
    UPDATE {table} SET version = (SELECT number FROM chaos_version) WHERE id = NEW.id;
    INSERT INTO chaos_history (collection, key, action, version, status, title) SELECT
        '{table}', NEW.id, 'update', number, NEW.status, NEW.title FROM chaos_version;
END;
CREATE TRIGGER chaos_{table}_deleted AFTER DELETE ON {table} BEGIN
    INSERT INTO chaos_history (collection, key, action, version, status, title) VALUES
        ('{table}', OLD.id, 'delete', OLD.version, OLD.status, OLD.title);
END;
"""


class DirectusData(ABC):
    """Direct access to the database of a Directus server."""

    @abstractmethod
    def keep_history(self, tables: Iterable[str]) -> None:
        """Install the triggers on tables that have ``title``, ``status`` and ``version``."""

    @abstractmethod
    def query(self, query: str) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a query that takes no parameters."""

    @abstractmethod
    def is_quiet(self) -> bool:
        """Say whether no transaction is under way."""


class PostgresData(DirectusData):
    """A PostgreSQL database.

    Args:
        url: Its URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def keep_history(self, tables: Iterable[str]) -> None:
        """Install the triggers."""
        with psycopg.connect(self._url, autocommit=True) as database:
            database.execute(_POSTGRES)
            for table in tables:
                database.execute(_POSTGRES_TRIGGERS.format(table=table))

    def query(self, query: str) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self._url, autocommit=True) as database:
            return database.execute(query).fetchall()

    def is_quiet(self) -> bool:
        """Say whether no transaction is under way."""
        ((busy,),) = self.query(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        return not busy


class SqliteData(DirectusData):
    """The SQLite file in the folder of a server.

    Args:
        folder: The server's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / DATABASE_FILE

    def keep_history(self, tables: Iterable[str]) -> None:
        """Install the triggers."""
        database = sqlite3.connect(self._file, timeout=20)
        database.executescript(_SQLITE)
        for table in tables:
            database.executescript(_SQLITE_TRIGGERS.format(table=table))
        database.close()

    def query(self, query: str) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a query."""
        database = sqlite3.connect(self._file, timeout=20)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def is_quiet(self) -> bool:
        """Say whether no transaction is under way: none outlives its request on SQLite."""
        return True
