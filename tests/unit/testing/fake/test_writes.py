"""Changes of the fake that leave other traces than usual, and transactions."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from directus_realtime.testing import FakeDirectus
from tests.unit.testing.conftest import Client


async def log(rest: httpx.AsyncClient) -> list[tuple[int, str, str]]:
    query = {"fields": ["id", "action", "item"], "sort": ["id"]}
    answer = await rest.request("SEARCH", "/activity", json={"query": query})
    return [(row["id"], row["action"], row["item"]) for row in answer.json()["data"]]


async def events(client: Client) -> list[tuple[str, Any]]:
    """What came since the last call: the action, and titles or keys."""
    told = []
    for message in await client.until_pong():
        data = message["data"]
        named = data if message["event"] == "delete" else [row["title"] for row in data]
        told.append((message["event"], named))
    return told


@pytest.fixture
async def watching(client: Client) -> Client:
    await client.subscribe(uid="a")
    return client


async def test_unlogged_changes_are_told(
    watching: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    made = await fake.create("articles", {"title": "x"}, log=False)
    await fake.update("articles", made["id"], {"title": "y"}, log=False)
    await fake.delete("articles", [made["id"]], log=False)
    assert await events(watching) == [
        ("create", ["x"]),
        ("update", ["y"]),
        ("delete", [made["id"]]),
    ]
    assert await log(rest) == []


async def test_silent_changes_are_logged(
    watching: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    made = await fake.create("articles", {"title": "x"}, emit=False)
    await fake.update("articles", made["id"], {"title": "y"}, emit=False)
    await fake.delete("articles", made["id"], emit=False)
    assert await events(watching) == []
    assert await log(rest) == [(1, "create", "3"), (2, "update", "3"), (3, "delete", "3")]


async def test_another_spelling_of_the_key(
    watching: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    await fake.update("articles", [1, 2], {"title": "x"}, as_written=["01", "0x2"])
    await fake.delete("articles", 1, as_written="1.0")
    assert await events(watching) == [("update", ["x", "x"]), ("delete", ["1.0"])]
    assert await log(rest) == [(1, "update", "01"), (2, "update", "0x2"), (3, "delete", "1.0")]
    assert [row["id"] for row in fake.items("articles")] == [2]


async def test_spelling_that_only_the_database_understands(
    client: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    note = await fake.create("notes", {"text": "x"}, log=False)
    await client.subscribe("notes", uid="a")
    await fake.update("notes", note["id"], {"text": "y"}, as_written=note["id"].upper())
    [message] = await client.until_pong()
    assert message["data"] == [{"id": note["id"], "text": "y"}]
    assert await log(rest) == [(1, "update", note["id"].upper())]


async def test_early_update_is_told_with_the_old_row(
    watching: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    await fake.update("articles", [1], {"title": "new"}, early=True)
    assert await events(watching) == [("update", ["one"])]
    assert fake.items("articles")[0]["title"] == "new"
    assert await log(rest) == [(1, "update", "1")]


async def test_early_update_that_emits_nothing(watching: Client, fake: FakeDirectus) -> None:
    await fake.update("articles", [1], {"title": "new"}, early=True, emit=False)
    assert await events(watching) == []


async def test_transaction_is_visible_at_its_end(
    watching: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    async with fake.transaction() as transaction:
        made = await transaction.create("articles", {"title": "x"})
        await transaction.update("articles", [made["id"], 1], {"title": "y"})
        await transaction.delete("articles", [2])
        await fake.create("articles", {"title": "meanwhile"})
        assert await events(watching) == [("create", ["meanwhile"])]
        assert await log(rest) == [(5, "create", "4")]
        assert [row["id"] for row in fake.items("articles")] == [1, 2, 4]
    assert await events(watching) == [
        ("create", ["y"]),  # read after the commit, as by Directus
        ("update", ["y", "y"]),
        ("delete", [2]),
    ]
    assert [row[0] for row in await log(rest)] == [1, 2, 3, 4, 5]
    titles = {row["id"]: row["title"] for row in fake.items("articles")}
    assert titles == {1: "y", 3: "y", 4: "meanwhile"}


async def test_early_update_in_a_transaction(
    watching: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    async with fake.transaction() as transaction:
        for key in (1, 2):
            await transaction.update("articles", [key], {"title": "new"}, early=True)
        assert await events(watching) == [("update", ["one"]), ("update", ["two"])]
        assert await log(rest) == []
    assert await events(watching) == []
    assert await log(rest) == [(1, "update", "1"), (2, "update", "2")]


async def test_rollback_leaves_a_hole_in_the_log(
    watching: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    async with fake.transaction() as transaction:
        await transaction.create("articles", [{"title": "x"}, {"title": "y"}])
        await transaction.update("articles", [1], {"title": "new"}, early=True)
        transaction.rollback()
    made = await fake.create("articles", {"title": "z"})
    assert await events(watching) == [("update", ["one"]), ("create", ["z"])]
    assert made["id"] == 5
    assert await log(rest) == [(4, "create", "5")]
    assert fake.items("articles")[0]["title"] == "one"


async def test_exception_rolls_back(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    async def fail() -> None:
        async with fake.transaction() as transaction:
            await transaction.create("articles", {"id": 7, "title": "x"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await log(rest) == []
    assert (await fake.create("articles", {"id": 7}))["id"] == 7


async def test_key_of_an_open_transaction_is_taken(fake: FakeDirectus) -> None:
    async with fake.transaction() as transaction:
        await transaction.create("articles", {"id": 7})
        with pytest.raises(ValueError, match="has to be unique"):
            await fake.create("articles", {"id": 7})
