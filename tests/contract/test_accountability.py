"""Which changes the activity log has, chapter 8, and whether a token may know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import MakeClient
from tests.contract.servers import Server

LOGGED = {"articles": "all", "labels": "activity", "secrets": "none"}


@pytest.mark.parametrize("collection", LOGGED)
async def test_t18_the_activity_log_has_what_the_accountability_says(
    collection: str, server: Server, make_client: MakeClient
) -> None:
    """T18: a collection without accountability sends events and logs nothing."""
    client = await make_client(server)
    assert await client.accountability(collection) == LOGGED[collection]
    given = {"id": "logged"} if collection == "labels" else {}
    made = server.admin.create_item(collection, given)["id"]
    rows: list[dict[str, Any]] = await client.read_items(
        "directus_activity", filter={"collection": {"_eq": collection}}, fields=["item"]
    )
    assert (str(made) in [row["item"] for row in rows]) == (LOGGED[collection] != "none")
    server.admin.delete_item(collection, made)


async def test_who_may_not_read_the_collections_does_not_know(
    server: Server, make_client: MakeClient
) -> None:
    """The reader reads articles, and nothing of directus_collections."""
    client = await make_client(server, token=server.reader_token)
    for collection in LOGGED:
        assert await client.accountability(collection) == "unknown"
