"""Events of rows of the activity log, made of the items as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity import ActivityRow
from directus_realtime.client.items import CurrentItems
from directus_realtime.client.subscription import ClientSubscription
from directus_realtime.events import Action, Event, Key
from directus_realtime.listener.catch_up.caught import make_events
from directus_realtime.testing import FakeDirectus
from tests.helpers.waiting import await_for

NOTE = "7db06078-0000-4000-8000-000000000000"
OTHER = "7db06078-0000-4000-8000-000000000001"


def logged(number: int, action: Action, item: str = NOTE) -> ActivityRow:
    return ActivityRow(number, action, "notes", item, datetime.now(UTC))


async def made(client: DirectusClient, *rows: ActivityRow, **query: object) -> list[str]:
    subscription = await client.subscribe("notes", **query)
    events = await make_events(client, subscription, rows, "catch-up")
    return [event.action for event in events]


async def test_a_delete_of_an_item_that_is_back_makes_no_event(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    """Its return was live, and is delivered already."""
    await fake.create("notes", {"id": NOTE, "title": "back"})
    assert await made(client, logged(2, "delete")) == []
    assert await made(client, logged(1, "update"), logged(2, "delete")) == ["update"]


async def test_a_delete_makes_an_event_where_the_return_comes_after_it(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await fake.create("notes", {"id": NOTE, "title": "back"})
    rows = logged(1, "delete"), logged(2, "create")
    assert await made(client, *rows) == ["delete", "create"]


async def test_a_delete_of_an_item_that_is_gone_makes_an_event(client: DirectusClient) -> None:
    assert await made(client, logged(1, "create"), logged(2, "delete")) == ["delete"]


async def test_who_wants_deletes_alone_gets_each(
    client: DirectusClient, fake: FakeDirectus
) -> None:
    await fake.create("notes", {"id": NOTE, "title": "back"})
    assert await made(client, logged(2, "delete"), events=("delete",)) == ["delete"]


async def test_an_item_that_changes_while_another_one_is_read_again_is_read_again_too(
    client: DirectusClient, fake: FakeDirectus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what is handed on is older than its live event, which was handed on before."""
    for key in (NOTE, OTHER):
        await fake.create("notes", {"id": key, "title": "old"})
    live: list[Event] = []
    subscription = await client.subscribe("notes", on_event=live.append)
    read_current, changing = client.read_current, [NOTE, OTHER]

    async def disturbed(of: ClientSubscription, keys: Sequence[Key]) -> CurrentItems:
        items = await read_current(of, keys)
        if changing:
            key = changing.pop(0)
            await fake.update("notes", key, {"title": "new"})
            await await_for(lambda: [event for event in live if event.key == key])
        return items

    monkeypatch.setattr(client, "read_current", disturbed)
    rows = logged(1, "update"), logged(2, "update", OTHER)
    events = await make_events(client, subscription, rows, "catch-up")
    assert [(event.data or {})["title"] for event in events] == ["new", "new"]
