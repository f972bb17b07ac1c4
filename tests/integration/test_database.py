from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import environ
import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections, transaction

from directus_realtime.database import AsyncConnections, DatabaseThread
from tests.helpers.waiting import DEADLINE, wait_for

ALIAS = "pooled"


@pytest.fixture
def pooled(postgres_url: str, django_db_blocker: Any) -> Iterator[None]:
    """A database whose pool has one connection."""
    default = connections.databases["default"]
    pool = {"min_size": 1, "max_size": 1, "timeout": 5}
    given = {**environ.Env.db_url_config(postgres_url), "OPTIONS": {"pool": pool}}
    connections.databases[ALIAS] = {**default, **given}
    with django_db_blocker.unblock():
        yield
        connections[ALIAS].close_pool()
    del connections[ALIAS]
    del connections.databases[ALIAS]


def answer() -> Any:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT 42")
        return cursor.fetchone()[0]


@pytest.mark.postgres
async def test_a_thread_gives_its_connection_back_to_the_pool(pooled: None) -> None:
    threads = [DatabaseThread("one"), DatabaseThread("other")]
    try:
        # Whoever kept the only connection would have the other one time out.
        assert [await thread.run(answer) for thread in threads * 2] == [42] * 4
    finally:
        for thread in threads:
            await thread.aclose()


class OnPostgres:
    """A database on PostgreSQL, seen by another client."""

    def __init__(self, url: str) -> None:
        self._url = url

    def tell(self, statement: str, *values: Any) -> Any:
        with psycopg.connect(self._url, autocommit=True) as server:
            cursor = server.execute(statement, values)
            return cursor.fetchone() if cursor.description else None

    def is_connected(self, pid: int) -> bool:
        (count,) = self.tell("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid)
        return bool(count)

    def cut_off(self) -> None:
        """End all connections of others."""
        self.tell(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def on_postgres(postgres_url: str, django_db_blocker: Any) -> Iterator[OnPostgres]:
    default = connections.databases["default"]
    given = {**environ.Env.db_url_config(postgres_url), "OPTIONS": {}}
    connections.databases[ALIAS] = {**default, **given}
    server = OnPostgres(postgres_url)
    server.tell("CREATE TABLE notes (id integer)")
    with django_db_blocker.unblock():
        yield server
    connections[ALIAS].close()
    del connections[ALIAS]
    del connections.databases[ALIAS]


def execute(statement: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(statement)


def write() -> None:
    execute("INSERT INTO notes VALUES (1)")


@pytest.mark.postgres
async def test_a_server_that_takes_no_writes_is_waited_for_and_another_one_looked_for(
    on_postgres: OnPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    """A fail-over, or a disk that is full."""
    thread = DatabaseThread("one")
    try:
        # Of this connection alone; a new one leads to a server that takes writes.
        await thread.run(execute, "SET default_transaction_read_only = on")
        await asyncio.wait_for(thread.run_with_retry(write), DEADLINE)
    finally:
        await thread.aclose()
    assert "in a read-only transaction); waiting for it." in caplog.text


def write_slowly(pause: Callable[[], None]) -> None:
    with transaction.atomic(ALIAS):
        write()
        pause()
        write()


@pytest.mark.postgres
async def test_a_transaction_that_was_idle_for_too_long_is_run_again(
    on_postgres: OnPostgres,
) -> None:
    """A machine that was paused."""
    pids: list[int] = []

    def pause() -> None:
        pids.append(connections[ALIAS].connection.info.backend_pid)
        if len(pids) == 1:
            execute("SET LOCAL idle_in_transaction_session_timeout = 20")
            wait_for(lambda: not on_postgres.is_connected(pids[0]))

    thread = DatabaseThread("one")
    try:
        await asyncio.wait_for(thread.run_with_retry(write_slowly, pause), DEADLINE)
    finally:
        await thread.aclose()
    assert len(set(pids)) == 2


@pytest.mark.postgres
async def test_what_async_receivers_use_is_connected_anew(on_postgres: OnPostgres) -> None:
    """Without it, each of them would fail until the process ends."""
    care = AsyncConnections()
    assert await sync_to_async(answer)() == 42
    on_postgres.cut_off()
    with pytest.raises(OperationalError):
        await sync_to_async(answer)()
    await care.check()
    assert await sync_to_async(answer)() == 42
    await sync_to_async(lambda: connections[ALIAS].close())()
