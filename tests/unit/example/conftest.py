from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from directus_realtime.testing import ThreadedFakeDirectus, run_in_thread
from directus_realtime.testing.demo.fake import demo_content
from example_project.demo import ROOT


@pytest.fixture
def example(settings: Any, db: None) -> Any:
    """The example's pages in the tests' settings; the demo's button is not there."""
    settings.ROOT_URLCONF = "example_project.urls"
    settings.MIDDLEWARE = [
        "example_project.middleware.content_security_policy",
        *settings.MIDDLEWARE,
        "django.middleware.csrf.CsrfViewMiddleware",
    ]
    folder = ROOT / "example_project" / "articles" / "templates"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [folder]}]
    settings.DIRECTUS_REALTIME = {"default": {"URL": "http://127.0.0.1:9", "TOKEN": "x"}}
    return settings


@pytest.fixture
def fake() -> Iterator[ThreadedFakeDirectus]:
    """A fake Directus with the demo's articles."""
    with run_in_thread(**demo_content()) as directus:
        yield directus


@pytest.fixture
def demo(example: Any, fake: ThreadedFakeDirectus) -> ThreadedFakeDirectus:
    """The example's pages on the fake Directus, as in the demo."""
    example.DIRECTUS_REALTIME = {"default": {"URL": fake.url, "TOKEN": fake.token}}
    example.DEMO = "fake"
    return fake
