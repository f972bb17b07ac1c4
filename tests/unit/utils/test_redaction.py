from __future__ import annotations

import json

import pytest

from directus_realtime.utils.redaction import EXCERPT_LENGTH, excerpt, redact

SECRET = "s3cret-v4lue"


@pytest.mark.parametrize(
    "name", ["access_token", "refresh_token", "token", "password", "secret", "otp", "Password"]
)
def test_secrets_in_json_are_masked(name: str) -> None:
    text = json.dumps({"type": "auth", name: SECRET, "uid": "u"})
    assert redact(text) == json.dumps({"type": "auth", name: "***", "uid": "u"})


@pytest.mark.parametrize(
    "text",
    [
        f"wss://cms/websocket?access_token={SECRET}&x=1",
        f"password={SECRET} rest",
        f'{{"token":"{SECRET}',
        f'{{"token" : "a\\"{SECRET}"}}',
        f"{{'token': '{SECRET}'}}",
        f"DirectusClient(token='{SECRET}')",
        f'login(password="{SECRET}")',
        f"Illegal header value b'Bearer {SECRET}\\n'",
        json.dumps({"body": json.dumps({"token": SECRET})}),
        f"http://user:{SECRET}@proxy:3128 isn't a valid proxy",
        f"http://user:p@{SECRET}@proxy:3128",
        f"GET https://api.example.com/v1?api_key={SECRET}&x=1",
        f"apikey={SECRET}",
        f"FTP(passwd='{SECRET}')",
        f"driver: pwd={SECRET};host=db",
        f'{{"client_secret": "{SECRET}"}}',
        f"{{'X-Api-Key': '{SECRET}'}}",
        f"X-Api-Key: {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f"Authorization: Token {SECRET}",
        f"Illegal header value b'{SECRET}\\n'",
    ],
    ids=[
        *("url", "form", "cut", "escaped", "repr", "kwarg", "kwarg2", "bearer", "json in json"),
        *("proxy", "odd proxy"),
        *("key in url", "key in form", "passwd", "pwd", "prefix", "key in headers", "key header"),
        *("basic", "scheme token", "illegal header"),
    ],
)
def test_secrets_are_masked_however_they_are_written(text: str) -> None:
    assert SECRET not in redact(text)


def test_the_rest_of_a_url_stays() -> None:
    assert redact("http://user:abc@proxy:3128/x") == "http://user:***@proxy:3128/x"
    assert redact("http://proxy:3128/x to a@b") == "http://proxy:3128/x to a@b"
    assert redact("wss://cms/websocket?access_token=abc&x=1") == (
        "wss://cms/websocket?access_token=***&x=1"
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"title": "my password"}',
        "the token is old",
        '{"tokens": "none"}',
        "HTTP Basic authentication is wanted",
        '{"key": "a", "monkey": "b"}',
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("part", ["a", "a-", "token", "://a:", "x-", '"', "\\", "token ", "'a"])
@pytest.mark.timeout(120)
def test_a_long_text_is_looked_at_once(part: str) -> None:
    """What a receiver raised may be long, and delivery waits.

    Half an hour, were each stretch looked at again from each of its characters.
    """
    text = part * (1_000_000 // len(part))
    assert len(redact(text)) <= len(text)


def test_an_excerpt_is_short_and_on_one_line() -> None:
    assert excerpt("a\n b\t\r\nc") == "a b c"
    assert excerpt("x" * EXCERPT_LENGTH) == "x" * EXCERPT_LENGTH
    assert excerpt("x" * 1000) == "x" * EXCERPT_LENGTH + "…"


def test_an_excerpt_of_bytes() -> None:
    assert excerpt(b"\xff\x00ab") == "�\x00ab"


@pytest.mark.parametrize("before", [150, 195, 3900, 3990])
def test_a_secret_at_the_cut_does_not_slip_through(before: int) -> None:
    frame = json.dumps({"pad": "x" * before, "token": SECRET * 20})
    assert SECRET[:4] not in excerpt(frame)


def test_a_secret_in_front_does_not_use_up_the_excerpt() -> None:
    shown = excerpt(json.dumps({"token": SECRET * 100, "type": "subscription"}))
    assert shown == '{"token": "***", "type": "subscription"}'
