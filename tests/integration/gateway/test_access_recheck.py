from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore

from directus_realtime import Browsers, Subscription, register, subscriptions
from directus_realtime.client import DirectusClient
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.gateway import DirectusGateway, access_recheck
from directus_realtime.gateway.hub_tasks import current_hub
from directus_realtime.models import DirectusSubscription
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.gateway.browsers import Browser, browsing, deliver, event, offer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("often")]


@pytest.fixture
async def user() -> Any:
    return await User.objects.acreate_user("anna", "anna@example.com", "a-p4ssword")


async def is_forbidden(browser: Browser) -> bool:
    answer = await browser.next()
    return (answer["type"], answer["error"]["code"], answer["uid"]) == (
        "subscribe",
        "FORBIDDEN",
        "1",
    )


async def test_a_withdrawn_offer_ends_its_subscriptions() -> None:
    await offer()
    await offer("others", collection="others")
    async with browsing() as browser:
        await browser.subscribe(uid="1")
        await browser.subscribe("others", uid="2")
        await DirectusSubscription.objects.filter(name="articles").aupdate(browser_access="nobody")
        assert await is_forbidden(browser)
        await deliver(event(1), kept := event(1, name="others", collection="others"))
        assert (await browser.next())["id"] == kept.id
        assert (await browser.subscribe(uid="1"))["error"]["code"] == "FORBIDDEN"


async def test_a_changed_offer_ends_its_subscriptions_and_can_be_had_again() -> None:
    await offer()
    async with browsing() as browser:
        await browser.subscribe(uid="1")
        await DirectusSubscription.objects.aupdate(fields=["id"])
        assert await is_forbidden(browser)
        await browser.subscribe(uid="1")
        await deliver(event(1))
        assert (await browser.next())["data"] == [{"id": 1}]


async def test_a_deactivated_user_gets_nothing_more(user: User) -> None:
    await offer(browser_access="signed_in")
    async with browsing(user=user) as browser:
        await browser.subscribe(uid="1")
        await User.objects.aupdate(is_active=False)
        assert await is_forbidden(browser)
        await deliver(event(1))
        assert await browser.is_silent()


async def test_a_user_who_loses_the_permission_gets_nothing_more(user: User) -> None:
    permission = await Permission.objects.aget(codename="view_user")
    await sync_to_async(user.user_permissions.add)(permission)
    await offer(browser_access="permission", browser_permission="auth.view_user")
    async with browsing(user=user) as browser:
        await browser.subscribe(uid="1")
        await sync_to_async(user.user_permissions.clear)()
        assert await is_forbidden(browser)


class Door:
    """A site's own decisions, which change."""

    def __init__(self) -> None:
        self.is_open = True
        self.keys = [1, 2]

    def allow(self, user: Any, subscription: Any, query: Any) -> bool:
        return self.is_open

    def rows(self, user: Any) -> dict[str, Any]:
        return {"id": {"_in": self.keys}}


class Machine:
    """Whom a site knows by a token, and Django does not."""


@sync_to_async
def declare(browsers: Browsers) -> None:
    fields = ["id", "title"]
    register(Subscription("articles", collection="articles", fields=fields, browsers=browsers))
    sync_declared()


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(subscriptions, "_declared", {})
    return Door()


@pytest.mark.parametrize("who", [None, Machine()], ids=["nobody", "by a token"])
async def test_a_function_is_asked_again_about_those_who_are_no_users(door: Door, who: Any) -> None:
    await declare(Browsers(door.allow))
    gateway = DirectusGateway.as_asgi(authenticate=lambda token, scope: who)
    async with browsing(gateway) as browser:
        if who is not None:
            await browser.send({"type": "auth", "access_token": "x"})
            await browser.next()
        assert (await browser.subscribe(uid="1"))["event"] == "init"
        door.is_open = False
        assert await is_forbidden(browser)
        await deliver(event(1))
        assert await browser.is_silent()


async def test_rows_are_asked_for_again_about_those_who_are_no_users(door: Door) -> None:
    await declare(Browsers("public", rows=door.rows))
    async with browsing() as browser:
        await browser.subscribe(uid="1")
        (subscription,) = next(iter(current_hub().connections)).subscriptions.values()
        was, door.keys = subscription.view, [2]
        await await_for(lambda: subscription.view is not was, what="a look at the rows")
        await deliver(event(1), event(2))
        assert (await browser.next())["data"] == [{"id": 2, "title": "article 2"}]


async def test_what_is_public_stays_for_a_user_who_is_gone(user: User) -> None:
    await offer()
    await offer("own", collection="own", browser_access="signed_in")
    async with browsing(user=user) as browser:
        await browser.subscribe(uid="public")
        await browser.subscribe("own", uid="1")
        await User.objects.all().adelete()
        assert await is_forbidden(browser)
        await deliver(event(1))
        assert (await browser.next())["uid"] == "public"


async def test_a_user_of_the_sites_own_middleware_stays(user: User) -> None:
    """Such a user comes without having signed in with the session, which may be there."""
    await offer(browser_access="signed_in")
    async with browsing(user=user, session=SessionStore()) as browser:
        await browser.subscribe(uid="1")
        was = user.last_name
        await User.objects.aupdate(last_name="changed")
        connection = next(iter(current_hub().connections))
        await await_for(lambda: connection.user.last_name != was, what="a look at the users")
        await deliver(event(1))
        assert (await browser.next())["uid"] == "1"


async def test_what_a_look_at_the_users_has_not_seen_yet_ends_too(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins while the look is going on, which finds that the user is none any more."""
    decide, looks = access_recheck._decide, 0

    def of_a_moment_ago(offers: Any, wanted: Any, now: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 1:
            User.objects.update(is_active=False)
            wanted = [(connection, []) for connection, _ in wanted]
        return decide(offers, wanted, now)

    await offer(browser_access="signed_in")
    async with browsing(user=user) as browser:
        await browser.subscribe(uid="1")
        monkeypatch.setattr(access_recheck, "_decide", of_a_moment_ago)
        assert await is_forbidden(browser)


async def test_a_subscription_is_not_begun_for_a_user_who_is_gone_meanwhile(
    user: User, on_fake: FakeDirectus, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, may_end, read_newest = asyncio.Event(), asyncio.Event(), DirectusClient.read_newest

    async def held_up(self: DirectusClient, *arguments: Any) -> Any:
        reads.set()
        await may_end.wait()
        return await read_newest(self, *arguments)

    monkeypatch.setattr(DirectusClient, "read_newest", held_up)
    await offer(browser_access="signed_in", browser_first_load=2)
    async with browsing(user=user) as browser:
        await browser.send({"type": "subscribe", "collection": "articles", "uid": "1"})
        await reads.wait()
        await User.objects.aupdate(is_active=False)
        connection = next(iter(current_hub().connections))
        await await_for(lambda: not connection.user.is_authenticated, what="a look at the users")
        may_end.set()
        assert await is_forbidden(browser)


async def test_who_says_to_be_somebody_else_meanwhile_is_not_taken_for_the_one_before(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await User.objects.acreate_user("ben")
    decide, looks = access_recheck._decide, 0

    def late(offers: Any, wanted: Any, now: Any) -> Any:
        nonlocal looks
        looks += 1
        decided = decide(offers, wanted, now)
        if looks == 1:
            wanted[0][0].user = other
        return decided

    async with browsing(user=user):
        connection = next(iter(current_hub().connections))
        monkeypatch.setattr(access_recheck, "_decide", late)
        await await_for(lambda: looks >= 3, what="three looks at the users")
        assert connection.user == other
