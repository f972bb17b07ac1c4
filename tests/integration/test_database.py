from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import environ
import pytest
from django.db import connections

from directus_realtime.database import DatabaseThread

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
