from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from directus_realtime.client.items import (
    read_by_keys,
    read_current,
    read_keys,
    read_newest,
    read_pages,
)
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.rest import RestClient
from directus_realtime.client.rest_messages import MALFORMED
from directus_realtime.events import Key
from directus_realtime.exceptions import RequestRefused
from directus_realtime.protocol.queries import Query

KEY = PrimaryKey("id", "integer")
TEXT = PrimaryKey("id", "string")
ODD = {"n": {"_eq": "odd"}}


class Items:
    """REST of a collection whose filter is true of the odd keys."""

    def __init__(self, keys: Sequence[Key], query_limit: int = -1) -> None:
        self.keys = list(keys)
        self.broken: dict[Key, RequestRefused] = {}
        self.limit = query_limit
        self.asked: list[dict[str, Any]] = []
        self.down: RequestRefused | None = None

    async def query_limit(self) -> int:
        return self.limit

    async def capped(self, size: int) -> int:
        return size if self.limit < 0 else min(size, self.limit)

    async def newest_first(self, collection: str) -> tuple[PrimaryKey, str]:
        return KEY, "-id"

    async def search(
        self,
        path: str,
        query: Mapping[str, Any],
        *,
        keys: Sequence[Key] | None = None,
        key_field: str = "id",
    ) -> list[dict[str, Any]]:
        self.asked.append({**query, "keys": keys})
        if self.down:
            raise self.down
        for key in keys or ():
            if key in self.broken:
                raise self.broken[key]
        found = [key for key in self.keys if self._matches(key, query.get("filter", {}))]
        if keys is not None:
            found = [key for key in found if key in keys]
        limit = query["limit"] if query["limit"] >= 0 else len(found)
        start = (query.get("page", 1) - 1) * limit
        return [self.row(key) for key in found[start : start + limit]]

    def row(self, key: Key) -> dict[str, Any]:
        return {"id": key}

    def _matches(self, key: Key, condition: Mapping[str, Any]) -> bool:
        if "_and" in condition:
            return all(self._matches(key, each) for each in condition["_and"])
        if after := condition.get("id", {}).get("_gt"):
            return isinstance(key, int) and key > int(after)
        return condition != ODD or bool(int(key) % 2)

    @property
    def rest(self) -> RestClient:
        return cast(RestClient, self)


def failure(status: int = 500, message: str = "Invalid time value") -> RequestRefused:
    return RequestRefused(status, "INTERNAL_SERVER_ERROR", message)


async def test_items_are_in_the_filter_or_outside_or_gone() -> None:
    items = await read_current(Items(range(4)).rest, Query("a", filter=ODD), KEY, [3, 2, 9, 1])
    assert list(items.matching) == [3, 1]
    assert list(items.others) == [2]
    assert items.matching[3] == {"id": 3}
    assert items.unreadable == {}


async def test_without_a_filter_there_is_no_outside() -> None:
    source = Items(range(4))
    items = await read_current(source.rest, Query("a"), KEY, [1, 9])
    assert (list(items.matching), items.others) == ([1], {})
    assert len(source.asked) == 1


async def test_what_is_in_the_filter_is_not_read_twice() -> None:
    source = Items(range(4))
    await read_current(source.rest, Query("a", filter=ODD, fields=("n",)), KEY, [1, 3])
    (asked,) = source.asked
    assert asked["fields"] == ["id", "n"]


async def test_the_key_is_always_asked_for() -> None:
    source = Items([1])
    await read_by_keys(source.rest, Query("a"), KEY, [1])
    assert source.asked[0]["fields"] == ["id", "*"]


async def test_keys_are_read_in_chunks_that_the_server_allows() -> None:
    source = Items(range(100), query_limit=30)
    found = await read_by_keys(source.rest, Query("a"), KEY, range(100))
    assert list(found.rows) == list(range(100))
    assert [len(asked["keys"]) for asked in source.asked] == [30, 30, 30, 10]
    assert {asked["limit"] for asked in source.asked} == {30}


async def test_a_chunk_is_no_longer_than_a_thousand_keys_and_half_a_megabyte() -> None:
    source = Items(range(2500))
    await read_by_keys(source.rest, Query("a"), KEY, range(2500))
    assert [len(asked["keys"]) for asked in source.asked] == [1000, 1000, 500]
    assert {asked["limit"] for asked in source.asked} == {-1}
    long = [f"{number}{'é' * 10_000}" for number in range(20)]
    source = Items(long)
    found = await read_by_keys(source.rest, Query("a"), TEXT, long)
    assert list(found.rows) == long
    assert len(source.asked) == 3


