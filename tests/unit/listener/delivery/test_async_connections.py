"""What ``async def`` receivers do with a database that hangs up."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from directus_realtime.events import Event
from directus_realtime.models import InboxEvent
from tests.helpers.waiting import await_for
from tests.sample.models import Effect
from tests.unit.listener.conftest import Receivers, RunDelivery, ToAnother, store_event

astore = sync_to_async(store_event)


@pytest.fixture
def on_postgres(postgres: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(ToAnother, "alias", postgres)
    settings.DATABASE_ROUTERS = [ToAnother()]
    return postgres


async def test_async_receivers_get_over_a_lost_connection_to_the_database(
    receivers: Receivers, deliver: RunDelivery, on_postgres: str
) -> None:
    """It belongs to a thread that nobody looks after: each later event would fail, too."""
    calls: list[str] = []

    async def work(event: Event, **kwargs: Any) -> None:
        calls.append((event.data or {})["title"])
        await Effect.objects.acreate(event_id=event.id, receiver="work")
        if calls == ["first"]:
            await sync_to_async(lambda: connections[on_postgres].connection.close())()

    receivers.connect(work)
    rows = [await astore(1, title) for title in ("first", "second")]
    async with deliver(attempts=3):
        await await_for(lambda: len(calls) >= 3)
    assert calls == ["first", "second", "second"]
    effects = {effect.event_id async for effect in Effect.objects.all()}
    assert effects == {row.event_id for row in rows}
    assert not await InboxEvent.objects.exclude(state="done").aexists()
    await sync_to_async(lambda: connections[on_postgres].close())()
