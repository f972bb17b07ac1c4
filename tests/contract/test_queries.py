"""What a query does to events: T3, T4, T14, T15, T16."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Q

from directus_realtime.events import Event
from tests.contract.conftest import MakeClient, OpenWire
from tests.contract.servers import PUBLISHED, QUERY_LIMIT, Server
from tests.contract.watching import arrived, told
from tests.helpers.waiting import await_for

BATCH = 150


async def test_t3_deletes_come_unfiltered(server: Server, make_client: MakeClient) -> None:
    """T3: of rows that never matched, and of rows that never were; typed, without data."""
    events: list[Event] = []
    draft = server.admin.create_item("articles", {"status": "draft"})["id"]
    client = await make_client(server)
    await client.subscribe("articles", filter=PUBLISHED, on_event=events.append)
    server.admin.delete_item("articles", draft)
    server.admin.delete_items("articles", [draft + 1_000_000])
    await arrived(events, 2)
    assert told(events) == [("delete", draft), ("delete", draft + 1_000_000)]
    assert [event.data for event in events] == [None, None]


async def test_t3_deletes_come_to_those_who_may_not_read(server: Server, wire_to: OpenWire) -> None:
    """T3: the server's leak; our client refuses such a subscription (see test_errors)."""
    wire = await wire_to(server, server.reader_token)
    answer = await wire.subscribe("secrets", event="delete", uid="a")
    assert answer == {"type": "subscription", "event": "init", "uid": "a"}
    made = server.admin.create_item("secrets", {"title": "x"})["id"]
    server.admin.delete_item("secrets", made)
    leaked = await wire.receive()
    assert (leaked["event"], leaked["data"]) == ("delete", [str(made)])


async def test_t4_an_item_that_leaves_the_filter_is_not_announced(
    server: Server, make_client: MakeClient
) -> None:
    """T4: joining is an update, leaving is nothing; a read with the filter tells."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", filter=Q(status="published"), on_event=events.append)
    made = server.admin.create_item("articles", {"status": "draft"})["id"]
    server.admin.update_item("articles", made, {"status": "published"})
    server.admin.update_item("articles", made, {"title": "x"})
    server.admin.update_item("articles", made, {"status": "draft"})
    mark = server.admin.create_item("articles", {"status": "published"})["id"]
    await await_for(lambda: ("create", mark) in told(events))
    assert told(events) == [("update", made), ("update", made), ("create", mark)]
    found = await client.read_items(
        "articles", filter=Q(status="published", id=made), fields=["id"]
    )
    assert found == []


CHANGES = ["by address", "by keys", "by list", "by query"]


def _change(server: Server, how: str, collection: str, key: int | str) -> None:
    admin, path = server.admin, f"/items/{collection}"
    data = {"title": how}
    match how:
        case "by address":
            admin.update_item(collection, key, data)
        case "by keys":
            admin.update_items(collection, [key], data)
        case "by list":
            admin.request("PATCH", path, [{"id": key, **data}])
        case "by query":
            query = {"filter": {"id": {"_eq": key}}}
            admin.request("PATCH", path, {"query": query, "data": data})


@pytest.mark.parametrize("collection", ["articles", "notes"])
async def test_t14_one_item_in_every_form_of_change(
    collection: str, server: Server, make_client: MakeClient
) -> None:
    """T14: our ``item=`` sees them all, of integer and uuid keys, and nothing of others."""
    events: list[Event] = []
    admin = server.admin
    item, other = (each["id"] for each in admin.create_items(collection, [{}, {}]))
    client = await make_client(server)
    await client.subscribe(collection, item=item, fields=["title"], on_event=events.append)
    for how in CHANGES:
        _change(server, how, collection, other)
        _change(server, how, collection, item)
    admin.update_items(collection, [other, item], {"title": "both"})
    admin.delete_item(collection, other)
    admin.delete_items(collection, [item])
    await arrived(events, len(CHANGES) + 2)
    assert told(events) == [("update", item)] * (len(CHANGES) + 1) + [("delete", item)]
    titles = [event.data["title"] for event in events if event.data]
    assert titles == [*CHANGES, "both"]


async def test_t14_the_servers_own_item_subscription_misses_most(
    server: Server, wire_to: OpenWire
) -> None:
    """T14: of integer keys, only the change by address is seen."""
    made = server.admin.create_item("articles", {})["id"]
    wire = await wire_to(server)
    await wire.subscribe(item=made, uid="a", query={"fields": ["title"]})
    for how in [*CHANGES[1:], CHANGES[0]]:
        _change(server, how, "articles", made)
    seen = await wire.until("a")
    assert [each["data"]["title"] for each in seen] == ["by address"]


@pytest.mark.parametrize("option", ["limit", "offset", "page"])
async def test_t15_our_client_refuses_what_drops_events(
    option: str, server: Server, make_client: MakeClient
) -> None:
    """T15: with the reason."""
    client = await make_client(server)
    with pytest.raises(ValueError, match=rf"^{option} is not possible .* lost"):
        await client.subscribe("articles", **{option: 1})


async def test_t15_what_our_client_asks_for(
    server: Server, make_client: MakeClient, said: list[dict[str, Any]], wire_to: OpenWire
) -> None:
    """T15: ``offset`` drops every change of one item; ours has a ``limit`` of -1 or none."""
    wire = await wire_to(server)
    await wire.subscribe(uid="a", event="create", query={"fields": ["id"], "offset": 1})
    await wire.subscribe(uid="mark", event="create")
    client = await make_client(server)
    await client.subscribe("articles")
    await client.subscribe("articles", fields=["title"], filter=PUBLISHED, sort=["-id"])
    server.admin.create_item("articles", {"title": "x"})
    assert [each["uid"] for each in await wire.until("mark")] == ["mark"]
    queries = [each.get("query", {}) for each in said if each["type"] == "subscribe"]
    assert len(queries) == 6
    assert not any(query.keys() & {"offset", "page"} for query in queries)
    assert {query.get("limit") for query in queries} <= {None, -1}


@pytest.mark.parametrize("query", [{}, {"fields": ["title"]}], ids=["no query", "fields"])
async def test_t16_a_batch_over_the_query_limit(
    query: dict[str, Any], tuned_server: Server, make_client: MakeClient
) -> None:
    """T16: ``QUERY_LIMIT_MAX`` cuts a batch update's message; every item is told all the same."""
    events: list[Event] = []
    admin = tuned_server.admin
    made = admin.create_items("articles", [{} for _ in range(BATCH)])
    keys = await _all_keys(tuned_server, len(made), made)
    client = await make_client(tuned_server)
    await client.subscribe("articles", events=["update"], on_event=events.append, **query)
    admin.request("PATCH", "/items/articles", {"keys": keys, "data": {"title": "new"}})
    mark = admin.create_item("articles", {})["id"]
    admin.update_item("articles", mark, {"title": "mark"})
    await await_for(lambda: ("update", mark) in told(events))
    seen = [event.key for event in events if event.key != mark]
    assert sorted(seen) == keys


