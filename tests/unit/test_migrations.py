"""What migrations make of rows that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from directus_realtime.listener.inbox_entry import Memory
from directus_realtime.listener.matched_items import digest

pytestmark = pytest.mark.django_db(transaction=True)

#: Makes the tables as a migration left them, and gives a model by its name.
Migrate = Callable[[str], Callable[[str], Any]]
APP = "directus_realtime"
UUID = "1f0e52c1-7a3b-4c5d-8e9f-0a1b2c3d4e5f"
KEYS = {"numbers": ["1", "22"], "uuids": [UUID], "texts": ["abC", "Müller", "7"]}


@pytest.fixture
def migrate() -> Iterator[Migrate]:
    def to(name: str) -> Callable[[str], Any]:
        executor = MigrationExecutor(connection)
        executor.migrate([(APP, name)])
        apps = MigrationExecutor(connection).loader.project_state([(APP, name)]).apps
        return lambda model: apps.get_model(APP, model)

    yield to
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes(APP)
    MigrationExecutor(connection).migrate(newest)


def remember(model: Callable[[str], Any]) -> None:
    for name, keys in KEYS.items():
        row = model("DirectusSubscription").objects.create(
            name=name, collection=name, matched_of="f" * 64
        )
        for key in keys:
            model("MatchedItem").objects.create(subscription=row, key=key)


def test_matched_items_are_carried_over_and_those_with_texts_are_read_again(
    migrate: Migrate,
) -> None:
    remember(migrate("0005_complete_until"))
    model = migrate("0006_digests_of_matched_items")
    for name, keys in KEYS.items():
        row = model("DirectusSubscription").objects.get(name=name)
        kept = model("MatchedItem").objects.filter(subscription=row)
        assert {each.digest for each in kept} == {digest(key) for key in keys}
        memory = Memory(row.pk, "f" * 64)
        assert row.matched_of == (memory.incomplete if name == "texts" else memory.matched_of)


def test_matched_items_without_keys_are_read_again(migrate: Migrate) -> None:
    row = migrate("0007_follow_the_log")("DirectusSubscription").objects.create(
        name="known", collection="articles", matched_of="f" * 64
    )
    found = migrate("0008_remedies")("DirectusSubscription").objects.get(pk=row.pk)
    assert found.matched_of == Memory(row.pk, "f" * 64).incomplete


def test_back_again_the_items_are_to_be_read_anew(migrate: Migrate) -> None:
    remember(migrate("0005_complete_until"))
    migrate("0006_digests_of_matched_items")
    model = migrate("0005_complete_until")
    assert not model("MatchedItem").objects.exists()
    assert not model("DirectusSubscription").objects.exclude(matched_of="").exists()
