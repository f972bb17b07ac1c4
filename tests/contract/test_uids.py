"""Subscriptions begin, end and keep apart: T12, T13."""

from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.events import Event
from tests.contract.conftest import MakeClient, OpenWire
from tests.contract.servers import PUBLISHED, Server
from tests.contract.watching import arrived, told
from tests.helpers.waiting import await_for


async def test_t12_a_uid_used_again_ends_the_old_subscription(
    server: Server, wire_to: OpenWire
) -> None:
    """T12: even when the new one is refused."""
    wire = await wire_to(server)
    await wire.subscribe(uid="a", query={"fields": ["id"], "limit": 0})
    bad = {"filter": {"nothing": {"_eq": 1}}}
    assert (await wire.subscribe(uid="a", query=bad))["status"] == "error"
    await wire.subscribe(uid="mark", event="create")
    server.admin.create_item("articles", {"title": "x"})
    assert [each["uid"] for each in await wire.until("mark")] == ["mark"]


async def test_t12_our_client_refuses_a_taken_uid(
    server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """T12: the old one stays, and nothing is sent twice under one uid."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", uid="mine", on_event=events.append)
    with pytest.raises(ValueError, match="taken"):
        await client.subscribe("articles", uid="mine", filter=PUBLISHED)
    server.admin.create_item("articles", {"title": "x"})
    await arrived(events, 1)
    uids = [each["uid"] for each in said if each["type"] == "subscribe"]
    assert len(uids) == len(set(uids)) == 3


async def test_t12_a_uid_that_was_given_back_can_be_used_at_once(
    server: Server, make_client: MakeClient
) -> None:
    """T12: the old subscription's end cannot take the new one's place away."""
    old: list[Event] = []
    new: list[Event] = []
    client = await make_client(server)
    for _ in range(3):
        subscription = await client.subscribe("articles", uid="mine", on_event=old.append)
        client.unsubscribe(subscription)
    await client.subscribe("notes", uid="mine", on_event=new.append)
    server.admin.create_item("articles", {"title": "x"})
    note = server.admin.create_item("notes", {"title": "x"})["id"]
    await arrived(new, 1)
    assert told(new) == [("create", note)]
    assert old == []


async def test_t13_unsubscribe_without_a_uid_ends_all(server: Server, wire_to: OpenWire) -> None:
    """T13: on the bare wire."""
    wire = await wire_to(server)
    await wire.subscribe(uid="a", event="create")
    await wire.subscribe(uid="b", event="create")
    await wire.ask({"type": "unsubscribe"})
    await wire.subscribe(uid="mark", event="create")
    server.admin.create_item("articles", {"title": "x"})
    assert [each["uid"] for each in await wire.until("mark")] == ["mark"]


async def test_t13_our_client_ends_one_and_keeps_the_others(
    server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """T13: every unsubscribe names its uid."""
    ended: list[Event] = []
    kept: list[Event] = []
    client = await make_client(server)
    first = await client.subscribe("articles", filter=PUBLISHED, on_event=ended.append)
    await client.subscribe("articles", on_event=kept.append)
    client.unsubscribe(first)
    client.unsubscribe(first)
    made = server.admin.create_item("articles", {"status": "published"})["id"]
    await arrived(kept, 1)
    assert told(kept) == [("create", made)]
    assert ended == []
    await await_for(lambda: sum(each["type"] == "unsubscribe" for each in said) == 4)
    assert all(each.get("uid") for each in said if each["type"] == "unsubscribe")


async def test_unsubscribe_all_ends_every_iteration(
    server: Server, make_client: MakeClient
) -> None:
    """The connection stays, and can be used for new subscriptions."""
    events: list[Event] = []
    client = await make_client(server)
    subscriptions = [await client.subscribe(name) for name in ("articles", "notes")]
    client.unsubscribe_all()
    for subscription in subscriptions:
        assert [event async for event in subscription] == []
    assert client.subscriptions == []
    assert client.is_connected
    await client.subscribe("articles", on_event=events.append)
    made = server.admin.create_item("articles", {"title": "x"})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", made)]


async def test_unsubscribed_while_away_is_not_asked_for_again(
    server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """And one that was asked for while the server was away is."""
    events: list[Event] = []
    client = await make_client(server, ping_interval=0.2, pong_timeout=0.4, connect_timeout=1.0)
    gone = await client.subscribe("articles", uid="gone", on_event=events.append)
    server.freeze()
    try:
        await await_for(lambda: not client.is_connected)
        client.unsubscribe(gone)
        said.clear()
    finally:
        server.thaw()
    await client.subscribe("notes", uid="new", on_event=events.append)
    server.admin.create_item("articles", {"title": "x"})
    note = server.admin.create_item("notes", {"title": "x"})["id"]
    await arrived(events, 1)
    assert told(events) == [("create", note)]
    asked = {each["uid"] for each in said if each["type"] == "subscribe"}
    assert {uid.partition(".")[0] for uid in asked} == {"new"}


async def test_many_consumers_of_one_client_each_get_their_own(
    server: Server, make_client: MakeClient
) -> None:
    """Two that ask the same both hear of it; each event says whose it is."""
    first: list[Event] = []
    second: list[Event] = []
    client = await make_client(server)
    one = await client.subscribe("articles", name="one", on_event=first.append)
    await client.subscribe("articles", name="two", on_event=second.append)
    made = server.admin.create_item("articles", {"title": "x"})["id"]
    await arrived(first, 1)
    await arrived(second, 1)
    assert [(e.subscription, e.key) for e in first + second] == [("one", made), ("two", made)]
    client.unsubscribe(one)
    server.admin.update_item("articles", made, {"title": "y"})
    await arrived(second, 2)
    assert told(second) == [("create", made), ("update", made)]
    assert len(first) == 1
