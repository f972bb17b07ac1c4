from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from directus_realtime.listener.follower import gaps
from directus_realtime.listener.metrics import metrics_server
from directus_realtime.models import ListenerLease
from directus_realtime.signals import directus_item_created
from directus_realtime.testing import FakeDirectus
from tests.helpers.metrics import Endpoint, endpoint
from tests.integration.listening import (
    connection,
    create,
    listening,
    subscribe,
    until_subscribed,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def metrics(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Endpoint]:
    monkeypatch.setattr(metrics_server, "SAMPLE_INTERVAL", 0.05)
    async with endpoint(monkeypatch, caplog) as found:
        yield found


@pytest.fixture
def failing() -> Iterator[str]:
    """A receiver that fails for new articles; gives its name."""

    def fail(**kwargs: Any) -> None:
        raise ValueError("it does not work")

    directus_item_created.connect(fail, sender="articles", weak=False)
    yield f"{fail.__module__}.{fail.__qualname__}"
    directus_item_created.disconnect(fail, sender="articles")


async def test_events_are_counted_and_their_delivery_is_timed(
    fake: FakeDirectus, metrics: Endpoint
) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await create(fake, "one")
        await create(fake, "two")
        found = await metrics.until(delivery_seconds_count=2, connected=1, active=1)
        await metrics.until_all({"unstored_events{}": 0})
    labels = "action=create,collection=articles,connection=default,origin=live"
    assert found[f"events_total{{{labels}}}"] == 2
    assert found["connects_total{connection=default}"] == 1
    assert found["connection_losses_total{connection=default}"] == 0
    assert metrics.read()["connected{connection=default}"] == 0
    assert metrics.read()["active{connection=default}"] == 0


async def test_failures_retries_and_dead_letters(
    fake: FakeDirectus, metrics: Endpoint, failing: str
) -> None:
    await subscribe()
    settings = connection(fake.url, retry_attempts=3, retry_base=0.01, retry_ceiling=0.01)
    async with listening(settings):
        await until_subscribed(fake)
        await create(fake, "one")
        found = await metrics.until_all(
            {
                "dead_letters_total{connection=default}": 1,
                "inbox_events{connection=default,state=dead}": 1,
            }
        )
    assert found["retries_total{connection=default}"] == 2
    assert found[f"receiver_failures_total{{receiver={failing}}}"] == 3
    assert found[f"receiver_seconds_count{{receiver={failing}}}"] == 3
    assert found["lag_seconds{connection=default}"] == 0


async def test_a_lost_connection_and_what_was_caught_up_in_one_line_of_the_log(
    fake: FakeDirectus,
    metrics: Endpoint,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gaps, "LONG", timedelta())
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await fake.stop_listening()
        await metrics.until_all({"connected{connection=default}": 0})
        await fake.create("articles", {"title": "meanwhile"}, emit=False)
        await fake.resume_listening()
        caught_up = "action=create,collection=articles,connection=default,origin=catch-up"
        found = await metrics.until_all(
            {
                f"events_total{{{caught_up}}}": 1,
                "gaps_total{connection=default,recovered=true}": 1,
                "connects_total{connection=default}": 2,
            }
        )
    assert found["connection_losses_total{connection=default}"] == 1
    assert found["gap_seconds_total{connection=default,recovered=true}"] > 0
    assert found["gaps_total{connection=default,recovered=false}"] == 0
    (story,) = [
        record for record in caplog.records if vars(record).get("event") == "followed-again"
    ]
    told = vars(story)
    assert (told["levelname"], told["connection"]) == ("INFO", "default")
    assert (told["events"], told["recovered"], told["collections"]) == (1, True, [])
    assert fake.url in told["reason"]
    assert story.getMessage() == (
        f"default  followed again after {told['seconds']:.1f} s ({told['reason']}): "
        "1 event caught up, nothing is missing"
    )


async def test_frames_that_come_to_grief(fake: FakeDirectus, metrics: Endpoint) -> None:
    await subscribe()
    async with listening(connection(fake.url)):
        await until_subscribed(fake)
        await fake.send_raw("garbage")
        await metrics.until_all({"errors_total{connection=default,kind=frame}": 1})


async def test_who_stands_by_says_so_and_nothing_of_the_inbox(
    fake: FakeDirectus, metrics: Endpoint
) -> None:
    lease = {"alias": "default", "holder": uuid.uuid4(), "token": 7}
    await ListenerLease.objects.acreate(**lease)
    async with listening(connection(fake.url)):
        found = await metrics.until(active=0, fencing_number=0, connected=0)
        assert not [name for name in found if name.startswith("lag_seconds")]
        await sync_to_async(ListenerLease.objects.update)(holder=None)
        await metrics.until(active=1, fencing_number=8, connected=1, lag_seconds=0)
    assert metrics.sampler.sample == []
