from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from directus_realtime.testing import ThreadedFakeDirectus, run_in_thread
from example_project.demo import ROOT
from example_project.demo.content import PEOPLE
from example_project.demo.fake_directus import demo_content
from example_project.site.demo_users import link_people

PAGES = ("articles", "chat", "notifications", "dashboard")


@pytest.fixture
def example(settings: Any, db: None) -> Any:
    """The example's pages in the tests' settings; the demo's buttons are not there."""
    settings.ROOT_URLCONF = "example_project.urls"
    settings.MIDDLEWARE = [
        "example_project.middleware.content_security_policy",
        *settings.MIDDLEWARE,
        "django.middleware.csrf.CsrfViewMiddleware",
    ]
    folders = [ROOT / "example_project" / name / "templates" for name in PAGES]
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": folders}]
    settings.DIRECTUS_REALTIME = {"default": {"URL": "http://127.0.0.1:9", "TOKEN": "x"}}
    settings.LOGIN_REDIRECT_URL = settings.LOGOUT_REDIRECT_URL = "/"
    return settings


@pytest.fixture
def fake() -> Iterator[ThreadedFakeDirectus]:
    """A fake Directus with the demo's content."""
    with run_in_thread(**demo_content()) as directus:
        yield directus


@pytest.fixture
def site(example: Any, fake: ThreadedFakeDirectus) -> ThreadedFakeDirectus:
    """The example's pages on the fake Directus, which they may write to."""
    example.DIRECTUS_REALTIME = {"default": {"URL": fake.url, "TOKEN": fake.token}}
    example.DIRECTUS_WRITE_TOKEN = fake.token
    link_people({each.email: each.id for each in PEOPLE})
    return fake


@pytest.fixture
def demo(example: Any, site: ThreadedFakeDirectus) -> ThreadedFakeDirectus:
    """The same as in the demo."""
    example.DEMO = "fake"
    example.DIRECTUS_DEMO_TOKEN = site.token
    return site


@pytest.fixture
def ada(site: ThreadedFakeDirectus) -> Client:
    """Ada's browser, signed in."""
    client = Client()
    client.force_login(User.objects.get(username="ada"))
    return client
