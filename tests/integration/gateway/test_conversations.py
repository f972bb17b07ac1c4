from __future__ import annotations

import pytest

from tests.integration.gateway.browsers import browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)


async def test_ping_is_answered_with_its_uid() -> None:
    async with browsing() as browser:
        await browser.send({"type": "ping", "uid": 7})
        assert await browser.next() == {"type": "pong", "uid": 7}


async def test_an_auth_message_means_nothing_and_is_accepted() -> None:
    async with browsing() as browser:
        await browser.send({"type": "auth", "access_token": "whatever", "uid": "a"})
        assert await browser.next() == {"type": "auth", "status": "ok", "uid": "a"}


async def test_a_browser_gets_the_events_of_an_offer() -> None:
    await offer()
    async with browsing() as browser:
        assert await browser.subscribe(uid="1") == {
            "type": "subscription",
            "event": "init",
            "data": [],
            "complete": False,
            "uid": "1",
        }
        await deliver(created := event(1), deleted := event(1, "delete"))
        assert await browser.next() == {
            "type": "subscription",
            "event": "create",
            "data": [{"id": 1, "title": "article 1"}],
            "id": created.id,
            "origin": "live",
            "uid": "1",
        }
        assert await browser.next() == {
            "type": "subscription",
            "event": "delete",
            "data": [1],
            "id": deleted.id,
            "origin": "live",
            "uid": "1",
        }
