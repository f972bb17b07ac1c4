from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from directus_realtime.client.credentials import StaticToken
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.rest import RestClient
from directus_realtime.client.schema import Field, Schema, read_schema
from directus_realtime.exceptions import RequestRefused

COLLECTIONS = [
    {"collection": "articles", "schema": {}},
    {"collection": "a_folder", "schema": None},
    {"collection": "directus_users", "schema": {"name": "directus_users"}},
    {"collection": "authors", "schema": {"name": "authors"}},
]
RELATION = {
    "collection": "articles",
    "field": "author",
    "related_collection": "authors",
    "meta": {"one_field": "articles"},
}
REFUSED = {"errors": [{"message": "No.", "extensions": {"code": "FORBIDDEN"}}]}


def field(collection: str, name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"collection": collection, "field": name, "type": kind, **more}


async def schema(answer: Callable[[str], Any]) -> Schema:
    """What is made of a server's answers; a refusal is an int."""

    def respond(request: httpx.Request) -> httpx.Response:
        found = answer(request.url.path)
        if isinstance(found, int):
            return httpx.Response(found, json=REFUSED)
        return httpx.Response(200, json={"data": found})

    rest = RestClient("http://cms", StaticToken("t"), ClientOptions())
    await rest.aclose()
    rest._http = httpx.AsyncClient(base_url="http://cms", transport=httpx.MockTransport(respond))
    try:
        return await read_schema(rest)
    finally:
        await rest.aclose()


async def described(*fields: dict[str, Any], relations: Any = ()) -> Schema:
    answers = {"/collections": COLLECTIONS, "/fields": fields, "/relations": list(relations)}
    return await schema(answers.__getitem__)


async def test_own_collections_come_first_and_folders_are_none() -> None:
    found = await described()
    assert list(found.collections) == ["articles", "authors", "directus_users"]


async def test_a_field_has_its_type_and_its_choices() -> None:
    choices = [{"text": "Published", "value": "published"}, {"value": 2}, "nonsense", {"value": []}]
    found = await described(
        field("authors", "id", "integer", schema={"is_primary_key": True}),
        field("authors", "status", meta={"options": {"choices": choices}}),
        field("authors", "odd", meta={"options": None}),
        field("gone", "id"),
    )
    assert found.collections["authors"] == {
        "id": Field("integer", is_key=True),
        "status": Field("string", choices=(("published", "Published"), (2, "2"))),
        "odd": Field("string"),
    }


async def test_relations_lead_both_ways() -> None:
    found = await described(
        field("articles", "author", "integer"),
        field("authors", "articles", "alias"),
        field("authors", "a_divider", "alias"),
        relations=[
            RELATION,
            {"collection": "articles", "field": "any", "related_collection": None},
        ],
    )
    assert found.collections["articles"]["author"] == Field("integer", related="authors")
    assert found.collections["authors"] == {
        "articles": Field("alias", related="articles", is_many=True)
    }


async def test_a_token_that_may_not_see_the_schema_is_told_what_it_may_read() -> None:
    permissions = {
        "notes": {"read": {"access": "none"}},
        "articles": {"read": {"access": "partial", "fields": ["id", "title"]}},
        "authors": {"read": {"access": "full", "fields": ["*"]}},
    }
    found = await schema(lambda path: permissions if path == "/permissions/me" else 403)
    assert found == Schema(
        {"articles": {"id": Field(), "title": Field()}, "authors": {}}, is_complete=False
    )


async def test_a_server_that_cannot_be_asked_for_permissions_gives_the_first_refusal() -> None:
    with pytest.raises(RequestRefused) as refusal:
        await schema(lambda path: 404 if path == "/permissions/me" else 403)
    assert refusal.value.status == 403


async def test_a_server_that_is_not_well_is_not_taken_for_a_refusal() -> None:
    with pytest.raises(RequestRefused) as refusal:
        await schema(lambda path: 500)
    assert refusal.value.status == 500


@pytest.mark.parametrize("odd", [None, [None], [{}], {"a": 1}, "text"])
async def test_an_answer_that_is_not_directus_is_refused(odd: Any) -> None:
    with pytest.raises(RequestRefused, match="not one of Directus"):
        await schema(lambda path: odd)
