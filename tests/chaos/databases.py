"""PostgreSQL databases of a run."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import psycopg

from tests.conftest import POSTGRES_URL


@contextlib.contextmanager
def postgres_database(purpose: str) -> Iterator[str]:
    """The URL of a new database, which is removed at the end."""
    name = f"chaos_{purpose}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=5) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{POSTGRES_URL.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=5) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def terminate_connections(url: str) -> int:
    """End every connection to a database; says how many there were."""
    name = url.rpartition("/")[2]
    with psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=5) as server:
        ended = server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        ).fetchall()
    return len(ended)


@contextlib.contextmanager
def full_disk(url: str, tables: list[str]) -> Iterator[None]:
    """Let PostgreSQL itself answer each write to some tables with its error of a full disk."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as server:
        server.execute(
            "CREATE OR REPLACE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$"
            "BEGIN RAISE EXCEPTION 'could not extend file: No space left on device'"
            " USING ERRCODE = '53100'; END $$"
        )
        for table in tables:
            server.execute(
                f'CREATE TRIGGER disk_is_full BEFORE INSERT OR UPDATE ON "{table}"'
                " FOR EACH STATEMENT EXECUTE FUNCTION disk_is_full()"
            )
        try:
            yield
        finally:
            for table in tables:
                server.execute(f'DROP TRIGGER disk_is_full ON "{table}"')
