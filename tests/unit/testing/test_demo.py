"""The demonstration's content, and those who change it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from directus_realtime.testing import ThreadedFakeDirectus, run_in_thread
from directus_realtime.testing.demo import Editor, Stream, chat, notices, shop
from directus_realtime.testing.demo.articles import FEWEST, MOST, plain_title
from directus_realtime.testing.demo.fake import demo_content
from directus_realtime.testing.demo.people import PEOPLE
from example_project.real_directus import DirectusAdmin
from tests.helpers.waiting import wait_for

PLAYED = {each.id for each in PEOPLE if each.is_played}


@pytest.fixture
def magazine() -> Iterator[ThreadedFakeDirectus]:
    with run_in_thread(**demo_content()) as fake:
        yield fake


@pytest.fixture
def directus(magazine: ThreadedFakeDirectus) -> Iterator[DirectusAdmin]:
    with DirectusAdmin(magazine.url, magazine.token) as admin:
        yield admin


@pytest.fixture
def editor(directus: DirectusAdmin) -> Editor:
    return Editor(directus, random.Random(1))


def test_editor__keeps_to_sensible_numbers(magazine: ThreadedFakeDirectus, editor: Editor) -> None:
    for _ in range(300):
        before = magazine.items("articles")
        editor.make_change()
        articles = magazine.items("articles")
        assert articles != before
        assert FEWEST <= len(articles) <= MOST
        titles = [article["title"] for article in articles]
        assert len({plain_title(title) for title in titles}) == len(titles)
        assert max(map(len, titles)) < 60
    actions = {row["action"] for row in magazine.items("directus_activity")}
    assert actions == {"create", "update", "delete"}


def test_editor__gives_authors_by_key(magazine: ThreadedFakeDirectus, editor: Editor) -> None:
    magazine.delete("authors", [1, 2, 3])
    magazine.delete("articles", [item["id"] for item in magazine.items("articles")])
    editor.make_change()
    assert [item["author"] for item in magazine.items("articles")] == [4]


def test_editor__copes_with_articles_of_others(
    magazine: ThreadedFakeDirectus, editor: Editor
) -> None:
    magazine.delete("articles", [item["id"] for item in magazine.items("articles")])
    magazine.create("articles", {"status": "in review"})
    for _ in range(60):
        editor.make_change()
    articles = magazine.items("articles")
    assert all(item["title"] and item["status"] != "in review" for item in articles)


def test_stream__goes_on_after_a_refusal(
    magazine: ThreadedFakeDirectus, directus: DirectusAdmin, caplog: pytest.LogCaptureFixture
) -> None:
    stopped, stream = threading.Event(), Stream(directus, random.Random(1))
    work = threading.Thread(target=stream.work, args=(stopped, 0.01))
    magazine.call(lambda fake: fake.stop_listening())
    work.start()
    try:
        wait_for(lambda: "No change this time: " in caplog.text)
        before = magazine.items("directus_activity")
        magazine.call(lambda fake: fake.resume_listening())
        wait_for(lambda: magazine.items("directus_activity") != before)
    finally:
        stopped.set()
        work.join(5)
    assert not work.is_alive()


def test_chatter__leaves_alone_what_visitors_write(
    magazine: ThreadedFakeDirectus, directus: DirectusAdmin
) -> None:
    def of_visitors() -> list[object]:
        return [item for item in magazine.items("messages") if item["author"] in PLAYED]

    before, chatter = of_visitors(), chat.Chatter(directus, random.Random(1))
    assert len(before) == 2
    for _ in range(100):
        chatter.make_change()
        assert 0 < len(magazine.items("messages")) - len(before) <= chat.MOST
    assert of_visitors() == before
    actions = Counter(
        row["action"]
        for row in magazine.items("directus_activity")
        if row["collection"] == "messages"
    )
    assert set(actions) == {"create", "update", "delete"}


def test_shop__orders_are_completed_with_their_time(
    magazine: ThreadedFakeDirectus, directus: DirectusAdmin
) -> None:
    at_work = shop.Shop(directus, random.Random(1))
    for _ in range(100):
        at_work.make_change()
    orders = magazine.items("orders")
    assert {order["status"] for order in orders} == {"pending", "completed", "cancelled"}
    for order in orders:
        assert (order["completed_at"] is not None) is (order["status"] == "completed")
        assert order["total"] > 0
    assert sum(order["status"] == "pending" for order in orders) < 10


def test_messenger__never_fills_anybodys_inbox(
    magazine: ThreadedFakeDirectus, directus: DirectusAdmin
) -> None:
    messenger = notices.Messenger(directus, random.Random(1))
    for _ in range(20):
        messenger.make_change()
    found = magazine.items("directus_notifications")
    unread = Counter(each["recipient"] for each in found if each["status"] == "inbox")
    assert set(unread) == PLAYED
    assert set(unread.values()) == {notices.MOST}


def test_content__has_a_past(magazine: ThreadedFakeDirectus) -> None:
    moments = [each["date_created"] for each in magazine.items("messages")]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)
