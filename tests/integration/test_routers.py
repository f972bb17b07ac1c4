"""The tables of this app in a database of their own, with a replica that has nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections

from directus_realtime.database import check_tables
from directus_realtime.models import InboxEvent
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.listening import (
    Received,
    connection,
    create,
    listening,
    subscribe,
    until_subscribed,
)

OWN, REPLICA = "own", "replica"


class Router:
    """As Django's documentation has it for a primary and its replicas."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return REPLICA if model._meta.app_label == "directus_realtime" else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return OWN if model._meta.app_label == "directus_realtime" else None


@pytest.fixture
def databases(
    django_db_setup: None, django_db_blocker: Any, tmp_path: Path, settings: Any
) -> Iterator[None]:
    """Both are empty files; whoever reads the replica finds no table."""
    default = connections.databases["default"]
    for alias in (OWN, REPLICA):
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / f"{alias}.sqlite3"}
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        connections.databases[alias] = {**default, **database, "OPTIONS": options}
    settings.DATABASE_ROUTERS = [Router()]
    with django_db_blocker.unblock():
        yield
    for alias in (OWN, REPLICA):
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


@pytest.fixture
def migrated(databases: None) -> None:
    call_command("migrate", "directus_realtime", database=OWN, verbosity=0)


async def test_the_listener_works_in_the_database_that_is_written_to(
    migrated: None, fake: FakeDirectus, received: Received
) -> None:
    await subscribe(filter={"title": {"_neq": "x"}})
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
    assert await InboxEvent.objects.using(OWN).acount() == 1
    assert await InboxEvent.objects.using("default").acount() == 0
    await sync_to_async(connections.close_all)()


def test_tables_are_looked_for_where_they_are(databases: None) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"python manage\.py migrate"):
        check_tables()
    call_command("migrate", "directus_realtime", database=OWN, verbosity=0)
    check_tables()
