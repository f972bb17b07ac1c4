"""Chat, notifications and dashboard on a real Directus that ``seed_directus`` has filled."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from example_project.real_directus import DirectusAdmin, DirectusServer, DirectusUnavailable
from example_project.site.env_files import read_env_file
from tests.browser.conftest import Example, OpenPage
from tests.conftest import missing
from tests.helpers.process import Process

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

SUBSCRIPTIONS = ("chat", "orders", "my-notifications")


@dataclass
class Running:
    """The example's processes; who ends one starts it again."""

    example: Example
    site: Process
    listener: Process

    def sign_in(self, page: Page, name: str, path: str) -> None:
        page.goto(f"{self.example.url}/login/?next={path}")
        page.get_by_role("button", name=f"Sign in as {name}").click()
        expect(page.locator("#pill")).to_have_text("Connected")


@pytest.fixture(scope="module")
def server() -> Iterator[DirectusServer]:
    """A Directus of this module, with nothing in it."""
    try:
        with DirectusServer() as server:
            yield server
    except DirectusUnavailable as error:
        missing(str(error))


@pytest.fixture(scope="module")
def directus(server: DirectusServer) -> Iterator[DirectusAdmin]:
    with server.admin() as admin:
        yield admin


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, server: DirectusServer) -> Iterator[Running]:
    """The example, with the tokens of ``seed_directus`` and no others."""
    folder: Path = tmp_path_factory.mktemp("site")
    env_file = folder / "tokens.env"
    example = Example(
        folder,
        {
            "DIRECTUS_URL": "",
            "DIRECTUS_TOKEN": "",
            "DIRECTUS_DEMO_TOKEN": server.admin_token,
            "DEMO": "directus",
        },
    )
    try:
        example.run("migrate", "--verbosity=0")
        seed = ("--url", server.url, "--token-env", "DIRECTUS_DEMO_TOKEN")
        said = example.run("seed_directus", *seed, "--env-file", str(env_file))
        assert "Collection messages: created." in said
        example.env |= read_env_file(env_file)
        assert server.admin_token not in env_file.read_text()
        yield Running(example, example.start_site(), example.start_listener(*SUBSCRIPTIONS))
    finally:
        example.close()


@pytest.fixture
def running(started: Running) -> Running:
    """The example with all of its processes; a test that failed may have left one ended."""
    if started.site.has_ended:
        started.site = started.example.start_site()
    if started.listener.has_ended:
        started.listener = started.example.start_listener(*SUBSCRIPTIONS)
    return started


def message(page: Page, text: str) -> Locator:
    return page.locator("#messages > li").filter(has_text=text)


