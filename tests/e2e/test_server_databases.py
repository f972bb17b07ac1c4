"""The real server on each database, and the writes that only the extension of the tests makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import own_postgres
from tests.helpers.writes import (
    OpenTransaction,
    create_unlogged,
    delete_unlogged,
    described,
    update_unlogged,
)

pytestmark = pytest.mark.e2e


@pytest.fixture(
    params=[
        "directus_server",
        pytest.param("directus_pg", marks=pytest.mark.postgres),
        "directus_mariadb",
    ]
)
def any_directus(request: pytest.FixtureRequest) -> Iterator[DirectusAdmin]:
    server: DirectusServer = request.getfixturevalue(request.param)
    with server.admin() as admin:
        yield admin


@pytest.fixture
def pg(directus_pg: DirectusServer) -> Iterator[DirectusAdmin]:
    with directus_pg.admin() as admin:
        yield admin


def last_id(admin: DirectusAdmin) -> int:
    (newest,) = admin.request("SEARCH", "/activity", {"query": {"sort": ["-id"], "limit": 1}})
    return int(newest["id"])


def logged_after(admin: DirectusAdmin, after: int) -> list[tuple[str, str]]:
    query = {"filter": {"id": {"_gt": after}}, "sort": ["id"], "limit": -1}
    rows: list[dict[str, Any]] = admin.request("SEARCH", "/activity", {"query": query})
    return [(row["action"], row["item"]) for row in rows if row["collection"] == "articles"]


def test_unlogged_writes_change_items_without_rows_in_the_log(any_directus: DirectusAdmin) -> None:
    admin = any_directus
    kept, gone = create_unlogged(admin, "articles", [{"title": "a"}, {"title": "b"}])
    made = last_id(admin)
    update_unlogged(admin, "articles", [kept], {"title": "c"})
    delete_unlogged(admin, "articles", [gone])
    found = admin.read_items("articles", **{"filter[id][_in]": f"{kept},{gone}"})
    assert [item["title"] for item in found] == ["c"]
    assert logged_after(admin, made) == []
    admin.delete_item("articles", kept)
    assert logged_after(admin, made) == [("delete", str(kept))]


@pytest.mark.postgres
def test_rows_of_an_open_transaction_appear_below_later_ones(pg: DirectusAdmin) -> None:
    before = last_id(pg)
    with OpenTransaction(pg, described("articles", "create", payload={"title": "late"})) as open_:
        other = pg.create_item("articles", {"title": "early"})["id"]
        assert logged_after(pg, before) == [("create", str(other))]
        open_.commit()
    late = open_.keys[0][0]
    assert logged_after(pg, before) == [("create", str(late)), ("create", str(other))]


@pytest.mark.postgres
def test_a_rolled_back_transaction_uses_up_ids(pg: DirectusAdmin) -> None:
    before = last_id(pg)
    items = [{"title": str(number)} for number in range(5)]
    with OpenTransaction(pg, described("articles", "create", payload=items)):
        pass
    made = pg.create_item("articles", {"title": "after"})["id"]
    assert logged_after(pg, before) == [("create", str(made))]
    assert last_id(pg) == before + 6


@pytest.mark.postgres
def test_a_database_that_is_in_use_is_not_overwritten(directus_pg: DirectusServer) -> None:
    with pytest.raises(RuntimeError, match="needs an empty database"):
        DirectusServer(database=directus_pg.database).start()


@pytest.mark.postgres
def test_a_server_on_a_database_of_its_own_starts_from_the_template(
    directus_pg: DirectusServer,
) -> None:
    with own_postgres() as url, DirectusServer(database=url) as server, server.admin() as admin:
        assert server.admin_token == directus_pg.admin_token
        assert admin.request("GET", "/collections/directus_users")["collection"]


def test_a_database_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="of the kind 'mssql'"):
        DirectusServer(database="mssql://sa@127.0.0.1/x")
