"""The examples of docs/admin.md run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.utils import timezone

from directus_realtime.gateway.live_consumer import DEFAULT_PATH, LiveConsumer
from directus_realtime.models import InboxEvent
from tests.docs.markdown import python_blocks
from tests.helpers.inbox import dead_letter


def block(text: str) -> str:
    (found,) = [block.code for block in python_blocks("admin.md") if text in block.code]
    return found


def test_the_gateway_brings_the_websocket_of_the_live_page(monkeypatch: Any) -> None:
    monkeypatch.setattr(LiveConsumer, "mounted_at", None)
    names = {
        "ProtocolTypeRouter": ProtocolTypeRouter,
        "get_asgi_application": get_asgi_application,
    }
    exec(block("directus_gateway"), names)
    assert LiveConsumer.mounted_at == DEFAULT_PATH


@pytest.mark.django_db
def test_dead_letters_are_retried_and_put_away() -> None:
    last_week = timezone.now() - timedelta(days=7)
    retried = dead_letter()
    old = dead_letter(collection="notes", received_at=last_week - timedelta(days=1))
    new = dead_letter(collection="notes")
    exec(block("retry_now"), {"last_week": last_week})
    states = dict(InboxEvent.objects.values_list("pk", "state"))
    assert states == {retried.pk: "pending", old.pk: "handled", new.pk: "dead"}
