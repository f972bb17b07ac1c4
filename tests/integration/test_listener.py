"""The listener, in this process, against what a real server cannot be told to do."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError
from django.db import connection as database_connection
from django.db.models import F
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.listener import active_listener, status
from directus_realtime.listener import listener as listener_module
from directus_realtime.listener.active_listener import StopTimedOut
from directus_realtime.listener.follower import gaps
from directus_realtime.listener.listener import Listener
from directus_realtime.listener.standby import candidate as candidate_module
from directus_realtime.listener.standby.lease import Fence
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    ListenerLease,
    ListenerProcess,
    LogPosition,
)
from directus_realtime.signals import (
    directus_event,
)
from directus_realtime.testing import FakeDirectus, FakeUser
from tests.helpers.waiting import await_for
from tests.integration.conftest import Stub
from tests.integration.listening import (
    TIMEOUT,
    TOKEN,
    Received,
    connection,
    create,
    following,
    listening,
    state_is,
    subscribe,
    until,
    until_subscribed,
)
from tests.unit.listener.conftest import store_event

pytestmark = pytest.mark.django_db(transaction=True)


class Hanging:
    """A receiver that comes back when it is told to."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.go_on = threading.Event()

    def receive(self, **kwargs: Any) -> None:
        self.has_begun.set()
        self.go_on.wait(TIMEOUT)


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    before = our_threads()
    hanging = Hanging()
    directus_event.connect(hanging.receive)
    yield hanging
    hanging.go_on.set()
    directus_event.disconnect(hanging.receive)
    # With their connections, which those would warn of that are tested next.
    await await_for(lambda: our_threads() <= before)


def our_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("directus-")}


async def test_a_change_becomes_a_signal(fake: FakeDirectus, received: Received) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
    row = await InboxEvent.objects.aget()
    assert row.state == "done"
    assert received.states == ["connected", "disconnected"]
    status = await ConnectionStatus.objects.aget()
    assert (status.state, status.version) == ("disconnected", "11.17.4")


