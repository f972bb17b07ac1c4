"""Errors of connecting, as sentences that name the remedy.

:func:`explain` is the whole policy: it maps each error to :class:`ConnectionFailed`, where a retry
may help, or :class:`ConnectionImpossible`, where a setting has to change first.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus

import httpx
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
)

from directus_realtime.client.rest_messages import ASK_LATER, MALFORMED
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    CredentialsRefused,
    RequestRefused,
)
from directus_realtime.utils.redaction import redact

_MESSAGE_TOO_BIG = 1009


def explain(error: Exception, url: str, proxy: str = "") -> ConnectionFailed:
    """Return an error of connecting or of a live connection as one of ours.

    Args:
        error: The error.
        url: The server's URL, for the sentence; it holds no secret.
        proxy: Address of the proxy in between, without user and password.
    """
    if isinstance(error, ConnectionFailed):
        return error
    if certificate := _certificate_error(error):
        return ConnectionImpossible(
            f"The certificate of {url} is not accepted ({certificate.verify_message}). "
            "Use a URL that the certificate names, or give the CA in the setting CA_FILE."
        )
    if proxy and (status := _status_of_proxy(error)):
        return _refused_by_proxy(status, url, proxy)
    match error:
        case RequestRefused():
            return _refused_request(error, url)
        case InvalidStatus():
            return _refused_upgrade(error.response.status_code, url)
        case ConnectionClosed():
            return _closed(error, url)
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | InvalidURI():
            return ConnectionImpossible(f"{url!r} is not a URL such as https://cms.example.com.")
        case httpx.TimeoutException():
            return ConnectionFailed(f"{url} did not answer in time.")
        case TimeoutError():
            return ConnectionFailed(
                f"{url} did not answer the WebSocket handshake in time. Where this stays so, "
                "check that a proxy in between passes WebSockets, and WEBSOCKETS_REST_PATH."
            )
        case InvalidHandshake():
            return ConnectionFailed(
                f"{url} did not switch to WebSocket ({redact(str(error))}). "
                "Check that a proxy in between passes WebSocket upgrades."
            )
    through = f" through the proxy {proxy}" if proxy else ""
    return ConnectionFailed(f"Cannot reach {url}{through} ({_cause(error)}).")


def _status_of_proxy(error: Exception) -> int:
    """Return the HTTP status of a proxy's own answer; 0 without one."""
    match error:
        case InvalidProxyStatus():
            return error.response.status_code
        case httpx.ProxyError():  # "407 Proxy Authentication Required"
            number = str(error).partition(" ")[0]
            return int(number) if number.isdecimal() else 0
        case RequestRefused(status=HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
            return HTTPStatus.PROXY_AUTHENTICATION_REQUIRED  # of a request without a tunnel
    return 0


def _refused_by_proxy(status: int, url: str, proxy: str) -> ConnectionFailed:
    # The standard is 407; tinyproxy answers 401 to a wrong password and 407 to none.
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}:
        return ConnectionImpossible(
            f"The proxy {proxy} does not accept the user name and password (HTTP {status}). "
            "Put the right ones into PROXY, such as http://user:password@proxy.example.com:3128."
        )
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED}:
        return ConnectionImpossible(
            f"The proxy {proxy} does not allow connections to {url} (HTTP {status}). "
            "Let it allow CONNECT to that address, or name the server in NO_PROXY."
        )
    return ConnectionFailed(f"The proxy {proxy} could not connect to {url} (HTTP {status}).")


@contextlib.contextmanager
def explained(url: str, proxy: str = "") -> Iterator[None]:
    """Raise httpx's errors of a REST request as :class:`ConnectionFailed`."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise explain(error, url, proxy) from None


def _refused_request(error: RequestRefused, url: str) -> ConnectionFailed:
    if error.status in {401, 403} and not error.code:
        return ConnectionImpossible(
            f"{url} refuses us (HTTP {error.status}), and it is not Directus that does. "
            "Check URL, and HEADERS where a proxy in between wants some."
        )
    if error.status in {401, 403}:
        return CredentialsRefused(
            f"Directus at {url} refused the credentials ({error.message.rstrip('.')}). "
            "Check TOKEN (or EMAIL and PASSWORD), and that the user is active."
        )
    if error.code == "REDIRECT":
        return ConnectionImpossible(
            f"{url} redirects to {redact(error.message)}. Give the address of Directus itself."
        )
    if error.status in ASK_LATER or error.status >= 500:
        return ConnectionFailed(
            f"Directus at {url} is not ready (HTTP {error.status}: {error.message})"
        )
    what = f"HTTP {error.status} at /server/info"
    if error.code == MALFORMED:
        what = error.message.rstrip(".")
    return ConnectionImpossible(
        f"{url} does not answer like Directus ({what}). "
        "Check URL: it is the address of Directus itself, without /admin."
    )


def _refused_upgrade(status: int, url: str) -> ConnectionFailed:
    if status == 401:
        return CredentialsRefused(f"Directus at {url} refused the token on the WebSocket.")
    if status == 404:
        return ConnectionImpossible(
            f"Directus at {url} has no WebSocket. Set WEBSOCKETS_ENABLED=true on the server."
        )
    if status == 403:
        return ConnectionFailed(
            f"Directus at {url} refused the WebSocket (HTTP 403): too many connections "
            "(WEBSOCKETS_REST_CONN_LIMIT), a locked licence, or a proxy that does not allow it."
        )
    return ConnectionFailed(f"Directus at {url} did not open the WebSocket (HTTP {status}).")


def _closed(error: ConnectionClosed, url: str) -> ConnectionFailed:
    if error.sent is not None and error.sent.code == _MESSAGE_TOO_BIG:
        return ConnectionFailed(
            f"{url} sent a message over the hard size limit. Ask for fewer fields, "
            "or raise MAX_MESSAGE_SIZE."
        )
    return ConnectionFailed(f"{url} closed the connection.")


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return the certificate error that caused an error, if there is one."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _cause(error: BaseException) -> str:
    """Return the innermost cause, in the words of the operating system if possible."""
    while (inner := error.__cause__ or error.__context__) is not None and str(inner):
        error = inner
    if isinstance(error, ssl.SSLError):  # its errno is not the system's
        no_tls = error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}
        return "no TLS is spoken there; is it http://?" if no_tls else f"TLS: {error.reason}"
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return redact(str(error)) or type(error).__name__