def write(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def test_chat__two_browsers_side_by_side(running: Running, open_page: OpenPage) -> None:
    ada, jonas = open_page(), open_page()
    running.sign_in(ada, "Ada", "/chat/")
    running.sign_in(jonas, "Jonas", "/chat/")
    for page in (ada, jonas):
        expect(page.locator("#messages > li")).to_have_count(4)
        expect(page.locator("#messages > li").first).to_contain_text("I am making coffee")

    write(ada, "Is <b>anybody</b> here?")
    expect(ada.get_by_label("Message", exact=True)).to_have_value("")
    for page in (ada, jonas):
        expect(page.locator("#messages > li").first).to_contain_text("Is <b>anybody</b> here?")
        expect(page.locator("#messages > li").first).to_contain_text("Ada")
    write(jonas, "I am.")
    expect(message(ada, "I am.")).to_be_visible()
    # Only what is one's own can be changed.
    expect(message(ada, "I am.").get_by_role("button", name="Edit")).to_be_hidden()

    mine = message(jonas, "I am.")
    mine.get_by_role("button", name="Edit").click()
    mine.locator("textarea").fill("I am, too.")
    mine.get_by_role("button", name="Save").click()
    expect(message(ada, "I am, too.")).to_be_visible()
    message(jonas, "I am, too.").get_by_role("button", name="Delete").click()
    expect(message(ada, "I am, too.")).to_have_count(0)
    expect(ada.locator("#messages > li")).to_have_count(5)


def test_chat__the_listener_dies_and_comes_back(
    running: Running, page: Page, directus: DirectusAdmin
) -> None:
    page.goto(f"{running.example.url}/chat/")
    expect(page.locator("#pill")).to_have_text("Connected")
    first = page.locator("#messages > li").first
    running.listener.kill()
    expect(page.locator("#pill")).to_have_text("Disconnected")
    expect(page.locator("#reason")).to_contain_text("No listener is running")
    directus.create_item("messages", {"content": "Said while nobody listened"})
    running.listener = running.example.start_listener("chat")
    expect(page.locator("#pill")).to_have_text("Connected")
    expect(first).to_contain_text("Said while nobody listened")


def test_chat__a_refusal_that_is_over_is_not_shown_any_longer(
    running: Running, page: Page, directus: DirectusAdmin
) -> None:
    lines: list[WebSocketRoute] = []
    held: list[str | bytes] = []
    is_held = False

    def pass_on(line: WebSocketRoute) -> None:
        server = line.connect_to_server()
        line.on_message(lambda text: held.append(text) if is_held else server.send(text))
        lines.extend((line, server))

    page.route_web_socket("**/directus/", pass_on)
    page.goto(f"{running.example.url}/chat/")
    expect(page.locator("#messages > li").first).to_be_visible()
    directus.create_item("messages", {"content": "Where the page goes on"})
    expect(message(page, "Where the page goes on")).to_be_visible()
    line, server = lines
    is_held = True
    error = {"code": "SERVICE_UNAVAILABLE", "message": "The database is away."}
    refusal = {"type": "subscribe", "status": "error", "uid": "1", "error": error}
    line.send(json.dumps(refusal))
    expect(page.locator("#messages-error")).to_contain_text("it is tried again")
    is_held = False
    for text in held:
        server.send(text)
    expect(page.locator("#messages-error")).to_be_hidden()


def test_chat__django_dies_and_comes_back(
    running: Running, page: Page, directus: DirectusAdmin
) -> None:
    running.sign_in(page, "Ada", "/chat/")
    gone = directus.create_item("messages", {"content": "Soon taken back"})["id"]
    expect(message(page, "Soon taken back")).to_be_visible()
    running.site.kill()
    expect(page.locator("#pill")).to_have_text("This page is not connected")
    directus.create_item("messages", {"content": "Said while the site was away"})
    directus.delete_item("messages", gone)
    # What is written now is not lost.
    write(page, "Do you hear me?")
    expect(page.locator("#compose-error")).to_contain_text("could not be made")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Do you hear me?")

    running.site = running.example.start_site()
    expect(page.locator("#pill")).to_have_text("Connected")
    expect(message(page, "Said while the site was away")).to_be_visible()
    expect(message(page, "Soon taken back")).to_have_count(0)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#messages > li").first).to_contain_text("Do you hear me?")


def test_notifications__of_the_one_who_is_signed_in(
    running: Running, open_page: OpenPage, directus: DirectusAdmin
) -> None:
    ada, ada_elsewhere, jonas = open_page(), open_page(), open_page()
    running.sign_in(ada, "Ada", "/notifications/")
    running.sign_in(ada_elsewhere, "Ada", "/chat/")
    running.sign_in(jonas, "Jonas", "/notifications/")
    for page in (ada, jonas):
        expect(page.locator("#unread")).to_have_text("2")
        expect(page.locator("#notices > li")).to_have_count(2)
    params = {"filter[first_name][_eq]": "Ada"}
    [user] = directus.request("GET", "/users", params=params)

    news = {"recipient": user["id"], "subject": "The proofs are here", "message": "On your desk."}
    directus.request("POST", "/notifications", news)
    for page in (ada, ada_elsewhere):
        expect(page.locator(".toast")).to_contain_text("The proofs are here")
        expect(page.locator("#unread-badge")).to_have_text("3")
    expect(ada.locator("#notices > li").first).to_contain_text("The proofs are here")

    row = ada.locator("#notices > li").filter(has_text="The proofs are here")
    row.get_by_role("button", name="Mark as read").click()
    for page in (ada, ada_elsewhere):
        expect(page.locator("#unread-badge")).to_have_text("2")
    expect(row).to_have_count(0)
    ada.get_by_role("button", name="Mark all as read").click()
    expect(ada.locator("#notices-empty")).to_be_visible()
    expect(ada_elsewhere.locator("#unread-badge")).to_be_hidden()
    # Nothing of it was Jonas's.
    expect(jonas.locator("#unread")).to_have_text("2")
    expect(jonas.locator(".toast")).to_have_count(0)


def test_notifications__nobody_signed_in_gets_none(running: Running, page: Page) -> None:
    frames: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda text: frames.append(str(text))),
    )
    page.goto(f"{running.example.url}/notifications/")
    page.evaluate(
        """async () => {
            const { gateway } = await import("/static/site/live.js");
            await new Promise((resolve) => gateway.subscribe("my-notifications", {
                onError: resolve,
            }));
        }"""
    )
    assert any("FORBIDDEN" in frame for frame in frames)
    assert not any("recipient" in frame for frame in frames)


def number(page: Page, name: str) -> float:
    return float(re.sub(r"[^\d.]", "", page.locator(f"#{name}").text_content() or ""))


def test_dashboard__a_burst_is_one_read(
    running: Running, page: Page, directus: DirectusAdmin
) -> None:
    reads: list[str] = []
    page.on("request", lambda each: reads.append(each.url) if "/figures/" in each.url else None)
    page.goto(f"{running.example.url}/dashboard/")
    expect(page.locator("#pill")).to_have_text("Connected")
    expect(page.locator("#completed")).to_have_text("120")
    expect(page.locator("#plot .bar")).to_have_count(30)
    expect(page.locator("#pending")).to_have_text("3")
    page.wait_for_load_state("networkidle")
    revenue, before = number(page, "revenue"), len(reads)

    order = {"customer": "Test", "total": 10.5, "status": "pending"}
    made = directus.create_items("orders", [order] * 20)
    expect(page.locator("#pending")).to_have_text("23")
    page.wait_for_load_state("networkidle")
    assert len(reads) - before <= 5  # of 20 events

    directus.update_items("orders", [each["id"] for each in made], {"status": "completed"})
    expect(page.locator("#completed")).to_have_text("140")
    expect(page.locator("#pending")).to_have_text("3")
    assert number(page, "revenue") == pytest.approx(revenue + 20 * 10.5)


def test_dashboard__says_when_its_figures_may_be_old(
    running: Running, page: Page, directus: DirectusAdmin
) -> None:
    page.goto(f"{running.example.url}/dashboard/")
    expect(page.locator("#pill")).to_have_text("Connected")
    expect(page.locator("#completed")).to_have_text(re.compile(r"\d"))
    expect(page.locator("#figures-stale")).to_be_hidden()
    completed = int(number(page, "completed"))
    running.listener.kill()
    expect(page.locator("#figures-stale")).to_be_visible()
    directus.create_item("orders", {"total": 1, "status": "completed"})
    running.listener = running.example.start_listener("orders")
    expect(page.locator("#figures-stale")).to_be_hidden()
    expect(page.locator("#completed")).to_have_text(str(completed + 1))