async def test_stopping_in_the_middle_of_a_burst_loses_nothing_and_raises_nothing(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        for number in range(300):
            await create(fake, str(number))
        await await_for(lambda: received.titles)
    stored = [row.to_event() async for row in InboxEvent.objects.order_by("id")]
    titles = [(event.data or {})["title"] for event in stored]
    assert titles == [str(number) for number in range(len(titles))]
    assert received.titles == titles[: len(received.titles)]


async def test_subscriptions_change_on_the_same_socket(
    fake: FakeDirectus, received: Received
) -> None:
    row = await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await subscribe("more", collection="notes", on_delete=False)
        await until_subscribed(fake)
        await DirectusSubscription.objects.filter(pk=row.pk).aupdate(enabled=False)
        await until_subscribed(fake)
        await DirectusSubscription.objects.all().adelete()
        await until_subscribed(fake)
        assert [message["type"] for message in fake.received].count("auth") == 1


async def test_a_subscription_made_anew_under_its_old_name_shows_its_state(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until(state_is("all", "subscribed"))
        await DirectusSubscription.objects.all().adelete()
        await until_subscribed(fake)
        await subscribe()
        await until_subscribed(fake)
        await until(state_is("all", "subscribed"))


async def test_a_refused_subscription_is_told_and_takes_no_other_along(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe("bad", fields=["nofield"])
    await subscribe("good")
    async with listening(connection(fake.url)):
        await until_subscribed(fake, "good")
        await until(state_is("bad", "refused"))
        await until(state_is("good", "subscribed"))
        bad = await DirectusSubscription.objects.aget(name="bad")
        assert "nofield" in bad.last_error
        assert received.refusals == [("bad", bad.last_error)]
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])


async def test_garbage_is_counted_and_its_neighbours_are_delivered(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "before")
        for frame in ("garbage", "[]", '{"type":"x"}', b"\xff", '{"token":"hidden-1"}'):
            await fake.send_raw(frame)
        await create(fake, "behind")
        await await_for(lambda: received.titles == ["before", "behind"])
        await until(lambda: ConnectionStatus.objects.filter(errors=5).exists())
    assert "The frame is not JSON: garbage" in caplog.text
    assert "hidden-1" not in caplog.text


async def test_a_lost_connection_is_announced_and_what_changed_meanwhile_is_delivered(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    async with following(fake):
        await fake.stop_listening()
        await await_for(lambda: received.states == ["connected", "reconnecting"])
        await create(fake, "meanwhile")
        await fake.resume_listening()
        await await_for(lambda: received.titles == ["meanwhile"])
        await await_for(lambda: "1 event caught up, nothing is missing" in caplog.text)
    assert received.events[0].origin == "catch-up"
    assert received.states == ["connected", "reconnecting", "connected", "disconnected"]
    assert received.gaps == []


async def test_an_outage_that_took_long_is_announced_as_recovered(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "LONG", timedelta())
    await subscribe()
    async with following(fake):
        await fake.stop_listening()
        await await_for(lambda: received.states == ["connected", "reconnecting"])
        await fake.resume_listening()
        await await_for(lambda: received.gaps)
    (gap,) = received.gaps
    assert gap["since"] < gap["until"]
    assert (gap["recovered"], gap["collections"]) == (True, [])
    row = await LogPosition.objects.aget()
    assert (row.gap_since, row.gap_until) == (gap["since"], gap["until"])
    assert (row.gap_recovered, row.gap_reason) == (True, "")


async def test_a_lost_socket_is_no_outage(fake: FakeDirectus, received: Received) -> None:
    await subscribe()
    async with following(fake):
        await fake.cut()
        await fake.create("articles", {"title": "meanwhile"}, emit=False)
        await await_for(lambda: received.titles == ["meanwhile"])
        await until_subscribed(fake)
        await create(fake, "behind")
        await await_for(lambda: received.titles == ["meanwhile", "behind"])
    assert received.states == ["connected", "disconnected"]
    assert received.gaps == []


async def test_an_expired_token_loses_nothing(fake: FakeDirectus, received: Received) -> None:
    """The socket is silent between the expiry and the renewal."""
    await subscribe()
    async with following(fake):
        await fake.expire_tokens()
        await fake.create("articles", {"title": "meanwhile"}, emit=False)
        await await_for(lambda: received.titles == ["meanwhile"])
    assert received.gaps == []


async def test_odd_contents_reach_the_receivers(fake: FakeDirectus, received: Received) -> None:
    row = await subscribe()
    titles = ["nul \0", "half a pair \ud83d", "<script>", "x" * 100_000]
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await fake.create("articles", [{"title": title} for title in titles])
        await await_for(lambda: received.titles == titles)
        await until(lambda: DirectusSubscription.objects.filter(pk=row.pk, event_count=4).exists())


async def test_a_server_that_says_long_and_odd_things_is_written_down(
    stub: Stub, received: Received
) -> None:
    from aiohttp import web

    version = "11.17.4" + "x" * 500 + "\ud800\0"
    rest = {"authentication": "handshake", "path": "/websocket"}
    info = {"project": {}, "version": version, "websocket": {"rest": rest}}
    stub.statuses["/server/info"] = lambda: web.json_response({"data": info})
    stub.on_socket = stub.answer
    async with listening(connection(stub.url)) as task:
        await await_for(lambda: task.done() or received.states == ["connected"])
        await until(lambda: ConnectionStatus.objects.filter(state="connected").exists())


async def test_no_connection_that_can_be_had_ends_the_listener(
    fake: FakeDirectus, received: Received
) -> None:
    with pytest.raises(ConnectionImpossible, match="Check TOKEN"):
        await asyncio.wait_for(
            Listener([connection(fake.url, token="wrong")]).run(asyncio.Event()), TIMEOUT
        )
    status = await ConnectionStatus.objects.aget()
    assert status.state == "disconnected"
    assert "Check TOKEN" in status.reason


async def test_a_receiver_that_hangs_does_not_hide_what_ended_the_listener(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch, hanging: Hanging
) -> None:
    monkeypatch.setattr(active_listener, "STOP_TIMEOUT", 0.1)
    await sync_to_async(store_event)()
    await fake.stop_listening()
    listener = Listener([connection(fake.url, token="wrong")])
    task = asyncio.create_task(listener.run(asyncio.Event()))
    await await_for(hanging.has_begun.is_set)
    await fake.resume_listening()
    with pytest.raises(StopTimedOut) as caught:
        await asyncio.wait_for(task, TIMEOUT)
    assert isinstance(caught.value.ended_by, ConnectionImpossible)


async def test_one_connection_that_cannot_be_had_disturbs_no_other(
    fake: FakeDirectus, received: Received
) -> None:
    await subscribe()
    bad = connection(fake.url, alias="bad", token="wrong")
    async with listening(bad, connection(fake.url)) as task:
        await until_subscribed(fake)
        await create(fake, "a")
        await await_for(lambda: received.titles == ["a"])
        assert not task.done()


async def test_a_connection_that_was_refused_is_tried_again_while_others_go_on(
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Any,
) -> None:
    monkeypatch.setattr(active_listener, "REFUSED_AGAIN", 0.05)
    of_both = {"URL": "http://127.0.0.1", "TOKEN": TOKEN}
    settings.DIRECTUS_REALTIME = {"default": of_both, "late": of_both}
    late = FakeUser("late@example.com", "", token="of-yesterday", readable=None)
    await subscribe()
    await subscribe("late", connection="late")
    async with FakeDirectus(token=TOKEN, users=[late]) as fake:
        refused = connection(fake.url, alias="late", token="of-today")
        async with listening(connection(fake.url), refused):
            await await_for(lambda: "late  is tried again in 0.05 s" in caplog.text)
            late.token = "of-today"
            await until(state_is("late", "subscribed"))
            await until(ConnectionStatus.objects.filter(alias="late", state="connected").exists)
            await create(fake, "a")
            await await_for(lambda: received.titles == ["a", "a"])


async def test_a_listener_can_be_stopped_while_the_server_is_away(
    fake: FakeDirectus, received: Received
) -> None:
    await fake.stop_listening()
    async with listening(connection(fake.url)):
        await await_for(lambda: received.states == ["reconnecting"])
    assert received.states == ["reconnecting", "disconnected"]


# One active listener


def take_away(holder: uuid.UUID | None) -> Callable[[], int]:
    """Change the lease as another listener would; ``None`` gives it up again."""
    return lambda: ListenerLease.objects.update(holder=holder, token=F("token") + 1, beat=0)


async def change_lease(holder: uuid.UUID | None) -> None:
    await sync_to_async(take_away(holder))()


async def test_a_listener_has_a_lease_and_gives_it_up(
    fake: FakeDirectus, received: Received
) -> None:
    async with listening(connection(fake.url)):
        await await_for(lambda: received.states == ["connected"])
        lease = await ListenerLease.objects.aget()
        process = await ListenerProcess.objects.aget()
        assert (lease.holder, lease.token) == (process.id, 1)
        await until(lambda: ListenerProcess.objects.filter(role="active").exists())
    lease = await ListenerLease.objects.aget()
    assert (lease.holder, lease.token) == (None, 1)
    assert not await ListenerProcess.objects.aexists()


async def test_a_listener_that_lost_its_lease_ends_and_stands_by(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture, fast_lease: None
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    now = timezone.now()
    other = await ListenerProcess.objects.acreate(
        host="web-2", pid=7, role="active", started_at=now, heartbeat_at=now
    )
    async with listening(connection(fake.url)) as task:
        await until_subscribed(fake)
        await change_lease(other.id)
        await await_for(lambda: "standing by; web-2:7 is active" in caplog.messages)
        loss = "The lease is lost: web-2:7 is active now. Nothing more is delivered here."
        assert [r.levelname for r in caplog.records if r.getMessage() == loss] == ["WARNING"]
        await fake.wait_for(lambda fake: not fake.subscriptions, TIMEOUT)
        await until(lambda: ListenerProcess.objects.filter(role="standby").exists())
        await create(fake, "for the other one")
        assert not task.done()
        # It says nothing of the connection, which the other one has.
        assert received.states == ["connected"]

        await change_lease(None)
        await await_for(lambda: "active, with the fencing token 4" in caplog.messages)
        await until_subscribed(fake)
        await create(fake, "again")
        await await_for(lambda: "again" in received.titles)
    assert await InboxEvent.objects.filter(data_json__contains="again").acount() == 1


async def test_what_was_received_and_not_stored_when_the_lease_was_lost_is_not_stored(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Renewals come too late to notice; the inbox is the first that does.
    monkeypatch.setattr(candidate_module, "RENEW_INTERVAL", 1000)
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await change_lease(uuid.uuid4())
        await create(fake, "too late")
        await fake.wait_for(lambda fake: not fake.subscriptions, TIMEOUT)
    assert not await InboxEvent.objects.aexists()
    assert received.titles == []


async def test_a_database_that_is_away_for_the_lease_is_no_loss(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch, fast_lease: None
) -> None:
    failures = 0
    real = Fence.renew

    def renew(self: Fence) -> None:
        nonlocal failures
        if failures < 5:
            failures += 1
            raise OperationalError("connection refused")
        real(self)

    monkeypatch.setattr(Fence, "renew", renew)
    async with listening(connection(fake.url)):
        await until(lambda: ListenerLease.objects.filter(beat__gt=3).exists())
        assert failures == 5
        assert received.states == ["connected"]


async def test_a_receiver_that_hangs_does_not_keep_the_lease_from_being_renewed_or_lost(
    fake: FakeDirectus,
    received: Received,
    caplog: pytest.LogCaptureFixture,
    fast_lease: None,
    hanging: Hanging,
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "a")
        await await_for(hanging.has_begun.is_set)
        before = (await ListenerLease.objects.aget()).beat
        await until(lambda: ListenerLease.objects.filter(beat__gt=before + 3).exists())
        await change_lease(uuid.uuid4())
        await await_for(lambda: "standing by; another listener is active" in caplog.messages)
        assert not hanging.go_on.is_set()
        hanging.go_on.set()


async def stopping_without_the_lease(
    fake: FakeDirectus, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> asyncio.Task[None]:
    """A listener that is told to stop, whose receiver hangs since before the lease was lost."""
    caplog.set_level("INFO", "directus_realtime")
    await sync_to_async(store_event)()
    stopping = asyncio.Event()
    task = asyncio.create_task(Listener([connection(fake.url)]).run(stopping))
    await await_for(hanging.has_begun.is_set)
    await change_lease(uuid.uuid4())
    await await_for(lambda: "standing by; another listener is active" in caplog.messages)
    stopping.set()
    return task


async def test_a_receiver_that_comes_back_while_the_listener_stops_is_waited_for(
    fake: FakeDirectus,
    received: Received,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fast_lease: None,
    hanging: Hanging,
) -> None:
    monkeypatch.setattr(listener_module, "LEAVE_TIMEOUT", TIMEOUT)
    task = await stopping_without_the_lease(fake, hanging, caplog)
    await until(lambda: not ListenerProcess.objects.exists())  # it has said its last words
    assert not task.done()
    hanging.go_on.set()
    await asyncio.wait_for(task, TIMEOUT)


async def test_a_receiver_that_hangs_since_the_lease_was_lost_is_not_waited_for(
    fake: FakeDirectus,
    received: Received,
    caplog: pytest.LogCaptureFixture,
    fast_lease: None,
    hanging: Hanging,
) -> None:
    """Python would wait for its thread, and with it whoever sent SIGTERM."""
    task = await stopping_without_the_lease(fake, hanging, caplog)
    with pytest.raises(StopTimedOut) as caught:
        await asyncio.wait_for(task, TIMEOUT)
    assert caught.value.ended_by is None


async def test_standing_by_ends_at_once(fake: FakeDirectus, received: Received) -> None:
    await sync_to_async(ListenerLease.objects.create)(alias="default", holder=uuid.uuid4(), token=1)
    async with listening(connection(fake.url)):
        await until(lambda: ListenerProcess.objects.filter(role="standby").exists())
    assert not await ListenerProcess.objects.aexists()
    assert (await ListenerLease.objects.aget()).token == 1
    assert not fake.received


async def test_an_active_listener_that_stops_does_not_take_the_lease_again(
    fake: FakeDirectus, received: Received
) -> None:
    async with listening(connection(fake.url)):
        await await_for(lambda: received.states == ["connected"])
    assert (await ListenerLease.objects.aget()).token == 1


async def test_a_database_that_is_away_at_the_end_is_not_waited_for(
    fake: FakeDirectus,
    received: Received,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(candidate_module, "release", away)
    async with listening(connection(fake.url)):
        await await_for(lambda: received.states == ["connected"])
    assert "The lease could not be released: connection refused" in caplog.messages


async def test_tables_that_are_not_there_yet_are_asked_for(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = await sync_to_async(lambda: database_connection.introspection.table_names())()
    without = [name for name in real if name != ListenerLease._meta.db_table]
    monkeypatch.setattr(
        type(database_connection.introspection), "table_names", lambda self: without
    )
    with pytest.raises(ImproperlyConfigured, match=r"python manage\.py migrate"):
        await Listener([connection(fake.url)]).run(asyncio.Event())


async def test_standby_only_waits_for_another_listener(
    fake: FakeDirectus, received: Received, caplog: pytest.LogCaptureFixture, fast_lease: None
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    stopping = asyncio.Event()
    listener = Listener([connection(fake.url)], standby_only=True)
    task = asyncio.create_task(listener.run(stopping))
    await await_for(lambda: "standing by; nobody is active" in caplog.messages)
    await change_lease(uuid.uuid4())
    await await_for(lambda: "standing by; another listener is active" in caplog.messages)
    assert received.states == []
    await change_lease(None)
    await await_for(lambda: received.states == ["connected"])
    stopping.set()
    await asyncio.wait_for(task, TIMEOUT)


async def test_a_listener_that_waits_for_its_database_can_be_stopped(
    fake: FakeDirectus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(candidate_module, "check_tables", away)
    stopping = asyncio.Event()
    task = asyncio.create_task(Listener([connection(fake.url)]).run(stopping))
    await await_for(lambda: "The database is away (connection refused)" in caplog.text)
    stopping.set()
    await asyncio.wait_for(task, TIMEOUT)
    assert "could not be given up" not in caplog.text


async def test_where_tables_are_missing_no_lease_is_given_up(
    fake: FakeDirectus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImproperlyConfigured("Run: python manage.py migrate")

    def release(*args: Any) -> None:
        raise ProgrammingError("no such table")

    monkeypatch.setattr(candidate_module, "check_tables", missing)
    monkeypatch.setattr(candidate_module, "release", release)
    with pytest.raises(ImproperlyConfigured, match="migrate"):
        await Listener([connection(fake.url)]).run(asyncio.Event())


async def test_a_receiver_that_hangs_stops_neither_the_heartbeat_nor_the_inbox(
    fake: FakeDirectus, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "HEARTBEAT_INTERVAL", 0.05)
    entered, go_on = threading.Event(), threading.Event()

    def hang(sender: str, event: Event, **kwargs: Any) -> None:
        entered.set()
        assert go_on.wait(10)

    def beats_after(at: datetime) -> Callable[[], bool]:
        return lambda: ConnectionStatus.objects.filter(heartbeat_at__gt=at).exists()

    directus_event.connect(hang)
    await subscribe()
    try:
        async with listening(connection(fake.url)):
            await until_subscribed(fake)
            await create(fake, "a")
            await await_for(entered.is_set)
            try:
                await until(beats_after(timezone.now()))
                await create(fake, "b")
                await until(lambda: InboxEvent.objects.count() == 2)
            finally:
                go_on.set()
    finally:
        directus_event.disconnect(hang)


async def test_a_confirmation_is_told_however_soon_it_comes_again(
    fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")

    def times(text: str) -> int:
        return sum(text in message for message in caplog.messages)

    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await await_for(lambda: times("subscribed all:") == 1)
        for number in range(2, 6):
            await fake.stop_listening()
            await await_for(lambda wanted=number: times("reconnecting:") == wanted - 1)
            await fake.resume_listening()
            await await_for(lambda wanted=number: times("subscribed all:") == wanted)
    assert times("connected to") == 5


@pytest.mark.parametrize(("depth", "is_stored"), [(480, True), (850, False)])
async def test_data_that_are_nested_deep_are_delivered_to_all_or_reported(
    fake: FakeDirectus,
    received: Received,
    caplog: pytest.LogCaptureFixture,
    depth: int,
    is_stored: bool,
) -> None:
    for name in ("one", "two"):  # of the same query, which is asked for once
        await subscribe(name)
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        nested: list[Any] = []
        for _ in range(depth - 1):
            nested = [nested]
        await fake.create("articles", {"title": "deep", "status": nested})
        await create(fake, "behind")
        expected = ["deep", "deep", "behind", "behind"] if is_stored else ["behind", "behind"]
        await await_for(lambda: len(received.titles) == len(expected))
    assert received.titles == expected
    assert "reconnecting" not in received.states
    assert caplog.text.count("are nested deeper than") == (0 if is_stored else 2)
