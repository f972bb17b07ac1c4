"""What subscriptions need to read; a real Directus is asked in tests/e2e."""

from __future__ import annotations

from typing import Any, cast

import pytest

from directus_realtime.client.schema import Right, Rights
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.permissions import (
    SYSTEM_NEEDS,
    Need,
    Permissions,
    explain_permissions,
    filter_paths,
)
from directus_realtime.protocol.queries import Query

RELATIONS = {
    ("books", "writer"): ("writers",),
    ("writers", "books"): ("books",),
    ("books", "parts"): ("book_parts",),
    ("book_parts", "item"): ("headings", "pictures"),
}
ALL = {name: Right("full", frozenset({"*"})) for name in (*SYSTEM_NEEDS, "books", "writers")}


class StubRights:
    """Says what it was told to say."""

    def __init__(self, had: Any = ALL, relations: Any = RELATIONS, keys: Any = None) -> None:
        self._had = had
        self._relations = relations
        self._keys = keys or {}
        self.asked_for_relations = 0

    async def of_collections(self) -> Any:
        return self._had

    async def is_admin(self) -> bool:
        return False

    async def relations(self) -> Any:
        self.asked_for_relations += 1
        return self._relations

    async def foreign_keys(self, collection: str) -> Any:
        return self._keys.get(collection, {})

    async def primary_key(self, collection: str) -> str:
        return "code" if collection == "books" else "id"


async def explain(stub: StubRights, *queries: Query) -> Permissions:
    desired = [DesiredSubscription(str(n), f"s{n}", query, "") for n, query in enumerate(queries)]
    return await explain_permissions(cast("Rights", stub), desired)


def fields_of(found: Permissions) -> dict[str, list[str]]:
    return {n.collection: n.fields for n in found.needs if n.collection not in SYSTEM_NEEDS}


def need(found: Permissions, collection: str) -> Need:
    return next(each for each in found.needs if each.collection == collection)


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ((), {"books": ["code", "*"]}),
        (("title", "title"), {"books": ["code", "title"]}),
        (("year(published)",), {"books": ["code", "published"]}),
        (("count(parts)",), {"books": ["code", "parts"]}),
        (("writer.name",), {"books": ["code", "writer"], "writers": ["name"]}),
        (("writer.books.title",), {"books": ["code", "writer", "title"], "writers": ["books"]}),
        (
            ("parts.item:headings.text",),
            {"books": ["code", "parts"], "book_parts": ["item"], "headings": ["text"]},
        ),
        (
            ("parts.item.text",),
            {
                "books": ["code", "parts"],
                "book_parts": ["item"],
                "headings": ["text"],
                "pictures": ["text"],
            },
        ),
        (("*.*",), {"books": ["code", "*"], "writers": ["*"], "book_parts": ["*"]}),
    ],
)
async def test_fields_lead_to_collections(
    fields: tuple[str, ...], needed: dict[str, list[str]]
) -> None:
    found = await explain(StubRights(), Query("books", fields=fields))
    assert fields_of(found) == needed
    assert found.unknown == []


async def test_the_filter_is_read_too() -> None:
    condition = {"_or": [{"status": {"_eq": "x"}}, {"writer": {"name": {"_null": True}}}]}
    found = await explain(StubRights(), Query("books", fields=("title",), filter=condition))
    assert fields_of(found) == {"books": ["code", "title", "status", "writer"], "writers": ["name"]}


@pytest.mark.parametrize(
    ("condition", "paths"),
    [
        ({}, []),
        ({"_and": [{"_or": [{"a": {"_eq": 1}}]}, {"b": {"_gt": 1, "_lt": 3}}]}, ["a", "b", "b"]),
        ({"tags": {"_some": {"tag": {"name": {"_in": ["x"]}}}}}, ["tags.tag.name"]),
        ({"a": {"_or": [{"b": {"_eq": 1}}, {"_none": {"c": {"_eq": 1}}}]}}, ["a.b", "a.c"]),
    ],
)
def test_paths_of_a_filter(condition: dict[str, Any], paths: list[str]) -> None:
    assert list(filter_paths(condition)) == paths


async def test_a_subscription_to_deletes_reads_keys_alone() -> None:
    found = await explain(StubRights(), Query("books", ("delete",), fields=("writer.name",)))
    assert fields_of(found) == {"books": ["code"]}


async def test_what_the_listener_reads_is_needed_without_any_subscription() -> None:
    found = await explain(StubRights({}))
    assert [(each.collection, each.missing) for each in found.needs] == [
        (name, ["*"]) for name in sorted(SYSTEM_NEEDS)
    ]
    assert not found.is_enough


async def test_relations_are_asked_for_once_and_foreign_keys_help_out() -> None:
    stub = StubRights(relations=None, keys={"books": {"writer": "writers"}})
    found = await explain(stub, Query("books", fields=("writer.name", "parts.title")))
    assert fields_of(found) == {"books": ["code", "writer", "parts"], "writers": ["name"]}
    assert stub.asked_for_relations == 1
    assert [sentence[:71] for sentence in found.unknown] == [
        "The collections that the field parts of books leads to may not be seen "
    ]


async def test_all_fields_of_relations_that_may_not_be_seen() -> None:
    found = await explain(StubRights(relations=None), Query("books", fields=("*.*",)))
    assert "The collections that “*.*” of books leads to may not be seen" in found.unknown[0]


async def test_what_is_missing() -> None:
    had = {
        **ALL,
        "books": Right("full", frozenset({"code", "title"})),
        "directus_activity": Right("partial", frozenset({"*"})),
        "directus_fields": Right("none", frozenset({"collection", "field"})),
    }
    query = Query("books", fields=("title", "writer", "status"))
    found = await explain(StubRights(had), query)
    assert need(found, "books").missing == ["status", "writer"]
    assert need(found, "directus_activity").missing == ["*"]
    assert need(found, "directus_fields").missing == ["*"]
    assert need(found, "directus_collections").missing == []


async def test_what_is_no_error_is_a_note() -> None:
    had = {**ALL, "books": Right("full", frozenset({"code", "title"}))}
    found = await explain(StubRights(had), Query("books"))
    assert need(found, "books").note == "All fields are asked for; events carry code, title."
    had = {**ALL, "books": Right("partial", frozenset({"*"}))}
    found = await explain(StubRights(had), Query("books"))
    assert found.is_enough
    assert need(found, "books").note.startswith("A rule leaves out items")


async def test_a_directus_that_cannot_be_asked_has_nothing_missing() -> None:
    found = await explain(StubRights(None), Query("books", fields=("title",)))
    assert not found.is_known
    assert found.is_enough


async def test_the_policy_has_every_need_once() -> None:
    policy = (
        await explain(StubRights(), Query("books"), Query("writers", fields=("id",)))
    ).policy()
    assert [(each["collection"], each["fields"]) for each in policy["permissions"]][:2] == [
        ("books", ["*"]),
        ("writers", ["id"]),
    ]
    assert all(each["permissions"] == {} for each in policy["permissions"])
