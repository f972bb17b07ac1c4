"""A browser that sends anything gets errors, and harms nobody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import channel_layers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directus_realtime.gateway import DirectusGateway
from directus_realtime.models import DirectusSubscription, InboxEvent
from tests.integration.gateway.browsers import Browser, browsing, close_layer, deliver, event

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = [
    *("type", "uid", "collection", "event", "query", "item", "last_event_id", "access_token"),
    *("fields", "filter", "sort", "limit", "_eq", "_and", "_or", "_in", "_some", "id", "title"),
    *("subscribe", "unsubscribe", "auth", "ping", "pong", "articles", "create", "delete", "*"),
    *("", "\x00", "\ud800", "NaN", "../", "a.b.c", "-id"),
]
words = st.sampled_from(WORDS)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    """A message that a browser might send, with something odd in it."""
    message: dict[str, Any] = {
        "type": draw(st.sampled_from(["subscribe", "unsubscribe", "auth", "ping", "pong"])),
        "collection": "articles",
    }
    if draw(st.booleans()):
        message["uid"] = draw(st.sampled_from(["a", "b", 1, 2.0]))
    if draw(st.booleans()):
        message["query"] = draw(
            st.dictionaries(st.sampled_from(["fields", "filter", "sort", "limit"]), anything)
        )
    if draw(st.integers(0, 2)) == 0:
        message[draw(words)] = draw(anything)
    return message


contents = st.lists(
    st.one_of(
        anything.map(json.dumps),
        nearly_right().map(json.dumps),
        nearly_right().map(lambda message: json.dumps(message)[:-1]),
        st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()),
        st.binary(min_size=1, max_size=40),
    ),
    max_size=12,
)


def test_a_fuzzed_browser_harms_nobody() -> None:
    DirectusSubscription.objects.create(
        name="articles", collection="articles", browser_access="public", fields=["id", "title"]
    )

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(contents)
    def fuzz(sent: list[str | bytes]) -> None:
        async_to_sync(one_conversation)(sent)

    fuzz()


async def one_conversation(sent: list[str | bytes]) -> None:
    gateway = DirectusGateway.as_asgi()
    try:
        async with browsing(gateway) as good, browsing(gateway) as odd:
            await good.subscribe(uid="good")
            for content in sent:
                if isinstance(content, bytes):
                    await odd.send_bytes(content)
                else:
                    await odd.send(content)
            await answers_until_pong(odd)
            await deliver(told := event(1))
            assert (await good.next())["id"] == told.id
            assert await good.is_silent()
    finally:
        await close_layer(channel_layers.backends.pop("default", None))
        await InboxEvent.objects.all().adelete()


async def answers_until_pong(browser: Browser) -> None:
    """Everything that comes back is a message of the protocol, and the connection lives."""
    await browser.send({"type": "unsubscribe"})
    await browser.send({"type": "ping", "uid": "end"})
    is_through = is_ended = False
    while not (is_through and is_ended):
        async with asyncio.timeout(10):
            answer = await browser.next()
        is_through |= answer == {"type": "pong", "uid": "end"}
        is_ended |= answer == {"type": "subscription", "event": "unsubscribe"}
        assert answer["type"] in {"pong", "auth", "subscribe", "subscription", "server"}
        if answer.get("status") == "error":
            assert answer["error"]["code"] in {
                "FORBIDDEN",
                "INVALID_PAYLOAD",
                "INVALID_QUERY",
                "LIMIT_EXCEEDED",
            }
            assert answer["error"]["message"]
