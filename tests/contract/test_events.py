"""The shapes of changes, chapter 4, and their order and gaps: T5, T6, T17, T18."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.events import Event
from directus_realtime.testing import DirectusAdmin
from tests.contract.conftest import MakeClient
from tests.contract.servers import COLLECTIONS, PUBLISHED, Server
from tests.contract.watching import arrived, told
from tests.helpers.waiting import await_for

BATCH = 150


async def test_one_item_from_create_to_delete(server: Server, make_client: MakeClient) -> None:
    """Fields with dots, the key's type, and who an event is from."""
    events: list[Event] = []
    client = await make_client(server, name="cms")
    await client.subscribe(
        "articles", fields=["title", "author.name"], name="mine", on_event=events.append
    )
    made = server.admin.create_item("articles", {"title": "one", "author": 1})["id"]
    server.admin.update_item("articles", made, {"title": "two"})
    server.admin.update_item("articles", made, {})
    server.admin.delete_item("articles", made)
    await arrived(events, 4)
    assert told(events) == [("create", made), *[("update", made)] * 2, ("delete", made)]
    author = {"author": {"name": "Annie"}}
    two = {"id": made, "title": "two", **author}
    assert [event.data for event in events] == [
        {"id": made, "title": "one", **author},
        two,
        two,
        None,
    ]
    about = {(e.connection, e.subscription, e.collection, e.origin) for e in events}
    assert about == {("cms", "mine", "articles", "live")}
    assert len({event.id for event in events}) == 4
    assert all(event.received_at.tzinfo for event in events)


async def test_create_and_update_and_delete_many(server: Server, make_client: MakeClient) -> None:
    """150 messages of one, one message of 150, 150 of one, one of 150: an event each."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", fields=["title"], on_event=events.append)
    await asyncio.to_thread(_change_many, server.admin)
    await arrived(events, 4 * BATCH)
    parts = [events[start : start + BATCH] for start in range(0, 4 * BATCH, BATCH)]
    keys = sorted(event.key for event in parts[0])
    assert len(set(keys)) == BATCH
    for part, action in zip(parts, ["create", "update", "update", "delete"], strict=True):
        assert {event.action for event in part} == {action}
        assert sorted(event.key for event in part) == keys
    assert {event.data["title"] for event in parts[1] if event.data} == {"keys"}
    titles = {event.data["title"] for event in parts[2] if event.data}
    assert titles == {f"list {key}" for key in keys}


def _change_many(admin: DirectusAdmin) -> None:
    """``createMany``, an update by keys, ``updateBatch`` and ``deleteMany``."""
    keys = [each["id"] for each in admin.create_items("articles", [{} for _ in range(BATCH)])]
    admin.update_items("articles", keys, {"title": "keys"})
    items = [{"id": key, "title": f"list {key}"} for key in keys]
    admin.request("PATCH", "/items/articles", items)
    admin.delete_items("articles", keys)


async def test_changes_by_query(server: Server, make_client: MakeClient) -> None:
    """PATCH and DELETE by query: one message with all of them."""
    events: list[Event] = []
    title = "by query"
    items = [{"title": title} for _ in range(3)]
    keys = [each["id"] for each in server.admin.create_items("articles", items)]
    query = {"query": {"filter": {"id": {"_in": keys}}}}
    client = await make_client(server)
    await client.subscribe("articles", on_event=events.append)
    server.admin.request("PATCH", "/items/articles", {**query, "data": {"title": "new"}})
    server.admin.request("DELETE", "/items/articles", query)
    await arrived(events, 6)
    assert told(events) == [(action, key) for action in ("update", "delete") for key in keys]


async def test_a_batch_with_a_filter(server: Server, make_client: MakeClient) -> None:
    """Chapter 5: two of four match; the delete names all four (T3)."""
    events: list[Event] = []
    states = ["published", "draft", "published", "draft"]
    items = [{"status": status} for status in states]
    keys = [each["id"] for each in server.admin.create_items("articles", items)]
    client = await make_client(server)
    await client.subscribe("articles", filter=PUBLISHED, on_event=events.append)
    server.admin.update_items("articles", keys, {"title": "x"})
    server.admin.delete_items("articles", keys)
    await arrived(events, 6)
    assert told(events[:2]) == [("update", keys[0]), ("update", keys[2])]
    assert told(events[2:]) == [("delete", key) for key in keys]


KEYS: dict[str, list[dict[str, Any]]] = {
    "articles": [{}, {}],
    "notes": [{}, {}],
    "labels": [{"id": "red"}, {"id": "007"}],
}


@pytest.mark.parametrize("collection", KEYS)
async def test_keys_have_the_type_of_their_column(
    collection: str, server: Server, make_client: MakeClient
) -> None:
    """A delete by address names a string, one by list what the caller wrote; ours is cast."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe(collection, on_event=events.append)
    keys = [each["id"] for each in server.admin.create_items(collection, KEYS[collection])]
    server.admin.update_items(collection, keys, {"title": "x"})
    server.admin.delete_item(collection, keys[0])
    server.admin.delete_items(collection, keys[1:])
    await arrived(events, 6)
    assert {type(event.key) for event in events} == {
        int if COLLECTIONS[collection][0] == "integer" else str
    }
    assert sorted(told(events[:2])) == sorted(("create", key) for key in keys)
    assert sorted(told(events[2:4])) == sorted(("update", key) for key in keys)
    assert told(events[4:]) == [("delete", key) for key in keys]


