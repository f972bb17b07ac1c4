"""The pages of the subscriptions, in Chromium, on a real Directus; one site for all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.helpers.admin_site import AdminSite, admin_site, is_list_whole
from tests.helpers.axe import serious_faults
from tests.helpers.screenshots import take_screenshot
from tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

expect.set_options(timeout=20_000)

LIST = "directussubscription/"
ADD = f"{LIST}add/"
SCRIPT = "<script>document.title = 'taken over'</script>"
STATUS = {
    "type": "string",
    "meta": {
        "interface": "select-dropdown",
        "options": {"choices": [{"text": "Live!", "value": "published"}, {"value": "draft"}]},
    },
}


@pytest.fixture(scope="module")
def collections(directus_server: DirectusServer) -> Iterator[None]:
    """Posts with a writer each; the first 12 of 15 are published."""
    with directus_server.admin() as admin:
        admin.create_collection("writers", {"name": "string"})
        fields = {"title": "string", "status": STATUS, "rating": "integer", "writer": "integer"}
        admin.create_collection("posts", {**fields, "shown_on": "date", "pinned": "boolean"})
        admin.create_relation("posts", "writer", "writers")
        admin.create_item("writers", {"name": "Ada"})
        posts = [
            {"title": f"Post {n}", "status": "published" if n < 12 else "draft", "writer": 1}
            for n in range(15)
        ]
        posts[11]["title"] = SCRIPT
        admin.create_items("posts", posts)
        yield
        for name in ("posts", "writers"):
            admin.delete_collection(name)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    directus_server: DirectusServer,
    collections: None,
    django_db_blocker: Any,
) -> Iterator[AdminSite]:
    """A site that listens."""
    with (
        django_db_blocker.unblock(),
        admin_site(tmp_path_factory.mktemp("admin"), directus_server) as site,
    ):
        site.call(lambda s: s.subscribe("all-posts", "posts"))
        site.start()
        site.listen()
        yield site


@pytest.fixture
def page(page: Page) -> Page:
    """The page of a desktop."""
    page.set_viewport_size({"width": 1280, "height": 900})
    return page


@pytest.fixture
def add(site: AdminSite, page: Page) -> Page:
    """The form of a new subscription, once the collections are there."""
    site.open(page, ADD)
    expect(page.locator(".field-collection [role=status]")).to_have_text(re.compile(r"^\d+ coll"))
    return page


def pick(page: Page, box: Locator, typed: str, chosen: str) -> None:
    """Type into a combobox, and choose an entry of its list."""
    box.click()
    box.press_sequentially(typed)
    box.locator("xpath=..").get_by_role("option", name=re.compile(re.escape(chosen))).first.click()


def box(page: Page, name: str) -> Locator:
    return page.get_by_role("combobox", name=name, exact=True)


def value_of(page: Page, field: str) -> Any:
    return json.loads(page.locator(f"#id_{field}").input_value())


def row(page: Page, name: str) -> Locator:
    link = page.get_by_role("link", name=name, exact=True)
    return page.locator("#result_list tbody tr").filter(has=link)


def run_action(page: Page, action: str, name: str) -> None:
    row(page, name).get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option(action)
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()


def test_adds_by_the_guide__tries_it__and_sees_it_subscribed(add: Page, site: AdminSite) -> None:
    add.get_by_label("Name:").fill("guided")
    pick(add, add.locator("#id_collection"), "pos", "posts")
    add.get_by_role("button", name="Add a condition").click()
    pick(add, box(add, "Field"), "stat", "status")
    pick(add, box(add, "Value"), "pub", "published")
    expect(add.get_by_label("Operator")).to_contain_text("contains")
    for typed, chosen in (("tit", "title"), ("writer.n", "writer.name")):
        pick(add, box(add, "Add a field"), typed, chosen)
    assert value_of(add, "filter") == {"status": {"_eq": "published"}}
    assert value_of(add, "fields") == ["title", "writer.name"]

    add.get_by_role("button", name="Try it").click()
    tried = add.locator(".directus-tried")
    expect(tried).to_contain_text("12 items match now. The newest 10:")
    expect(tried.locator("tbody tr")).to_have_count(10)
    expect(tried).to_contain_text(SCRIPT)
    expect(tried).to_contain_text('{"name": "Ada"}')
    assert not site.call(lambda s: s.subscriptions.filter(name="guided").exists())
    take_screenshot(add, "admin-subscription-add")
    assert serious_faults(add) == []

    add.get_by_role("button", name="Save", exact=True).click()
    expect(add.locator(".messagelist")).to_contain_text("takes it up within 2 seconds")
    expect(row(add, "guided")).to_contain_text("subscribed")  # refreshed by itself


def test_both_views_of_the_filter_are_in_step(add: Page) -> None:
    add.locator("#id_collection").fill("posts")
    filter_ = add.locator(".field-filter")
    filter_.get_by_role("button", name="Edit as JSON").click()
    given = {
        "_or": [
            {"rating": {"_between": [1, 3]}},
            {"pinned": {"_eq": True}},
            {"writer": {"name": {"_in": ["Ada", "Bob"]}}},
            {"shown_on": {"_gte": "2026-01-01"}},
            {"title": {"_null": True}},
        ]
    }
    add.locator("#id_filter").fill(json.dumps(given))
    filter_.get_by_role("button", name="Edit by rows").click()
    rows = filter_.get_by_role("group", name="Condition")
    expect(rows).to_have_count(5)
    expect(rows.nth(0).get_by_label("From", exact=True)).to_have_value("1")
    expect(rows.nth(1).get_by_label("Value")).to_have_value("true")
    expect(rows.nth(2).get_by_label("Values, with commas between")).to_have_value("Ada, Bob")
    expect(rows.nth(3).get_by_label("Value")).to_have_attribute("type", "date")
    expect(rows.nth(4).get_by_label("Value")).to_have_count(0)
    assert value_of(add, "filter") == given

    rows.nth(0).get_by_label("To", exact=True).fill("5")
    rows.nth(1).get_by_label("Value").select_option("false")
    rows.nth(3).get_by_role("button", name="Remove").click()
    rows.nth(3).get_by_label("Operator").select_option("_eq")
    rows.nth(3).get_by_label("Value").fill("x")
    filter_.get_by_label("Condition", exact=True).select_option("_and")
    assert value_of(add, "filter") == {
        "_and": [
            {"rating": {"_between": [1, 5]}},
            {"pinned": {"_eq": False}},
            {"writer": {"name": {"_in": ["Ada", "Bob"]}}},
            {"title": {"_eq": "x"}},
        ]
    }


@pytest.mark.parametrize("filter", ['{"_and": [{"_or": []}]}', "{", "[1]"])
def test_a_filter_that_rows_cannot_show_stays_json(add: Page, filter: str) -> None:
    field = add.locator(".field-filter")
    field.get_by_role("button", name="Edit as JSON").click()
    add.locator("#id_filter").fill(filter)
    field.get_by_role("button", name="Edit by rows").click()
    expect(field.get_by_role("status")).to_contain_text("Rows cannot show this filter")
    expect(add.locator("#id_filter")).to_have_value(filter)
    expect(add.locator("#id_filter")).to_be_visible()


def test_a_filter_that_is_refused_is_told_before_and_after_saving(add: Page) -> None:
    add.get_by_label("Name:").fill("refused")
    add.locator("#id_collection").fill("posts")
    add.get_by_role("button", name="Add a condition").click()
    box(add, "Field").fill("nope")
    add.get_by_role("textbox", name="Value").fill("x")
    add.get_by_role("button", name="Try it").click()
    sentence = 'You don\'t have permission to access field "nope" in collection "posts"'
    expect(add.locator(".directus-tried")).to_contain_text(f"Directus refuses: {sentence}")
    add.get_by_role("button", name="Save", exact=True).click()
    expect(row(add, "refused")).to_contain_text("refused")
    expect(row(add, "refused")).to_contain_text(sentence)

    run_action(add, "test", "refused")
    expect(add.get_by_role("row", name="refused")).to_contain_text(sentence)
    take_screenshot(add, "admin-subscription-test")
    assert serious_faults(add) == []


def test_a_disabled_subscription_stops_and_an_enabled_one_goes_on(
    site: AdminSite, page: Page, directus: DirectusAdmin
) -> None:
    def events() -> int:
        return site.call(lambda s: s.inbox.filter(subscription="all-posts").count())

    site.open(page, LIST)
    before = events()
    directus.create_item("posts", {"title": "heard"})
    wait_for(lambda: events() == before + 1, 20, "the event")
    expect(row(page, "all-posts").locator("svg")).to_have_attribute(
        "aria-label", re.compile(r"^[1-9]\d* events? in the last hour")
    )
    run_action(page, "disable", "all-posts")
    expect(page.locator(".messagelist")).to_contain_text("1 subscription is disabled.")
    expect(row(page, "all-posts")).to_contain_text("paused")
    listener = site.call(lambda s: s.listeners[-1])
    listener.wait_for_line("unsubscribed all-posts")
    directus.create_item("posts", {"title": "not heard"})
    run_action(page, "enable", "all-posts")
    listener.wait_for_line("subscribed all-posts:", count=2)
    directus.create_item("posts", {"title": "heard again"})
    wait_for(lambda: events() == before + 2, 20, "the event after it was enabled")
    expect(row(page, "all-posts")).to_contain_text("subscribed")
    page.set_viewport_size({"width": 1280, "height": 700})
    assert is_list_whole(page)
    take_screenshot(page, "admin-subscriptions")
    assert serious_faults(page) == []


def test_loads_all_items_on_demand(site: AdminSite, page: Page, directus: DirectusAdmin) -> None:
    site.open(page, LIST)
    run_action(page, "load", "all-posts")
    expect(page.locator(".messagelist")).to_contain_text("All items of 1 subscription are loaded")
    total = len(directus.read_items("posts", limit="-1"))
    snapshots = {"subscription": "all-posts", "origin": "snapshot"}
    wait_for(lambda: site.call(lambda s: s.inbox.filter(**snapshots).count()) == total, 30)


def test_replays_since_a_time(site: AdminSite, page: Page) -> None:
    site.open(page, LIST)
    run_action(page, "replay_since", "all-posts")
    expect(page.get_by_role("listitem").filter(has_text="all-posts (posts)")).to_be_visible()
    assert serious_faults(page) == []
    take_screenshot(page, "admin-subscription-replay")
    page.get_by_label("Since").fill("2020-01-01T00:00:00")
    page.get_by_label("Key").fill("1")
    page.get_by_role("button", name="Replay").click()
    told = page.locator(".messagelist")
    expect(told).to_contain_text("all-posts: 1 event was put into the inbox", ignore_case=True)


def test_without_the_server_names_are_typed_and_the_page_says_why(
    site: AdminSite, page: Page, directus_server: DirectusServer
) -> None:
    directus_server.pause()
    try:
        site.open(page, ADD)
        note = page.locator(".field-collection [role=status]")
        page.get_by_role("button", name="Read again from Directus").click()
        expect(note).to_contain_text("The collections could not be read", timeout=30_000)
        expect(note).to_contain_text("You can type the names.")
        page.get_by_label("Name:").fill("typed")
        page.locator("#id_collection").fill("posts")
        box(page, "Add a field").fill("title")
        box(page, "Add a field").press("Enter")
        page.get_by_role("button", name="Add a condition").click()
        box(page, "Field").fill("status")
        page.get_by_role("textbox", name="Value").fill("draft")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(row(page, "typed")).to_be_visible()
    finally:
        directus_server.resume()
    saved = site.call(lambda s: s.subscriptions.get(name="typed"))
    assert (saved.filter, saved.fields) == ({"status": {"_eq": "draft"}}, ["title"])


def test_a_condition_without_a_field_is_told_and_neither_tried_nor_saved(
    add: Page, site: AdminSite
) -> None:
    add.get_by_label("Name:").fill("half-a-condition")
    add.get_by_role("button", name="Add a condition").click()
    add.get_by_role("textbox", name="Value").fill("published")
    add.locator("#id_collection").fill("posts")  # the row stays
    told = add.locator(".directus-row .directus-problem")
    for name in ("Try it", "Save"):
        expect(told).to_have_count(0)
        add.get_by_role("button", name=name, exact=True).click()
        expect(told).to_contain_text("A condition has no field.")
        expect(box(add, "Field")).to_be_focused()
        box(add, "Field").fill("status")
        expect(told).to_have_count(0)
        box(add, "Field").fill("")
    assert add.locator(".directus-tried").text_content() == ""
    assert not site.call(lambda s: s.subscriptions.filter(name="half-a-condition").exists())
    add.get_by_role("button", name="Remove Condition 1").click()
    add.get_by_role("button", name="Try it").click()
    expect(add.locator(".directus-tried")).to_contain_text("match now")


def test_a_condition_without_a_value_is_told_and_tried(add: Page) -> None:
    add.locator("#id_collection").fill("posts")
    add.get_by_role("button", name="Add a condition").click()
    box(add, "Field").fill("status")
    told = add.locator(".directus-row").get_by_role("status")
    expect(told).to_have_count(0)
    add.get_by_role("button", name="Try it").click()
    expect(told).to_contain_text("This condition has no value.")
    expect(add.locator(".directus-tried")).to_contain_text('Use "_empty" or "_nempty" instead.')
    box(add, "Value").fill("draft")
    expect(told).to_have_count(0)
    add.get_by_label("Operator").select_option("_nnull")
    add.get_by_role("button", name="Try it").click()
    expect(add.locator(".directus-tried tbody tr").first).to_contain_text("no value")
    expect(told).to_have_count(0)


def test_by_keyboard_alone(add: Page) -> None:
    press, typed = add.keyboard.press, add.keyboard.type
    add.locator("#id_name").focus()
    typed("by-keyboard")
    press("Tab")  # enabled
    press("Tab")  # connection
    press("Tab")
    expect(add.locator("#id_collection")).to_be_focused()
    typed("wri")
    press("ArrowDown")
    expect(add.get_by_role("option", name="writers")).to_have_attribute("aria-selected", "true")
    press("Enter")
    expect(add.locator("#id_collection")).to_have_value("writers")
    press("Tab")  # read again
    for _ in range(3):  # the actions
        press("Tab")
    press("Tab")
    expect(add.get_by_role("button", name="Add a condition")).to_be_focused()
    press("Enter")
    expect(box(add, "Field")).to_be_focused()
    typed("na")
    press("ArrowDown")
    press("Enter")
    press("Tab")  # operator
    press("Tab")
    typed("Ada")
    press("Enter")  # saves nothing
    assert value_of(add, "filter") == {"name": {"_eq": "Ada"}}
    add.get_by_role("button", name="Try it").focus()
    press("Enter")
    expect(add.locator(".directus-tried")).to_contain_text("1 item matches now.")
    expect(add.get_by_role("button", name="Try it")).to_be_focused()
    add.locator("#id_collection").focus()
    press("ArrowDown")
    press("Escape")
    expect(add.locator("#id_collection")).to_have_attribute("aria-expanded", "false")


def test_phone__nothing_is_wider_than_the_screen(add: Page) -> None:
    add.set_viewport_size({"width": 390, "height": 800})
    add.locator("#id_collection").fill("posts")
    add.get_by_role("button", name="Add a condition").click()
    box(add, "Field").fill("status")
    add.get_by_role("button", name="Try it").click()
    expect(add.locator(".directus-tried")).not_to_contain_text("Asking")
    assert add.evaluate("document.documentElement.scrollWidth") <= 390
    take_screenshot(add, "admin-subscription-phone")
    assert serious_faults(add) == []
    add.goto(add.url.replace("add/", ""))
    assert add.evaluate("document.documentElement.scrollWidth") <= 390


def test_french(site: AdminSite, browser: Browser) -> None:
    context = browser.new_context(locale="fr-FR")
    try:
        page = context.new_page()
        site.open(page, ADD)
        expect(page.locator(".field-collection [role=status]")).to_contain_text("collections")
        for name in ("Ajouter une condition", "Essayer", "Modifier en JSON"):
            expect(page.get_by_role("button", name=name).first).to_be_visible()
        page.locator("#id_collection").fill("posts")
        page.get_by_role("button", name="Essayer").click()
        expect(page.locator(".directus-tried")).to_contain_text("éléments correspondent")
        site.open(page, LIST)
        expect(page.locator("#result_list")).to_contain_text("Dernière heure", ignore_case=True)
        expect(page.locator("select[name=action]")).to_contain_text("Rejouer")
    finally:
        context.close()
