"""``directus_realtime.testing.listening``, the listener for users' own tests."""

from __future__ import annotations

import pytest

from directus_realtime.models import DirectusSubscription
from directus_realtime.testing import FakeDirectus
from directus_realtime.testing.listening import listening

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
