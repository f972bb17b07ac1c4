"""The fake in a thread, as a process, as a fixture; and its demonstration."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from directus_realtime.testing import (
    DirectusAdmin,
    FakeDirectus,
    ThreadedFakeDirectus,
    run_in_thread,
)
from directus_realtime.testing.demo import FEWEST, MOST, Editor, demo_collections, plain_title
from tests.helpers.waiting import wait_for

pytest_plugins = ["directus_realtime.testing.pytest_plugin"]

MODULE = "directus_realtime.testing"


async def test_fixture(fake_directus: FakeDirectus) -> None:
    assert fake_directus.items("articles") == []


def test_in_a_thread() -> None:
    with run_in_thread(token="t") as fake:
        made = fake.create("articles", {"title": "x"})
        fake.create("articles", [{"title": "y"}, {"title": "z"}])
        fake.update("articles", made["id"], {"title": "X"})
        fake.delete("articles", [2])
        assert [item["title"] for item in fake.items("articles")] == ["X", "z"]
        headers = {"Authorization": "Bearer t"}
        assert httpx.get(f"{fake.url}/items/articles/1", headers=headers).status_code == 200
        fake.call(lambda fake: fake.stop_listening())
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{fake.url}/server/ping")


@pytest.fixture
def magazine() -> Iterator[ThreadedFakeDirectus]:
    with run_in_thread(collections=demo_collections()) as fake:
        yield fake


@pytest.fixture
def editor(magazine: ThreadedFakeDirectus) -> Iterator[Editor]:
    with DirectusAdmin(magazine.url, magazine.token) as admin:
        yield Editor(admin, random.Random(1))


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


def test_editor__goes_on_after_a_refusal(
    magazine: ThreadedFakeDirectus, editor: Editor, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = threading.Event()
    work = threading.Thread(target=editor.work, args=(stopped, 0.01))
    magazine.call(lambda fake: fake.stop_listening())
    work.start()
    try:
        wait_for(lambda: "No change this time: GET /items/articles failed" in caplog.text)
        before = magazine.items("articles")
        magazine.call(lambda fake: fake.resume_listening())
        wait_for(lambda: magazine.items("articles") != before)
    finally:
        stopped.set()
        work.join(5)
    assert not work.is_alive()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_a_process(number: signal.Signals) -> None:
    command = [sys.executable, "-m", MODULE, "--port", "0", "--token-env", "T", "--demo"]
    process = subprocess.Popen(
        command, env={**os.environ, "T": "secret"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        url = line.split()[-1]
        headers = {"Authorization": "Bearer secret"}
        rows = httpx.get(f"{url}/items/articles?fields=author.name", headers=headers)
        assert rows.json()["data"][0] == {"author": {"name": "Ada Okafor"}}
        started = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=5)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, output, errors) == (0, b"", b"")
    assert time.monotonic() - started < 2
    assert "secret" not in line


def test_process_wants_a_token() -> None:
    env = {key: value for key, value in os.environ.items() if key != "DIRECTUS_TOKEN"}
    done = subprocess.run([sys.executable, "-m", MODULE], env=env, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"DIRECTUS_TOKEN" in done.stderr


async def test_two_fakes_at_once() -> None:
    async with FakeDirectus() as one, FakeDirectus() as two:
        assert one.url != two.url
        await asyncio.gather(one.create("articles", {}), two.create("articles", {}))
