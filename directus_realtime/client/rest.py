"""Directus over REST: the server, the identity, the schema and items."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import random
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

import httpx

from directus_realtime.client.clock import ServerClock
from directus_realtime.client.credentials import AccessToken, Credentials
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.proxies import Proxy
from directus_realtime.client.responses import ASK_LATER, data_of, malformed, taken_apart
from directus_realtime.exceptions import RequestRefused, SubscriptionRefused
from directus_realtime.filters import to_directus_filter, to_plain
from directus_realtime.protocol.queries import Query

#: How often a request is made again that the rate limiter refused.
_RATE_LIMITED_TRIES = 5
_SYSTEM_PREFIX = "directus_"
_INTEGER_TYPES = frozenset({"integer", "bigInteger"})

#: What Directus logs of a collection's changes: activity and revisions, activity alone,
#: nothing, or not known because the token may not see it.
Accountability = Literal["all", "activity", "none", "unknown"]
_ACCOUNTABILITY: Mapping[object, Accountability] = {
    "all": "all",
    "activity": "activity",
    None: "none",
}


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself (``GET /server/info`` with a token).

    Attributes:
        version: Such as ``11.17.4``; empty where the server does not tell.
        websocket_path: Path of the WebSocket below the server's URL; ``None`` where
            WebSockets are switched off.
        auth_mode: ``handshake``, ``strict`` or ``public``.
        heartbeat: Seconds between the server's pings; 0 where it sends none.
        query_limit: The server's ``QUERY_LIMIT_MAX``; -1 where there is none.
    """

    version: str
    websocket_path: str | None = "/websocket"
    auth_mode: str = "handshake"
    heartbeat: float = 0
    query_limit: int = -1


@dataclass(frozen=True, slots=True)
class PrimaryKey:
    """The primary key of a collection.

    Attributes:
        name: Of the field.
        is_integer: Whether the column holds numbers; ``None`` where that is not known yet.
    """

    name: str = "id"
    is_integer: bool | None = None

    def cast(self, key: int | str) -> int | str:
        """A key with the type of its column (``DELETE /items/x/1`` sends ``"1"``)."""
        if self.is_integer and isinstance(key, str) and _is_integer(key):
            return int(key)
        return str(key) if self.is_integer is False else key

    def seen(self, key: object) -> PrimaryKey:
        """What is known after a row with this key."""
        if self.is_integer is None and isinstance(key, int | str):
            return PrimaryKey(self.name, isinstance(key, int))
        return self


def items_path(collection: str) -> str:
    """Where the items of a collection are read; system collections have their own place."""
    # Encoded, so that a name such as ../flows leads to no other place.
    if collection.startswith(_SYSTEM_PREFIX):
        return f"/{quote(collection.removeprefix(_SYSTEM_PREFIX), safe='')}"
    return f"/items/{quote(collection, safe='')}"


