"""Many at once, and the rate limiter (chapter 12)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.events import Event
from directus_realtime.testing import FakeDirectus
from tests.contract.conftest import MakeClient, OpenWire
from tests.contract.servers import FakeServer, Server
from tests.contract.watching import arrived, states_of, told
from tests.helpers.waiting import await_for

MANY = 60


async def test_the_rate_limiter_drops_messages(
    rate_limited_server: Server, wire_to: OpenWire
) -> None:
    """The bare wire: an error without uid, and the message is gone."""
    wire = await wire_to(rate_limited_server)
    for number in range(30):
        await wire.send({"type": "ping", "uid": number})
    answers = [await wire.receive() for _ in range(30)]
    refused = [each for each in answers if each.get("status") == "error"]
    assert len(refused) == 10
    assert {each["error"]["code"] for each in refused} == {"REQUESTS_EXCEEDED"}
    assert not any("uid" in each for each in refused)


def test_an_administrator_waits_for_the_rate_limiter(rate_limited_server: Server) -> None:
    """A test that changes much does not fail for it."""
    admin = rate_limited_server.admin
    made = [admin.create_item("articles", {"title": str(number)}) for number in range(25)]
    assert [item["title"] for item in made] == [str(number) for number in range(25)]


async def test_many_subscriptions_under_the_rate_limiter(
    rate_limited_server: Server, make_client: MakeClient, address: dict[str, str]
) -> None:
    """All confirmed, in one connection; each then gets its change, once."""
    server = rate_limited_server
    events: dict[int, list[Event]] = {number: [] for number in range(MANY)}
    client = await make_client(server, headers=address)

    async def subscribe(number: int) -> None:
        await client.subscribe(
            "articles",
            events=["create"],
            filter={"title": {"_neq": f"title {number}"}},
            fields=["title"],
            on_event=events[number].append,
        )

    async with states_of(client) as states:
        await asyncio.wait_for(asyncio.gather(*map(subscribe, range(MANY))), 60)
        made = server.admin.create_item("articles", {"title": "x"})["id"]
        for each in events.values():
            await arrived(each, 1)
        assert states == ["connected"]
    assert {tuple(told(each)) for each in events.values()} == {(("create", made),)}


async def test_unsubscribing_under_the_rate_limiter(
    rate_limited_server: Server,
    make_client: MakeClient,
    said: list[dict[str, Any]],
    address: dict[str, str],
) -> None:
    """An unsubscribe that was dropped is said again; nothing of it is handed over before."""
    server = rate_limited_server
    ended: list[Event] = []
    kept: list[Event] = []
    client = await make_client(server, headers=address)
    subscriptions = [
        await client.subscribe(
            "articles",
            events=["create"],
            filter={"title": {"_neq": str(number)}},
            on_event=ended.append,
        )
        for number in range(7)
    ]
    await client.subscribe("articles", events=["create"], on_event=kept.append)
    said.clear()
    for subscription in subscriptions:
        client.unsubscribe(subscription)
    await await_for(lambda: len(_ended(said)) == 7, 20, "seven unsubscribes")
    server.admin.create_item("articles", {"title": "x"})
    await arrived(kept, 1)
    assert ended == []


def _ended(said: list[dict[str, Any]]) -> set[str]:
    return {each["uid"] for each in said if each["type"] == "unsubscribe"}


async def test_many_subscriptions_come_back_together(
    server: Server, make_client: MakeClient
) -> None:
    """60 at once and again after a cut: none lost, none double."""
    events: list[Event] = []
    client = await make_client(server, ping_interval=0.3, pong_timeout=1.0)
    subscriptions = await asyncio.gather(
        *(
            client.subscribe(
                "notes", filter={"title": {"_neq": str(number)}}, on_event=events.append
            )
            for number in range(MANY)
        )
    )
    server.freeze()
    try:
        await await_for(lambda: not client.is_connected)
    finally:
        server.thaw()
    await await_for(lambda: all(each.state == "subscribed" for each in subscriptions))
    note = server.admin.create_item("notes", {"title": "x"})["id"]
    await arrived(events, MANY)
    mark = server.admin.create_item("notes", {"title": "y"})["id"]
    await arrived(events, 2 * MANY)
    assert told(events).count(("create", note)) == told(events).count(("create", mark)) == MANY


@pytest.mark.fake_only
async def test_an_authentication_that_the_rate_limiter_dropped_is_said_again(
    server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """Chapter 12: ``auth`` is refused too, without another reply; the connection is kept."""
    assert isinstance(server, FakeServer)
    events: list[Event] = []
    client = await make_client(server, reply_timeout=2.0)
    await client.subscribe("articles", on_event=events.append)
    said.clear()

    async def expire_within_the_limit(fake: FakeDirectus) -> None:
        fake.rate_limit(1, 0.5)
        await fake.send_raw('{"type":"ping"}')  # its answer uses the only point up
        await fake.expire_tokens()

    async with states_of(client) as states:
        server.fake.call(expire_within_the_limit)
        try:
            await await_for(
                lambda: sum(each["type"] == "auth" for each in said) >= 2,
                what="a second attempt",
            )
        finally:
            server.fake.call(lambda fake: fake.rate_limit(None))
        await await_for(lambda: client.is_connected)
        made = server.admin.create_item("articles", {})["id"]
        await arrived(events, 1)
        assert told(events) == [("create", made)]
        assert states == ["connected", "reconnecting", "connected"]
