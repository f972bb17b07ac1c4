"""The demo's content, and its random changes."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from directus_realtime.testing import ThreadedFakeDirectus
from directus_realtime.testing.demo_articles import FEWEST, MOST, plain_title
from example_project.demo.changes import MOST_MESSAGES, MOST_UNREAD, ChangeStream
from example_project.demo.content import PEOPLE
from example_project.real_directus import DirectusAdmin
from tests.helpers.waiting import wait_for

PLAYED = {each.id for each in PEOPLE if each.is_played}


@pytest.fixture
def directus(fake: ThreadedFakeDirectus) -> Iterator[DirectusAdmin]:
    with DirectusAdmin(fake.url, fake.token) as admin:
        yield admin


@pytest.fixture
def stream(directus: DirectusAdmin) -> ChangeStream:
    return ChangeStream(directus, random.Random(1))


def test_articles__stay_within_limits(fake: ThreadedFakeDirectus, stream: ChangeStream) -> None:
    for _ in range(300):
        before = fake.items("articles")
        stream.make_change("articles")
        articles = fake.items("articles")
        assert articles != before
        assert FEWEST <= len(articles) <= MOST
        titles = [article["title"] for article in articles]
        assert len({plain_title(title) for title in titles}) == len(titles)
        assert max(map(len, titles)) < 60
    actions = {row["action"] for row in fake.items("directus_activity")}
    assert actions == {"create", "update", "delete"}


def test_articles__get_authors_by_key(fake: ThreadedFakeDirectus, stream: ChangeStream) -> None:
    fake.delete("authors", [1, 2, 3])
    fake.delete("articles", [item["id"] for item in fake.items("articles")])
    stream.make_change("articles")
    assert [item["author"] for item in fake.items("articles")] == [4]


def test_articles__of_visitors_are_changed_too(
    fake: ThreadedFakeDirectus, stream: ChangeStream
) -> None:
    fake.delete("articles", [item["id"] for item in fake.items("articles")])
    fake.create("articles", {"status": "in review"})
    for _ in range(60):
        stream.make_change("articles")
    articles = fake.items("articles")
    assert all(item["title"] and item["status"] != "in review" for item in articles)


def test_stream__goes_on_after_a_refusal(
    fake: ThreadedFakeDirectus, stream: ChangeStream, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = threading.Event()
    work = threading.Thread(target=stream.run, args=(stopped, 0.01))
    fake.call(lambda fake: fake.stop_listening())
    work.start()
    try:
        wait_for(lambda: "No change this time: " in caplog.text)
        before = fake.items("directus_activity")
        fake.call(lambda fake: fake.resume_listening())
        wait_for(lambda: fake.items("directus_activity") != before)
    finally:
        stopped.set()
        work.join(5)
    assert not work.is_alive()


def test_messages__those_of_visitors_stay_unchanged(
    fake: ThreadedFakeDirectus, stream: ChangeStream
) -> None:
    def of_visitors() -> list[object]:
        return [item for item in fake.items("messages") if item["author"] in PLAYED]

    before = of_visitors()
    assert len(before) == 2
    for _ in range(100):
        stream.make_change("messages")
        assert 0 < len(fake.items("messages")) - len(before) <= MOST_MESSAGES
    assert of_visitors() == before
    actions = Counter(
        row["action"] for row in fake.items("directus_activity") if row["collection"] == "messages"
    )
    assert set(actions) == {"create", "update", "delete"}


def test_orders__are_completed_with_their_time(
    fake: ThreadedFakeDirectus, stream: ChangeStream
) -> None:
    for _ in range(100):
        stream.make_change("orders")
    orders = fake.items("orders")
    assert {order["status"] for order in orders} == {"pending", "completed", "cancelled"}
    for order in orders:
        assert (order["completed_at"] is not None) is (order["status"] == "completed")
        assert order["total"] > 0
    assert sum(order["status"] == "pending" for order in orders) < 10


def test_notifications__never_fill_an_inbox(
    fake: ThreadedFakeDirectus, stream: ChangeStream
) -> None:
    for _ in range(20):
        stream.make_change("notifications")
    found = fake.items("directus_notifications")
    unread = Counter(each["recipient"] for each in found if each["status"] == "inbox")
    assert set(unread) == PLAYED
    assert set(unread.values()) == {MOST_UNREAD}


def test_content__has_a_past(fake: ThreadedFakeDirectus) -> None:
    moments = [each["date_created"] for each in fake.items("messages")]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)
