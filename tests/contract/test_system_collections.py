"""The table of system collections in the documentation is true on real servers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from example_project.real_directus import DirectusAdmin
from example_project.real_directus.directus_admin import DirectusAdminError
from tests.contract.conftest import OpenWire
from tests.contract.servers import DATABASE, Server
from tests.contract.system_changes import Change, permission_change, system_changes, upload
from tests.contract.wire import Wire

pytestmark = pytest.mark.real_only

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "directus.md"
ACTIONS = ["create", "update", "delete"]
#: Written by Directus itself, one row for each change of another item.
LOG = {"directus_activity", "directus_revisions"}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    versions: str
    logged: str
    sent: str
    keys: str

    def exists_on(self, server: Server) -> bool:
        return str(server.major) in self.versions.split(", ")

    def is_sent_by(self, server: Server) -> bool:
        return self.sent != "no" and f"not on {server.major}" not in self.sent


def table() -> dict[str, Row]:
    """The lines of the page's table, by collection."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `directus_"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found[name.strip("`")] = Row(*cells)
    return found


TABLE = table()


@pytest.fixture(scope="module")
def changes(server: Server) -> dict[str, Change]:
    made = system_changes(server, server.admin)
    return {**made, "permissions": permission_change(server)}


def path_of(collection: str) -> str:
    return "/" + collection.removeprefix("directus_")


def search(admin: DirectusAdmin, path: str, **body: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = admin.request("SEARCH", path, body)
    return rows


def make(server: Server, collection: str, changes: dict[str, Change]) -> Any:
    """Make an item and return its key."""
    if collection in LOG:
        server.admin.create_item("articles", {"title": "logged"})
        return search(server.admin, path_of(collection), query={"sort": ["-id"], "limit": 1})[0][
            "id"
        ]
    if collection == "directus_files":
        return upload(server)
    new = changes[collection.removeprefix("directus_")].new
    return server.admin.request("POST", path_of(collection), new)["id"]


def change_and_delete(
    server: Server, collection: str, key: Any, changes: dict[str, Change]
) -> None:
    if collection not in LOG:
        path = f"{path_of(collection)}/{key}"
        change = changes[collection.removeprefix("directus_")].change
        server.admin.request("PATCH", path, change)
        server.admin.request("DELETE", path)


def logged(admin: DirectusAdmin, collection: str, key: Any) -> list[str]:
    rule = {"collection": {"_eq": collection}, "item": {"_eq": str(key)}}
    query = {"filter": rule, "sort": ["id"], "limit": -1}
    return [row["action"] for row in search(admin, "/activity", query=query)]


def is_event_of(message: dict[str, Any], key: Any) -> bool:
    if message.get("uid") != "system" or message["event"] == "init":
        return False
    keys = [row.get("id") if isinstance(row, dict) else row for row in message["data"]]
    return str(key) in map(str, keys)


async def events_until(wire: Wire, server: Server, key: Any, expected: list[str]) -> list[str]:
    """The events of an item up to those that are expected, and what comes before a later one."""
    found: list[str] = []
    while len(found) < len(expected):
        message = await wire.receive()
        if is_event_of(message, key):
            found.append(message["event"])
    await asyncio.to_thread(server.admin.create_item, "notes", {})
    while (message := await wire.receive()).get("uid") != "mark":
        if is_event_of(message, key):
            found.append(message["event"])
    return found


def test_the_table_has_every_collection_that_has_a_helper() -> None:
    from directus_realtime.client.system_collections import SystemCollections

    helpers = [name for name in vars(SystemCollections) if name.startswith("subscribe_to_")]
    assert {name.replace("subscribe_to", "directus") for name in helpers} == TABLE.keys()


@pytest.mark.parametrize("collection", TABLE)
async def test_a_system_collection_is_as_the_table_says(
    collection: str, server: Server, changes: dict[str, Change], wire_to: OpenWire
) -> None:
    row, admin = TABLE[collection], server.admin
    if not row.exists_on(server):
        with pytest.raises(DirectusAdminError, match="FORBIDDEN"):
            admin.request("GET", f"/collections/{collection}")
        return
    is_logged = row.logged == "yes"
    meta = admin.request("GET", f"/collections/{collection}")["meta"]
    assert meta["accountability"] == ("all" if is_logged else None)

    wire = await wire_to(server)
    await wire.subscribe(collection, uid="system", query={"fields": ["id"]})
    await wire.subscribe("notes", uid="mark", event="create")
    key = make(server, collection, changes)
    by_filter = search(admin, path_of(collection), query={"filter": {"id": {"_eq": key}}})
    by_keys = search(admin, path_of(collection), keys=[key], query={"limit": -1})
    change_and_delete(server, collection, key, changes)

    # The app's own permissions have no id, and come with every answer.
    assert [each["id"] for each in by_filter if each.get("id")] == [key]
    assert ("yes" if [each.get("id") for each in by_keys] == [key] else "no") == row.keys
    assert logged(admin, collection, key) == (ACTIONS if is_logged else [])
    if collection in LOG and DATABASE != "sqlite":
        return  # announced before the commit: sometimes sent and sometimes not
    actions = ["create"] if collection in LOG else ACTIONS
    expected = actions if row.is_sent_by(server) else []
    assert await events_until(wire, server, key, expected) == expected
