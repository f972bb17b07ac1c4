"""A site whose admin a browser opens: a web server, a listener and a superuser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Page

from example_project.real_directus import DirectusServer
from tests.conftest import free_port
from tests.helpers.process import Process
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import wait_for

T = TypeVar("T")

PASSWORD = "only-for-tests"


class AdminSite:
    """One site on a real Directus; its database is seen from a thread of its own."""

    def __init__(self, folder: Path, site: Site) -> None:
        self._site = site
        self._mended = folder / "mended"
        self._port = free_port()
        self._threads = ThreadPoolExecutor(1)
        self.url = f"http://127.0.0.1:{self._port}"
        self.admin = f"{self.url}/admin/directus_realtime"

    def call(self, function: Callable[[Site], T]) -> T:
        """Do something with the site's database."""

        def in_thread() -> T:
            try:
                return function(self._site)
            finally:
                connections[ALIAS].close()

        return self._threads.submit(in_thread).result()

    def start(self) -> None:
        self.call(lambda site: self._make_user(site))
        self._site.start("runserver", "--noreload", f"127.0.0.1:{self._port}", PYTHONDEVMODE="")
        wait_for(self._answers, 60, "the site to answer")

    def listen(self) -> Process:
        names = self.call(lambda site: list(site.subscriptions.values_list("name", flat=True)))
        listener = self._site.listen(ready=False)
        listener.wait_for_line("connected to", 60)
        for name in names:
            listener.wait_for_line(f"subscribed {name}:", 60)
        return listener

    def mend(self) -> None:
        """Have the receivers succeed that failed until now."""
        self._mended.touch()

    def open(self, page: Page, path: str) -> None:
        """Open a page of the admin, logged in."""
        page.goto(f"{self.admin}/{path}")
        if "/login/" in page.url:
            page.locator("#id_username").fill("admin")
            page.locator("#id_password").fill(PASSWORD)
            page.locator("[type=submit]").click()
            page.wait_for_url(f"{self.admin}/{path}*")

    def close(self) -> None:
        self.call(lambda site: None)
        self._threads.shutdown()
        self._site.close()

    @staticmethod
    def _make_user(site: Site) -> None:
        User.objects.db_manager(ALIAS).create_superuser("admin", password=PASSWORD)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/admin/login/", trust_env=False).is_success
        except httpx.TransportError:
            return False


def is_list_whole(page: Page) -> bool:
    """Whether all columns of a list are seen without scrolling."""
    script = "list => list.scrollWidth <= list.clientWidth"
    return bool(page.locator("#changelist .results").evaluate(script))


@contextmanager
def admin_site(folder: Path, server: DirectusServer, **env: str) -> Iterator[AdminSite]:
    """A prepared site; its processes end with the context.

    Args:
        folder: Of its files.
        server: The Directus that it listens to.
        env: Further environment of its processes.
    """
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.admin_settings",
        "DIRECTUS_URL": server.url,
        "DIRECTUS_TOKEN": server.admin_token,
        "SAMPLE_MENDED": str(folder / "mended"),
        **env,
    }
    site = AdminSite(folder, Site(folder, f"sqlite:///{folder}/site.sqlite3", environment))
    try:
        yield site
    finally:
        site.close()
