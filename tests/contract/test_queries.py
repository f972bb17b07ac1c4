"""What a query does to events: T3, T4, T14, T15, T16."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db.models import Q

from directus_realtime.client import CurrentItems, feeds
from directus_realtime.client.items import read_current
from directus_realtime.events import Event
from directus_realtime.exceptions import RequestRefused
from tests.contract.conftest import MakeClient, OpenWire
from tests.contract.servers import PUBLISHED, QUERY_LIMIT, Server
from tests.contract.watching import arrived, left, told
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


async def test_t3_a_loaded_subscription_leaves_out_deletes_of_items_it_never_had(
    server: Server, make_client: MakeClient
) -> None:
    """T3: after a first load it is known which items were in the filter."""
    events: list[Event] = []
    title = "t3 loaded"
    states = ["published", "draft", "published"]
    items = [{"status": status, "title": title} for status in states]
    loaded, never, other = (each["id"] for each in server.admin.create_items("articles", items))
    client = await make_client(server)
    await client.subscribe(
        "articles",
        filter={**PUBLISHED, "title": {"_eq": title}},
        snapshot=True,
        on_event=events.append,
    )
    assert sorted(told(events)) == [("update", loaded), ("update", other)]
    created = server.admin.create_item("articles", items[0])["id"]
    await arrived(events, 3)
    server.admin.update_item("articles", other, {"status": "draft"})
    await await_for(lambda: other in left(events))
    server.admin.delete_items("articles", [never, other, loaded, created])
    await arrived(events, 6)
    assert told(events)[2:] == [
        ("create", created),
        ("update", other),
        ("delete", loaded),
        ("delete", created),
    ]


async def test_t4_an_item_that_leaves_the_filter_is_told(
    server: Server, make_client: MakeClient
) -> None:
    """T4: Directus says nothing of it; our client notices, and tells the row as it is now."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe(
        "articles", filter=Q(status="published"), fields=["status"], on_event=events.append
    )
    never = server.admin.create_item("articles", {"status": "draft"})["id"]
    made = server.admin.create_item("articles", {"status": "draft"})["id"]
    server.admin.update_item("articles", made, {"status": "published"})
    await arrived(events, 1)
    server.admin.update_item("articles", made, {"title": "x"})
    await arrived(events, 2)
    server.admin.update_items("articles", [never, made], {"status": "draft"})
    await await_for(lambda: left(events))
    mark = server.admin.create_item("articles", {"status": "published"})["id"]
    await await_for(lambda: ("create", mark) in told(events))
    assert told(events) == [*[("update", made)] * 3, ("create", mark)]
    assert [event.left_filter for event in events] == [False, False, True, False]
    assert events[2].data == {"id": made, "status": "draft"}
    assert events[2].origin == "live"


async def test_t4_items_that_leave_at_once_and_come_back(
    server: Server, make_client: MakeClient
) -> None:
    """T4: half of a batch leaves; what comes back is an update again, with the newest row."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", filter=PUBLISHED, on_event=events.append)
    items = [{"status": "published"} for _ in range(20)]
    keys = [each["id"] for each in server.admin.create_items("articles", items)]
    await arrived(events, 20)
    feeds = [{"id": key, "title": "x", "status": "draft"} for key in keys[:10]]
    kept = [{"id": key, "title": "x"} for key in keys[10:]]
    server.admin.request("PATCH", "/items/articles", [*feeds, *kept])
    await await_for(lambda: len(left(events)) >= 10)
    assert sorted(left(events)) == keys[:10]
    back = keys[:3]
    server.admin.update_items("articles", back, {"status": "published", "title": "back"})
    await await_for(lambda: [key for key in back if not _last(events, key).left_filter] == back)
    assert {_last(events, key).data["title"] for key in back} == {"back"}  # type: ignore[index]
    assert sorted(left(events)) == keys[:10]


async def test_t4_what_leaves_and_returns_at_once_is_in_the_filter_in_the_end(
    server: Server, make_client: MakeClient
) -> None:
    """T4: whatever is seen of it, the last event tells the true state."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", filter=PUBLISHED, on_event=events.append)
    admin, items = server.admin, [{"status": "published"}] * 2
    stays, leaves = (each["id"] for each in admin.create_items("articles", items))
    await arrived(events, 2)

    def go_to_and_fro() -> None:
        for _ in range(5):
            for key, ways in ((stays, ["draft", "published"]), (leaves, ["published", "draft"])):
                for status in ways:
                    admin.update_item("articles", key, {"status": status})
        admin.update_item("articles", stays, {"title": "last"})

    await asyncio.to_thread(go_to_and_fro)
    await await_for(lambda: (_last(events, stays).data or {}).get("title") == "last")
    await await_for(lambda: _last(events, leaves).left_filter)
    assert not _last(events, stays).left_filter