async def _all_keys(server: Server, count: int, made: list[dict[str, Any]]) -> list[int]:
    """The keys of a batch; the answer to its POST is cut by the limit as well."""
    last = server.admin.read_items("articles", sort="-id", limit="1", fields="id")[0]["id"]
    assert {each["id"] for each in made} <= set(range(last - BATCH + 1, last + 1))
    return list(range(last - BATCH + 1, last + 1))


async def test_t16_the_servers_message_is_cut(tuned_server: Server, wire_to: OpenWire) -> None:
    """T16: with any ``query`` the message is cut; without one it is whole."""
    admin = tuned_server.admin
    made = admin.create_items("articles", [{} for _ in range(BATCH)])
    keys = await _all_keys(tuned_server, len(made), made)
    wire = await wire_to(tuned_server)
    await wire.subscribe(uid="cut", event="update", query={"fields": ["id"]})
    await wire.subscribe(uid="whole", event="update")
    admin.request("PATCH", "/items/articles", {"keys": keys, "data": {"title": "new"}})
    sizes = {each["uid"]: len(each["data"]) for each in [await wire.receive() for _ in "ab"]}
    assert sizes == {"cut": QUERY_LIMIT, "whole": BATCH}


async def test_t16_reads_go_on_over_the_limit(
    tuned_server: Server, make_client: MakeClient
) -> None:
    """T16: ``read_items`` gives all, page by page."""
    tuned_server.admin.create_items("notes", [{} for _ in range(BATCH)])
    client = await make_client(tuned_server)
    found = await client.read_items("notes", fields=["id"], sort=["id"])
    count = await client.read_items("notes", aggregate={"count": "*"})
    assert len({each["id"] for each in found}) == len(found) == int(count[0]["count"])
    assert len(found) >= BATCH
