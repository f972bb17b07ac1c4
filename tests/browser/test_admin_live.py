"""The live page and the inbox, in Chromium, on a real Directus; one site for all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Locator, Page, expect

from directus_realtime.events import Event
from directus_realtime.models import InboxEvent
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.helpers.admin_site import AdminSite, admin_site, is_list_whole
from tests.helpers.axe import serious_faults
from tests.helpers.inbox import new_row
from tests.helpers.screenshots import take_screenshot
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

expect.set_options(timeout=20_000)

SCRIPT = "<script>document.title = 'taken over'</script><img src=x onerror=\"alert(1)\">"
LIVE_TEXT = "through Channels"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    directus_server: DirectusServer,
    django_db_blocker: Any,
) -> Iterator[AdminSite]:
    """A site that listens to articles and notes."""
    with (
        django_db_blocker.unblock(),
        admin_site(tmp_path_factory.mktemp("admin"), directus_server) as site,
    ):
        site.call(lambda s: [s.subscribe(name, name) for name in ("articles", "notes")])
        site.start()
        site.listen()
        yield site


@pytest.fixture
def page(browser: Browser, page: Page) -> Page:
    """The page of a desktop."""
    page.set_viewport_size({"width": 1280, "height": 900})
    return page


@pytest.fixture
def live(site: AdminSite, page: Page) -> Page:
    """The live page, with its WebSocket open."""
    site.open(page, "live/")
    expect(page.locator("#directus-source")).to_contain_text(LIVE_TEXT)
    expect(card(page)).to_contain_text("connected")
    return page


def card(page: Page) -> Locator:
    return page.locator("[data-connection=default]")


def feed(page: Page) -> Locator:
    return page.locator("#directus-feed > li")


def dead_letters(site: AdminSite) -> int:
    return site.call(lambda s: s.inbox.filter(state="dead").count())


def make_dead_letter(site: AdminSite, directus: DirectusAdmin, title: str) -> Any:
    """Make an item at which a receiver fails until it is mended, and wait for the dead letter."""
    before = dead_letters(site)
    key = directus.create_item("articles", {"title": f"fail-until-mended {title}"})["id"]
    wait_for(lambda: dead_letters(site) > before, 30, "a dead letter")
    return key


def test_events_appear_as_they_arrive(live: Page, directus: DirectusAdmin) -> None:
    key = directus.create_item("notes", {"title": SCRIPT})["id"]
    row = feed(live).filter(has_text=str(key)).first
    expect(row).to_contain_text("create")
    # The payload is one click away, and stays text.
    row.locator("summary").click()
    expect(row.locator("pre")).to_contain_text("<script>document.title = 'taken over'</script>")
    expect(live).to_have_title(re.compile("Directus live"))
    assert live.locator("#content-main img").count() == 0
    row.get_by_role("link", name="Open in the inbox").click()
    expect(live.locator(".field-data_field pre")).to_contain_text("<script>")
    expect(live).to_have_title(re.compile(str(key)))


def test_the_cards_tell_how_the_connection_stands(
    live: Page, site: AdminSite, directus: DirectusAdmin
) -> None:
    for number in range(1, 5):
        directus.create_item("articles", {"title": f"Article {number}", "status": "published"})
    expect(feed(live).nth(3)).to_be_visible()
    for text in ("Directus 11.", "fencing token 1", "Lag", "events per minute", "Last gap"):
        expect(card(live)).to_contain_text(text)
    figure = card(live).get_by_role("img")
    expect(figure).to_have_attribute("aria-label", re.compile("events? in the last hour"))
    live.locator("#directus-feed summary").nth(1).click()
    expect(feed(live).nth(1).locator("pre")).to_be_visible()
    take_screenshot(live, "admin-live")


def test_the_feed_pauses_and_goes_on(live: Page, directus: DirectusAdmin) -> None:
    pause = live.locator("#directus-pause")
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    key = directus.create_item("notes", {"title": "while it was paused"})["id"]
    expect(pause).to_contain_text("new events: 1")
    expect(feed(live).filter(has_text=str(key))).to_have_count(0)
    pause.click()
    expect(feed(live).filter(has_text=str(key))).to_have_count(1)
    expect(pause).to_have_text("Pause")


def test_the_feed_is_filtered_by_collection(live: Page, directus: DirectusAdmin) -> None:
    live.get_by_label("Collection").select_option("notes")
    note = directus.create_item("notes", {"title": "seen"})["id"]
    directus.create_item("articles", {"title": "not seen"})
    last = directus.create_item("notes", {"title": "seen, too"})["id"]
    expect(feed(live).filter(has_text=str(last))).to_have_count(1)
    expect(feed(live).filter(has_text=str(note))).to_have_count(1)
    expect(feed(live).filter(has_text="articles")).to_have_count(0)
    live.get_by_label("Collection").select_option("")
    expect(feed(live).filter(has_text="articles").first).to_be_visible()


def test_new_events_are_announced_politely(live: Page, directus: DirectusAdmin) -> None:
    status = live.locator("#directus-announcement")
    expect(status).to_have_attribute("aria-live", "polite")
    key = directus.create_item("notes", {"title": "announced"})["id"]
    expect(status).to_contain_text(f"notes {key}")


def test_without_a_websocket_it_polls(site: AdminSite, page: Page, directus: DirectusAdmin) -> None:
    page.route_web_socket(re.compile("admin-live"), lambda socket: socket.close())
    site.open(page, "live/")
    expect(page.locator("#directus-source")).to_contain_text("looked for every 2 seconds")
    key = directus.create_item("notes", {"title": "polled"})["id"]
    expect(feed(page).filter(has_text=str(key))).to_have_count(1)


def test_a_dead_letter_is_found_understood_and_retried_in_three_clicks(
    live: Page, site: AdminSite, directus: DirectusAdmin
) -> None:
    key = make_dead_letter(site, directus, SCRIPT)
    expect(card(live).locator(".directus-dead")).to_have_text(re.compile(r"\d+ dead letter"))
    card(live).locator(".directus-dead").click()  # 1: found
    expect(live.locator(".directus-pages")).to_contain_text("event")
    assert is_list_whole(live)
    take_screenshot(live, "admin-dead-letters")
    live.locator(".field-key_column a", has_text=re.compile(f"^{key}$")).click()  # 2: understood
    receivers = live.locator(".directus-receivers")
    expect(receivers).to_contain_text("on_article_created")
    expect(receivers).to_contain_text("LookupError")
    take_screenshot(live, "admin-event")
    receivers.locator("summary").click()
    expect(receivers.locator("pre")).to_contain_text("Traceback (most recent call last)")
    site.mend()
    live.get_by_role("button", name="Retry now").click()  # 3: retried
    expect(live.locator(".messagelist")).to_contain_text("1 event is tried again.")
    # The page follows it by itself.
    expect(live.locator(".field-state_column")).to_contain_text("done")
    expect(receivers).to_contain_text("succeeded")
    expect(live.get_by_role("button", name="Retry now")).to_have_count(0)
    expect(live.locator("#directus-announcement")).to_have_text("State: done")
    expect(live.locator("#directus-follow")).to_be_hidden()
    live.get_by_role("link", name="History").click()
    expect(live.locator("#change-history")).to_contain_text("Tried again.")


def test_the_item_is_opened_in_directus(
    site: AdminSite, page: Page, directus: DirectusAdmin, directus_server: DirectusServer
) -> None:
    key = directus.create_item("articles", {"title": "to be opened"})["id"]
    wait_for(lambda: site.call(lambda s: s.inbox.filter(key_json=str(key)).exists()), 20)
    site.open(page, f"inboxevent/?q={key}")
    page.locator("#result_list th a").first.click()
    link = page.get_by_role("link", name="Open in Directus")
    expect(link).to_have_attribute("href", f"{directus_server.url}/admin/content/articles/{key}")


def test_a_change_is_replayed(site: AdminSite, page: Page, directus: DirectusAdmin) -> None:
    key = directus.create_item("articles", {"title": "to be replayed"})["id"]
    events = lambda s: s.inbox.filter(key_json=str(key))  # noqa: E731
    wait_for(lambda: site.call(lambda s: events(s).exists()), 20)
    site.open(page, f"inboxevent/?q={key}")
    page.locator("#result_list th a").first.click()
    page.get_by_role("link", name="Replay this item…").click()
    page.get_by_role("button", name="Replay").click()
    expect(page.locator(".messagelist")).to_contain_text("1 event was put into the inbox.")
    assert site.call(lambda s: sorted(events(s).values_list("origin", flat=True))) == [
        "live",
        "replay",
    ]


def test_the_inbox_by_keyboard_only(site: AdminSite, page: Page, directus: DirectusAdmin) -> None:
    directus.create_item("notes", {"title": "by keyboard"})
    site.open(page, "live/")
    expect(feed(page).first).to_be_visible()
    tab_to(page, "#directus-pause")
    page.keyboard.press("Enter")
    expect(page.locator("#directus-pause")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    expect(page.locator("#directus-feed summary").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(feed(page).first.locator("pre")).to_be_visible()
    page.keyboard.press("Tab")  # the payload, which scrolls
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".field-data_field pre")).to_be_visible()


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached by Tab")


def test_the_list_follows_what_is_on_its_way(site: AdminSite, page: Page) -> None:
    def make(s: Site) -> Any:
        row = new_row(key="followed", subscription="notes", collection="notes")
        row.state, row.next_attempt_at = "failed", timezone.now() + timedelta(minutes=5)
        row.save(using=ALIAS)
        return row.pk

    pk = site.call(make)
    site.open(page, "inboxevent/?q=followed")
    state = page.locator("#result_list .directus-state").first
    expect(state).to_have_text("waiting for the next try")
    site.call(lambda s: s.inbox.filter(pk=pk).update(state="done"))
    expect(state).to_have_text("done")


PAGES = ["live/", "inboxevent/", "inboxevent/?state__exact=dead"]


@pytest.fixture(scope="module")
def dead_letter(site: AdminSite) -> int:
    """The id of a dead letter that nobody retries."""

    failure = {"receiver": "app.receiver", "error": "ValueError: x", "traceback": "T\n" * 50}
    event = Event(
        connection="default",
        subscription="articles",
        collection="articles",
        action="update",
        key=4711,
        data={"title": "a letter", "body": "a long word " * 30 + "x" * 300},
    )

    def make(s: Site) -> int:
        row = InboxEvent.from_event(event)
        row.state, row.attempts, row.failures = "dead", 8, {"app.receiver": failure}
        row.delivered = ["app.another.receiver"]
        row.save(using=ALIAS)
        return int(row.pk)

    return site.call(make)


def test_no_serious_fault_for_assistive_technology(
    site: AdminSite, page: Page, dead_letter: int
) -> None:
    for path in [*PAGES, f"inboxevent/{dead_letter}/change/"]:
        site.open(page, path)
        if path == "live/":
            expect(feed(page).first).to_be_visible()
        assert serious_faults(page) == [], path


def test_on_a_phone_nothing_is_wider_than_the_screen(
    site: AdminSite, page: Page, dead_letter: int
) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for path in ["live/", "inboxevent/?state__exact=dead", f"inboxevent/{dead_letter}/change/"]:
        site.open(page, path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)
        if path == "live/":
            expect(feed(page).first).to_be_visible()
            take_screenshot(page, "admin-live-phone")


def test_the_pages_speak_french(site: AdminSite, browser: Browser, dead_letter: int) -> None:
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    try:
        site.open(page, "live/")
        expect(page.locator("html")).to_have_attribute("lang", "fr")
        for text in ("Débit actuel", "Dernière interruption", "connecté", "par minute"):
            expect(card(page)).to_contain_text(text)
        expect(page.locator("#directus-pause")).to_have_text("Suspendre")
        site.open(page, "inboxevent/?state__exact=dead")
        expect(page.locator(".directus-pages")).to_contain_text("événement")
        page.locator("#result_list th a").first.click()
        expect(page.get_by_role("button", name="Réessayer maintenant")).to_be_visible()
    finally:
        context.close()
