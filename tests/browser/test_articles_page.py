from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from directus_realtime.testing import ThreadedFakeDirectus
from tests.browser.conftest import Example

pytestmark = pytest.mark.browser

TIMEOUT = 60_000  # milliseconds
expect.set_options(timeout=TIMEOUT)


@pytest.fixture
def live(example: Example, page: Page) -> Page:
    """The page, connected."""
    example.start_site()
    example.start_listener()
    page.goto(example.url)
    expect(page.locator("#pill")).to_have_text("Connected")
    expect(page.locator("#articles > li")).to_have_count(8)
    return page


def test_changes_appear_without_a_reload(live: Page, fake: ThreadedFakeDirectus) -> None:
    live.evaluate("window.isSamePage = true")
    articles, feed = live.locator("#articles > li"), live.locator("#feed > li")

    created = fake.create("articles", {"title": "Hot off the press", "status": "archived"})
    expect(articles.first).to_contain_text("Hot off the press")
    expect(feed.first).to_contain_text("created")
    expect(feed.first).to_contain_text(f"articles {created['id']}")
    expect(feed.first).to_contain_text("all-articles")
    expect(feed.first.locator("time")).to_have_text("just now")

    fake.update("articles", created["id"], {"title": "Still warm"})
    expect(articles.first).to_contain_text("Still warm")
    expect(articles).to_have_count(9)

    fake.delete("articles", created["id"])
    expect(articles).to_have_count(8)
    expect(feed.first).to_contain_text("deleted")
    expect(feed.first).to_contain_text("Still warm")
    expect(feed).to_have_count(3)
    assert live.evaluate("window.isSamePage") is True


def test_one_row_for_each_subscription(live: Page, fake: ThreadedFakeDirectus) -> None:
    fake.create("articles", {"title": "Fresh", "status": "published"})
    feed = live.locator("#feed > li")
    expect(feed).to_have_count(2)
    expect(feed.filter(has_text="all-articles")).to_have_count(1)
    expect(feed.filter(has_text="published-articles")).to_have_count(1)


def test_reload_shows_the_same_events_once(live: Page, fake: ThreadedFakeDirectus) -> None:
    fake.update("articles", 8, {"title": "Winter markets, once more"})
    feed = live.locator("#feed > li")
    expect(feed).to_have_count(1)
    ids = feed.evaluate_all("rows => rows.map(row => row.dataset.id)")
    live.reload()
    expect(live.locator("#pill")).to_have_text("Connected")
    expect(feed).to_have_count(1)
    assert feed.evaluate_all("rows => rows.map(row => row.dataset.id)") == ids


def test_state__directus_goes_and_comes_back(live: Page, fake: ThreadedFakeDirectus) -> None:
    fake.call(lambda directus: directus.stop_listening())
    fake.call(lambda directus: directus.cut())
    expect(live.locator("#pill")).to_have_text("Reconnecting")
    expect(live.locator("#reason")).not_to_be_empty()
    live.reload()
    expect(live.locator("#articles-error")).to_contain_text("Directus cannot be reached")

    fake.call(lambda directus: directus.resume_listening())
    expect(live.locator("#pill")).to_have_text("Connected")
    expect(live.locator("#articles > li")).to_have_count(8)
    expect(live.locator("#articles-error")).to_be_hidden()
    fake.update("articles", 1, {"title": "Back again"})
    expect(live.locator("#feed > li").first).to_contain_text("Back again")


def test_state__the_listener_ends(example: Example, page: Page) -> None:
    example.start_site()
    listener = example.start_listener()
    page.goto(example.url)
    expect(page.locator("#pill")).to_have_text("Connected")
    listener.kill()
    expect(page.locator("#pill")).to_have_text("Disconnected")
    expect(page.locator("#reason")).to_contain_text("No listener is running")


def test_state__the_site_goes_and_comes_back(
    example: Example, page: Page, fake: ThreadedFakeDirectus
) -> None:
    site = example.start_site()
    example.start_listener()
    page.goto(example.url)
    expect(page.locator("#pill")).to_have_text("Connected")
    site.kill()
    expect(page.locator("#pill")).to_have_text("This page is not connected")

    # Nobody tells the page of it; it reads again when it is back.
    fake.create("articles", {"title": "Missed meanwhile", "status": "archived"})
    example.start_site()
    expect(page.locator("#pill")).to_have_text("Connected")
    expect(page.locator("#articles > li").first).to_contain_text("Missed meanwhile")
    expect(page.locator("#feed > li")).to_have_count(1)
    fake.update("articles", 1, {"title": "And on it goes", "status": "archived"})
    expect(page.locator("#feed > li").first).to_contain_text("And on it goes")


def test_button__makes_a_change_by_keyboard(live: Page) -> None:
    button = live.get_by_role("button", name="Make a change")
    button.focus()
    live.keyboard.press("Enter")
    expect(live.locator("#feed > li").first).to_be_visible()
    expect(live.locator("#demo-error")).to_be_hidden()
    expect(button).to_be_focused()


def test_feed__keeps_fifty(live: Page, fake: ThreadedFakeDirectus) -> None:
    fake.create("articles", [{"title": f"No. {n}", "status": "archived"} for n in range(60)])
    feed = live.locator("#feed > li")
    expect(feed.first).to_contain_text("No. 59")
    expect(feed).to_have_count(50)


def test_phone__nothing_is_wider_than_the_screen(live: Page) -> None:
    live.set_viewport_size({"width": 390, "height": 800})
    assert live.evaluate("document.documentElement.scrollWidth") <= 390


def test_admin__works_under_the_policy(live: Page, example: Example) -> None:
    live.get_by_role("link", name="Subscriptions").click()
    live.get_by_label("Username").fill("admin")
    live.get_by_label("Password").fill("only-for-tests")
    live.get_by_role("button", name="Log in").click()
    expect(live.get_by_role("link", name="published-articles")).to_be_visible()
    live.get_by_role("link", name="drafts").click()
    expect(live.get_by_label("Collection:")).to_have_value("articles")
