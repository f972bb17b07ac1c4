"""A gateway in Django in the place of Directus: it has the WebSocket, and no REST.

What it sends needs no check by a read: its listener has checked late messages, and tells when
an item leaves a filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.rest import RestClient, ServerInfo
from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.protocol.queries import Query

_SCHEMES = {"ws": "http", "wss": "https"}


def is_gateway(url: str) -> bool:
    """Whether a URL is that of a WebSocket, and not of a Directus."""
    return urlsplit(url).scheme in _SCHEMES


def without_websocket(url: str) -> str:
    """A URL with the scheme that HTTP has for it."""
    scheme, separator, rest = url.partition(":")
    return f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"


class GatewayRest(RestClient):
    """Answers by itself what a client asks of Directus before it subscribes."""

    async def server_info(self) -> ServerInfo:
        """A gateway's: its URL is that of the WebSocket."""
        self.info = ServerInfo(version="", websocket_path="/")
        return self.info

    async def identity(self) -> str:
        """Nobody: a gateway does not tell."""
        return ""

    async def primary_key(self, collection: str) -> PrimaryKey:
        """``id``, until the first item tells of which type."""
        return PrimaryKey()

    async def check_query(self, query: Query, primary_key: PrimaryKey) -> None:
        """Nothing: unlike Directus, a gateway checks a subscribe, and answers each."""

    async def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        body: object = None,
        *,
        is_long: bool = False,
    ) -> Any:
        """Refused.

        Raises:
            ConnectionImpossible: Always.
        """
        raise ConnectionImpossible(
            "A gateway has no REST, so nothing can be read from it. Give the http or https URL "
            "of a Directus for that, or log in with a token instead of an e-mail address."
        )
