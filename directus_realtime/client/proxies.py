"""The forward proxy of a connection: one rule for REST and for the WebSocket.

httpx and websockets read the environment by rules that differ (``ALL_PROXY`` is known to
one alone, ``HTTPS_PROXY`` is used by the other for ``ws://``), so neither is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from directus_realtime.exceptions import ConnectionImpossible

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that connections go through.

    Attributes:
        url: With the password, if it has one; never shown in a repr.
        address: The same for people, without user and password.
    """

    url: str = field(repr=False)
    address: str

    @property
    def is_encrypted(self) -> bool:
        """Whether the way to the proxy itself is TLS."""
        return self.url.startswith("https:")


def parse_proxy(url: str) -> Proxy:
    """A proxy from its URL, such as ``http://user:password@proxy.example.com:3128``.

    Raises:
        ValueError: It is not the URL of an HTTP proxy. The sentence shows no password.
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
    # A user without a password is one with an empty password; websockets insists on the colon.
    # What is encoded already stays so.
    user = ":".join(quote(part or "", safe="%") for part in (parts.username, parts.password))
    return Proxy(address.replace("://", f"://{user}@", 1), address)


def find_proxy(given: str | None, server_url: str) -> Proxy | None:
    """The proxy to use for a server.

    Args:
        given: URL of a proxy; where there is none, the environment's proxy is taken.
        server_url: The server's URL, http or https.

    Returns:
        ``None`` for a direct connection.

    Raises:
        ConnectionImpossible: What was given, or what the environment says, is not the URL
            of an HTTP proxy.
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
        return ""  # no URL at all; connecting says so
    if proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return ""
    proxies = getproxies()
    url = proxies.get(parts.scheme) or proxies.get("all") or ""
    return url if not url or "://" in url else f"http://{url}"


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _complaint(url: str) -> str:
    return f"{url.rpartition('@')[2]!r} is not a URL such as http://proxy.example.com:3128."
