"""The WebSocket of the admin's live page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError
from django.test import Client
from django.utils import timezone

from directus_realtime.events import Event
from directus_realtime.gateway import group_subscriber, live_consumer
from directus_realtime.gateway.browser_connections import SERVER_ERROR
from directus_realtime.gateway.live_consumer import NOT_ALLOWED, LiveConsumer
from directus_realtime.groups import (
    connection_group_name,
    connection_message,
    event_message,
    group_name,
)
from tests.helpers.admin import subscription
from tests.helpers.waiting import await_for

pytestmark = pytest.mark.django_db(transaction=True)

RIGHTS = ("view_connectionstatus", "view_inboxevent")


@pytest.fixture(autouse=True)
def configured(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": "http://127.0.0.1:9", "TOKEN": "x"}}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@database_sync_to_async
def user(*rights: str, **values: Any) -> User:
    made = User.objects.create_user("watcher", **{"is_staff": True, **values})
    made.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return made


def socket_of(user: Any) -> WebsocketCommunicator:
    socket = WebsocketCommunicator(LiveConsumer.as_asgi(), "/directus/admin-live/")
    socket.scope["user"] = user
    return socket


async def send(event: Event, group: str = "") -> None:
    await get_channel_layer().group_send(
        group or group_name(event.collection), event_message(event)
    )


def event(key: int = 1, collection: str = "articles", **values: Any) -> Event:
    given = {"subscription": "all", "action": "update", "data": {"secret": "payload"}}
    return Event(connection="default", collection=collection, key=key, **{**given, **values})


async def test_it_tells_events_without_their_payload() -> None:
    await database_sync_to_async(subscription)()
    socket = socket_of(await user(*RIGHTS))
    assert (await socket.connect())[0]
    sent = event()
    await send(sent)
    frame = await socket.receive_json_from(5)
    (shown,) = frame["events"]
    assert (shown["id"], shown["collection"], shown["key"]) == (sent.id, "articles", "1")
    assert "payload" not in str(frame)
    assert not frame["left_out"]
    await socket.disconnect()


async def test_a_burst_is_a_frame_of_the_newest() -> None:
    await database_sync_to_async(subscription)()
    socket = socket_of(await user(*RIGHTS))
    await socket.connect()
    layer = get_channel_layer()
    for key in range(99):
        await layer.group_send(group_name("articles"), event_message(event(key)))
    shown: list[dict[str, Any]] = []
    left_out = False
    while not shown or shown[-1]["key"] != "98":
        frame = await socket.receive_json_from(5)
        assert len(frame["events"]) <= live_consumer.MOST
        shown += frame["events"]
        left_out = left_out or frame["left_out"]
    assert left_out or len(shown) == 99
    await socket.disconnect()


async def test_it_joins_the_groups_of_new_subscriptions(monkeypatch: Any) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.02)
    socket = socket_of(await user(*RIGHTS))
    await socket.connect()
    await database_sync_to_async(subscription)("own", collection="notes", group="own.group")
    layer = get_channel_layer()
    while "own.group" not in layer.groups:
        assert await socket.receive_nothing(0.05)
    await send(event(7, "notes"), "own.group")
    assert (await socket.receive_json_from(5))["events"][0]["key"] == "7"
    await socket.disconnect()
    assert not any(layer.groups.values())


async def test_what_the_layer_forgot_of_an_old_page_is_joined_anew(monkeypatch: Any) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(group_subscriber, "REJOIN_AFTER", 0.01)
    await database_sync_to_async(subscription)()
    socket = socket_of(await user(*RIGHTS))
    await socket.connect()
    get_channel_layer().groups.clear()  # as layers do after a day
    await await_for(lambda: len(get_channel_layer().groups) == 2)
    await send(event())
    assert (await socket.receive_json_from(5))["events"]
    await socket.disconnect()


async def test_it_tells_that_a_connection_has_changed() -> None:
    socket = socket_of(await user(*RIGHTS))
    await socket.connect()
    message = connection_message("default", "reconnecting", "a reason")
    await get_channel_layer().group_send(connection_group_name("default"), message)
    assert await socket.receive_json_from(5) == {"type": "connection", "connection": "default"}
    await socket.disconnect()


@pytest.mark.parametrize("rights", [(), *((right,) for right in RIGHTS)], ids=str)
async def test_it_is_for_those_who_may_see_the_page(rights: tuple[str, ...]) -> None:
    assert not (await socket_of(await user(*rights)).connect())[0]


async def test_it_is_for_staff() -> None:
    assert not (await socket_of(await user(*RIGHTS, is_staff=False)).connect())[0]
    assert not (await socket_of(AnonymousUser()).connect())[0]


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}], ids=str)
async def test_it_ends_when_the_right_is_gone(monkeypatch: Any, change: dict[str, bool]) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.02)
    watcher = await user(*RIGHTS)
    socket = socket_of(watcher)
    assert (await socket.connect())[0]
    await User.objects.filter(pk=watcher.pk).aupdate(**change)
    closed = await socket.receive_output(5)
    assert (closed["type"], closed["code"]) == ("websocket.close", NOT_ALLOWED)
    await socket.disconnect()


@database_sync_to_async
def signed_in(user: User) -> SessionStore:
    """The session of a browser in which somebody signed in."""
    client = Client()
    client.force_login(user)
    return SessionStore(client.session.session_key)


def sign_out(user: User) -> None:
    SessionStore().model.objects.all().delete()


def session_ends(user: User) -> None:
    SessionStore().model.objects.update(expire_date=timezone.now())


def change_password(user: User) -> None:
    user.set_password("another")
    user.save()


@pytest.mark.parametrize("change", [sign_out, session_ends, change_password])
async def test_it_ends_when_the_session_does(
    monkeypatch: Any, change: Callable[[User], None]
) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.02)
    watcher = await user(*RIGHTS)
    socket = socket_of(watcher)
    socket.scope["session"] = await signed_in(watcher)
    assert (await socket.connect())[0]
    await database_sync_to_async(change)(watcher)
    closed = await socket.receive_output(5)
    assert (closed["type"], closed["code"]) == ("websocket.close", NOT_ALLOWED)
    await socket.disconnect()


async def test_it_stays_while_the_session_does(monkeypatch: Any) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.01)
    await database_sync_to_async(subscription)()
    watcher = await user(*RIGHTS)
    for session in (await signed_in(watcher), SessionStore()):
        socket = socket_of(watcher)
        socket.scope["session"] = session
        assert (await socket.connect())[0]
        looks, may_watch = 0, live_consumer._may_watch

        async def counted(*args: Any) -> bool:
            nonlocal looks
            looks += 1
            return await may_watch(*args)  # noqa: B023

        with monkeypatch.context() as patched:
            patched.setattr(live_consumer, "_may_watch", counted)
            await await_for(lambda: looks >= 3, what="three looks at the rights")  # noqa: B023
        await send(event())
        assert (await socket.receive_json_from(5))["events"]
        await socket.disconnect()


FAILURES = [InterfaceError("connection already closed"), ConnectionError("away"), TypeError("bug")]


async def failing(error: Exception, *arguments: Any) -> Any:
    raise error


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_right_that_is_lost_counts_also_after_looks_that_failed(
    monkeypatch: Any, error: Exception
) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.02)
    watcher = await user(*RIGHTS)
    may_watch, looks = live_consumer._may_watch, 0

    async def fails_at_first(*args: Any) -> bool:
        nonlocal looks
        looks += 1
        if 1 < looks < 1 + live_consumer.MAX_FAILURES:
            raise error
        return await may_watch(*args)

    monkeypatch.setattr(live_consumer, "_may_watch", fails_at_first)
    socket = socket_of(watcher)
    assert (await socket.connect())[0]
    await User.objects.filter(pk=watcher.pk).aupdate(is_active=False)
    closed = await socket.receive_output(5)
    assert (closed["type"], closed["code"]) == ("websocket.close", NOT_ALLOWED)
    await socket.disconnect()


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_it_ends_when_the_right_cannot_be_looked_up(
    monkeypatch: Any, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.02)
    socket = socket_of(await user(*RIGHTS))
    assert (await socket.connect())[0]
    monkeypatch.setattr(live_consumer, "_may_watch", partial(failing, error))
    closed = await socket.receive_output(5)
    assert (closed["type"], closed["code"]) == ("websocket.close", SERVER_ERROR)
    assert (
        caplog.text.count("The live page's rights cannot be checked") == live_consumer.MAX_FAILURES
    )
    await socket.disconnect()


async def test_a_layer_that_goes_away_means_to_come_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(live_consumer, "CHECK_INTERVAL", 0.02)
    socket = socket_of(await user(*RIGHTS))
    assert (await socket.connect())[0]
    layer, away = get_channel_layer(), partial(failing, ConnectionError("away"))
    with monkeypatch.context() as patched:
        patched.setattr(layer, "group_add", away)
        patched.setattr(layer, "group_discard", away)
        await database_sync_to_async(subscription)("own", collection="notes", group="own.group")
        closed = await socket.receive_output(5)
        assert (closed["type"], closed["code"]) == ("websocket.close", SERVER_ERROR)
        await socket.disconnect()


async def test_a_page_that_cannot_be_told_of_events_is_to_come_again(monkeypatch: Any) -> None:
    await database_sync_to_async(subscription)()
    socket = socket_of(await user(*RIGHTS))
    assert (await socket.connect())[0]
    monkeypatch.setattr(LiveConsumer, "send_json", partial(failing, TypeError("bug")))
    await send(event())
    closed = await socket.receive_output(5)
    assert (closed["type"], closed["code"]) == ("websocket.close", SERVER_ERROR)
    await socket.disconnect()


async def test_what_the_page_says_is_ignored() -> None:
    await database_sync_to_async(subscription)()
    socket = socket_of(await user(*RIGHTS))
    await socket.connect()
    await socket.send_json_to({"type": "subscribe"})
    await socket.send_to(text_data="no JSON")
    await socket.send_to(bytes_data=b"x")
    await send(sent := event())
    assert (await socket.receive_json_from(5))["events"][0]["id"] == sent.id
    await socket.disconnect()
