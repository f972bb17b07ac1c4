"""Events of rows of the activity log, made of the items as they are now."""

from __future__ import annotations

from datetime import UTC, datetime

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity import ActivityRow
from directus_realtime.events import Action
from directus_realtime.listener.catch_up.caught import make_events
from directus_realtime.testing import FakeDirectus

NOTE = "7db06078-0000-4000-8000-000000000000"


def logged(number: int, action: Action) -> ActivityRow:
    return ActivityRow(number, action, "notes", NOTE, datetime.now(UTC))


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
