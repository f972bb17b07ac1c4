"""Subscribing and unsubscribing, also at odd moments and with odd values."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from directus_realtime.client import DirectusClient
from directus_realtime.events import Event
from directus_realtime.exceptions import (
    ConnectionFailed,
    CredentialsRefused,
    SubscriptionRefused,
)
from directus_realtime.protocol.queries import Query
from directus_realtime.testing import FakeDirectus, run_in_thread
from tests.helpers.waiting import await_for
from tests.integration.calling import RECONNECTING, create, take, titles, until_reconnected, within
from tests.integration.conftest import TIMEOUT, TOKEN, MakeClient, Stub

# Subscribing


async def test_a_subscribe_that_is_never_answered_is_refused(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client(reply_timeout=0.1)
    await within(client.connect())
    fake.drop_next_subscribe_reply()
    with pytest.raises(SubscriptionRefused, match=r"did not answer the subscription within 0\.1 s"):
        await within(client.subscribe("articles"))
    await fake.wait_for(lambda fake: not fake.subscriptions)  # had whole or not at all
    subscription = await within(client.subscribe("articles"))
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]


async def test_a_collection_that_does_not_exist_is_refused_with_the_servers_sentence(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    with pytest.raises(SubscriptionRefused, match="permission") as caught:
        await within(client.subscribe("nothing"))
    assert caught.value.code == "FORBIDDEN"
    assert client.subscriptions == []
    assert fake.subscriptions == []


async def test_a_field_that_does_not_exist_is_refused(client: DirectusClient) -> None:
    with pytest.raises(SubscriptionRefused, match="nofield"):
        await within(client.subscribe("articles", fields=["nofield"]))


async def test_the_rate_limit_is_waited_out(make_client: MakeClient, fake: FakeDirectus) -> None:
    client = make_client()
    await within(client.connect())
    fake.rate_limit(2, 0.15)
    subscriptions = await within(
        asyncio.gather(*(client.subscribe("articles", filter={"id": {"_gt": n}}) for n in range(3)))
    )
    fake.rate_limit(None)
    assert len(fake.subscriptions) == 12
    assert len({uid for _, _, uid in fake.subscriptions}) == 12
    await create(fake, "a")
    assert await titles(subscriptions[0], 1) == ["a"]


async def test_a_filter_that_is_too_long_for_a_url_leaves_nobody_waiting(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    """Whether it is confirmed or refused, it has an answer."""
    many = {"id": {"_in": list(range(20_000))}}
    asking = asyncio.create_task(client.subscribe("articles", filter=many))
    done, _ = await asyncio.wait({asking}, timeout=TIMEOUT)
    asking.cancel()
    assert done
    if not isinstance(asking.exception(), SubscriptionRefused):
        await create(fake, "a")
        assert await titles(asking.result(), 1) == ["a"]


async def test_no_action_at_all_leaves_nobody_waiting(client: DirectusClient) -> None:
    with pytest.raises((ValueError, SubscriptionRefused)):
        await within(client.subscribe("articles", events=[]))


async def test_a_subscribe_that_was_given_up_leaves_no_subscription(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    fake.drop_next_subscribe_reply()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.subscribe("articles"), 0.2)
    assert client.subscriptions == []


async def test_a_subscribe_that_waits_ends_with_the_connection(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    fake.drop_next_subscribe_reply()
    waiting = asyncio.create_task(client.subscribe("articles"))
    await fake.wait_for(lambda fake: fake.subscriptions)
    await client.disconnect()
    done, _ = await asyncio.wait({waiting}, timeout=1)
    waiting.cancel()
    assert done


async def test_a_subscription_made_while_disconnected_is_had_later(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    client = make_client()
    client.start()
    waiting = asyncio.create_task(client.subscribe("articles"))
    await asyncio.sleep(0)
    await within(client.connect())
    subscription = await within(waiting)
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]


async def test_a_subscribe_without_a_connection_waits_for_nothing(
    make_client: MakeClient,
) -> None:
    client = make_client()
    for _ in range(2):
        with pytest.raises(ConnectionFailed, match=r"not connected: await connect\(\) first"):
            await within(client.subscribe("articles"))
        assert client.subscriptions == []
        await within(client.connect())
        await within(client.disconnect())


async def test_a_subscribe_ends_with_a_connection_that_is_given_up(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    fake.refuse_tokens()
    client = make_client()
    client.start()
    for _ in range(2):  # while it is tried, and afterwards
        with pytest.raises(CredentialsRefused, match="Check TOKEN"):
            await within(client.subscribe("articles"))
    assert client.subscriptions == []


async def test_values_of_python_may_be_in_a_query(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    key = uuid.uuid4()
    await fake.create("notes", {"id": str(key), "title": "1.50"})
    subscription = await within(
        client.subscribe(
            "notes",
            filter={"title": {"_eq": Decimal("1.50")}, "id": {"_in": {key}}},
            item=key,  # type: ignore[arg-type]
            deep={"others": {"_filter": {"at": {"_lt": datetime(2024, 5, 1, tzinfo=UTC)}}}},
            snapshot=True,
        )
    )
    (event,) = await take(subscription, 1)
    assert (event.key, event.origin) == (str(key), "snapshot")


@pytest.mark.parametrize("what", ["events", "fields", "sort"])
async def test_a_text_is_not_taken_for_the_list_of_its_letters(
    client: DirectusClient, what: str
) -> None:
    options: Any = {what: "create"}
    with pytest.raises(ValueError, match=rf"{what} must be a list such as \['create'\]"):
        await within(client.subscribe("articles", **options))


async def test_an_option_that_does_not_exist_is_named_beside_those_that_do(
    client: DirectusClient,
) -> None:
    with pytest.raises(TypeError, match=r"no option 'query'.* filter, fields, sort, .*events"):
        await within(client.subscribe("articles", query={"fields": ["id"]}))


async def test_async_callbacks_are_refused(client: DirectusClient, fake: FakeDirectus) -> None:
    async def callback(news: Any) -> None:
        """Nobody would await it."""

    for name in ("on_event", "on_error"):
        options: Any = {name: callback}
        with pytest.raises(TypeError, match=f"{name} must not be async"):
            await within(client.subscribe("articles", **options))
    with pytest.raises(TypeError, match="on_error must not be async"):
        DirectusClient(fake.url, token=TOKEN, on_error=callback)  # type: ignore[arg-type]
    assert client.subscriptions == []


async def test_a_refusal_after_a_reconnect_is_told_to_the_log_where_nobody_listens(
    make_client: MakeClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(reply_timeout=0.1)
    await within(client.connect())
    first = await within(client.subscribe("articles", name="first"))
    second = await within(client.subscribe("articles", name="second"))
    with pytest.raises(SubscriptionRefused):
        await within(client.subscribe("nothing", name="told by the exception"))
    fake.drop_next_subscribe_reply()
    await fake.cut()
    await await_for(lambda: first.state == second.state == "refused")
    told = [getattr(r, "subscription", "") for r in caplog.records if r.levelname == "WARNING"]
    assert told == ["first", "second"]
    assert "did not answer the subscription" in caplog.text


async def test_an_iteration_after_the_end_ends_too(client: DirectusClient) -> None:
    subscription = await within(client.subscribe("articles"))
    readers = [asyncio.create_task(anext(aiter(subscription), None)) for _ in range(2)]
    await asyncio.sleep(0)
    client.unsubscribe(subscription)
    assert await within(asyncio.gather(*readers)) == [None, None]
    assert await within(anext(aiter(subscription), None)) is None


async def test_a_uid_is_taken_once(client: DirectusClient) -> None:
    await within(client.subscribe("articles", uid="mine"))
    with pytest.raises(ValueError, match="'mine' is taken"):
        await within(client.subscribe("notes", uid="mine"))
    assert len(client.subscriptions) == 1


async def test_a_filter_that_its_caller_changes_stays_what_was_asked_for(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    filter_ = {"status": {"_eq": "a"}}
    first = await within(client.subscribe("articles", filter=filter_))
    filter_["status"]["_eq"] = "b"
    second = await within(client.subscribe("articles", filter=filter_))
    await fake.cut()
    await fake.wait_for(lambda fake: not fake.subscriptions)
    await until_reconnected(client, fake, 8)
    await create(fake, "of a", status="a")
    await create(fake, "of b", status="b")
    assert await titles(first, 1) == ["of a"]
    assert await titles(second, 1) == ["of b"]
    client.unsubscribe(first)
    client.unsubscribe(second)
    await fake.wait_for(lambda fake: not fake.subscriptions)


async def test_a_time_in_a_filter_is_sent_as_a_text(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    await within(client.subscribe("articles", filter={"title": {"_neq": noon}}))
    (asked, *_) = [m for m in fake.received if m["type"] == "subscribe"]
    assert asked["query"]["filter"] == {"title": {"_neq": noon.isoformat()}}


@pytest.mark.parametrize("option", ["filter", "deep", "alias"])
async def test_what_cannot_be_sent_is_refused_at_once(client: DirectusClient, option: str) -> None:
    value: Any = {"title": {"_eq": object()}}
    with pytest.raises(ValueError, match="cannot be sent"):
        await within(client.subscribe("articles", **{option: value}))
    assert client.subscriptions == []


async def test_half_a_surrogate_pair_in_a_query_is_sent_as_json_has_it(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    subscription = await within(client.subscribe("articles", search="\ud800"))
    assert subscription.state == "subscribed"
    asked = [message for message in fake.received if message["type"] == "subscribe"]
    queries = [each["query"] for each in asked if "search" in each.get("query", {})]
    assert {query["search"] for query in queries} == {"\ud800"}


async def test_an_error_that_nobody_thought_of_leaves_nobody_waiting(
    client: DirectusClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*args: Any) -> None:
        raise LookupError("nobody thought of it")

    monkeypatch.setattr(client._connection.rest, "check_query", fail)
    with pytest.raises(SubscriptionRefused, match="LookupError"):
        await within(client.subscribe("articles"))
    await await_for(lambda: "nobody thought of it" in caplog.text)


async def test_what_was_refused_is_asked_for_again_by_the_next_who_wants_it(
    make_client: MakeClient, stub: Stub
) -> None:
    stub.on_socket = stub.answer
    client = make_client(stub.url)
    await within(client.connect())
    no = {"errors": [{"message": "No.", "extensions": {"code": "FORBIDDEN"}}]}
    stub.statuses["/items/articles"] = lambda: web.json_response(no, status=403)
    first = client.add(Query("articles"), name="first")
    await await_for(lambda: first.error)
    del stub.statuses["/items/articles"]
    second = await within(client.subscribe("articles"))
    assert first.state == second.state == "subscribed"


async def test_a_helper_for_one_action_takes_no_others(client: DirectusClient) -> None:
    with pytest.raises(TypeError, match="events"):
        await client.subscribe_to_create("articles", events=["delete"])  # type: ignore[call-arg]
    assert client.subscriptions == []


# Unsubscribing


async def test_unsubscribes_on_the_server(client: DirectusClient, fake: FakeDirectus) -> None:
    gone = await within(client.subscribe("articles"))
    kept = await within(client.subscribe("notes"))
    client.unsubscribe(gone)
    client.unsubscribe(gone)
    await fake.wait_for(lambda fake: {name for name, _, _ in fake.subscriptions} == {"notes"})
    assert [event async for event in gone] == []
    await fake.create("notes", {"title": "a"})
    assert await titles(kept, 1) == ["a"]


async def test_unsubscribes_by_uid(client: DirectusClient, fake: FakeDirectus) -> None:
    gone = await within(client.subscribe("articles", uid="mine"))
    kept = await within(client.subscribe("notes"))
    client.unsubscribe("another")
    client.unsubscribe("mine")
    assert gone.is_ended
    assert client.subscriptions == [kept]
    await fake.wait_for(lambda fake: {name for name, _, _ in fake.subscriptions} == {"notes"})


async def test_unsubscribes_all(client: DirectusClient, fake: FakeDirectus) -> None:
    await within(client.subscribe("articles"))
    await within(client.subscribe("notes"))
    client.unsubscribe_all()
    await fake.wait_for(lambda fake: not fake.subscriptions)
    assert client.subscriptions == []
    assert client.is_connected


async def test_what_was_unsubscribed_while_disconnected_is_not_asked_for_again(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    gone = await within(client.subscribe("articles"))
    await within(client.subscribe("notes"))
    await fake.stop_listening()
    await await_for(lambda: client.state is RECONNECTING)
    client.unsubscribe(gone)
    fake.received.clear()
    await fake.resume_listening()
    await until_reconnected(client, fake)
    asked = {m["collection"] for m in fake.received if m["type"] == "subscribe"}
    assert asked == {"notes"}


# The end of one


async def test_one_that_has_ended_does_not_end_the_next_with_its_uid(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    old = await within(client.subscribe("articles", uid="mine"))
    client.unsubscribe(old)
    new = await within(client.subscribe("articles", uid="mine"))
    client.unsubscribe(old)
    assert client.subscriptions == [new]
    await create(fake, "a")
    assert await titles(new, 1) == ["a"]


async def test_a_subscribe_that_is_ended_leaves_the_next_with_its_uid_alone(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    fake.drop_next_subscribe_reply()
    waiting = asyncio.create_task(client.subscribe("articles", uid="mine"))
    await fake.wait_for(lambda fake: fake.subscriptions)
    client.unsubscribe_all()
    new = client.add(Query("notes"), uid="mine", name="new")
    with pytest.raises(SubscriptionRefused, match="was ended"):
        await within(waiting)
    assert client.subscriptions == [new]


async def test_a_load_ends_with_its_subscription(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await fake.create("articles", [{"title": "x"} for _ in range(1100)])
    keys: list[Any] = []

    def take(event: Event) -> None:
        keys.append(event.key)
        client.unsubscribe_all()

    with pytest.raises(SubscriptionRefused, match="was ended"):
        await within(client.subscribe("articles", snapshot=True, on_event=take))
    assert len(keys) == 1


async def test_an_on_state_that_fails_ends_nothing(
    client: DirectusClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("in on_state")

    subscription = client.add(Query("articles"), name="mine", on_state=fail)
    await fake.wait_for(lambda fake: len(fake.subscriptions) == 3)
    await create(fake, "a")
    assert await titles(subscription, 1) == ["a"]
    assert "in on_state" in caplog.text


async def test_callbacks_that_meet_a_cancelled_task_end_nothing(
    make_client: MakeClient, fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*what: Any) -> None:
        raise asyncio.CancelledError

    client = make_client(on_error=fail)
    await within(client.connect())
    client.add(Query("articles"), name="bad", on_event=fail, on_error=fail, on_state=fail)
    good = await within(client.subscribe("articles"))
    await fake.send_raw("garbage")
    await create(fake, "a")
    await create(fake, "b")
    assert await titles(good, 2) == ["a", "b"]
    assert fake.connections == 1
    for callback in ("on_error of the client", "on_event of", "on_state of"):
        assert callback in caplog.text


def running() -> Counter[str]:
    """The names of the coroutines under way; a connection that is made again has the same ones."""
    coroutines = (task.get_coro() for task in asyncio.all_tasks())
    return Counter(getattr(each, "__qualname__", "") for each in coroutines)


async def test_who_gave_up_a_subscribe_leaves_nothing_that_asks_on(
    make_client: MakeClient, stub: Stub
) -> None:
    stub.on_socket = stub.answer
    stub.statuses["/fields/articles"] = lambda: web.json_response({"data": "odd"})
    client = make_client(stub.url)
    await within(client.connect())
    before = running()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.subscribe("articles"), 0.05)
    await await_for(lambda: running() <= before)


async def test_who_waits_for_a_connection_is_told_that_it_was_ended(
    make_client: MakeClient, fake: FakeDirectus
) -> None:
    await fake.stop_listening()
    client = make_client()
    connecting = asyncio.create_task(client.connect())
    await await_for(lambda: client.state is RECONNECTING)
    await client.disconnect()
    with pytest.raises(ConnectionFailed, match="was ended"):
        await within(connecting)


def test_a_client_may_be_used_in_one_event_loop_after_the_other() -> None:
    with run_in_thread(token=TOKEN) as fake:
        client = DirectusClient(fake.url, token=lambda: TOKEN)

        async def use() -> None:
            async with client:
                assert client.is_connected
                await asyncio.gather(
                    *(client.subscribe("articles", search=str(n)) for n in range(9))
                )

        for _ in range(3):
            asyncio.run(asyncio.wait_for(use(), 20))
