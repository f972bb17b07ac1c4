from __future__ import annotations

import ssl
from typing import Any

import httpx
import pytest
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
)
from websockets.frames import Close
from websockets.http11 import Response

from directus_realtime.client.connection_errors import explain
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    CredentialsRefused,
    RequestRefused,
)

URL = "https://cms.example.com"


def caused_by(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def certificate_error(text: str = "self-signed certificate") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, text)
    error.verify_message = text
    return error


def upgrade(status: int) -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers()))


HEALS, IMPOSSIBLE, REFUSED = ConnectionFailed, ConnectionImpossible, CredentialsRefused


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (RequestRefused(401, "INVALID_CREDENTIALS", "Invalid."), REFUSED, "Check TOKEN"),
        (RequestRefused(403, "FORBIDDEN", "No."), REFUSED, "(No). Check TOKEN"),
        (RequestRefused(401, "", "x"), IMPOSSIBLE, "HTTP 401), and it is not Directus"),
        (RequestRefused(403, "", "x"), IMPOSSIBLE, "HEADERS where a proxy in between"),
        (RequestRefused(404, "ROUTE_NOT_FOUND", "x"), IMPOSSIBLE, "HTTP 404 at /server/info"),
        (RequestRefused(200, "", "x"), IMPOSSIBLE, "Check URL"),
        (RequestRefused(408, "", "x"), HEALS, "is not ready (HTTP 408"),
        (RequestRefused(429, "", "x"), HEALS, "is not ready (HTTP 429"),
        (RequestRefused(500, "", "x"), HEALS, "is not ready (HTTP 500"),
        (RequestRefused(503, "", "Under pressure"), HEALS, "HTTP 503: Under pressure"),
        (upgrade(401), REFUSED, "refused the token on the WebSocket"),
        (upgrade(403), HEALS, "too many connections"),
        (upgrade(404), IMPOSSIBLE, "WEBSOCKETS_ENABLED=true"),
        (upgrade(429), HEALS, "HTTP 429"),
        (upgrade(503), HEALS, "HTTP 503"),
        (ConnectionClosedError(None, None), HEALS, "closed the connection"),
        (ConnectionClosedOK(Close(1000, ""), None), HEALS, "closed the connection"),
        (
            ConnectionClosedError(None, Close(1009, "message too big")),
            HEALS,
            "raise MAX_MESSAGE_SIZE",
        ),
        (httpx.UnsupportedProtocol("x"), IMPOSSIBLE, "is not a URL"),
        (httpx.InvalidURL("x"), IMPOSSIBLE, "is not a URL"),
        (InvalidURI("x", "y"), IMPOSSIBLE, "is not a URL"),
        (httpx.ConnectTimeout("x"), HEALS, "did not answer in time"),
        (TimeoutError(), HEALS, "did not answer the WebSocket handshake in time"),
        (InvalidMessage("did not receive a valid HTTP response"), HEALS, "did not switch to"),
        (
            caused_by(httpx.ConnectError("All failed"), OSError(111, "refused")),
            HEALS,
            "Cannot reach https://cms.example.com (Connection refused).",
        ),
        (ConnectionResetError(), HEALS, "Cannot reach https://cms.example.com (Conn"),
        (certificate_error(), IMPOSSIBLE, "(self-signed certificate)"),
        (caused_by(httpx.ConnectError("x"), certificate_error()), IMPOSSIBLE, "CA_FILE"),
    ],
    ids=repr,
)
def test_each_failure_is_a_sentence_with_the_way_out(
    error: Exception, kind: type[Exception], sentence: str
) -> None:
    explained = explain(error, URL)
    assert type(explained) is kind
    assert sentence in str(explained)
    assert "cms.example.com" in str(explained)


def test_our_own_errors_stay_as_they_are() -> None:
    error = CredentialsRefused("as it is")
    assert explain(error, URL) is error


@pytest.mark.parametrize(
    "error",
    [
        InvalidMessage("wss://cms/websocket?access_token=s3cret"),
        httpx.LocalProtocolError("Illegal header value b'Bearer s3cret\\n'"),
        OSError("https://cms/?access_token=s3cret"),
    ],
    ids=repr,
)
def test_no_secret_is_shown(error: Any) -> None:
    assert "s3cret" not in str(explain(error, URL))


def proxy_status(status: int) -> InvalidProxyStatus:
    return InvalidProxyStatus(Response(status, "", Headers()))


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (httpx.ProxyError("407 Proxy Authentication Required"), IMPOSSIBLE, "user name and pass"),
        (proxy_status(407), IMPOSSIBLE, "user name and password (HTTP 407)"),
        (RequestRefused(407, "", "x"), IMPOSSIBLE, "user name and password (HTTP 407)"),
        (httpx.ProxyError("403 Access violation"), IMPOSSIBLE, "does not allow connections to"),
        (proxy_status(401), IMPOSSIBLE, "user name and password (HTTP 401)"),
        (proxy_status(403), IMPOSSIBLE, "does not allow connections to"),
        (httpx.ProxyError("502 Bad Gateway"), HEALS, "could not connect to"),
        (proxy_status(500), HEALS, "could not connect to"),
        (httpx.ProxyError("odd"), HEALS, "through the proxy http://proxy:3128 (odd)"),
        (ConnectionRefusedError(111, "x"), HEALS, "proxy http://proxy:3128 (Connection refused)"),
    ],
    ids=str,
)
def test_what_a_proxy_answers(error: Exception, kind: type, sentence: str) -> None:
    explained = explain(error, URL, "http://proxy:3128")
    assert type(explained) is kind
    assert "http://proxy:3128" in str(explained)
    assert sentence in str(explained)
