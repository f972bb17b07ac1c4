"""Directus over REST: the server, the identity, the schema and items."""

from __future__ import annotations

import itertools
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

import httpx

from directus_realtime.client.connection_errors import explained
from directus_realtime.client.credentials import AccessToken, Credentials
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.options import ClientOptions, Proxy
from directus_realtime.client.rest_messages import (
    ROUTE_NOT_FOUND,
    ServerClock,
    data_of,
    encoded,
    filtered_by_keys,
    is_interpreted,
    is_not_ready,
    is_under_pressure,
    malformed,
    refuses_method,
    taken_apart,
    url_batches,
    with_fresh_cache_key,
)
from directus_realtime.events import Key
from directus_realtime.exceptions import RequestRefused, SubscriptionRefused
from directus_realtime.filters import to_directus_filter, to_plain
from directus_realtime.protocol.queries import Query
from directus_realtime.utils.json_parser import parse_json
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.client")

#: Seconds for the answer of a request for many items.
_LONG_READ = 60.0
#: Retries of a request that the rate limiter refused.
_RATE_LIMITED_TRIES = 5
#: Retries of a request that a server under pressure refused, and the seconds before each.
_PRESSURE_TRIES, _PRESSURE_PAUSE = 20, 0.25
#: Paths where SEARCH ignores its keys and returns all items, on Directus 10 to 12.
_WITHOUT_KEYS = frozenset(
    f"/{name}" for name in ("dashboards", "flows", "permissions", "revisions", "roles", "users")
)
_SYSTEM_PREFIX = "directus_"
_MAX_AGE = re.compile(r"\bmax-age=([0-9]{1,9})")

#: Log of a collection's changes: activity and revisions, activity alone, nothing, or unknown
#: because the token may not see it.
Accountability = Literal["all", "activity", "none", "unknown"]
_ACCOUNTABILITY: Mapping[object, Accountability] = {
    "all": "all",
    "activity": "activity",
    None: "none",
}


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Description of a server (``GET /server/info`` with a token).

    Attributes:
        version: For example ``11.17.4``; empty where the server hides it.
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


def items_path(collection: str) -> str:
    """Return the path of a collection's items; system collections have paths of their own."""
    # Encoded, so that a name like ../flows leads to no other path.
    if collection.startswith(_SYSTEM_PREFIX):
        return f"/{quote(collection.removeprefix(_SYSTEM_PREFIX), safe='')}"
    return f"/items/{quote(collection, safe='')}"


