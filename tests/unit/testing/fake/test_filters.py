from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.testing.fake import filters
from directus_realtime.testing.fake.fake_collection import FakeCollection, Schema
from directus_realtime.testing.fake.refusals import ApiError
from directus_realtime.testing.fake.store import Store

AUTHORS = FakeCollection("authors", fields={"name": "string"}, items=[{"name": "Annie"}])
BOOKS = FakeCollection(
    "books",
    fields={
        "title": "string",
        "body": "text",
        "good": "boolean",
        "on": "timestamp",
        "author": ("m2o", "authors"),
    },
    items=[
        {"title": "seed0", "good": True, "on": "2026-01-01T00:00:00.000Z", "author": 1},
        {"title": "seed1", "good": False, "on": "2026-02-01T00:00:00.000Z"},
        {"title": "", "body": "x"},
    ],
)


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(Schema([AUTHORS, BOOKS]), lambda changes: None)


# What the real 11.17.4 on SQLite answers to the same.
@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ({}, [1, 2, 3]),
        ({"id": 2}, [2]),
        ({"id": {"_eq": "2"}}, [2]),
        ({"title": {"_neq": "seed0"}}, [2, 3]),
        ({"body": {"_neq": "y"}}, [3]),
        ({"id": {"_lt": 2}}, [1]),
        ({"id": {"_lte": 2}}, [1, 2]),
        ({"id": {"_gt": 2}}, [3]),
        ({"id": {"_gte": 2}}, [2, 3]),
        ({"id": {"_gt": 1, "_lt": 3}}, [2]),
        ({"id": {"_in": [1, 3]}}, [1, 3]),
        ({"id": {"_in": "1,3"}}, [1, 3]),
        ({"id": {"_nin": [1]}}, [2, 3]),
        ({"body": {"_nin": ["y"]}}, [3]),
        ({"body": {"_null": True}}, [1, 2]),
        ({"body": {"_null": False}}, [3]),
        ({"body": {"_nnull": "true"}}, [3]),
        ({"title": {"_empty": True}}, [3]),
        ({"body": {"_empty": True}}, [1, 2]),
        ({"title": {"_nempty": True}}, [1, 2]),
        ({"title": {"_contains": "EED1"}}, [2]),
        ({"title": {"_icontains": "EED1"}}, [2]),
        ({"title": {"_ncontains": "eed1"}}, [1, 3]),
        ({"body": {"_ncontains": "y"}}, [3]),
        ({"title": {"_starts_with": "seed"}}, [1, 2]),
        ({"title": {"_nstarts_with": "seed0"}}, [2, 3]),
        ({"title": {"_ends_with": "1"}}, [2]),
        ({"id": {"_between": [1, 2]}}, [1, 2]),
        ({"id": {"_nbetween": [1, 2]}}, [3]),
        ({"title": {"_eq": None}}, []),
        ({"good": {"_eq": True}}, [1]),
        ({"on": {"_gt": "2026-01-15T00:00:00.000Z"}}, [2]),
        ({"_or": [{"id": {"_eq": 1}}, {"title": {"_eq": "seed1"}}]}, [1, 2]),
        ({"_and": [{"id": {"_gt": 1}}, {"title": {"_neq": ""}}]}, [2]),
        ({"_or": []}, [1, 2, 3]),
        ({"_and": []}, [1, 2, 3]),
        ({"author": {"_eq": 1}}, [1]),
        ({"author": {"_null": True}}, [2, 3]),
        ({"author": {"name": {"_eq": "Annie"}}}, [1]),
        ({"author": {"name": "Annie"}}, [1]),
        ({"author": {"id": {"_null": True}}}, [2, 3]),
    ],
)
def test_matches(store: Store, condition: dict[str, Any], keys: list[int]) -> None:
    filters.check(store, BOOKS, condition)
    rows = store.rows("books")
    assert [row["id"] for row in rows if filters.matches(store, BOOKS, condition, row)] == keys


@pytest.mark.parametrize(
    ("condition", "code", "message"),
    [
        ({"nothing": {"_eq": 1}}, "FORBIDDEN", 'field "nothing" in collection "books"'),
        ({"_or": [{"nothing": 1}]}, "FORBIDDEN", "Queried in root."),
        ({"author": {"nothing": 1}}, "FORBIDDEN", 'Queried in "author".'),
        ({"title": {"_lt": "x"}}, "INVALID_QUERY", '"string" field type does not contain'),
        ({"id": {"_contains": 1}}, "INVALID_QUERY", '"integer" field type does not contain'),
        ({"author": {"name": {"_x": 1}}}, "INVALID_QUERY", 'the "_x" filter operator'),
    ],
)
def test_check(store: Store, condition: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        filters.check(store, BOOKS, condition)
    assert caught.value.code == code
    assert message in caught.value.message
