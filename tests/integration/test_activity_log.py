"""The activity log as the client reads it, on a server that answers few rows at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from directus_realtime.client import DirectusClient
from directus_realtime.testing import FakeCollection, FakeDirectus
from tests.integration.conftest import MakeClient

TOKEN = "token-of-the-log"


@pytest.fixture
async def fake() -> AsyncIterator[FakeDirectus]:
    collections = [FakeCollection("articles", key_type="string", fields={"title": "string"})]
    async with FakeDirectus(collections, TOKEN, query_limit_max=3) as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeDirectus, make_client: MakeClient) -> DirectusClient:
    client = make_client(fake.url, token=TOKEN)
    await client.connect()
    return client


async def make_and_delete(fake: FakeDirectus, *keys: str) -> None:
    items: list[dict[str, Any]] = [{"id": key, "title": key} for key in keys]
    await fake.create("articles", items)
    await fake.delete("articles", list(keys))


async def test_deletes_are_found_of_more_items_than_one_answer_has(
    fake: FakeDirectus, client: DirectusClient
) -> None:
    keys = [f"key-{number}" for number in range(10)]
    await make_and_delete(fake, *keys)
    assert client.activity.page_size == 3
    assert await client.activity.deleted("articles", [*keys, "kept"]) == set(keys)


async def test_an_item_that_was_deleted_many_times_hides_no_other(
    fake: FakeDirectus, client: DirectusClient
) -> None:
    for _ in range(7):
        await make_and_delete(fake, "again")
    await make_and_delete(fake, "once")
    assert await client.activity.deleted("articles", ["again", "once"]) == {"again", "once"}
    assert await client.activity.deleted("notes", ["again", "once"]) == set()
