"""What tests do to the log and the collections of the fake."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from directus_realtime.testing import FakeCollection, FakeDirectus
from tests.unit.testing.conftest import Client

HOUR = dt.timedelta(hours=1)


async def log(rest: httpx.AsyncClient, *fields: str) -> list[Any]:
    query = {"fields": list(fields), "sort": ["id"]}
    answer = await rest.request("SEARCH", "/activity", json={"query": query})
    rows = answer.json()["data"]
    return [row[fields[0]] if len(fields) == 1 else tuple(row.values()) for row in rows]


async def test_rows_of_other_kinds(
    client: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    await client.subscribe("directus_activity", uid="a", query={"fields": ["action"]})
    assert await fake.write_log("login", "directus_users", "someone") == 1
    assert await fake.write_log("version_save", "articles", 1) == 2
    rows = await log(rest, "action", "collection", "item")
    assert rows == [("login", "directus_users", "someone"), ("version_save", "articles", "1")]
    told = [message["data"] for message in await client.until_pong()]
    assert told == [[{"action": "login"}], [{"action": "version_save"}]]


async def test_prune_log(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    for number in range(4):
        await fake.create("articles", {"title": str(number)})
        await fake.write_log("run", "directus_flows")
    fake.prune_log(4, actions=["run"])
    assert await log(rest, "id") == [1, 3, 5, 6, 7, 8]
    fake.prune_log(6)
    assert await log(rest, "id") == [7, 8]
    assert await fake.write_log("login", "directus_users") == 9


async def test_replace_log(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    await fake.create("articles", [{"title": str(number)} for number in range(4)])
    before = await log(rest, "id", "timestamp")
    fake.replace_log(2)
    assert await log(rest, "id", "timestamp") == before[:2]
    await fake.create("articles", [{"title": "again"}, {"title": "again"}])
    after = await log(rest, "id", "timestamp")
    assert [row[0] for row in after] == [1, 2, 3, 4]
    assert all(new[1] > old[1] for new, old in zip(after[2:], before[2:], strict=True))
    fake.replace_log()
    assert await log(rest, "id") == []
    assert await fake.write_log("login", "directus_users") == 1


async def test_log_that_is_there_from_the_start() -> None:
    row = {"id": 40, "action": "login", "collection": "directus_users", "item": "x"}
    async with (
        FakeDirectus(system_items={"directus_activity": [row]}) as fake,
        httpx.AsyncClient(
            base_url=fake.url, headers={"Authorization": f"Bearer {fake.token}"}
        ) as rest,
    ):
        await fake.create("articles", {"title": "x"})
        assert await log(rest, "id", "action") == [(40, "login"), (41, "create")]


async def test_shift_clock(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    await fake.create("articles", {"title": "x"})
    fake.shift_clock(3600)
    await fake.create("articles", {"title": "y"})
    first, second = map(dt.datetime.fromisoformat, await log(rest, "timestamp"))
    assert second - first >= HOUR
    recent = {"filter": {"timestamp": {"_gte": "$NOW(-30 minutes)"}}, "fields": ["id"]}
    answer = await rest.request("SEARCH", "/activity", json={"query": recent})
    assert answer.json()["data"] == [{"id": 2}]
    assert parsedate_to_datetime(answer.headers["Date"]) - first > HOUR / 2
    assert fake.items("articles")[-1]["date_updated"] is None


async def test_new_collection(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    labels = FakeCollection("labels", fields={"title": "string"}, items=[{"title": "there"}])
    await fake.create_collection(labels)
    await fake.create("labels", {"title": "x"})
    rows = await log(rest, "action", "collection")
    assert rows == [
        ("create", "directus_fields"),
        ("create", "directus_collections"),
        ("create", "labels"),
    ]
    assert (await rest.get("/items/labels")).json()["data"][1] == {"id": 2, "title": "x"}


async def test_deleted_collection_takes_its_rows_along(
    client: Client, fake: FakeDirectus, rest: httpx.AsyncClient
) -> None:
    await client.subscribe(uid="a")
    await fake.create("articles", {"title": "x"})
    await fake.create("notes", {"text": "x"})
    await client.until_pong()
    await fake.delete_collection("articles")
    assert await log(rest, "id", "action", "collection") == [
        (2, "create", "notes"),
        (3, "delete", "directus_collections"),
    ]
    assert await client.until_pong() == []
    assert (await rest.get("/items/articles")).status_code == 403
    await fake.create_collection(FakeCollection("articles", fields={"title": "string"}))
    await fake.create("articles", {"title": "again"})
    [message] = await client.until_pong()
    assert message["data"] == [{"id": 1, "title": "again"}]


async def test_changed_key(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    await fake.change_collection("articles", primary_key="number", key_type="string")
    answer = await rest.request("SEARCH", "/items/articles", json={"keys": ["2"]})
    assert [row["number"] for row in answer.json()["data"]] == ["2"]
    assert await log(rest, "action") == []
    fields = (await rest.get("/fields/articles")).json()["data"]
    assert [each["field"] for each in fields if each["schema"]["is_primary_key"]] == ["number"]


async def test_changed_fields(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    await fake.change_collection("notes", fields={"title": "string", "more": "string"})
    assert await log(rest, "action", "collection") == [
        ("create", "directus_fields"),
        ("create", "directus_fields"),
        ("delete", "directus_fields"),
    ]
    assert await fake.create("notes", {"title": "x", "text": "gone"}) == {
        "id": fake.items("notes")[0]["id"],
        "title": "x",
        "more": None,
    }


@pytest.mark.parametrize("accountability", [None, "activity"])
async def test_changed_accountability(
    fake: FakeDirectus, rest: httpx.AsyncClient, accountability: str | None
) -> None:
    await fake.change_collection("articles", accountability=accountability)
    await fake.create("articles", {"title": "x"})
    expected = [("update", "directus_collections")]
    if accountability:
        expected.append(("create", "articles"))
    assert await log(rest, "action", "collection") == expected
    [found] = (await rest.request("SEARCH", "/collections", json={"keys": ["articles"]})).json()[
        "data"
    ]
    assert found["meta"]["accountability"] == accountability
