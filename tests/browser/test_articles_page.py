"""The page of articles, on the fake Directus; and what all pages have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from directus_realtime.testing import ThreadedFakeDirectus
from tests.browser.conftest import Example
from tests.helpers.axe import serious_faults
from tests.helpers.process import Process

pytestmark = pytest.mark.browser

SUBSCRIPTIONS = ("all-articles", "drafts", "published-articles")


@pytest.fixture(scope="module")
def processes(example: Example) -> dict[str, Process]:
    """The site and the listener; who ends one starts it again."""
    return {"site": example.start_site(), "listener": example.start_listener(*SUBSCRIPTIONS)}


@pytest.fixture
def live(
    example: Example, page: Page, processes: dict[str, Process], fake: ThreadedFakeDirectus
) -> Iterator[Page]:
    """The page, connected; articles that a test makes are gone after it."""
    before = {each["id"] for each in fake.items("articles")}
    page.goto(example.url)
    expect(page.locator("#pill")).to_have_text("Connected")
    expect(page.locator("#articles > li")).to_have_count(len(before))
    yield page
    if made := [each["id"] for each in fake.items("articles") if each["id"] not in before]:
        fake.delete("articles", made)
        expect(page.locator("#articles > li")).to_have_count(len(before))


def test_changes_appear_without_a_reload(live: Page, fake: ThreadedFakeDirectus) -> None:
    live.evaluate("window.isSamePage = true")
    articles, feed = live.locator("#articles > li"), live.locator("#feed > li")
    count = articles.count()

    created = fake.create("articles", {"title": "Hot off the press", "status": "archived"})
    expect(articles.first).to_contain_text("Hot off the press")
    expect(feed.first).to_contain_text("created")
    expect(feed.first).to_contain_text(f"articles {created['id']}")
    expect(feed.first).to_contain_text("all-articles")
    expect(feed.first.locator("time")).to_have_text("just now")

    fake.update("articles", created["id"], {"title": "Still warm"})
    expect(articles.first).to_contain_text("Still warm")
    expect(articles).to_have_count(count + 1)

    fake.delete("articles", created["id"])
    expect(articles).to_have_count(count)
    expect(feed.first).to_contain_text("deleted")
    expect(feed.first).to_contain_text("Still warm")
    expect(feed.filter(has_text=f"articles {created['id']}")).to_have_count(3)
    assert live.evaluate("window.isSamePage") is True


def test_filter_and_fields(live: Page, fake: ThreadedFakeDirectus) -> None:
    """The list is what the chosen subscription has, also when an item leaves the filter."""
    articles = live.locator("#articles > li")
    expect(articles.locator("[data-part=author]").first).not_to_be_empty()
    live.get_by_label("author", exact=True).uncheck()
    expect(articles.locator("[data-part=author]").first).to_be_empty()

    live.locator("[name=status]").select_option("draft")
    drafts = [each for each in fake.items("articles") if each["status"] == "draft"]
    expect(articles).to_have_count(len(drafts))
    fake.create("articles", {"title": "Not for this list", "status": "published"})
    made = fake.create("articles", {"title": "Sketch of a bridge", "status": "draft"})
    expect(articles.first).to_contain_text("Sketch of a bridge")
    expect(articles).to_have_count(len(drafts) + 1)
    fake.update("articles", made["id"], {"status": "published"})
    expect(articles).to_have_count(len(drafts))
    live.locator("[name=status]").select_option("")
    expect(articles.first).to_contain_text("Sketch of a bridge")


def test_one_row_for_each_subscription(live: Page, fake: ThreadedFakeDirectus) -> None:
    made = fake.create("articles", {"title": "Fresh", "status": "published"})
    rows = live.locator("#feed > li").filter(has_text=f"articles {made['id']}")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="all-articles")).to_have_count(1)
    expect(rows.filter(has_text="published-articles")).to_have_count(1)


def test_reload_shows_the_same_events_once(live: Page, fake: ThreadedFakeDirectus) -> None:
    fake.update("articles", 8, {"title": "Winter markets, once more"})
    feed = live.locator("#feed > li")
    expect(feed.first).to_contain_text("Winter markets, once more")
    ids = feed.evaluate_all("rows => rows.map(row => row.dataset.id)")
    live.reload()
    expect(feed.first).to_contain_text("Winter markets, once more")
    again = feed.evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert again == ids[: len(again)]
    assert len(set(again)) == len(again)


def test_state__directus_goes_and_comes_back(live: Page, fake: ThreadedFakeDirectus) -> None:
    fake.call(lambda directus: directus.stop_listening())
    fake.call(lambda directus: directus.cut())
    expect(live.locator("#pill")).to_have_text("Reconnecting")
    expect(live.locator("#reason")).not_to_be_empty()

    fake.call(lambda directus: directus.resume_listening())
    expect(live.locator("#pill")).to_have_text("Connected")
    fake.update("articles", 1, {"title": "Back again"})
    expect(live.locator("#feed > li").first).to_contain_text("Back again")


def test_state__the_site_goes_and_comes_back(
    live: Page, example: Example, processes: dict[str, Process], fake: ThreadedFakeDirectus
) -> None:
    processes["site"].kill()
    expect(live.locator("#pill")).to_have_text("This page is not connected")
    # Nobody tells the page of it; it asks when it is back.
    fake.create("articles", {"title": "Missed meanwhile", "status": "archived"})
    processes["site"] = example.start_site()
    expect(live.locator("#pill")).to_have_text("Connected")
    expect(live.locator("#articles > li").first).to_contain_text("Missed meanwhile")
    expect(live.locator("#feed > li").first).to_contain_text("Missed meanwhile")
    fake.update("articles", 1, {"title": "And on it goes", "status": "archived"})
    expect(live.locator("#feed > li").first).to_contain_text("And on it goes")


def test_button__makes_a_change_by_keyboard(live: Page, fake: ThreadedFakeDirectus) -> None:
    before = fake.items("articles")
    button = live.get_by_role("button", name="Make a change")
    button.focus()
    live.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).not_to_have_attribute("aria-disabled", "true")
    assert fake.items("articles") != before
    expect(live.locator("[data-demo] .error")).to_be_hidden()
    expect(button).to_be_focused()


def test_feed__keeps_fifty(live: Page, fake: ThreadedFakeDirectus) -> None:
    fake.create("articles", [{"title": f"No. {n}", "status": "archived"} for n in range(60)])
    feed = live.locator("#feed > li")
    # Events of several items have no order among each other: it need not be the first.
    expect(feed.filter(has_text="No. 59")).to_have_count(1)
    expect(feed.filter(has_text="No. ")).to_have_count(50)
    expect(feed).to_have_count(50)


def test_phone__nothing_is_wider_than_the_screen(
    page: Page, example: Example, processes: dict[str, Process]
) -> None:
    """On each page, where nothing keeps people with disabilities from using it, either."""
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{example.url}/login/?next=/notifications/")
    assert serious_faults(page) == []
    page.get_by_role("button", name="Sign in as Ada").click()
    for path, shown in {
        "/": "#articles > li",
        "/chat/": "#messages > li",
        "/notifications/": "#notices > li",
        "/dashboard/": "#plot .bar:not([height='0'])",
    }.items():
        page.goto(f"{example.url}{path}")
        expect(page.locator(shown).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert serious_faults(page) == [], path


def test_admin__works_under_the_policy(live: Page) -> None:
    live.get_by_role("link", name="Subscriptions").click()
    live.get_by_label("Username").fill("admin")
    live.get_by_label("Password").fill("only-for-tests")
    live.get_by_role("button", name="Log in").click()
    expect(live.get_by_role("link", name="published-articles")).to_be_visible()
    live.get_by_role("link", name="drafts").click()
    expect(live.get_by_role("combobox", name="Collection:")).to_have_value("articles")
    live.go_back()
    live.go_back()
    live.go_back()
