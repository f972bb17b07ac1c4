"""The shapes of changes, chapter 4, and their order and gaps: T5, T6, T17, T18."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.events import Event
from example_project.real_directus import DirectusAdmin
from tests.contract.conftest import MakeClient
from tests.contract.servers import COLLECTIONS, PUBLISHED, FakeServer, Server
from tests.contract.watching import arrived, left, told
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


async def test_t5_what_is_deleted_stays_deleted(server: Server, make_client: MakeClient) -> None:
    """T5: where relations have to be read, Directus 11 sends the create after the delete."""
    events: list[Event] = []
    admin = server.admin
    parents = _make_chain(admin, 6)
    client = await make_client(server)
    await client.subscribe(
        "nodes", fields=["parent.parent.parent.parent.*"], on_event=events.append
    )
    made = await asyncio.to_thread(_create_and_delete_the_last, admin, parents[-1])
    mark = admin.create_item("nodes", {})["id"]
    await await_for(lambda: {*made, mark} <= {event.key for event in events})
    await await_for(lambda: not client.subscriptions[0].feed.late)
    last = {event.key: event.action for event in events}
    there = await client.read_items("nodes", filter={"id": {"_in": made}}, fields=["id"])
    assert {key for key in made if last[key] == "create"} == {each["id"] for each in there}
    assert {key for key, action in last.items() if action == "delete"} == {*made[-3:]}


def _make_chain(admin: DirectusAdmin, length: int) -> list[int]:
    """Nodes, each the parent of the next."""
    keys: list[int] = []
    for _ in range(length):
        parent = keys[-1] if keys else None
        keys.append(admin.create_item("nodes", {"parent": parent})["id"])
    return keys


def _create_and_delete_the_last(admin: DirectusAdmin, parent: int) -> list[int]:
    items = admin.create_items("nodes", [{"parent": parent} for _ in range(100)])
    keys = [each["id"] for each in items]
    admin.delete_items("nodes", keys[-3:])
    return keys


@pytest.mark.fake_only
async def test_t5_a_late_create_of_an_item_that_is_gone_is_left_out(
    server: FakeServer, make_client: MakeClient
) -> None:
    """T5: the delete overtakes a create and an update; the item is not brought back."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", on_event=events.append)
    with server.holding_changes():
        made = server.admin.create_item("articles", {"title": "x"})["id"]
        server.admin.update_item("articles", made, {"title": "y"})
        server.admin.delete_item("articles", made)
        await arrived(events, 1)
    mark = server.admin.create_item("articles", {})["id"]
    await arrived(events, 2)
    # Only when the late ones were read for can a read of ours be answered.
    await await_for(lambda: not client.subscriptions[0].feed.late)
    assert told(events) == [("delete", made), ("create", mark)]


@pytest.mark.fake_only
@pytest.mark.parametrize("query", [{}, {"filter": PUBLISHED}], ids=["all", "filter"])
async def test_t5_a_late_message_of_an_item_that_is_there_again_tells_the_newest_row(
    query: dict[str, Any], server: FakeServer, make_client: MakeClient
) -> None:
    """T5: with a key of its own an item can come back; it is told once, as it is now."""
    events: list[Event] = []
    client = await make_client(server)
    item = {"id": 5_000_000, "status": "published", "title": "first"}
    await client.subscribe("articles", on_event=events.append, **query)
    with server.holding_changes():
        server.admin.create_item("articles", item)
        server.admin.delete_item("articles", item["id"])
        await arrived(events, 1)
        server.admin.create_item("articles", {**item, "title": "second"})
    await arrived(events, 2)
    server.admin.update_item("articles", item["id"], {"title": "third"})
    await arrived(events, 3)
    server.admin.delete_item("articles", item["id"])
    await arrived(events, 4)
    actions = ["delete", "create", "update", "delete"]
    assert told(events) == [(action, item["id"]) for action in actions]
    assert [event.data["title"] for event in events if event.data] == ["second", "third"]


@pytest.mark.fake_only
async def test_t4_t5_a_late_update_of_an_item_that_left_is_left_out(
    server: FakeServer, make_client: MakeClient
) -> None:
    """T4, T5: a row that was read before the item left does not bring it back."""
    events: list[Event] = []
    client = await make_client(server)
    subscription = await client.subscribe("articles", filter=PUBLISHED, on_event=events.append)
    made = server.admin.create_item("articles", {"status": "published"})["id"]
    await arrived(events, 1)
    late = {"id": made, "status": "published", "title": "late"}
    server.admin.update_item("articles", made, {"status": "draft"})
    await await_for(lambda: left(events))
    server.send(
        {
            "type": "subscription",
            "event": "update",
            "data": [late],
            "uid": f"{subscription.feed.uid}.update",
        }
    )
    mark = server.admin.create_item("articles", {"status": "published"})["id"]
    await await_for(lambda: ("create", mark) in told(events))
    await await_for(lambda: not subscription.feed.late)
    assert told(events) == [("create", made), ("update", made), ("create", mark)]
    assert left(events) == [made]


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