class RestClient:
    """Directus's REST interface, as far as it is needed.

    Args:
        url: The server's URL; a sub-path is kept.
        credentials: Gives the access token of each request.
        options: Timeouts, headers and certificates.
        proxy: To go through.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        options: ClientOptions,
        proxy: Proxy | None = None,
    ) -> None:
        self.info: ServerInfo | None = None
        self.proxy_address = proxy.address if proxy else ""
        self.clock = ServerClock()
        self._credentials = credentials
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=options.connect_timeout,
            headers=dict(options.headers),
            # The system's certificates, as for the socket; httpx has its own.
            verify=options.ssl or ssl.create_default_context(),
            proxy=_through(proxy, options.ssl) if proxy else None,
            trust_env=False,  # its proxies are looked up once, for the socket as well
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def access_token(self) -> AccessToken:
        """The access token that is valid now, renewed if it must be."""
        return await self._credentials.access_token(self._http)

    async def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """``GET`` with the access token.

        Args:
            path: Below the server's URL, such as ``/items/articles``.
            parameters: Directus's query; lists and filters are encoded as it wants them.

        Raises:
            RequestRefused: Directus answered with an error.
            ConnectionFailed: There is no access token to be had.
            httpx.TransportError: Directus could not be reached.
        """
        return await self.request("GET", path, parameters)

    async def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        body: object = None,
    ) -> Any:
        """Like :meth:`get`, with a method and a body.

        It is sent again only where the server refused it before it did anything.

        Args:
            method: Such as ``PATCH``.
            path: Below the server's URL.
            parameters: Directus's query.
            body: Sent as JSON unless ``None``.

        Returns:
            What is under ``data`` in the answer; ``None`` where it has no content.
        """
        query = {name: _encode(value) for name, value in (parameters or {}).items()}
        request = functools.partial(self._http.build_request, method, path, params=query, json=body)
        token = await self.access_token()
        response = await self._send(request(), token)
        if response.status_code == HTTPStatus.UNAUTHORIZED and self._credentials.forget():
            refused, token = token, await self.access_token()
            if token.value != refused.value:
                response = await self._send(request(), token)
        for _ in range(_RATE_LIMITED_TRIES):
            if response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                break
            await asyncio.sleep(_retry_after(response))
            response = await self._send(request(), await self.access_token())
        return None if response.status_code == HTTPStatus.NO_CONTENT else data_of(response)

    async def _send(self, request: httpx.Request, token: AccessToken) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {token.value}"
        sent_at = datetime.now(UTC)
        response = await self._http.send(request)
        self.clock.note(response.headers.get("Date", ""), sent_at, datetime.now(UTC))
        return response

    def forget_token(self) -> None:
        """The server says that the access token has ended."""
        self._credentials.forget()

    async def server_info(self) -> ServerInfo:
        """Version, WebSocket path and authentication mode of the server."""
        info = await self.get("/server/info")
        if not isinstance(info, dict) or "project" not in info:
            raise malformed("/server/info")
        with taken_apart("/server/info"):
            self.info = _server_info(info)
        return self.info

    async def identity(self) -> str:
        """Who the token is, for people: the e-mail address, or the name, or the id."""
        me = await self.get("/users/me", {"fields": ["id", "email", "first_name"]})
        if not isinstance(me, dict):
            raise malformed("/users/me")
        return str(me.get("email") or me.get("first_name") or me.get("id"))

    async def read_access(self, collection: str) -> str:
        """How much of a collection the token may read: ``full``, ``partial`` or ``none``.

        Directus 10 cannot be asked; there, one row is read, and ``full`` may be too much
        said: a user of the app sees only their own rows of the activity log.

        Raises:
            RequestRefused: The server is not ready to answer.
            httpx.TransportError: Directus could not be reached.
        """
        try:
            permissions = await self.get("/permissions/me")
        except RequestRefused as error:
            _raise_unless_refusal(error)
        else:
            with taken_apart("/permissions/me"):
                read = permissions.get(collection, {}).get("read", {})
                return str(read.get("access", "none"))
        try:
            await self.get(items_path(collection), {"limit": 1})
        except RequestRefused as error:
            _raise_unless_refusal(error)
            return "none"
        return "full"

    async def accountability(self, collection: str) -> Accountability:
        """What Directus logs of a collection's changes.

        Returns:
            ``unknown`` where the token may not see it: it needs read on
            ``directus_collections``, and on the collection itself.

        Raises:
            RequestRefused: The server is not ready to answer.
            httpx.TransportError: Directus could not be reached.
        """
        try:
            found = await self.get(f"/collections/{quote(collection, safe='')}")
        except RequestRefused as error:
            _raise_unless_refusal(error)
            return "unknown"
        # Left out where the field is hidden; the whole is null where the row is.
        meta = found.get("meta") if isinstance(found, dict) else None
        if not isinstance(meta, dict) or "accountability" not in meta:
            return "unknown"
        value = meta["accountability"]
        return _ACCOUNTABILITY.get(value, "unknown") if isinstance(value, str | None) else "unknown"

    async def primary_key(self, collection: str) -> PrimaryKey:
        """Name and type of a collection's primary key.

        Raises:
            SubscriptionRefused: The collection does not exist, or the token may not see it.
            RequestRefused: The server is not ready to answer.
        """
        return (await self.newest_first(collection))[0]

    async def newest_first(self, collection: str) -> tuple[PrimaryKey, str]:
        """A collection's primary key, and the ``sort`` with which its newest items come first.

        That is the time of creation where Directus keeps one, else the key.

        Raises:
            SubscriptionRefused: The collection does not exist, or the token may not see it.
            RequestRefused: The server is not ready to answer.
        """
        try:
            fields = await self.get(f"/fields/{quote(collection, safe='')}")
        except RequestRefused as error:
            _raise_unless_refusal(error)
            fields = []
        with taken_apart(f"/fields/{collection}"):
            for field in fields:
                if (field.get("schema") or {}).get("is_primary_key"):
                    key = PrimaryKey(str(field["field"]), field.get("type") in _INTEGER_TYPES)
                    return key, f"-{_creation_field(fields) or key.name}"
        key = await self._guess_primary_key(collection)
        return key, f"-{key.name}"

    async def _guess_primary_key(self, collection: str) -> PrimaryKey:
        """Take the key for ``id``: a token without read on ``directus_fields`` sees no schema."""
        try:
            rows = await self.get(items_path(collection), {"fields": ["id"], "limit": 1})
        except RequestRefused as error:
            _raise_unless_refusal(error)
            message = error.message
            if '"id"' in message:
                message += (
                    " Allow the token to read directus_fields, so that the primary key is known."
                )
            raise SubscriptionRefused(error.code, message) from None
        with taken_apart(items_path(collection)):
            return PrimaryKey().seen(rows[0].get("id") if isinstance(rows, list) and rows else None)

    async def check_query(self, query: Query, primary_key: PrimaryKey) -> None:
        """Read one item as a subscription would, because a subscribe is not checked.

        Raises:
            SubscriptionRefused: With the server's own sentence.
            RequestRefused: The server is not ready to answer.
        """
        if query.events == ("delete",):
            return  # Deletes are sent without any filter, field or permission.
        parameters = {**query.rest_parameters(primary_key.name), "limit": 1}
        try:
            await self.get(items_path(query.collection), parameters)
        except RequestRefused as error:
            _raise_unless_refusal(error)
            raise SubscriptionRefused(error.code, error.message) from None

    async def read_items(self, collection: str, **parameters: Any) -> Any:
        """Items of a collection; all of them, page by page, where no limit is given.

        Args:
            collection: Such as ``articles``, or a system collection such as ``directus_users``.
            parameters: Directus's query.

        Raises:
            RequestRefused: Directus answered with an error.
            httpx.TransportError: Directus could not be reached.
        """
        path = items_path(collection)
        if "filter" in parameters:
            parameters["filter"] = to_directus_filter(parameters["filter"])
        if _has_own_size(parameters):
            return await self.get(path, _flat(parameters))
        size = (self.info or await self.server_info()).query_limit
        found: list[Any] = []
        for page in itertools.count(1):
            rows = await self.get(path, {**parameters, "limit": size, "page": page})
            if not isinstance(rows, list):
                return rows  # a singleton
            found += rows
            if size < 0 or len(rows) < size:
                return found

    async def read_item(self, collection: str, key: int | str, **parameters: Any) -> Any:
        """One item.

        Raises:
            RequestRefused: Directus answered with an error.
            httpx.TransportError: Directus could not be reached.
        """
        return await self.get(_item_path(collection, key), parameters)

    async def create_item(self, collection: str, data: Mapping[str, Any], **parameters: Any) -> Any:
        """Make an item, and return it.

        Raises:
            RequestRefused: Directus answered with an error.
            httpx.TransportError: Directus could not be reached.
        """
        return await self.request("POST", items_path(collection), parameters, to_plain(dict(data)))

    async def update_item(
        self, collection: str, key: int | str, data: Mapping[str, Any], **parameters: Any
    ) -> Any:
        """Change an item, and return it.

        Raises:
            RequestRefused: Directus answered with an error.
            httpx.TransportError: Directus could not be reached.
        """
        path = _item_path(collection, key)
        return await self.request("PATCH", path, parameters, to_plain(dict(data)))

    async def delete_item(self, collection: str, key: int | str) -> None:
        """Delete an item.

        Raises:
            RequestRefused: Directus answered with an error.
            httpx.TransportError: Directus could not be reached.
        """
        await self.request("DELETE", _item_path(collection, key))


def _item_path(collection: str, key: int | str) -> str:
    return f"{items_path(collection)}/{quote(str(key), safe='')}"


def _through(proxy: Proxy, tls: ssl.SSLContext | None) -> httpx.Proxy:
    context = (tls or ssl.create_default_context()) if proxy.is_encrypted else None
    return httpx.Proxy(proxy.url, ssl_context=context)


def _raise_unless_refusal(error: RequestRefused) -> None:
    """A server that is busy, or away behind its proxy, has not judged the question.

    A 500 is a judgement: Directus 10 answers an unknown ``sort`` with it, every time.
    """
    if error.status in ASK_LATER | {502, 503, 504}:
        raise error


def _retry_after(response: httpx.Response) -> float:
    """Seconds the rate limiter wants us to wait, and a little more."""
    found = re.fullmatch(r"([0-9]{1,9})", response.headers.get("Retry-After", "")) or re.search(
        r"retry after ([0-9]{1,9})\s*s", response.text, re.IGNORECASE
    )
    # Those who were refused together do not come back together.
    return min(int(found[1]) if found else 1, 60) + random.uniform(0.05, 0.5)


def _server_info(info: dict[str, Any]) -> ServerInfo:
    websocket = info.get("websocket", {})
    is_on = isinstance(websocket, dict)
    rest = websocket.get("rest", {}) if is_on else None
    limits = info.get("queryLimit")
    limit = int((limits if isinstance(limits, dict) else {}).get("max") or -1)
    return ServerInfo(
        version=str(info.get("version", "")),
        websocket_path=_path(rest.get("path", "/websocket")) if isinstance(rest, dict) else None,
        auth_mode=rest.get("authentication", "handshake") if isinstance(rest, dict) else "",
        heartbeat=(websocket.get("heartbeat") or 0) if is_on else 0,
        query_limit=limit if limit > 0 else -1,
    )


def _path(path: str | None) -> str | None:
    """The path of a URL, which not every text of JSON can be."""
    if path is not None:
        path.encode()
    return path


def _creation_field(fields: list[dict[str, Any]]) -> str:
    """The field that Directus fills with the time at which an item is created."""
    for field in fields:
        if "date-created" in ((field.get("meta") or {}).get("special") or ()):
            return str(field["field"])
    return ""


def _has_own_size(parameters: Mapping[str, Any]) -> bool:
    return not parameters.keys().isdisjoint({"limit", "offset", "page", "aggregate", "groupBy"})


def _encode(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(str(entry) for entry in value)
    return str(value)


def _flat(parameters: dict[str, Any]) -> dict[str, Any]:
    """``aggregate={"count": "*"}`` as ``aggregate[count]=*``; the rest as it is."""
    aggregate = parameters.pop("aggregate", None) or {}
    return {**parameters, **{f"aggregate[{name}]": field for name, field in aggregate.items()}}


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    # Python refuses to convert thousands of digits, which fit no column anyway.
    return digits.isascii() and digits.isdigit() and len(digits) <= 1000
