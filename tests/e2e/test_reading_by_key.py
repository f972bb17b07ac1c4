"""Items of a real Directus with its cache on, read by key: fresh, in every spelling, one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from directus_realtime.client.credentials import StaticToken
from directus_realtime.client.items import read_by_keys, read_keys, read_newest, read_pages
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.rest import RestClient
from directus_realtime.client.schema import read_schema
from directus_realtime.exceptions import SubscriptionRefused
from directus_realtime.protocol.queries import Query
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import own_postgres

pytestmark = pytest.mark.e2e

UUID = "abcdef01-2345-6789-abcd-ef0123456789"
#: Keys that Directus's query language takes for something else than their text.
INTERPRETED = ["true", "null", "NULL", "false", "$NOW", "$NOW(-1 day)", "$CURRENT_USER"]
TEXTS = [*INTERPRETED, "", "a,b", "a/b", "..", "42", " a ", "été"]
KEY_TYPES = ("integer", "bigInteger", "uuid", "string")
CACHED = {"CACHE_ENABLED": "true", "QUERY_LIMIT_MAX": "50"}


@dataclass
class Place:
    """A real Directus with a collection for each type of key."""

    server: DirectusServer
    admin: DirectusAdmin
    database_url: str = ""
    rest: RestClient = field(init=False)

    def change(self, collection: str, written: str, **data: Any) -> str:
        """Change an item by its address, and return the key that the log has for it."""
        self.admin.request("PATCH", f"/items/{collection}/{quote(written, safe='')}", data)
        query = {"sort": ["-id"], "limit": 1, "fields": ["item"]}
        (row,) = self.admin.request("SEARCH", "/activity", {"query": query})
        return str(row["item"])


def prepared(server: DirectusServer, database_url: str = "") -> Iterator[Place]:
    with server.admin() as admin:
        for kind in KEY_TYPES:
            fields = {"n": "integer", "at": "timestamp"}
            admin.create_collection(kind.lower(), fields, primary_key_type=kind)
        yield Place(server, admin, database_url)


@pytest.fixture(scope="module")
def on_sqlite() -> Iterator[Place]:
    with DirectusServer(env=CACHED) as server:
        yield from prepared(server)


@pytest.fixture(scope="module")
def on_postgres() -> Iterator[Place]:
    with own_postgres() as url, DirectusServer(database=url, env=CACHED) as server:
        yield from prepared(server, url)


class WithoutSearch(httpx.AsyncHTTPTransport):
    """A proxy that does not let SEARCH through."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "SEARCH":
            return httpx.Response(405, text="<html>Method Not Allowed</html>")
        return await super().handle_async_request(request)


