"""The method SEARCH of the fake, where a real server is of no use for the comparison."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from directus_realtime.testing import FakeDirectus
from directus_realtime.testing.fake.fake_collection import whole_number


async def search(rest: httpx.AsyncClient, path: str, **body: Any) -> Any:
    answer = await rest.request("SEARCH", path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def found_ids(rest: httpx.AsyncClient, **query: Any) -> list[int]:
    rows = await search(rest, "/activity", query={"fields": ["id"], **query})
    return [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"id": {"_gt": 4}}, [5, 6]),
        ({"id": {"_lte": 2}}, [1, 2]),
        ({"id": {"_between": [2, 4]}}, [2, 3, 4]),
        ({"id": {"_in": [1, 6, 9]}}, [1, 6]),
        ({"id": {"_eq": 3}}, [3]),
        ({"_or": [{"id": {"_between": [1, 2]}}, {"id": {"_eq": 6}}]}, [1, 2, 6]),
        ({"_and": [{"id": {"_gt": 1}}, {"action": {"_eq": "create"}}]}, [2, 6]),
        ({"collection": {"_in": ["notes"]}}, [6]),
        ({"timestamp": {"_gte": "$NOW(-1 hour)"}}, [1, 2, 3, 4, 5, 6]),
        ({"timestamp": {"_gte": "$NOW(+1 hour)"}}, []),
        ({"timestamp": {"_gte": "2000-01-01T00:00:00+02:00"}}, [1, 2, 3, 4, 5, 6]),
    ],
)
async def test_filters_of_the_log(
    rest: httpx.AsyncClient, fake: FakeDirectus, condition: dict[str, Any], expected: list[int]
) -> None:
    await fake.create("articles", [{"title": "a"}, {"title": "b"}])
    await fake.update("articles", [1, 2], {"title": "c"})
    await fake.delete("articles", [1])
    await fake.update("notes", "none", {"text": "x"})
    await fake.create("notes", {"text": "x"})
    assert await found_ids(rest, filter=condition, sort=["id"]) == expected
    assert await found_ids(rest, filter=condition, sort="-id") == expected[::-1]


async def test_filter_by_time_compares_moments(fake: FakeDirectus, rest: httpx.AsyncClient) -> None:
    await fake.create("articles", {"title": "a"})
    [row] = await search(rest, "/activity", query={"fields": "timestamp"})
    elsewhere = row["timestamp"].replace("Z", "+00:00")
    assert await found_ids(rest, filter={"timestamp": {"_between": [elsewhere, elsewhere]}}) == [1]


async def test_meta_counts_ignore_the_keys(rest: httpx.AsyncClient) -> None:
    body = {"keys": [1], "query": {"meta": "*", "fields": ["id"]}}
    answer = await rest.request("SEARCH", "/items/articles", json=body)
    expected = {"meta": {"total_count": 2, "filter_count": 2}, "data": [{"id": 1}]}
    assert answer.json() == expected


async def test_limited_user_finds_what_the_rule_lets_pass(fake: FakeDirectus) -> None:
    headers = {"Authorization": "Bearer limited"}
    async with httpx.AsyncClient(base_url=fake.url, headers=headers) as rest:
        rows = await search(rest, "/items/articles", keys=[1, 2], query={"fields": ["id"]})
        assert rows == [{"id": 2}]
        for path in ("/items/notes", "/activity", "/collections"):
            answer = await rest.request("SEARCH", path, json={"keys": ["x"]})
            assert answer.status_code == 403


@pytest.mark.parametrize("options", [{"query_limit_max": 1}])
async def test_query_limit_max(rest: httpx.AsyncClient) -> None:
    assert len(await search(rest, "/items/articles", keys=[1, 2], query={"limit": -1})) == 1
    assert len(await search(rest, "/items/articles", keys=[1, 2], query={"sort": "id"})) == 1
    assert len(await search(rest, "/items/articles", keys=[1, 2])) == 2
    answer = await rest.request("SEARCH", "/items/articles", json={"query": {"limit": 2}})
    assert answer.status_code == 400


@pytest.mark.parametrize("query", ["x", [], 1])
async def test_query_that_is_no_object(rest: httpx.AsyncClient, query: Any) -> None:
    answer = await rest.request("SEARCH", "/items/articles", json={"query": query})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *((each, 42) for each in (42, " 42 ", "042", "+42", "42.0", "4.2e1", "0x2a", "0b101010")),
        ("-1", -1),
        ("9007199254740993", 9007199254740993),
        *((each, None) for each in ("abc", "1.5", "", "1e", "0x", "1e999", "1_0", "٤", None)),
    ],
)
def test_whole_number(written: Any, number: int | None) -> None:
    assert whole_number(written) == number
