from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from directus_realtime.gateway import sse
from directus_realtime.models import DirectusSubscription
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.gateway.browsers import TIMEOUT, browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)


class Events:
    """An ``EventSource``."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._chunks = aiter(response.streaming_content)

    async def next(self) -> dict[str, str]:
        """The fields of the next event; comments and those about the connection are left out."""
        while True:
            async with asyncio.timeout(TIMEOUT):
                text = (await anext(self._chunks)).decode()
            assert text.endswith("\n\n")
            fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
            if fields.get("event") not in {None, "connection"}:
                return fields

    async def close(self) -> None:
        """Leave, as a server does when the browser has."""
        await sync_to_async(self._response.close)()


@asynccontextmanager
async def listening(query: str = "", user: Any = None, **headers: str) -> AsyncIterator[Events]:
    client = AsyncClient()
    if user is not None:
        await client.aforce_login(user)
    url = f"/directus/events/?collection=articles{query}"
    response = await client.get(url, headers=headers)
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/event-stream"
    events = Events(response)
    try:
        yield events
    finally:
        await events.close()
        await await_for(hub_has_ended, TIMEOUT, "the hub to end")


def hub_has_ended() -> bool:
    return not any(task.get_name().startswith("directus-gateway") for task in asyncio.all_tasks())


async def test_events_come_as_a_stream() -> None:
    await offer()
    async with listening("&fields=title") as events:
        assert (await events.next())["event"] == "init"
        await deliver(created := event(1))
        told = await events.next()
    assert (told["event"], told["id"]) == ("create", created.id)
    assert json.loads(told["data"])["data"] == [{"title": "article 1"}]


async def test_a_stream_begins_with_the_newest_items(on_fake: FakeDirectus) -> None:
    await on_fake.create("articles", {"title": "first"})
    await offer(browser_first_load=5)
    async with listening() as events:
        assert json.loads((await events.next())["data"])["data"] == [{"id": 1, "title": "first"}]


async def test_a_browser_that_comes_back_gets_what_it_missed() -> None:
    await offer()
    seen, missed = event(1), event(2)
    await deliver(seen, missed)
    async with listening(**{"Last-Event-ID": seen.id}) as events:
        assert json.loads((await events.next())["data"])["resumed"] is True
        assert (await events.next())["id"] == missed.id


async def test_the_session_decides() -> None:
    await offer(browser_access="signed_in")
    response = await AsyncClient().get("/directus/events/?collection=articles")
    assert response.status_code == 403
    assert response.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
    async with listening(user=await User.objects.acreate_user("anna")) as events:
        assert (await events.next())["event"] == "init"


@pytest.mark.parametrize("query", ["?collection=articles&filter=[", "", "?collection=a&event=x"])
async def test_a_query_that_is_none_is_refused(query: str) -> None:
    await offer()
    assert (await AsyncClient().get(f"/directus/events/{query}")).status_code == 400


@pytest.mark.usefixtures("often")
async def test_a_withdrawn_offer_ends_the_stream() -> None:
    await offer()
    async with listening() as events:
        await events.next()
        await DirectusSubscription.objects.aupdate(enabled=False)
        assert (await events.next())["event"] == "refused"
        with pytest.raises(StopAsyncIteration):
            await events.next()


async def test_a_long_stream_ends_so_that_the_browser_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "STREAM_SIZE", 1000)
    await offer()
    async with listening() as events:
        await events.next()
        await deliver(event(1, data={"id": 1, "title": "x" * 1000}))
        await events.next()
        with pytest.raises(StopAsyncIteration):
            await events.next()


async def test_a_stream_that_nobody_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    await offer()
    async with listening() as events, browsing() as other:
        await other.subscribe()
        await events.next()
        big = {"id": 1, "title": "x" * 1_000_000}
        for _ in range(6):
            await deliver(event(1, data=big))
            await other.next()
            await other.send({"type": "pong"})
        with pytest.raises(StopAsyncIteration):  # also what was waiting is given up
            await events.next()


def test_wsgi_cannot_have_it() -> None:
    assert Client().get("/directus/events/?collection=articles").status_code == 501
