"""What is refused, and to whom an error belongs: T9, T10, T11."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from directus_realtime.client.rest import RestClient
from directus_realtime.events import Event
from directus_realtime.exceptions import (
    DirectusRealtimeError,
    EventFailed,
    RequestRefused,
    SubscriptionRefused,
)
from example_project.real_directus import DirectusAdmin
from tests.contract.conftest import MakeClient, OpenWire
from tests.contract.servers import PUBLISHED, Server
from tests.contract.watching import arrived, told
from tests.helpers.waiting import await_for

QUIET = 0.3  # seconds: the server says nothing
NO_ACCESS_TO = (
    'You don\'t have permission to access collection "{}" or it does not exist. Queried in root.'
)
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "an unknown collection": ("nothing", {}),
    "an unknown field": ("articles", {"fields": ["nothing"]}),
    "an unknown field of a relation": ("articles", {"fields": ["author.nothing"]}),
    "a filter on an unknown field": ("articles", {"filter": {"nothing": {"_eq": 1}}}),
    "an operator of another type": ("articles", {"filter": {"title": {"_intersects": {}}}}),
    "an unknown field to sort by": ("articles", {"sort": ["nothing"]}),
}
#: What Directus 10 takes for right over REST too, and sends events without.
FINE_ON_10 = {"an unknown field", "an unknown field of a relation"}


@pytest.mark.parametrize("what", BAD)
async def test_t9_t10_t11_refused_before_it_is_sent(
    what: str, server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """T9–T11: the socket would not tell; our client refuses with the server's sentence."""
    collection, query = BAD[what]
    client = await make_client(server)
    try:
        await client.read_items(collection, limit=1, **query)
    except RequestRefused as error:
        sentence = error.message
    else:
        sentence = ""
    if server.major == 10 and what in FINE_ON_10:
        assert sentence == ""
        await client.subscribe(collection, **query)
        return
    assert sentence
    with pytest.raises(SubscriptionRefused) as refused:
        await client.subscribe(collection, **query)
    assert refused.value.message == sentence
    assert [each for each in said if each["type"] == "subscribe"] == []
    assert client.is_connected


async def test_t9_t10_t11_refused_for_a_limited_user(
    server: Server, make_client: MakeClient, said: list[dict[str, Any]]
) -> None:
    """T3, T11: the socket would confirm; a collection that may not be read is refused."""
    client = await make_client(server, token=server.reader_token)
    for collection in ("secrets", "nothing"):
        for events in (("create", "update", "delete"), ("delete",)):
            with pytest.raises(SubscriptionRefused) as refused:
                await client.subscribe(collection, events=events)
            assert refused.value.code == "FORBIDDEN"
            if server.major > 10:
                assert refused.value.message == NO_ACCESS_TO.format(collection)
    assert [each for each in said if each["type"] == "subscribe"] == []


async def test_t10_some_bad_subscribes_are_never_answered(
    server: Server, wire_to: OpenWire
) -> None:
    """T10: an unknown collection, as administrator: silence on 10 and 11."""
    wire = await wire_to(server)
    await wire.send({"type": "subscribe", "collection": "nothing", "uid": "a"})
    if server.major >= 12:
        answer = await wire.receive()
        assert (answer["error"]["code"], answer["uid"]) == ("FORBIDDEN", "a")
        return
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wire.receive(), QUIET)


async def test_t11_with_event_nothing_is_checked(server: Server, wire_to: OpenWire) -> None:
    """T9, T11: confirmed at first, and then an error for each change."""
    wire = await wire_to(server)
    query = {"fields": ["id"], "filter": {"nothing": {"_eq": 1}}}
    answer = await wire.subscribe(event="create", uid="a", query=query)
    assert answer == {"type": "subscription", "event": "init", "uid": "a"}
    server.admin.create_item("articles", {"title": "x"})
    error = await wire.receive()
    assert (error["type"], error["status"]) == ("subscribe", "error")
    assert ("uid" in error) == server.errors_name_the_subscription


