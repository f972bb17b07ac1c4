"""Options of a client: timeouts, address, HTTP headers and forward proxy."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.protocol.session import PING_INTERVAL, PONG_TIMEOUT, REPLY_TIMEOUT
from directus_realtime.utils.backoff import full_jitter

#: Default for :attr:`ClientOptions.max_message_size`, in bytes.
MAX_MESSAGE_SIZE = 64 * 1024 * 1024
#: Default for :attr:`ClientOptions.socket_recheck_interval`, in seconds.
SOCKET_RECHECK_INTERVAL = 300.0


@dataclass(frozen=True)
class ClientOptions:
    """Options of a client.

    Attributes:
        connect_timeout: Seconds for each step of connecting.
        ping_interval: Seconds between our pings.
        pong_timeout: Seconds of silence after a ping until the connection counts as dead.
        reply_timeout: Seconds for the answer to an authentication or a subscription.
        stable_after: Seconds authenticated until the next reconnect starts again with
            short delays; a server that accepts and then closes is not hammered.
        max_message_size: Bytes; a larger message is reported and left out, one of four
            times the size ends the connection.
        headers: Extra headers of every request, the WebSocket handshake included.
        ssl: For a private CA, also of an https proxy; ``None`` for the system's certificates.
        proxy: URL of an HTTP proxy for REST and WebSocket, with user and password if it needs
            them; without one, ``HTTPS_PROXY`` (``HTTP_PROXY`` for an http URL), else
            ``ALL_PROXY``, and ``NO_PROXY`` of the environment.
        socket: ``required``: connected means that the WebSocket is authenticated. With
            ``optional``, connected means that REST is; the WebSocket is kept open beside it if
            possible, and never ends or prevents the connection.
        socket_recheck_interval: Seconds until a server that has WebSockets switched off is
            checked again; used where the socket is optional.
        delays: Makes the delays between attempts, in seconds; called after each stable
            connection. Where they end, the last one is repeated.
    """

    connect_timeout: float = 10.0
    ping_interval: float = PING_INTERVAL
    pong_timeout: float = PONG_TIMEOUT
    reply_timeout: float = REPLY_TIMEOUT
    stable_after: float = 10.0
    max_message_size: int = MAX_MESSAGE_SIZE
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ssl: ssl.SSLContext | None = None
    proxy: str | None = field(default=None, repr=False)
    socket: Literal["required", "optional"] = "required"
    socket_recheck_interval: float = SOCKET_RECHECK_INTERVAL
    delays: Callable[[], Iterator[float]] = full_jitter


def secret_in(url: str) -> str:
    """Return a sentence about a possible secret in a URL, without it; ``""`` for none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""  # not a URL; connecting reports it
    if "@" in parts.netloc:
        return (
            "The URL contains a user name or a password. Give a token, or email and password; "
            "for HTTP basic authentication in front of the server, use headers."
        )
    if parts.query or parts.fragment:
        return "The URL has something behind ? or #. Give the address alone, and a token as token."
    return ""


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def header_problem(headers: object) -> str:
    """Return the defect of headers, as a sentence that shows no value; ``""`` for none."""
    if not isinstance(headers, Mapping):
        return f"They are a {type(headers).__name__}, not a dict of texts."
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return "A name contains a character that no header's name has, or is no text."
        if not isinstance(value, str):
            return f"The value of {name} is a {type(value).__name__}, not a text."
        if not _is_plain_header(value):
            return (
                f"The value of {name} contains a character that no header has, such as a line "
                "break at its end."
            )
    return ""


def _is_plain_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that connections go through.

    Attributes:
        url: URL with the password, if it has one; not in the repr.
        address: The same without user and password, for people.
    """

    url: str = field(repr=False)
    address: str

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection to the proxy itself uses TLS."""
        return self.url.startswith("https:")


def parse_proxy(url: str) -> Proxy:
    """Parse the URL of a proxy, for example ``http://user:password@proxy.example.com:3128``.

    Raises:
        ValueError: It is not the URL of an HTTP proxy; the sentence shows no password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(_complaint(url)) from None
    host = parts.hostname
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in _DEFAULT_PORTS or not host or beyond or not _is_plain(url):
        raise ValueError(_complaint(url))
    shown_host = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{shown_host}:{port or _DEFAULT_PORTS[parts.scheme]}"
    if parts.username is None:
        return Proxy(address, address)
    # websockets requires the colon, also for an empty password. Encoded characters stay so.
    user = ":".join(quote(part or "", safe="%") for part in (parts.username, parts.password))
    return Proxy(address.replace("://", f"://{user}@", 1), address)


def find_proxy(given: str | None, server_url: str) -> Proxy | None:
    """Return the proxy for a server.

    Args:
        given: URL of a proxy; without one, the environment's proxy is used.
        server_url: The server's URL, http or https.

    Returns:
        ``None`` for a direct connection.

    Raises:
        ConnectionImpossible: The given URL, or that of the environment, is not the URL of an
            HTTP proxy.
    """
    url, source = (given, "PROXY") if given else (_from_environment(server_url), "environment")
    if not url:
        return None
    try:
        return parse_proxy(url)
    except ValueError as error:
        way_out = "" if source == "PROXY" else " Set PROXY, or name the server in NO_PROXY."
        raise ConnectionImpossible(f"The proxy of the {source}: {error}{way_out}") from None


def _from_environment(server_url: str) -> str:
    """``HTTPS_PROXY`` or ``HTTP_PROXY``, else ``ALL_PROXY``, unless ``NO_PROXY`` names the host."""
    parts = urlsplit(server_url)
    host = parts.hostname or ""
    try:
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
    except ValueError:
        return ""  # not a URL; connecting reports it
    if proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return ""
    proxies = getproxies()
    url = proxies.get(parts.scheme) or proxies.get("all") or ""
    return url if not url or "://" in url else f"http://{url}"


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _complaint(url: str) -> str:
    return f"{url.rpartition('@')[2]!r} is not a URL such as http://proxy.example.com:3128."