@pytest.fixture(params=["search", "get"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[type[RestClient]]:
    """The REST client, also behind a proxy that refuses SEARCH."""
    made: list[RestClient] = []

    class Rest(RestClient):
        def __init__(self, place: Place) -> None:
            token = StaticToken(place.server.admin_token)
            super().__init__(place.server.url, token, ClientOptions())
            made.append(self)
            if request.param == "get":
                self._http = httpx.AsyncClient(
                    base_url=place.server.url, transport=WithoutSearch(), timeout=30
                )

    yield Rest
    for each in made:
        await each.aclose()


@pytest.fixture(params=["on_sqlite", "on_postgres"])
def place(request: pytest.FixtureRequest, client: Any) -> Place:
    found: Place = request.getfixturevalue(request.param)
    found.rest = client(found)
    return found


@pytest.fixture
def postgres(on_postgres: Place, client: Any) -> Place:
    on_postgres.rest = client(on_postgres)
    return on_postgres


def plain(place: Place, path: str) -> Any:
    """The answer of an ordinary GET, which the cache of Directus keeps for five minutes."""
    return place.admin.request("GET", path)


async def test_items_are_read_past_the_cache(place: Place) -> None:
    key = place.admin.create_item("integer", {"n": 1})["id"]
    query, number = Query("integer"), PrimaryKey("id", "integer")
    read = [
        lambda: place.rest.read_item("integer", key),
        lambda: place.rest.read_items("integer", filter={"id": {"_eq": key}}),
        lambda: read_by_keys(place.rest, query, number, [key]),
        lambda: read_newest(place.rest, query, 50),
    ]
    before = [await each() for each in read]
    assert plain(place, f"/items/integer/{key}")["n"] == 1
    place.admin.update_item("integer", key, {"n": 2})
    assert plain(place, f"/items/integer/{key}")["n"] == 1
    for each, old in zip(read, before, strict=True):
        assert await each() != old


async def test_the_schema_is_read_past_the_cache(place: Place) -> None:
    admin, rest = place.admin, place.rest
    admin.create_collection("made", {"n": "integer"})
    try:
        await rest.server_info()
        assert await rest.primary_key("made") == PrimaryKey("id", "integer")
        assert await rest.accountability("made") == "all"
        assert "later" not in (await read_schema(rest)).collections["made"]
        assert len(plain(place, "/fields/made")) == 2
        assert plain(place, "/collections/made")["meta"]["accountability"] == "all"
        admin.request("POST", "/fields/made", {"field": "later", "type": "string"})
        admin.request("PATCH", "/collections/made", {"meta": {"accountability": None}})
        assert "later" in (await read_schema(rest)).collections["made"]
        assert await rest.accountability("made") == "none"
    finally:
        admin.delete_collection("made")
    admin.create_collection("made", {"n": "integer"}, primary_key_type="string")
    try:
        assert await rest.primary_key("made") == PrimaryKey("id", "string")
    finally:
        admin.delete_collection("made")


async def test_what_directus_logs_of_system_collections(place: Place) -> None:
    found = [await place.rest.accountability(f"directus_{name}") for name in ("users", "activity")]
    assert found == ["all", "none"]
    assert await place.rest.accountability("nope") == "unknown"


async def test_the_type_of_each_key(place: Place) -> None:
    found = [(await place.rest.primary_key(kind.lower())).type for kind in KEY_TYPES]
    if place.database_url:
        assert found == ["integer", "bigInteger", "uuid", "string"]
    else:  # SQLite has one type for numbers, and keeps a UUID as text
        assert found == ["integer", "integer", "string", "string"]


@pytest.mark.parametrize("kind", ["integer", "bigInteger"])
async def test_every_spelling_of_a_number_leads_to_its_item(place: Place, kind: str) -> None:
    collection = kind.lower()
    key = int(place.admin.create_item(collection, {"n": 0})["id"])
    spellings = [f"0{key}", f" {key} ", f"+{key}", f"\t{key}\n", str(key)]
    if not place.database_url:
        spellings += [f"{key}.0", f"{key}.", f"{key / 10}e1"]
    primary_key = await place.rest.primary_key(collection)
    for number, written in enumerate(spellings, 1000):
        logged = place.change(collection, written, n=number)
        assert logged == written
        read = await read_by_keys(place.rest, Query(collection), primary_key, [logged])
        assert {found: row["n"] for found, row in read.rows.items()} == {key: number}
        assert read.aliases == {}


async def test_a_uuid_is_read_as_the_database_compares_it(place: Place) -> None:
    place.admin.create_item("uuid", {"id": UUID, "n": 0})
    primary_key = await place.rest.primary_key("uuid")
    logged = place.change("uuid", UUID.upper(), n=1)
    read = await read_by_keys(place.rest, Query("uuid"), primary_key, [logged, "nope", UUID])
    assert logged == UUID.upper()
    assert list(read.rows) == [UUID]
    # SQLite has not changed the item, for it knows of none with that key.
    assert read.rows[UUID]["n"] == (1 if place.database_url else 0)
    assert (read.unreadable, read.aliases) == ({}, {})
    place.admin.delete_item("uuid", UUID)


async def test_text_keys_are_never_interpreted(place: Place) -> None:
    place.admin.create_collection("texts", {"n": "integer"}, primary_key_type="string")
    place.admin.create_items("texts", [{"id": text, "n": 1} for text in TEXTS])
    try:
        key = PrimaryKey("id", "string")
        read = await read_by_keys(place.rest, Query("texts"), key, [*TEXTS, "TRUE", "$nope"])
        assert list(read.rows) == TEXTS
        assert (read.unreadable, read.aliases) == ({}, {})
        filtered = Query("texts", filter={"n": {"_neq": 1}})
        assert (await read_by_keys(place.rest, filtered, key, TEXTS)).rows == {}
    finally:
        place.admin.delete_collection("texts")


async def test_numbers_beyond_those_of_javascript_are_read_exactly(postgres: Place) -> None:
    keys = [2**53 + 1, 2**63 - 1]
    postgres.admin.create_items("biginteger", [{"id": str(key), "n": 1} for key in keys])
    primary_key = PrimaryKey("id", "bigInteger")
    read = await read_by_keys(postgres.rest, Query("biginteger"), primary_key, [*keys, 2**53])
    assert list(read.rows) == keys
    pages = [page async for page in read_keys(postgres.rest, Query("biginteger"), primary_key)]
    assert [key for page in pages for key in page][-2:] == keys
    postgres.admin.delete_items("biginteger", [str(key) for key in keys])


async def test_one_unreadable_item_spoils_no_other(postgres: Place) -> None:
    """Directus fails with a timestamp that is infinite, and with every answer that has it."""
    admin, rest = postgres.admin, postgres.rest
    keys = [admin.create_item("integer", {"n": 7})["id"] for _ in range(120)]
    bad = keys[70]
    with psycopg.connect(postgres.database_url) as database:
        database.execute("UPDATE integer SET at = 'infinity' WHERE id = %s", [bad])
    primary_key, query = PrimaryKey("id", "integer"), Query("integer", filter={"n": {"_eq": 7}})
    try:
        read = await read_by_keys(rest, query, primary_key, keys)
        assert list(read.rows) == [key for key in keys if key != bad]
        assert read.unreadable == {bad: f"integer {bad} cannot be read (Invalid time value)."}
        pages = [page async for page in read_pages(rest, query, primary_key)]
        assert sum(len(page.rows) for page in pages) == 119
        assert [key for page in pages for key in page.unreadable] == [bad]
        only = Query("integer", filter={"id": {"_eq": bad}})
        await rest.check_query(only, primary_key)
        without = await read_by_keys(rest, Query("integer", fields=("n",)), primary_key, [bad])
        assert without.rows == {bad: {"id": bad, "n": 7}}
    finally:
        with psycopg.connect(postgres.database_url) as database:
            database.execute("DELETE FROM integer WHERE n = 7")


async def test_a_query_that_is_refused_is_refused_for_all_items(place: Place) -> None:
    key = place.admin.create_item("integer", {"n": 1})["id"]
    with pytest.raises(SubscriptionRefused, match="nope"):
        await place.rest.check_query(Query("integer", fields=("nope",)), PrimaryKey())
    with pytest.raises(Exception, match="nope"):
        await read_by_keys(
            place.rest, Query("integer", fields=("nope",)), PrimaryKey("id", "integer"), [key, 2, 3]
        )


@pytest.mark.parametrize("kind", ["integer", "uuid"])
async def test_all_keys_come_once_in_pages(place: Place, kind: str) -> None:
    made = place.admin.create_items(kind, [{"n": 5} for _ in range(130)])
    query = Query(kind, filter={"n": {"_eq": 5}})
    primary_key = await place.rest.primary_key(kind)
    found = [key async for page in read_keys(place.rest, query, primary_key) for key in page]
    assert sorted(found) == sorted(item["id"] for item in made)
    for start in range(0, 130, 50):
        place.admin.delete_items(kind, [item["id"] for item in made][start : start + 50])