async def test_t9_an_error_of_an_event_reaches_its_owner_and_harms_no_other(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T9: with a uid to the subscription's ``on_error``, without one to the client's."""
    client_errors: list[DirectusRealtimeError] = []
    bad_errors: list[DirectusRealtimeError] = []
    good_errors: list[DirectusRealtimeError] = []
    events: list[Event] = []
    client = await make_client(server, on_error=client_errors.append)
    await client.subscribe("articles", on_event=events.append, on_error=good_errors.append)
    with monkeypatch.context() as patch:
        # As if the field was dropped after the check.
        patch.setattr(RestClient, "check_query", _accept)
        bad = await client.subscribe(
            "articles", filter={"nothing": {"_eq": 1}}, on_error=bad_errors.append
        )
    made = server.admin.create_item("articles", {"title": "x"})["id"]
    server.admin.update_item("articles", made, {"title": "y"})
    await arrived(events, 2)
    mine, others = (
        (bad_errors, client_errors)
        if server.errors_name_the_subscription
        else (client_errors, bad_errors)
    )
    await await_for(lambda: len(mine) == 2, what="an error for each change")
    assert all(isinstance(error, EventFailed) for error in mine)
    assert others == good_errors == []
    assert told(events) == [("create", made), ("update", made)]
    assert bad.state == "subscribed"
    assert client.is_connected


async def test_t9_an_error_of_an_event_does_not_refuse_another_subscribe(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T9: errors without uid come all the time while others are asked for, and are not theirs."""
    errors: list[DirectusRealtimeError] = []
    client = await make_client(server, on_error=errors.append)
    monkeypatch.setattr(RestClient, "check_query", _accept)
    bad = await client.subscribe("articles", filter={"nothing": {"_eq": 1}}, on_error=errors.append)
    made = server.admin.create_item("articles", {})["id"]
    done = asyncio.Event()

    async def change() -> None:
        with DirectusAdmin(server.url, server.token) as admin:
            while not done.is_set():
                await asyncio.to_thread(admin.update_item, "articles", made, {"title": "x"})

    changing = asyncio.create_task(change())
    try:
        for number in range(20):
            query = {"title": {"_neq": str(number)}}
            assert (await client.subscribe("notes", filter=query)).state == "subscribed"
        await await_for(lambda: len(errors) >= 5, what="errors")
    finally:
        done.set()
        await changing
    assert bad.state == "subscribed"


async def _accept(*arguments: object) -> None:
    """Check nothing."""


async def test_the_reader_gets_what_it_may_read(server: Server, make_client: MakeClient) -> None:
    """Permissions are the server's; on 12 the rule needs a licence, so there is none."""
    events: list[Event] = []
    client = await make_client(server, token=server.reader_token)
    await client.subscribe("articles", events=["create"], on_event=events.append)
    draft = server.admin.create_item("articles", {"status": "draft"})["id"]
    published = server.admin.create_item("articles", {"status": "published"})["id"]
    await await_for(lambda: ("create", published) in told(events))
    assert (("create", draft) in told(events)) == (server.major >= 12)


async def test_a_refused_subscription_can_be_had_when_it_is_right(
    server: Server, make_client: MakeClient
) -> None:
    """A refusal takes nothing with it: neither the uid nor the neighbours."""
    events: list[Event] = []
    client = await make_client(server)
    await client.subscribe("articles", uid="good", on_event=events.append)
    with pytest.raises(SubscriptionRefused):
        await client.subscribe("articles", uid="mine", filter={"nothing": {"_eq": 1}})
    await client.subscribe("articles", uid="mine", filter=PUBLISHED, on_event=events.append)
    made = server.admin.create_item("articles", {"status": "published"})["id"]
    await arrived(events, 2)
    assert told(events) == [("create", made)] * 2
