"""The example site with a fake Directus, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from directus_realtime.testing import ThreadedFakeDirectus, run_in_thread
from directus_realtime.testing.demo.fake import demo_content
from tests.conftest import free_port, missing
from tests.helpers.process import Process
from tests.helpers.waiting import wait_for

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


class Example:
    """The example's processes, on a database of their own."""

    def __init__(self, folder: Path, directus: ThreadedFakeDirectus) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._env = {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
            "DIRECTUS_URL": directus.url,
            "DIRECTUS_TOKEN": directus.token,
            "REDIS_URL": "",
            "DEBUG": "true",
            "DEMO": "fake",
            "DEMO_ADMIN_PASSWORD": "only-for-tests",
            "PYTHONDEVMODE": "",
        }
        self._processes: list[Process] = []

    def prepare(self) -> None:
        for command in (["migrate", "--verbosity=0"], ["seed_demo"]):
            process = self._start(*command)
            assert process.wait(60) == 0, process.output

    def start_site(self) -> Process:
        site = self._start("runserver", "--noreload", f"127.0.0.1:{self._port}")
        wait_for(self._answers, 30, "the site to answer")
        return site

    def start_listener(self) -> Process:
        listener = self._start("directus_listen")
        listener.wait_for_line("subscribed all-articles:")
        listener.wait_for_line("subscribed drafts:")
        listener.wait_for_line("subscribed published-articles:")
        return listener

    def close(self) -> None:
        for process in self._processes:
            process.kill()

    def _start(self, *command: str) -> Process:
        process = Process(*command, env=self._env)
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/status/", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def fake() -> Iterator[ThreadedFakeDirectus]:
    """A fake Directus with the demo's articles, which only the test changes."""
    with run_in_thread(**demo_content()) as directus:
        yield directus


@pytest.fixture
def example(tmp_path: Path, fake: ThreadedFakeDirectus) -> Iterator[Example]:
    """The example, prepared; its processes are for the test to start."""
    example = Example(tmp_path, fake)
    try:
        example.prepare()
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
def page(browser: Browser) -> Iterator[Page]:
    """A page whose script must not fail, and that fetches nothing from elsewhere."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    problems: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            problems.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith("http://127.0.0.1:") else elsewhere.append(request.url)
        ),
    )
    yield page
    context.close()
    assert problems == []
    assert elsewhere == []