async def test_t4_changes_in_the_filter_cost_no_read(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T4: Directus sends the message with the filter first, so nothing is suspected."""
    events: list[Event] = []
    read: list[int | str] = []

    async def noting(*query: Any) -> CurrentItems:
        read.extend(query[-1])
        return await read_current(*query)

    monkeypatch.setattr(feeds, "read_current", noting)
    client = await make_client(server)
    subscription = await client.subscribe("articles", filter=PUBLISHED, on_event=events.append)
    items = [{"status": "published"} for _ in range(20)]
    keys = [each["id"] for each in server.admin.create_items("articles", items)]
    await arrived(events, 20)
    for key in keys:
        await asyncio.to_thread(server.admin.update_item, "articles", key, {"title": "x"})
    server.admin.update_items("articles", keys, {"title": "y"})
    server.admin.update_item("articles", keys[0], {"status": "draft"})
    await await_for(lambda: left(events) and subscription.feed.leaving.is_idle)
    assert read == [keys[0]]


async def test_t4_two_subscriptions_see_one_change_each_in_its_way(
    server: Server, make_client: MakeClient
) -> None:
    """T4: what leaves one filter joins another."""
    published: list[Event] = []
    drafts: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", filter=PUBLISHED, on_event=published.append)
    await client.subscribe("articles", filter={"status": {"_eq": "draft"}}, on_event=drafts.append)
    made = server.admin.create_item("articles", {"status": "published"})["id"]
    await arrived(published, 1)
    server.admin.update_item("articles", made, {"status": "draft"})
    await await_for(lambda: left(published) and drafts)
    server.admin.update_item("articles", made, {"status": "published"})
    await await_for(lambda: left(drafts) and len(published) == 3)
    assert told(published) == [("create", made), ("update", made), ("update", made)]
    assert [event.left_filter for event in published] == [False, True, False]
    assert [event.left_filter for event in drafts] == [False, True]


async def test_t4_a_limited_user_is_told_of_what_may_be_read(
    server: Server, make_client: MakeClient
) -> None:
    """T4: an item that leaves the filter is told; one that may not be read any more is not."""
    events: list[Event] = []
    client = await make_client(server, token=server.reader_token)
    title = {"_eq": "limited"}
    await client.subscribe("articles", filter={"title": title}, on_event=events.append)
    item = {"status": "published", "title": "limited"}
    leaves, hidden = (each["id"] for each in server.admin.create_items("articles", [item] * 2))
    await arrived(events, 2)
    server.admin.update_item("articles", hidden, {"status": "draft", "title": "x"})
    server.admin.update_item("articles", leaves, {"title": "x"})
    await await_for(lambda: leaves in left(events))
    assert told(events[:2]) == [("create", leaves), ("create", hidden)]
    may_read_all = server.major >= 12  # where the reader has no rule
    assert left(events) == ([hidden, leaves] if may_read_all else [leaves])


async def test_t4_t16_an_item_leaves_the_filter_under_a_query_limit(
    tuned_server: Server, make_client: MakeClient
) -> None:
    """T4, T16: where updates are read by key the same is told, of a whole batch."""
    events: list[Event] = []
    admin = tuned_server.admin
    client = await make_client(tuned_server)
    await client.subscribe("articles", filter=PUBLISHED, on_event=events.append)
    items = [{"status": "published"} for _ in range(BATCH)]
    # In a thread: this server ends a socket that is silent for a second or two.
    made = await asyncio.to_thread(admin.create_items, "articles", items)
    keys = await _all_keys(tuned_server, len(made), made)
    await arrived(events, BATCH)
    data = {"keys": keys, "data": {"status": "draft"}}
    await asyncio.to_thread(admin.request, "PATCH", "/items/articles", data)
    await await_for(lambda: len(left(events)) >= BATCH)
    assert sorted(left(events)) == keys
    assert len(events) == 2 * BATCH


def _last(events: list[Event], key: int | str) -> Event:
    return [event for event in events if event.key == key][-1]


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
    assert len(queries) == 7
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
    change = {"keys": keys, "data": {"title": "new"}}
    # Meanwhile the socket answers the server's pings, or it would be closed.
    changing = asyncio.to_thread(admin.request, "PATCH", "/items/articles", change)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(changing)
        received = [await wire.receive() for _ in "ab"]
    sizes = {each["uid"]: len(each["data"]) for each in received}
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


async def test_aggregates_in_groups(server: Server, make_client: MakeClient) -> None:
    """Counts and sums of all that match, and of each group of them."""
    client = await make_client(server)
    author = server.admin.create_item("authors", {"name": "Grouped"})["id"]
    items = [("grouped", "draft"), ("grouped", "draft"), ("grouped", "published"), ("x", "draft")]
    server.admin.create_items(
        "articles",
        [{"title": title, "status": status, "author": author} for title, status in items],
    )
    asked = {"filter": Q(title="grouped"), "aggregate": {"count": "*", "sum": "author"}}
    (whole,) = await client.read_items("articles", **asked)
    assert whole == {"count": 3, "sum": {"author": 3 * author}}
    groups = await client.read_items("articles", **asked, groupBy=["status"], sort=["status"])
    assert groups == [
        {"status": "draft", "count": 2, "sum": {"author": 2 * author}},
        {"status": "published", "count": 1, "sum": {"author": author}},
    ]


async def test_what_our_client_writes(server: Server, make_client: MakeClient) -> None:
    """Items of a collection, made, changed and deleted by key."""
    client = await make_client(server)
    made = await client.create_item("articles", {"title": "one"}, fields=["id", "title"])
    assert made == {"id": made["id"], "title": "one"}
    changed = await client.update_item("articles", made["id"], {"title": "two"}, fields=["title"])
    assert changed == {"title": "two"}
    await client.delete_item("articles", made["id"])
    with pytest.raises(RequestRefused, match="permission"):
        await client.read_item("articles", made["id"])


async def test_what_a_reader_may_not_write(server: Server, make_client: MakeClient) -> None:
    """Refused with the server's sentence, and nothing is changed."""
    client = await make_client(server, token=server.reader_token)
    made = server.admin.create_item("articles", {"title": "kept", "status": "published"})["id"]
    with pytest.raises(RequestRefused, match="permission"):
        await client.create_item("articles", {"title": "one"})
    with pytest.raises(RequestRefused, match="permission"):
        await client.update_item("articles", made, {"title": "two"})
    with pytest.raises(RequestRefused, match="permission"):
        await client.delete_item("articles", made)
    assert server.admin.request("GET", f"/items/articles/{made}")["title"] == "kept"


async def test_notifications_of_one_user(server: Server, make_client: MakeClient) -> None:
    """They begin in the inbox, and an event has what a row filter by the recipient needs."""
    events: list[Event] = []
    client = await make_client(server)
    (me,) = await client.read_items("directus_users", filter=Q(email=server.email), fields=["id"])
    fields = ["id", "status", "recipient", "subject"]
    mine = Q(recipient=me["id"])
    await client.subscribe(
        "directus_notifications", filter=mine, fields=fields, on_event=events.append
    )
    new = {"recipient": me["id"], "subject": "Hello", "message": "There is news"}
    made = await client.create_item("directus_notifications", new, fields=fields)
    expected = {**made, "status": "inbox", "recipient": me["id"], "subject": "Hello"}
    assert made == expected
    await client.update_item("directus_notifications", made["id"], {"status": "archived"})
    await arrived(events, 2)
    assert [event.data for event in events] == [expected, {**expected, "status": "archived"}]
    await client.delete_item("directus_notifications", made["id"])