async def test_keys_of_a_reader_who_sees_no_schema(server: Server, make_client: MakeClient) -> None:
    """The key's type is learnt from the rows where ``directus_fields`` may not be read."""
    events: list[Event] = []
    server.admin.create_item("articles", {"status": "published"})
    client = await make_client(server, token=server.reader_token)
    await client.subscribe("articles", on_event=events.append)
    made = server.admin.create_item("articles", {"status": "published"})["id"]
    server.admin.delete_item("articles", made)
    await arrived(events, 2)
    assert told(events) == [("create", made), ("delete", made)]


@pytest.mark.real_only
async def test_a_singleton(server: Server, make_client: MakeClient) -> None:
    """The first write is a create, the next one an update; real servers only."""
    # the fake has no singletons
    events: list[Event] = []
    admin = server.admin
    admin.create_collection("homepage", {"title": "string"})
    try:
        admin.request("PATCH", "/collections/homepage", {"meta": {"singleton": True}})
        client = await make_client(server)
        await client.subscribe("homepage", on_event=events.append)
        for title in ("one", "two"):
            admin.request("PATCH", "/items/homepage", {"title": title})
        await arrived(events, 2)
        assert told(events) == [("create", 1), ("update", 1)]
        assert [event.data["title"] for event in events if event.data] == ["one", "two"]
        assert (await client.read_items("homepage"))["title"] == "two"
    finally:
        admin.delete_collection("homepage")


async def test_t5_a_create_may_come_after_the_delete(
    server: Server, make_client: MakeClient
) -> None:
    """T5: our client hands over what comes, as it comes: no key twice, no delete lost."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", fields=["*.*"], on_event=events.append)
    keys = []
    for _ in range(20):
        keys.append(server.admin.create_item("articles", {"author": 1})["id"])
        server.admin.delete_item("articles", keys[-1])
    await await_for(lambda: sum(event.action == "delete" for event in events) >= len(keys))
    mark = server.admin.create_item("articles", {})["id"]
    await await_for(lambda: ("create", mark) in told(events))
    deleted = [event.key for event in events if event.action == "delete"]
    created = [event.key for event in events if event.action == "create" and event.key != mark]
    assert deleted == keys
    assert set(created) <= set(keys)
    assert len(created) == len(set(created))


async def test_t6_events_carry_the_row_as_it_was_read(
    server: Server, make_client: MakeClient
) -> None:
    """T6: as many events as updates; the last one tells the row's last state."""
    events: list[Event] = []
    made = server.admin.create_item("articles", {})["id"]
    client = await make_client(server)
    await client.subscribe("articles", on_event=events.append)
    with DirectusAdmin(server.url, server.token) as admin:
        await asyncio.gather(
            *(
                asyncio.to_thread(admin.update_item, "articles", made, {"title": str(number)})
                for number in range(30)
            )
        )
    await arrived(events, 30)
    assert told(events) == [("update", made)] * 30
    row = await client.read_item("articles", made)
    assert events[-1].data is not None
    assert events[-1].data["title"] == row["title"]


async def test_t17_a_flow_is_silent_on_the_socket(server: Server, make_client: MakeClient) -> None:
    """T17: no event, but a row in the activity log, which is what catch-up reads."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", on_event=events.append)
    server.change_silently("by a flow")
    silent = await await_for(lambda: server.admin.read_items("articles", sort="-id", limit="1"))
    assert silent[0]["title"] == "by a flow"
    mark = server.admin.create_item("articles", {})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", mark)]
    found = await client.read_items(
        "directus_activity",
        filter={"collection": {"_eq": "articles"}, "item": {"_eq": str(silent[0]["id"])}},
        fields=["action", "item"],
    )
    assert found == [{"action": "create", "item": str(silent[0]["id"])}]


@pytest.mark.real_only
async def test_t18_what_the_database_does_is_silent(
    server: Server, make_client: MakeClient
) -> None:
    """T18: an author's delete sets the articles' author to NULL, and tells nobody."""
    # the fake has no database with foreign keys
    events: list[Event] = []
    author = server.admin.create_item("authors", {"name": "Bob"})["id"]
    made = server.admin.create_item("articles", {"author": author})["id"]
    client = await make_client(server)
    await client.subscribe("articles", fields=["author.name"], on_event=events.append)
    server.admin.update_item("authors", author, {"name": "Bobby"})
    server.admin.delete_item("authors", author)
    mark = server.admin.create_item("articles", {})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", mark)]
    assert (await client.read_item("articles", made))["author"] is None


@pytest.mark.real_only
async def test_system_collections(server: Server, make_client: MakeClient) -> None:
    """Chapter 7: Directus 10 sends nothing of flows; folders come on every version."""
    # the fake has activity and users only
    folders: list[Event] = []
    flows: list[Event] = []
    client = await make_client(server)
    await client.subscribe("directus_folders", on_event=folders.append)
    await client.subscribe("directus_flows", on_event=flows.append)
    flow = {"name": "x", "trigger": "webhook", "status": "inactive"}
    flow_id = server.admin.request("POST", "/flows", flow)["id"]
    server.admin.request("DELETE", f"/flows/{flow_id}")
    folder = server.admin.request("POST", "/folders", {"name": "x"})["id"]
    server.admin.request("PATCH", f"/folders/{folder}", {"name": "y"})
    server.admin.request("DELETE", f"/folders/{folder}")
    await arrived(folders, 3)
    assert told(folders) == [(action, folder) for action in ("create", "update", "delete")]
    if server.major == 10:
        assert flows == []
    else:
        await arrived(flows, 2)
        assert told(flows) == [("create", flow_id), ("delete", flow_id)]
