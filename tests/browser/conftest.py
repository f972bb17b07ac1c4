"""The example site with a fake Directus or a real one, and a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from directus_realtime.testing import ThreadedFakeDirectus, run_in_thread
from example_project.demo.fake_directus import demo_content
from tests.conftest import free_port, missing
from tests.helpers import axe
from tests.helpers.process import Process
from tests.helpers.waiting import wait_for

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
TIMEOUT = 60_000  # milliseconds
expect.set_options(timeout=TIMEOUT)

OpenPage = Callable[[], Page]


class Example:
    """The example's processes, on a database of their own.

    Args:
        folder: Where the database is.
        env: How Directus is reached.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.env = {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
            "REDIS_URL": "",
            "DEBUG": "true",
            "DEMO_ADMIN_PASSWORD": "only-for-tests",
            "PYTHONDEVMODE": "",
            **env,
        }
        self._processes: list[Process] = []

    def run(self, *command: str) -> str:
        """Run a command of manage.py to its end, and give what it said."""
        process = self._start(*command)
        assert process.wait(60) == 0, process.output
        return process.output

    def start_site(self) -> Process:
        site = self._start("runserver", "--noreload", f"127.0.0.1:{self._port}")
        wait_for(self._answers, 60, "the site to answer")
        return site

    def start_listener(self, *subscriptions: str) -> Process:
        listener = self._start("directus_listen")
        for name in subscriptions:
            listener.wait_for_line(f"subscribed {name}:", timeout=60)
        return listener

    def close(self) -> None:
        for process in self._processes:
            process.kill()

    def _start(self, *command: str) -> Process:
        process = Process(*command, env=self.env)
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/status/", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFakeDirectus]:
    """A fake Directus with the demo's content, which only the tests change."""
    with run_in_thread(**demo_content()) as directus:
        yield directus


@pytest.fixture(scope="module")
def example(
    tmp_path_factory: pytest.TempPathFactory, fake: ThreadedFakeDirectus
) -> Iterator[Example]:
    """The example on the fake, prepared; its processes are for the tests to start."""
    env = {
        "DIRECTUS_URL": fake.url,
        "DIRECTUS_TOKEN": fake.token,
        "DIRECTUS_WRITE_TOKEN": fake.token,
        "DIRECTUS_DEMO_TOKEN": fake.token,
        "DEMO": "fake",
    }
    example = Example(tmp_path_factory.mktemp("site"), env)
    try:
        example.run("migrate", "--verbosity=0")
        example.run("seed_demo", "--people")
        yield example
    finally:
        example.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, for one module: Playwright occupies the loop of the thread."""
    if not Path(CHROMIUM).exists():
        missing(f"Chromium at {CHROMIUM}; say where it is with CHROMIUM")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages, each as another visitor; no script may fail or fetch from elsewhere."""
    contexts = []
    problems: list[str] = []
    elsewhere: list[str] = []

    def make() -> Page:
        context = browser.new_context(locale="en-GB")
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: (
                problems.append(message.text)
                if "Content Security Policy" in message.text and page not in axe.under_test
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith("http://127.0.0.1:")
                else elsewhere.append(request.url)
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []
    assert elsewhere == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A page of one visitor."""
    return open_page()