async def test_spellings_are_read_as_the_keys_they_mean() -> None:
    source = Items([42, 2**53 + 1])
    keys = ["042", " 42 ", 42, str(2**53 + 1)]
    found = await read_by_keys(source.rest, Query("a"), KEY, keys)
    assert list(found.rows) == [42]
    (asked,) = source.asked
    assert asked["keys"] == [42, str(2**53 + 1)]


# What one item breaks


async def test_one_unreadable_item_is_named_and_the_others_are_read() -> None:
    source = Items(range(1000))
    source.broken = {617: failure()}
    found = await read_by_keys(source.rest, Query("a"), KEY, range(1000))
    assert list(found.rows) == [number for number in range(1000) if number != 617]
    assert found.unreadable == {617: "a 617 cannot be read (Invalid time value)."}
    assert len(source.asked) < 30


async def test_a_key_that_no_item_can_have_is_not_found_and_spoils_no_answer() -> None:
    source = Items(["a", "b"])
    source.broken = {"x": failure(403, "You don't have permission to access this.")}
    found = await read_by_keys(source.rest, Query("a"), TEXT, ["a", "x", "b"])
    assert (list(found.rows), found.unreadable) == (["a", "b"], {})


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503])
async def test_an_error_of_every_read_is_raised_and_blames_no_item(status: int) -> None:
    source = Items(range(1000))
    source.down = failure(status, "No.")
    with pytest.raises(RequestRefused, match=r"^No\.$"):
        await read_by_keys(source.rest, Query("a"), KEY, range(1000))
    assert len(source.asked) <= 2


async def test_a_server_that_fails_while_a_chunk_is_halved_blames_no_item() -> None:
    class Failing(Items):
        async def search(self, path: str, query: Mapping[str, Any], **more: Any) -> Any:
            if len(self.asked) == 5:
                self.down = failure(500, "The database is gone.")
            return await super().search(path, query, **more)

    source = Failing(range(8))
    source.broken = {3: failure()}
    with pytest.raises(RequestRefused, match="The database is gone"):
        await read_by_keys(source.rest, Query("a"), KEY, range(8))


async def test_items_without_a_key_are_left_out() -> None:
    class Permissions(Items):
        async def search(self, path: str, query: Mapping[str, Any], **more: Any) -> Any:
            rows = await super().search(path, query, **more)
            return [{"collection": "x"}, {"id": None}, *rows]

    found = await read_by_keys(Permissions([1]).rest, Query("a"), KEY, [1, 2])
    assert found.rows == {1: {"id": 1}}


async def test_an_item_that_comes_twice_hides_no_other() -> None:
    """As by a filter on a to-many relation; the limit is none of the answer's length."""
    source = Items([1, 1, 3, 3, 5, 5])
    found = await read_by_keys(source.rest, Query("a", filter=ODD), KEY, [1, 3, 5])
    assert list(found.rows) == [1, 3, 5]


# Keys that the database takes for others


class WithoutCase(Items):
    """A database that compares text without its case, as MariaDB does."""

    async def search(
        self, path: str, query: Mapping[str, Any], *, keys: Sequence[Key] | None = None, **_: Any
    ) -> Any:
        lower = [str(key).lower() for key in keys or ()]
        return await super().search(path, query, keys=lower)


async def test_a_spelling_that_only_the_database_knows_leads_to_its_item() -> None:
    source = WithoutCase(["a", "b", "c"])
    found = await read_by_keys(source.rest, Query("x"), TEXT, ["a", "B", "nope", "C", "A"])
    assert list(found.rows) == ["a", "b", "c"]
    assert found.aliases == {"A": "a", "B": "b", "C": "c"}
    found = await read_by_keys(source.rest, Query("x"), TEXT, ["a", "A"])
    assert found.aliases == {"A": "a"}


async def test_a_number_that_the_server_rounds_is_not_taken_for_another_item() -> None:
    class Rounding(Items):
        def row(self, key: Key) -> dict[str, Any]:
            return {"id": 2**53}

    source = Rounding([str(2**53 + 1)])
    found = await read_by_keys(source.rest, Query("x"), KEY, [2**53 + 1])
    assert (found.rows, found.aliases) == ({}, {})
    assert "Directus gives item 9007199254740992 for it" in found.unreadable[2**53 + 1]


async def test_keys_of_an_unknown_type_are_compared_as_text() -> None:
    class Numbers(Items):
        def row(self, key: Key) -> dict[str, Any]:
            return {"id": int(key)}

    source = Numbers(["1", "2"])
    found = await read_by_keys(source.rest, Query("a"), PrimaryKey(), ["2", "1", "3", "\ud800"])
    assert list(found.rows) == [2, 1]
    assert found.aliases == {"2": 2, "1": 1}
    assert len(source.asked) == 1


