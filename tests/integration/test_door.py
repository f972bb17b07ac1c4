"""A knock at the door makes the listener read the log, where no socket and no clock does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from directus_realtime.models import ConnectionStatus, DirectusSubscription, DoorRing
from directus_realtime.testing import FakeCollection, FakeDirectus
from tests.helpers.waiting import await_for
from tests.integration.listening import (
    TOKEN,
    Received,
    connection,
    listening,
    subscribe,
    until,
)

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cret-of-the-door-0123456789abcdef"
RARELY = 600.0


@pytest.fixture
async def silent() -> AsyncIterator[FakeDirectus]:
    """A Directus without WebSockets."""
    collection = FakeCollection("articles", fields={"title": "string"})
    async with FakeDirectus([collection], TOKEN, websockets=False) as fake:
        yield fake


def _knock(secret: str = SECRET) -> int:
    content = json.dumps({"event": "articles.items.create", "collection": "articles"})
    headers = {"X-Door-Secret": secret}
    path, kind = "/directus/door/", "application/json"
    return Client().post(path, content, content_type=kind, headers=headers).status_code


async def test_a_knock_finds_a_change_that_nothing_else_announces(
    silent: FakeDirectus, received: Received, settings: Any
) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": silent.url, "DOOR_SECRET": SECRET}}
    await subscribe()
    rare = {"catch_up_interval": RARELY, "poll_interval": RARELY, "door_secret": SECRET}
    async with listening(connection(silent.url, **rare)):
        await until(DirectusSubscription.objects.filter(state="subscribed").exists)
        never = "It has not rung since the listener started."
        await until(ConnectionStatus.objects.filter(door_problem=never).exists)
        await silent.create("articles", {"title": "a"})
        assert await sync_to_async(_knock)("wrong") == 403
        assert await sync_to_async(_knock)() == 204
        await await_for(lambda: received.titles == ["a"])
        await until(ConnectionStatus.objects.filter(door_problem="").exists)
    assert (await DoorRing.objects.aget()).rings == 1
