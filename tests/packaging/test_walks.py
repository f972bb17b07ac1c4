"""The install section of the README and the tutorial, followed literally from an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from directus_realtime.testing import FakeCollection, run_in_thread
from tests.conftest import free_port, missing
from tests.docs.markdown import ROOT, blocks_of
from tests.docs.walking import Walk

CHECKOUT = "/path/to/django-directus-realtime"
EMPTY_PROJECT = """\
python3 -m venv .venv
. .venv/bin/activate
python -c "import sys; sys.exit('directus_realtime' in sys.modules)"
"""


@pytest.fixture
def walks() -> Iterator[list[Walk]]:
    """Put a walk in: what it left running is ended."""
    made: list[Walk] = []
    yield made
    for walk in made:
        walk.close()


def test_the_readme_leads_to_a_receiver_that_is_called(
    wheel: Path, tmp_path: Path, walks: list[Walk]
) -> None:
    articles = FakeCollection("articles", fields={"title": "string"})
    with run_in_thread(collections=[articles]) as fake:
        replaced = {CHECKOUT: str(wheel), "https://cms.example.com": fake.url}
        walk = Walk(tmp_path, replaced, {"DIRECTUS_TOKEN": fake.token})
        walks.append(walk)
        walk.run(EMPTY_PROJECT)
        for block in blocks_of(ROOT / "README.md"):
            walk.do(block)
            if "pip install" in block.code:  # the project that the README speaks of
                walk.run("django-admin startproject project .\npython manage.py startapp shop")
                settings = tmp_path / "project" / "settings.py"
                settings.write_text(settings.read_text() + '\nINSTALLED_APPS += ["shop"]\n')
        fake.create("articles", {"title": "Hello"})
        walk.wait_for("create 1 {'id': 1, 'title': 'Hello'}")


@pytest.mark.browser
def test_the_tutorial_leads_to_a_live_page(wheel: Path, tmp_path: Path, walks: list[Walk]) -> None:
    directus, site = str(free_port()), str(free_port())
    replaced = {
        CHECKOUT: str(wheel),
        "127.0.0.1:8055": f"127.0.0.1:{directus}",
        "directus_realtime.testing --demo": f"directus_realtime.testing --demo --port {directus}",
        "manage.py runserver": f"manage.py runserver --noreload {site}",
    }
    walk = Walk(tmp_path, replaced, {})
    walks.append(walk)
    walk.follow("tutorial.md")
    if not Path("/usr/bin/chromium").exists():
        missing("Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 760, "height": 560})
        page.goto(f"http://127.0.0.1:{site}/")
        page.get_by_text("connected", exact=True).wait_for()
        page.locator("#list li").nth(4).wait_for()
        page.locator("#list li:not(.new)").first.wait_for()
        page.locator("#list li.new").first.wait_for()  # changed while it was open
        browser.close()
