from __future__ import annotations

import json
from typing import Any

import pytest

from directus_realtime.exceptions import BadFrame
from directus_realtime.protocol.messages import (
    AuthOk,
    Changed,
    ErrorReply,
    Message,
    Ping,
    Pong,
    Started,
    Stopped,
    Unknown,
    decode,
    encode,
)


def change(event: str, data: Any, **more: Any) -> str:
    return json.dumps(
        {"type": "subscription", "event": event, "data": data, "uid": "s.create", **more}
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('{"type":"auth","status":"ok"}', AuthOk()),
        ('{"type":"auth","status":"ok","uid":"u1","refresh_token":"r"}', AuthOk()),
        ('{"type":"ping"}', Ping()),
        ('{"type":"pong","uid":"ping-1"}', Pong()),
        ('{"type":"subscription","event":"init","uid":"s"}', Started("s")),
        ('{"type":"subscription","event":"init","data":[{"id":1}],"uid":"s"}', Started("s")),
        ('{"type":"subscription","event":"init"}', Started(None)),
        ('{"type":"subscription","event":"unsubscribe","uid":"s"}', Stopped("s")),
        ('{"type":"items","data":[]}', Unknown("items")),
    ],
)
def test_decodes_what_directus_sends(frame: str, message: Message) -> None:
    assert decode(frame) == message


@pytest.mark.parametrize("action", ["create", "update"])
def test_rows_of_a_create_and_an_update(action: str) -> None:
    row = {"id": 1, "title": "x", "author": {"name": "Annie"}}
    assert decode(change(action, [row])) == Changed("s.create", action, [row])  # type: ignore[arg-type]


def test_a_single_object_is_one_row() -> None:
    assert decode(change("update", {"id": 157})) == Changed("s.create", "update", [{"id": 157}])


def test_keys_of_a_delete_keep_the_type_they_were_sent_with() -> None:
    assert decode(change("delete", ["12554", 12555])) == Changed(
        "s.create", "delete", ["12554", 12555]
    )


def test_a_single_deleted_key() -> None:
    assert decode(change("delete", "160")) == Changed("s.create", "delete", ["160"])


def test_an_empty_list_changes_nothing() -> None:
    assert decode(change("update", [])) == Changed("s.create", "update", [])


def test_a_uid_that_is_a_number_becomes_a_string() -> None:
    assert decode('{"type":"subscription","event":"unsubscribe","uid":7}') == Stopped("7")


def test_binary_json_is_read_like_text() -> None:
    assert decode(b'{"type":"ping"}') == Ping()


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        (
            '{"type":"auth","status":"error","error":{"code":"TOKEN_EXPIRED","message":"m."}}',
            ErrorReply("auth", "TOKEN_EXPIRED", "m.", None),
        ),
        (
            '{"type":"subscribe","status":"error","error":{"code":"FORBIDDEN","message":"m"},'
            '"uid":"s"}',
            ErrorReply("subscribe", "FORBIDDEN", "m", "s"),
        ),
        ('{"type":"server","status":"error","error":{}}', ErrorReply("server", "", "", None)),
    ],
)
def test_error_replies(frame: str, reply: ErrorReply) -> None:
    assert decode(frame) == reply


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        ("hello", "The frame is not JSON"),
        ("", "The frame is not JSON"),
        (b"\x80\x81\xff", "The frame is not JSON"),
        ('{"type":"ping"', "The frame is not JSON"),
        ('{"type":"ping","n":NaN}', "The frame is not JSON"),
        ('{"type":"ping","n":-Infinity}', "The frame is not JSON"),
        ('{"type":"ping","n":' + "9" * 5000 + "}", "The frame is not JSON"),
        ("[" * 100_000, "The frame is not JSON"),
        ('{"a":' * 100_000, "The frame is not JSON"),
        ("[]", "The frame is not a JSON object"),
        ("null", "The frame is not a JSON object"),
        ("7", "The frame is not a JSON object"),
        ('"ping"', "The frame is not a JSON object"),
        ("{}", "The message has no type"),
        ('{"type":5}', "The message has no type"),
        ('{"type":["ping"]}', "The message has no type"),
        ('{"type":"subscription"}', "The subscription message has no known event"),
        ('{"type":"subscription","event":"archive"}', "The subscription message has no known"),
        ('{"type":"subscription","event":["init"]}', "The subscription message has no known"),
        ('{"type":"subscribe","status":"error"}', "The error message has no error"),
        ('{"type":"subscribe","status":"error","error":"no"}', "The error message has no error"),
        (change("create", [1]), "The create message does not carry items"),
        (change("update", ["1"]), "The update message does not carry items"),
        (change("update", [{"id": 1}, None]), "The update message does not carry items"),
        (change("create", None), "The create message does not carry items"),
        (change("delete", [{"id": 1}]), "The delete message does not carry keys"),
        (change("delete", [None]), "The delete message does not carry keys"),
        (change("delete", [True]), "The delete message does not carry keys"),
        (change("delete", [1.5]), "The delete message does not carry keys"),
        ('{"type":"subscription","event":"delete","uid":"s"}', "The delete message does not"),
    ],
)
def test_a_frame_of_another_shape_is_a_bad_frame(frame: str | bytes, problem: str) -> None:
    with pytest.raises(BadFrame, match=f"^{problem}") as caught:
        decode(frame)
    assert len(caught.value.excerpt) <= 201


def test_a_bad_frame_shows_no_secret() -> None:
    with pytest.raises(BadFrame) as caught:
        decode('["access_token", {"access_token": "s3cret", "password":"s3cret"}]')
    assert "s3cret" not in str(caught.value)
    assert '"access_token"' in str(caught.value)


def test_encodes_without_spaces() -> None:
    assert encode({"type": "ping", "uid": "ping-1"}) == '{"type":"ping","uid":"ping-1"}'
