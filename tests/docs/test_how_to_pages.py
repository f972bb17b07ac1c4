"""The how-to guides do what they say: their modules run, on the listener and a fake Directus."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.core import mail
from django.core.cache import cache
from django.db import transaction

from directus_realtime import Event, signals, subscriptions
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.door.knocks import DoorKey
from directus_realtime.groups import event_message, group_name
from directus_realtime.settings import find_problems
from directus_realtime.signals import (
    DirectusSignal,
    directus_event,
    directus_gap_detected,
    directus_item_created,
)
from directus_realtime.testing import FakeCollection, FakeDirectus
from directus_realtime.testing.running_listener import listening
from tests.docs.markdown import python_blocks
from tests.helpers.waiting import await_for

SIGNALS = [value for value in vars(signals).values() if isinstance(value, DirectusSignal)]


@pytest.fixture(autouse=True)
def _nothing_remains(transactional_db: None) -> Iterator[None]:
    """What a guide declares and connects is gone after its test.

    It is gone before the database is emptied, because emptying sends ``post_migrate``, whose
    receiver makes a row of every declaration.
    """
    before = [list(signal.receivers) for signal in SIGNALS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscriptions, "_declared", {})
        yield
    for signal, receivers in zip(SIGNALS, before, strict=True):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()
    cache.clear()


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the modules of a guide, in its order."""

    def follow(page: str) -> dict[str, ModuleType]:
        made = {}
        monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
        for block in python_blocks(f"how-to/{page}"):
            named = re.match(r"# (\S+)\.py\n", block.code)
            assert named, f"the block at line {block.line} of {page} names no file"
            name = named[1].replace("/", ".")
            assert name not in made, f"{name} comes twice"
            module = made[name] = ModuleType(name)
            monkeypatch.setitem(sys.modules, name, module)
            exec(compile(block.code, f"{page}:{block.line}", "exec"), module.__dict__)
        return made

    return follow


@pytest.fixture
async def fake() -> AsyncIterator[FakeDirectus]:
    async with FakeDirectus() as fake:
        yield fake


class SearchEngine(BaseHTTPRequestHandler):
    """Keeps documents; answers as search engines do."""

    def do_PUT(self) -> None:
        length = int(self.headers["content-length"])
        self.server.documents[self.path] = json.loads(self.rfile.read(length))  # type: ignore[attr-defined]
        self._answer(200)

    def do_DELETE(self) -> None:
        found = self.server.documents.pop(self.path, None)  # type: ignore[attr-defined]
        self._answer(200 if found else 404)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), SearchEngine) as server:
        server.documents = {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=partial(server.serve_forever, 0.05), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_the_search_index_follows_directus(
    follow: Any, engine: Any, settings: Any, fake: FakeDirectus
) -> None:
    settings.SEARCH_URL = f"http://127.0.0.1:{engine.server_port}"
    await fake.create("articles", {"title": "old", "status": "published"})
    await fake.create("articles", {"title": "hidden", "status": "draft"})
    follow("search-index.md")
    await sync_to_async(sync_declared)()
    async with listening(fake) as listener:
        await listener.delivered(1)
        assert engine.documents["/articles/1"]["title"] == "old"  # by the first load
        await fake.create("articles", {"title": "new", "status": "published"})
        await listener.delivered(2)
        await fake.update("articles", 1, {"status": "draft"})
        await listener.delivered(3)
    assert list(engine.documents) == ["/articles/3"]
    assert engine.documents["/articles/3"] == {"id": 3, "title": "new", "body": None}


async def test_a_change_empties_the_cache(follow: Any, settings: Any, fake: FakeDirectus) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": fake.url, "TOKEN": fake.token}}
    await fake.create("articles", {"title": "old"})
    article = sync_to_async(follow("caches.md")["shop.articles"].article)
    await sync_to_async(sync_declared)()
    async with listening(fake) as listener:
        assert (await article(1))["title"] == "old"
        await fake.update("articles", 1, {"title": "new"})
        await listener.delivered(1)
        assert (await article(1))["title"] == "new"
    cache.set("article:9", "perhaps old")
    directus_gap_detected.send("default", recovered=True)
    assert cache.get("article:9")
    directus_gap_detected.send("default", recovered=False)
    assert not cache.get("article:9")


async def test_a_consumer_passes_events_on(follow: Any) -> None:
    made = await sync_to_async(follow)("browsers.md")
    assert set(made["project.asgi"].application.application_mapping) == {"http", "websocket"}
    browser = WebsocketCommunicator(made["shop.consumers"].ArticlesConsumer.as_asgi(), "/")
    assert (await browser.connect())[0]
    assert (await browser.receive_json_from())["state"] == "disconnected"
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group_name("articles"), event_message(event({"title": "Hello"})))
    assert await browser.receive_json_from() == {"title": "Hello"}
    await browser.disconnect()


def event(data: dict[str, Any] | None, **values: Any) -> Event:
    given = {"connection": "default", "subscription": "all", "collection": "articles"}
    return Event(**{**given, "action": "create", "key": 1, "data": data, **values})


def test_a_task_is_enqueued_behind_the_commit(follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueued: list[tuple[Any, ...]] = []
    celery = ModuleType("celery")

    def shared_task(function: Any) -> Any:
        function.delay = lambda *arguments: enqueued.append(arguments)
        return function

    celery.shared_task = shared_task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "celery", celery)
    monkeypatch.setenv("DIRECTUS_TOKEN", "a-token")
    assert_right(follow("workers.md")["project.settings"])
    made = event({"title": "x"}, collection="directus_files", key="a-key")
    with transaction.atomic():
        directus_item_created.send("directus_files", event=made)
        assert enqueued == []
    assert enqueued == [("a-key", made.id)]


def assert_right(settings: ModuleType) -> None:
    for alias, values in settings.DIRECTUS_REALTIME.items():
        assert find_problems(values) == [], alias


async def test_one_mail_for_a_published_comment(follow: Any) -> None:
    follow("mail.md")
    await sync_to_async(sync_declared)()
    comments = FakeCollection("comments", fields={"status": "string", "email": "string"})
    async with FakeDirectus([comments]) as fake:
        await fake.create("comments", [{"status": "draft", "email": "ann@example.com"}] * 2)
        async with listening(fake) as listener:
            await fake.update("comments", 2, {"email": "bob@example.com"})
            await fake.update("comments", 1, {"status": "published"})
            await listener.delivered(1)
            await await_for(lambda: mail.outbox)  # it is sent behind the commit
    (sent,) = mail.outbox
    assert sent.to == ["ann@example.com"]
    assert "comments/1" in sent.body


def test_several_servers(
    follow: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIRECTUS_TOKEN", "one")
    monkeypatch.setenv("BLOG_TOKEN", "two")
    made = follow("several-servers.md")
    assert_right(made["project.settings"])
    assert {
        name: declared.connection for name, (declared, _) in subscriptions.declared().items()
    } == {"articles": "default", "posts": "blog"}
    directus_event.send("articles", event=event(None, connection="blog", subscription="posts"))
    assert capsys.readouterr().out == "blog posts 1\n"


def test_the_door_of_the_guide_takes_its_signature(follow: Any) -> None:
    made = follow("door.md")
    assert [str(each.pattern) for each in made["project.urls"].urlpatterns] == ["directus/door/"]
    key = DoorKey("s3cret-of-the-door-0123456789abcdef", is_signed=True)
    headers = {"X-Door-Signature": made["shop.door"].signature(key.secret, b"{}")}
    key.check(headers, b"{}", time.time())
