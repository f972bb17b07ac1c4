"""``directus_realtime.testing.running_listener``, the listener for users' own tests."""

from __future__ import annotations

import pytest

from directus_realtime.models import DirectusSubscription, InboxEvent
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from directus_realtime.testing.running_listener import listening

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_refused_subscription_fails_the_block(fake: FakeDirectus) -> None:
    await DirectusSubscription.objects.acreate(name="wrong", collection="nothing")
    with pytest.raises(AssertionError, match=r"wrong was refused: You don't have permission"):
        async with listening(fake):
            pass
    assert fake.connections == 0


async def test_too_few_events_in_time(fake: FakeDirectus) -> None:
    await DirectusSubscription.objects.acreate(name="all", collection="articles")
    async with listening(fake) as listener:
        with pytest.raises(TimeoutError):
            await listener.delivered(1, timeout=0.2)
        await DirectusSubscription.objects.acreate(name="notes", collection="notes")
        await listener.subscribed()
        await fake.create("notes", {"title": "x"})
        await listener.delivered(1)


async def test_a_collection_without_accountability_is_announced_when_the_block_begins() -> None:
    await DirectusSubscription.objects.acreate(name="ledger", collection="ledger")
    ledger = FakeCollection("ledger", fields={"amount": "integer"}, accountability=None)
    async with FakeDirectus([ledger]) as fake, listening(fake) as listener:
        await fake.create("ledger", {"amount": 5})
        await listener.delivered(1)


async def test_keys_have_the_type_of_the_column_where_the_schema_cannot_be_read() -> None:
    await DirectusSubscription.objects.acreate(name="all", collection="articles")
    reader = FakeUser(
        "reader@example.com",
        "p4ssword",
        token="reader-token",
        readable={"articles": {}, "directus_activity": {}, "directus_collections": {}},
    )
    async with (
        FakeDirectus(users=[reader]) as fake,
        listening(fake, token="reader-token") as listener,
    ):
        article = await fake.create("articles", {"title": "x"})
        await listener.delivered(1)
        await fake.delete("articles", [article["id"]])
        await listener.delivered(2)
    events = [row.to_event() async for row in InboxEvent.objects.order_by("id")]
    assert [(each.action, each.key) for each in events] == [("create", 1), ("delete", 1)]
