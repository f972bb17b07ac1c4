"""``@directus/sdk``, unchanged, in a page of the site, on its gateway."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from directus_realtime.testing import FakeCollection, ThreadedFakeDirectus, run_in_thread
from example_project.real_directus import DirectusUnavailable
from tests.conftest import missing
from tests.helpers.gateway import Gateway
from tests.helpers.sdk import Note, Sdk, install_sdk
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.browser

FILTERED = {
    "query": {
        "fields": ["id", "title"],
        "filter": {"status": {"_eq": "published"}},
        "sort": ["-title"],
        "limit": 2,
    }
}


class PageSdk(Sdk):
    """The SDK in a page of a site.

    Args:
        page: It shows nothing.
        origin: The site.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self._page = page
        page.goto(f"{origin}/sdk/")
        page.wait_for_function("window.driver")

    def notes(self) -> list[Note]:
        notes: list[Note] = self._page.evaluate("notes")
        return notes

    def call(self, name: str, *arguments: Any) -> None:
        self._page.evaluate(
            """([name, given]) => {
                driver[name](...given).catch((error) => {
                    const reason = String(error?.message ?? error);
                    notes.push({ what: "failed", call: name, reason });
                });
            }""",
            [name, list(arguments)],
        )


@pytest.fixture
def fake() -> Iterator[ThreadedFakeDirectus]:
    """A fake Directus with some articles."""
    items = [{"title": title, "status": "published"} for title in "abc"]
    articles = FakeCollection(
        "articles", fields={"title": "string", "status": "string"}, items=items
    )
    with run_in_thread(collections=[articles]) as directus:
        yield directus


@pytest.fixture
def sdk_folder() -> Path:
    """Where the SDK is installed."""
    try:
        return install_sdk()
    except DirectusUnavailable as error:
        missing(str(error))


@pytest.fixture
def gateway(
    tmp_path: Path, fake: ThreadedFakeDirectus, sdk_folder: Path, django_db_blocker: Any
) -> Iterator[Gateway]:
    """The gateway in front of it; Playwright's loop lets this thread use no database."""
    env = {"DIRECTUS_URL": fake.url, "DIRECTUS_TOKEN": fake.token, "SDK_FOLDER": str(sdk_folder)}
    database = f"sqlite:///{tmp_path}/site.sqlite3"
    with ThreadPoolExecutor(1) as thread, django_db_blocker.unblock():
        site = thread.submit(Site, tmp_path, database, env).result()
        try:
            yield thread.submit(Gateway.start, site).result()
        finally:
            thread.submit(site.close).result()


def test_sdk__by_the_session_with_a_query_over_a_restart_of_django(
    gateway: Gateway, fake: ThreadedFakeDirectus, page: Page
) -> None:
    page.context.add_cookies(
        [{"name": "sessionid", "value": gateway.session, "url": gateway.origin}]
    )
    sdk = PageSdk(page, gateway.origin)
    sdk.call("connect", gateway.origin, {"authMode": "public", "url": gateway.url})
    sdk.wait_for(what="connected")
    sdk.call("subscribe", "published", "articles", FILTERED)
    init = sdk.wait_for_message("published", 1)
    assert [row["title"] for row in init["data"]] == ["c", "b"]
    gets_all_three_events(sdk, fake)

    gateway.stop()
    sdk.wait_for(what="close")
    # Its iterators end when the first attempt to come back fails, as it does here. It goes on
    # trying, subscribes again, and hands what comes to those who listen to the socket.
    sdk.wait_for(what="ended", name="published")
    gateway.start_again()
    sdk.wait_for(2, what="heard", event="init")

    def goes_on() -> bool:
        fake.create("articles", {"title": "after the restart", "status": "published"})
        return len(sdk.having(what="heard", event="create")) > 1

    wait_for(goes_on, what="an event after the restart")


def gets_all_three_events(sdk: Sdk, fake: ThreadedFakeDirectus) -> None:
    fake.create("articles", {"title": "hidden", "status": "draft"})
    key = fake.create("articles", {"title": "new", "status": "published"})["id"]
    created = sdk.wait_for_event("published", "create", key)
    assert created["data"] == [{"id": key, "title": "new"}]
    fake.update("articles", key, {"title": "newer"})
    updated = sdk.wait_for_event("published", "update", key)
    assert updated["data"] == [{"id": key, "title": "newer"}]
    fake.delete("articles", key)
    sdk.wait_for_event("published", "delete", key)


def test_sdk__by_a_token_and_unsubscribes(
    gateway: Gateway, fake: ThreadedFakeDirectus, page: Page
) -> None:
    sdk = PageSdk(page, gateway.origin)
    given = {"authMode": "handshake", "url": gateway.token_url}
    sdk.call("connect", gateway.origin, given, gateway.token)
    sdk.wait_for(what="connected")
    sdk.call("subscribe", "first", "articles", {"event": "create"})
    sdk.wait_for_message("first", 1)
    sdk.call("subscribe", "second", "articles", {"event": "create"})
    sdk.wait_for_message("second", 1)
    sdk.call("unsubscribe", "first")
    sdk.wait_for(what="heard", event="unsubscribe")
    fake.create("articles", {"title": "x"})
    assert sdk.wait_for_message("second", 2)["event"] == "create"
    assert sdk.events("first") == ["init", "unsubscribe"]
