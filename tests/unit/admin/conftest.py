"""A signed-in superuser, a configured connection, and a fake Directus behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from directus_realtime.models import ConnectionStatus
from directus_realtime.testing import FakeCollection, ThreadedFakeDirectus, run_in_thread

TOKEN = "the-s3cret-token"


@pytest.fixture(autouse=True)
def connection(settings: Any) -> Iterator[None]:
    """Connections to a port where nobody listens."""
    values = {"URL": "http://127.0.0.1:9", "TOKEN": TOKEN, "PASSWORD": TOKEN}
    settings.DIRECTUS_REALTIME = {"default": values, "blog": values}
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def admin_client(client: Client) -> Client:
    """Like pytest-django's, without the time to hash a password."""
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.fixture(scope="module")
def fake_server() -> Iterator[ThreadedFakeDirectus]:
    """A fake Directus with articles, which no test of the module changes."""
    authors = FakeCollection("authors", fields={"name": "string"}, items=[{"id": 1, "name": "Ada"}])
    items = [
        {"id": n, "title": f"No. {n}", "status": "draft" if n % 3 else "published", "author": 1}
        for n in range(1, 31)
    ]
    fields = {"title": "string", "status": "string", "author": ("m2o", "authors")}
    articles = FakeCollection("articles", fields=fields, items=items)
    with run_in_thread(collections=[authors, articles]) as fake:
        yield fake


@pytest.fixture
def fake(fake_server: ThreadedFakeDirectus, settings: Any) -> ThreadedFakeDirectus:
    """The fake Directus, behind the connection ``default``."""
    values = {"URL": fake_server.url, "TOKEN": fake_server.token}
    settings.DIRECTUS_REALTIME = {"default": values, "blog": values}
    return fake_server


@pytest.fixture
def listener() -> ConnectionStatus:
    """A listener that writes now."""
    now = timezone.now()
    return ConnectionStatus.objects.create(
        alias="default",
        state="connected",
        url="https://cms.example.com",
        version="11.17.4",
        identity="django@example.com",
        changed_at=now,
        heartbeat_at=now,
    )
