from __future__ import annotations

import json
from typing import Any

import pytest

from directus_realtime.gateway.browser_connections import BrowserLimits
from directus_realtime.gateway.browser_query import SubscribeRequest
from directus_realtime.gateway.conversation import (
    Acknowledgement,
    AuthRequest,
    Closure,
    Conversation,
    Reply,
    UnsubscribeRequest,
)


def said(content: Any, limits: BrowserLimits | None = None) -> Any:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return Conversation(limits or BrowserLimits(), 0.0).receive(text, 0.0)


def error_of(action: Any) -> tuple[str, str]:
    assert isinstance(action, Reply)
    return action.message["type"], action.message["error"]["code"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no json",
        b"\xff\xfe\x00",
        "[]",
        "null",
        "5",
        "NaN",
        '{"type": NaN}',
        "[" * 5000,
        '{"no": "type"}',
        '{"type": 5}',
        '{"type": "ping", "uid": {}}',
        '{"type": "ping", "uid": null}',
        '{"type": "auth", "uid": true}',
    ],
)
def test_what_is_no_message_is_an_error_of_the_server(content: str | bytes) -> None:
    assert error_of(said(content)) == ("server", "INVALID_PAYLOAD")


def test_an_unknown_type_gets_no_reply() -> None:
    assert said({"type": "items", "collection": "articles"}) is None


def test_bytes_are_as_good_as_text() -> None:
    assert said(b'{"type": "pong"}') == Acknowledgement()


def test_a_ping_is_answered() -> None:
    assert said({"type": "ping"}) == Reply({"type": "pong"})
    assert said({"type": "ping", "uid": 5}) == Reply({"type": "pong", "uid": 5})


def test_a_uid_is_a_text_for_subscriptions_and_comes_back_as_it_was() -> None:
    assert said({"type": "unsubscribe", "uid": 5}) == UnsubscribeRequest("5", 5)
    assert said({"type": "unsubscribe"}) == UnsubscribeRequest(None, None)


def test_credentials_are_handed_on() -> None:
    action = said({"type": "auth", "access_token": "t", "uid": "a"})
    assert isinstance(action, AuthRequest)
    assert (action.credentials["access_token"], action.uid) == ("t", "a")


def test_a_subscribe_is_understood() -> None:
    action = said({"type": "subscribe", "collection": "articles", "uid": 3})
    assert isinstance(action, SubscribeRequest)
    assert (action.collection, action.uid) == ("articles", "3")


def test_a_bad_subscribe_is_answered_with_its_uid() -> None:
    action = said({"type": "subscribe", "collection": "a", "query": {"search": "x"}, "uid": 3})
    assert error_of(action) == ("subscribe", "INVALID_QUERY")
    assert action.message["uid"] == "3"


def test_size_is_counted_in_bytes() -> None:
    limits = BrowserLimits(max_message_size=40)
    assert isinstance(said('"' + "x" * 38 + '"', limits), Reply)
    assert isinstance(said('"' + "é" * 38 + '"', limits), Closure)


def test_the_rate_allows_a_burst_and_then_so_many_a_second() -> None:
    conversation = Conversation(BrowserLimits(messages_per_second=2, burst=3), 0.0)
    pong = '{"type": "pong"}'
    assert [conversation.receive(pong, 0.0) for _ in range(3)] == [Acknowledgement()] * 3
    refused = conversation.receive(pong, 0.0)
    assert isinstance(refused, Reply)
    assert refused.message["error"] == {
        "code": "REQUESTS_EXCEEDED",
        "message": "Too many messages, retry after 500ms.",
    }
    assert conversation.receive(pong, 0.6) == Acknowledgement()
    assert error_of(conversation.receive(pong, 0.6)) == ("server", "REQUESTS_EXCEEDED")
