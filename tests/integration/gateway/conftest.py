from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import channel_layers, get_channel_layer

from directus_realtime.gateway import hub_tasks
from directus_realtime.testing import FakeDirectus
from tests.integration.gateway.browsers import close_layer
from tests.integration.listening import TOKEN


@pytest.fixture(autouse=True)
async def layer_is_closed(settings: Any, nothing_left_behind: None) -> AsyncIterator[None]:
    """The layer stops following the inbox only after some time by itself."""
    channel_layers.backends.clear()  # of a test with another loop
    yield
    await close_layer(get_channel_layer())


@pytest.fixture
def lossy_layer(settings: Any) -> None:
    """A channel layer that does not reach from the listener to the gateway."""
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 500}}
    }


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's periodic tasks run at once."""
    for name in ("OFFERS_INTERVAL", "USERS_INTERVAL", "INBOX_INTERVAL"):
        monkeypatch.setattr(hub_tasks, name, 0.05)
    monkeypatch.setattr(hub_tasks, "PING_INTERVAL", 0.02)


@pytest.fixture
def on_fake(fake: FakeDirectus, settings: Any) -> FakeDirectus:
    """A fake Directus that the site's connection is to."""
    settings.DIRECTUS_REALTIME = {"default": {"URL": fake.url, "TOKEN": TOKEN}}
    return fake
