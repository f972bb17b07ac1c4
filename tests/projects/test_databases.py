"""``post_migrate`` and tests beside databases that are not theirs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.projects.conftest import Open
from tests.projects.project import Project

COLUMNS = ("id", "name", "event_count")


@pytest.fixture
def own_database(open_project: Open) -> Project:
    project = open_project("own_database")
    project.manage("migrate")
    project.manage("migrate", "--database", "directus")
    return project


def test_another_app_is_migrated_first(open_project: Open) -> None:
    project = open_project("declarations")
    project.manage("migrate", "auth")
    project.manage("migrate")
    assert project.rows("DirectusSubscription", "name") == [("orders",), ("published",)]


def test_the_default_database_is_migrated_first_under_a_router(own_database: Project) -> None:
    assert own_database.rows("DirectusSubscription", "name", database="directus") == [
        ("published",)
    ]


def test_tests_leave_the_real_database_alone(own_database: Project) -> None:
    with closing(sqlite3.connect(own_database.folder / "directus.sqlite3")) as database:
        database.execute("update directus_realtime_directussubscription set event_count = 12345")
        database.commit()
    own_database.manage("test", "tests.projects.own_database.site_tests", settings="branch")
    rows = own_database.rows("DirectusSubscription", *COLUMNS, database="directus")
    assert rows == [(1, "published", 12345)]


@pytest.mark.parametrize("target", ["0007", "0006", "0003", "zero"])
def test_back_to_an_earlier_migration_and_forth(open_project: Open, target: str) -> None:
    project = open_project("declarations")
    project.manage("migrate")
    project.manage("migrate", "directus_realtime", target)
    project.manage("migrate")
    assert project.rows("DirectusSubscription", "name") == [("orders",), ("published",)]


def test_flush_shows_the_declarations_again(open_project: Open) -> None:
    project = open_project("declarations")
    project.manage("migrate")
    project.manage("flush", "--no-input")
    assert project.rows("DirectusSubscription", "name") == [("orders",), ("published",)]


def test_a_site_is_copied_by_dumpdata_and_loaddata(open_project: Open) -> None:
    source = open_project("declarations")
    source.manage("migrate", "directus_realtime", settings="fewer")
    source.manage("migrate")  # in another order than on the new site
    dump = source.folder / "dump.json"
    source.manage("dumpdata", "--natural-primary", "--natural-foreign", "-o", str(dump))
    # A row that belongs to a subscription is found by the name of that.
    rows = json.loads(dump.read_text())
    item = {"subscription": ["published"], "digest": "a" * 64}
    dump.write_text(json.dumps([*rows, {"model": "directus_realtime.matcheditem", "fields": item}]))
    copy = open_project("declarations")
    copy.manage("migrate")
    copy.manage("loaddata", str(dump))
    assert copy.rows("DirectusSubscription", "name") == [("orders",), ("published",)]
    assert copy.rows("MatchedItem", "subscription__name") == [("published",)]
