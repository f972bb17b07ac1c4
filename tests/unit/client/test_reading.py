from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from directus_realtime.client.reading import read_by_keys, read_current, read_keys, read_pages
from directus_realtime.client.rest import PrimaryKey, RestClient, ServerInfo
from directus_realtime.protocol.queries import Query

KEY = PrimaryKey("id", True)
ODD = {"n": {"_eq": "odd"}}


class Rows:
    """REST of a collection of numbers whose filter is true of the odd ones."""

    def __init__(self, count: int, query_limit: int = -1) -> None:
        self.info = ServerInfo("11.17.4", query_limit=query_limit)
        self.numbers = list(range(count))
        self.asked: list[dict[str, Any]] = []

    async def get(self, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.asked.append(dict(parameters))
        condition = parameters.get("filter", {})
        by_key, *own = condition.get("_and", [{}, condition] if condition else [{}])
        wanted = by_key.get("id", {}).get("_in", self.numbers)
        found = [n for n in self.numbers if n in wanted and (n % 2 or not own)]
        start = (parameters.get("page", 1) - 1) * parameters["limit"]
        return [{"id": n} for n in reversed(found[start : start + parameters["limit"]])]

    @property
    def rest(self) -> RestClient:
        return cast(RestClient, self)


async def test_items_are_in_the_filter_or_outside_or_gone() -> None:
    items = await read_current(Rows(4).rest, Query("a", filter=ODD), KEY, [3, 2, 9, 1])
    assert list(items.matching) == [3, 1]
    assert list(items.others) == [2]
    assert items.matching[3] == {"id": 3}


async def test_without_a_filter_there_is_no_outside() -> None:
    rows = Rows(4)
    items = await read_current(rows.rest, Query("a"), KEY, [1, 9])
    assert (list(items.matching), items.others) == ([1], {})
    assert len(rows.asked) == 1


async def test_what_is_in_the_filter_is_not_read_twice() -> None:
    rows = Rows(4)
    await read_current(rows.rest, Query("a", filter=ODD, fields=("n",)), KEY, [1, 3])
    (asked,) = rows.asked
    assert asked["fields"] == ["id", "n"]


async def test_keys_are_read_in_runs_that_the_server_allows() -> None:
    rows = Rows(100, query_limit=30)
    found = await read_by_keys(rows.rest, Query("a"), KEY, range(100))
    assert list(found) == list(range(100))
    assert [asked["limit"] for asked in rows.asked] == [30, 30, 30, 10]


async def test_every_key_that_matches_comes_once() -> None:
    rows = Rows(100, query_limit=20)
    pages = [page async for page in read_keys(rows.rest, Query("a", filter=ODD), KEY)]
    keys = [key for page in pages for key in page]
    assert sorted(keys) == list(range(1, 100, 2))
    assert all(pages)


async def test_a_key_that_comes_while_pages_are_read_is_found() -> None:
    rows = Rows(50, query_limit=20)
    keys = []
    async for page in read_keys(rows.rest, Query("a"), KEY):
        keys += page
        if len(rows.asked) == 3:
            rows.numbers.insert(0, 99)
    assert sorted(keys) == [*range(50), 99]


async def test_keys_that_come_as_text_get_the_type_of_their_column() -> None:
    """PostgreSQL has big integers, and Directus sends them as texts."""

    class BigRows(Rows):
        async def get(self, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
            return [{"id": str(row["id"])} for row in await super().get(path, parameters)]

    rest = BigRows(2).rest
    pages = [page async for page in read_pages(rest, Query("a"), KEY)]
    assert [key for page in pages for key, _ in page.rows] == [1, 0]
    assert [keys async for keys in read_keys(rest, Query("a"), KEY)] == [[1, 0]]


async def test_a_key_that_is_no_text_of_unicode_holds_nobody_up() -> None:
    found = await read_by_keys(Rows(3).rest, Query("a"), PrimaryKey("id"), ["\ud800", 1])
    assert found == {1: {"id": 1}}