async def test_an_answer_that_heeds_no_keys_is_not_believed() -> None:
    class Deaf(Items):
        async def search(self, path: str, query: Mapping[str, Any], **_: Any) -> Any:
            return await super().search(path, query)

    with pytest.raises(RequestRefused) as caught:
        await read_by_keys(Deaf(range(10)).rest, Query("a"), KEY, [99])
    assert caught.value.code == MALFORMED


async def test_a_singleton_is_read_by_its_own_key_alone() -> None:
    class Singleton(Items):
        async def search(self, path: str, query: Mapping[str, Any], **_: Any) -> Any:
            return {"id": self.keys[0], "n": 1}

    found = await read_by_keys(Singleton([1]).rest, Query("a"), KEY, [1, 2])
    assert (found.rows, found.aliases) == ({1: {"id": 1, "n": 1}}, {})


# All of them


async def all_keys(source: Items, query: Query, primary_key: PrimaryKey) -> list[Key]:
    pages = [page async for page in read_keys(source.rest, query, primary_key)]
    assert all(pages)
    return [key for page in pages for key in page]


async def test_every_number_that_matches_comes_once_and_in_order() -> None:
    source = Items(range(1, 101), query_limit=20)
    assert await all_keys(source, Query("a", filter=ODD), KEY) == list(range(1, 101, 2))
    after = {"id": {"_gt": 39}}
    assert source.asked[1]["filter"] == {"_and": [after, ODD]}
    assert len(source.asked) == 3


async def test_numbers_that_are_deleted_while_pages_are_read_move_no_other() -> None:
    source = Items(range(1, 51), query_limit=20)
    keys = []
    async for page in read_keys(source.rest, Query("a"), KEY):
        keys += page
        source.keys = [key for key in source.keys if key not in page]
    assert keys == list(range(1, 51))


async def test_a_page_of_rounded_numbers_is_not_read_for_ever() -> None:
    class Rounding(Items):
        def row(self, key: Key) -> dict[str, Any]:
            return {"id": min(int(key), 2**53)}

    source = Rounding([2**53 + 1, 2**53 + 2], query_limit=2)
    assert await all_keys(source, Query("a"), KEY) == [2**53]


async def test_text_keys_are_read_at_once() -> None:
    source = Items([f"k{number}" for number in range(50)])
    assert len(await all_keys(source, Query("a"), TEXT)) == 50
    (asked,) = source.asked
    assert asked["limit"] == -1
    assert "page" not in asked


async def test_a_text_key_that_comes_while_pages_are_read_is_found() -> None:
    source = Items([f"k{number}" for number in range(50)], query_limit=20)
    keys: list[Key] = []
    async for page in read_keys(source.rest, Query("a"), TEXT):
        keys += page
        if len(source.asked) == 3:
            source.keys.insert(0, "new")
    assert sorted(map(str, keys)) == sorted(["new", *(f"k{number}" for number in range(50))])


async def test_keys_that_come_as_text_get_the_type_of_their_column() -> None:
    """PostgreSQL has big integers, and Directus sends them as texts."""

    class BigItems(Items):
        def row(self, key: Key) -> dict[str, Any]:
            return {"id": str(key)}

    source = BigItems(range(1, 3))
    pages = [page async for page in read_pages(source.rest, Query("a"), KEY)]
    assert [key for page in pages for key, _ in page.rows] == [1, 2]
    assert await all_keys(source, Query("a"), KEY) == [1, 2]


async def test_pages_tell_how_far_they_are_and_which_items_are_unreadable() -> None:
    source = Items(range(1, 26), query_limit=10)
    source.broken = {12: failure()}
    pages = [page async for page in read_pages(source.rest, Query("a"), KEY)]
    assert [(page.done, page.total, len(page.rows)) for page in pages] == [
        (10, 25, 10),
        (20, 25, 9),
        (25, 25, 5),
    ]
    assert [list(page.unreadable) for page in pages] == [[], [12], []]


async def test_the_newest_items_and_whether_there_are_others() -> None:
    newest = await read_newest(Items([3, 2, 1]).rest, Query("a"), 2)
    assert [key for key, _ in newest.rows] == [3, 2]
    assert (newest.is_all, newest.primary_key) == (False, "id")
    assert (await read_newest(Items([3]).rest, Query("a"), 2)).is_all


async def test_the_newest_items_are_as_many_as_the_server_allows() -> None:
    newest = await read_newest(Items([3, 2, 1], query_limit=2).rest, Query("a"), 2)
    assert ([key for key, _ in newest.rows], newest.is_all) == ([3, 2], False)
    assert (await read_newest(Items([3], query_limit=2).rest, Query("a"), 2)).is_all


async def test_text_that_is_no_uuid_is_not_asked_for() -> None:
    source = Items([])
    found = await read_by_keys(source.rest, Query("a"), PrimaryKey("id", "uuid"), ["nope"])
    assert (found.rows, found.unreadable, source.asked) == ({}, {}, [])