class RestClient:
    """Client of Directus's REST interface.

    :meth:`search` reads items and everything else that Directus offers by the method SEARCH,
    :meth:`get_fresh` the rest: no answer comes from a cache, neither Directus's nor a proxy's.

    Every method may raise :class:`RequestRefused`, where Directus answers with an error, or
    :class:`ConnectionFailed`, where it cannot be reached or there is no access token. No other
    module handles the errors of httpx.

    Args:
        url: The server's URL; a sub-path is kept.
        credentials: Source of the access token.
        options: Timeouts, headers and certificates.
        proxy: Proxy to use.
        clock: Clock for pauses and for the server's time.

    Attributes:
        info: Description of the server; ``None`` until it was read.
        clock: Estimate of the server's clock.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        options: ClientOptions,
        proxy: Proxy | None = None,
        clock: SystemClock | None = None,
    ) -> None:
        self.url = url
        self.info: ServerInfo | None = None
        self.proxy_address = proxy.address if proxy else ""
        self._clock = clock or SystemClock()
        self.clock = ServerClock(self._clock)
        self._credentials = credentials
        #: Paths that SEARCH does not reach; "" for all of them.
        self._not_searched: set[str] = set()
        self._warned_of_search = False
        seconds = options.connect_timeout
        self._long_timeout = httpx.Timeout(seconds, read=max(seconds, _LONG_READ))
        with explained(url, self.proxy_address):
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
        """Return the current access token, renewed if necessary."""
        with explained(self.url, self.proxy_address):
            return await self._credentials.access_token(self._http)

    async def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        body: object = None,
        *,
        is_long: bool = False,
    ) -> Any:
        """Send a request with the access token.

        It is repeated only where the server refused it before any effect.

        Args:
            method: The HTTP method, for example ``PATCH``.
            path: Path below the server's URL, for example ``/items/articles``.
            parameters: Directus's query.
            body: Content, sent as JSON unless it is bytes or ``None``.
            is_long: Whether the answer may take long because it has many items.

        Returns:
            The ``data`` of the answer; ``None`` where it has no content.
        """
        content: dict[str, Any] = {"content" if isinstance(body, bytes) else "json": body}
        if isinstance(body, bytes):
            content["headers"] = {"Content-Type": "application/json"}
        if is_long:
            content["timeout"] = self._long_timeout
        response = await self._answer(method, path, parameters or {}, content)
        return None if response.status_code == HTTPStatus.NO_CONTENT else data_of(response)

    async def run_flow(self, flow_id: str) -> Any:
        """Run a Flow that has a webhook trigger, and return its result as it is.

        Args:
            flow_id: Id of the Flow.
        """
        response = await self._answer("POST", f"/flows/trigger/{quote(flow_id)}", {}, {"json": {}})
        if not response.is_success:
            return data_of(response)  # raises its error
        try:
            return parse_json(response.content)
        except ValueError:
            raise malformed("/flows/trigger") from None

    async def search(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        keys: Sequence[Key] | None = None,
        key_field: str = "id",
    ) -> Any:
        """Read by the method SEARCH, which no cache answers.

        Where a proxy refuses SEARCH, GET is used with another URL each time.

        Args:
            path: Path below the server's URL, for example ``/items/articles``.
            query: Directus's query.
            keys: Only the items with these keys, in the form of :meth:`PrimaryKey.wire`.
            key_field: Name of the field with the keys.
        """
        query = dict(query or {})
        if any("[" in name for name in query):  # written for a URL
            return await self.get_fresh(path, query)
        if keys is not None and path in _WITHOUT_KEYS:
            return await self.search(path, filtered_by_keys(query, key_field, list(keys)))
        if keys is not None and "" in keys:  # which SEARCH refuses among its keys
            return await self._search_with_empty_key(path, query, keys, key_field)
        if not self._not_searched.isdisjoint({"", path}):
            return await self._search_by_get(path, query, keys, key_field)
        body = {"query": query} if keys is None else {"query": query, "keys": list(keys)}
        content = json.dumps(body, default=str).encode()
        try:
            return await self.request("SEARCH", path, body=content, is_long=keys is not None)
        except RequestRefused as error:
            if not refuses_method(error):
                raise
            found = await self._search_by_get(path, query, keys, key_field)
            self._note_refused_search(path, error)
            return found

    async def get_fresh(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Read by the method GET, with a URL that no cache has an answer for.

        Args:
            path: Path below the server's URL, for example ``/fields/articles``.
            parameters: Directus's query.
        """
        try:
            return await self.request("GET", path, with_fresh_cache_key(parameters or {}))
        except UnicodeError:
            raise _not_sendable("it has half a surrogate pair") from None

    async def _search_by_get(
        self, path: str, query: dict[str, Any], keys: Sequence[Key] | None, key_field: str
    ) -> Any:
        if keys is None:
            return await self.get_fresh(path, query)
        rows: list[Any] = []
        for batch in url_batches(key for key in keys if not is_interpreted(key)):
            found = await self.get_fresh(path, filtered_by_keys(query, key_field, batch))
            if not isinstance(found, list):
                return found  # a singleton
            rows += found
        parameters = {name: value for name, value in query.items() if name != "limit"}
        for key in filter(is_interpreted, keys):
            try:
                rows.append(await self.get_fresh(f"{path}/{quote(str(key), safe='')}", parameters))
            except RequestRefused as error:
                if error.status != HTTPStatus.FORBIDDEN:  # which also means: not found
                    raise
        return rows

    async def _search_with_empty_key(
        self, path: str, query: dict[str, Any], keys: Sequence[Key], key_field: str
    ) -> Any:
        found = await self.search(path, filtered_by_keys(query, key_field, [""]))
        others = [key for key in keys if key != ""]
        if not others or not isinstance(found, list):
            return found
        return found + await self.search(path, query, keys=others, key_field=key_field)

    def _note_refused_search(self, path: str, error: RequestRefused) -> None:
        if error.code == ROUTE_NOT_FOUND:  # Directus itself has no SEARCH there
            self._not_searched.add(path)
            return
        self._not_searched.add("")
        if not self._warned_of_search:
            self._warned_of_search = True
            logger.warning(
                "search-refused",
                "A proxy in front of %s does not let the HTTP method SEARCH through (HTTP %s), so "
                "items are read by GET with another address each time, which is slower. Allow "
                "SEARCH there, for example by its list of HTTP methods.",
                self.url,
                error.status,
                url=self.url,
                status=error.status,
            )

    async def _answer(
        self, method: str, path: str, parameters: Mapping[str, Any], content: dict[str, Any]
    ) -> httpx.Response:
        """Send a request, and retry it while a limit or the load of the server refuses it."""
        query = encoded(parameters)

        async def send() -> httpx.Response:
            try:
                request = self._http.build_request(method, path, params=query, **content)
            except httpx.InvalidURL as error:
                raise _not_sendable(str(error)) from None
            return await self._send(request, await self.access_token())

        token = await self.access_token()
        response = await send()
        if (
            response.status_code == HTTPStatus.UNAUTHORIZED
            and self._credentials.forget()
            and (await self.access_token()).value != token.value
        ):
            response = await send()
        limited = pressed = 0
        while True:
            if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                limited, pause = limited + 1, _retry_after(response, self._clock)
            elif is_under_pressure(response):
                pressed, pause = pressed + 1, _PRESSURE_PAUSE
            else:
                return response
            if limited > _RATE_LIMITED_TRIES or pressed > _PRESSURE_TRIES:
                return response
            await self._clock.sleep(pause)
            response = await send()

    async def _send(self, request: httpx.Request, token: AccessToken) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {token.value}"
        sent_at = self._clock.now()
        with explained(self.url, self.proxy_address):
            response = await self._http.send(request)
        self.clock.note(response.headers.get("Date", ""), sent_at, self._clock.now())
        return response

    def forget_token(self) -> None:
        """Drop the access token, which the server refuses."""
        self._credentials.forget()

    async def server_info(self) -> ServerInfo:
        """Read the description of the server."""
        self._not_searched.clear()  # the server or its proxy may have changed
        info = await self.get_fresh("/server/info")
        if not isinstance(info, dict) or "project" not in info:
            raise malformed("/server/info")
        with taken_apart("/server/info"):
            self.info = _server_info(info)
        return self.info

    async def query_limit(self) -> int:
        """Return the server's ``QUERY_LIMIT_MAX``; -1 where there is none."""
        return (self.info or await self.server_info()).query_limit

    async def capped(self, size: int) -> int:
        """Return a page size that ``QUERY_LIMIT_MAX`` allows."""
        limit = await self.query_limit()
        return size if limit < 0 else min(size, limit)

    @property
    def lets_search_through(self) -> bool:
        """Whether no proxy has refused the method SEARCH so far."""
        return "" not in self._not_searched

    async def cache_lifetime(self) -> float:
        """Return for how many seconds Directus answers GET from its cache; 0 without one.

        With ``CACHE_AUTO_PURGE=true`` Directus does not announce its cache, and answers are fresh.
        """
        response = await self._answer("GET", "/server/info", with_fresh_cache_key({}), {})
        found = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
        return float(found[1]) if found else 0.0

    async def identity(self) -> str:
        """Return the user of the token, for people: the e-mail address, the name or the id."""
        me = await self.get_fresh("/users/me", {"fields": ["id", "email", "first_name"]})
        if not isinstance(me, dict):
            raise malformed("/users/me")
        return str(me.get("email") or me.get("first_name") or me.get("id"))

    async def read_access(self, collection: str) -> str:
        """Return how much of a collection the token may read: ``full``, ``partial`` or ``none``.

        Directus 10 has no such request; there, one row is read, and ``full`` may stand for
        ``partial``: a user of the app sees only their own rows of the activity log.
        """
        try:
            permissions = await self.get_fresh("/permissions/me")
        except RequestRefused as error:
            _raise_unless_refusal(error)
            permissions = None
        if permissions is not None:  # Directus 10 answers without content
            with taken_apart("/permissions/me"):
                read = permissions.get(collection, {}).get("read", {})
                return str(read.get("access", "none"))
        try:
            await self.search(items_path(collection), {"limit": 1})
        except RequestRefused as error:
            _raise_unless_refusal(error)
            return "none"
        return "full"

    async def accountability(self, collection: str) -> Accountability:
        """Return what Directus logs of a collection's changes.

        Returns:
            ``all`` (activity and revisions), ``activity``, ``none``, or ``unknown`` where the
            token may not see it: it needs read on ``directus_collections``, and on the
            collection itself.
        """
        try:
            found = await self.search("/collections", keys=[collection], key_field="collection")
        except RequestRefused as error:
            _raise_unless_refusal(error)
            return "unknown"
        with taken_apart("/collections"):
            metas = [each.get("meta") for each in found if each["collection"] == collection]
        # The field is absent where it is hidden; ``meta`` is null where its row is hidden.
        meta = metas[0] if metas else None
        if not isinstance(meta, dict) or "accountability" not in meta:
            return "unknown"
        value = meta["accountability"]
        return _ACCOUNTABILITY.get(value, "unknown") if isinstance(value, str | None) else "unknown"

    async def primary_key(self, collection: str) -> PrimaryKey:
        """Return a collection's primary key.

        Raises:
            SubscriptionRefused: The collection does not exist, or the token may not see it.
        """
        return (await self.newest_first(collection))[0]

    async def newest_first(self, collection: str) -> tuple[PrimaryKey, str]:
        """Return a collection's primary key, and the ``sort`` that puts its newest items first.

        It sorts by the time of creation where Directus keeps one, else by the key.

        Raises:
            SubscriptionRefused: The collection does not exist, or the token may not see it.
        """
        try:
            fields = await self.get_fresh(f"/fields/{quote(collection, safe='')}")
        except RequestRefused as error:
            _raise_unless_refusal(error)
            fields = []
        with taken_apart(f"/fields/{collection}"):
            for field in fields:
                if (field.get("schema") or {}).get("is_primary_key"):
                    key = PrimaryKey.of_field(field)
                    return key, f"-{_creation_field(fields) or key.name}"
        key = await self._guess_primary_key(collection)
        return key, f"-{key.name}"

    async def _guess_primary_key(self, collection: str) -> PrimaryKey:
        """Assume ``id``: a token without read on ``directus_fields`` sees no schema."""
        try:
            rows = await self.search(items_path(collection), {"fields": ["id"], "limit": 1})
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
            SubscriptionRefused: Directus refuses the query; with its own sentence.
        """
        if query.events == ("delete",):
            return  # Deletes are sent without any filter, field or permission.
        path, asked = items_path(query.collection), query.rest_parameters(primary_key.name)
        try:
            try:
                await self.search(path, {**asked, "limit": 1})
            except RequestRefused as error:
                if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                await self.search(path, {**asked, "limit": 0})  # that one item may be unreadable
        except RequestRefused as error:
            _raise_unless_refusal(error)
            raise SubscriptionRefused(error.code, error.message) from None

    async def read_items(self, collection: str, **parameters: Any) -> Any:
        """Read items; see :meth:`DirectusClient.read_items`."""
        path = items_path(collection)
        if "filter" in parameters:
            parameters["filter"] = to_directus_filter(parameters["filter"])
        if _has_own_size(parameters):
            return await self.search(path, parameters)
        size = await self.query_limit()
        found: list[Any] = []
        for page in itertools.count(1):
            rows = await self.search(path, {**parameters, "limit": size, "page": page})
            if not isinstance(rows, list):
                return rows  # a singleton
            found += rows
            if size < 0 or len(rows) < size:
                return found

    async def read_item(self, collection: str, key: int | str, **parameters: Any) -> Any:
        """Read one item."""
        return await self.get_fresh(_item_path(collection, key), parameters)

    async def create_item(self, collection: str, data: Mapping[str, Any], **parameters: Any) -> Any:
        """Create an item, and return it."""
        return await self.request("POST", items_path(collection), parameters, to_plain(dict(data)))

    async def update_item(
        self, collection: str, key: int | str, data: Mapping[str, Any], **parameters: Any
    ) -> Any:
        """Update an item, and return it."""
        path = _item_path(collection, key)
        return await self.request("PATCH", path, parameters, to_plain(dict(data)))

    async def delete_item(self, collection: str, key: int | str) -> None:
        """Delete an item."""
        await self.request("DELETE", _item_path(collection, key))


def _item_path(collection: str, key: int | str) -> str:
    return f"{items_path(collection)}/{quote(str(key), safe='')}"


def _through(proxy: Proxy, tls: ssl.SSLContext | None) -> httpx.Proxy:
    context = (tls or ssl.create_default_context()) if proxy.is_encrypted else None
    return httpx.Proxy(proxy.url, ssl_context=context)


def _raise_unless_refusal(error: RequestRefused) -> None:
    """Raise an error of a server that is busy or down, which is no decision about the request.

    A 500 is a decision: Directus 10 always answers an unknown ``sort`` with it.
    """
    if is_not_ready(error):
        raise error


def _not_sendable(problem: str) -> RequestRefused:
    sentence = f"The query cannot be sent in a URL: {problem}."
    return RequestRefused(HTTPStatus.BAD_REQUEST, "INVALID_QUERY", sentence)


def _retry_after(response: httpx.Response, clock: SystemClock) -> float:
    """Return the seconds that the rate limiter asks for, and some jitter."""
    found = re.fullmatch(r"([0-9]{1,9})", response.headers.get("Retry-After", "")) or re.search(
        r"retry after ([0-9]{1,9})\s*s", response.text, re.IGNORECASE
    )
    return min(int(found[1]) if found else 1, 60) + clock.uniform(0.05, 0.5)


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
    if path is not None:
        path.encode()  # fails for half a surrogate pair
    return path


def _creation_field(fields: list[dict[str, Any]]) -> str:
    """Return the field that Directus fills with the time of creation; empty for none."""
    for field in fields:
        if "date-created" in ((field.get("meta") or {}).get("special") or ()):
            return str(field["field"])
    return ""


def _has_own_size(parameters: Mapping[str, Any]) -> bool:
    return not parameters.keys().isdisjoint({"limit", "offset", "page", "aggregate", "groupBy"})
