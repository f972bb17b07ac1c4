"""The REST interface of a fake Directus, with its cache of responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from directus_realtime.testing.fake.accounts import PUBLIC, Access, Accounts
from directus_realtime.testing.fake.activity_log import Origin
from directus_realtime.testing.fake.errors import (
    ApiError,
    forbidden,
    forbidden_action,
    forbidden_collection,
    invalid_credentials,
    invalid_payload,
    under_pressure,
    unknown_route,
)
from directus_realtime.testing.fake.faults import Faults
from directus_realtime.testing.fake.items import Items
from directus_realtime.testing.fake.messages import encode
from directus_realtime.testing.fake.query import DEFAULT_QUERY_LIMIT, Query, searched_keys
from directus_realtime.testing.fake.reader import Reader
from directus_realtime.testing.fake.schema import ACTIVITY, SYSTEM, USERS, Item

LIFE = 300  # seconds that the header names; here an answer stays until it is forgotten
NEVER_CACHED = ("/server/ping", "/server/health")
OTHER_PARAMETERS = ("deep", "version", "backlink", "export")  # that are in Directus's key, too


class ResponseCache:
    """Answers of GET by user, path and the query as Directus understands it."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, tuple[bytes, str]] = {}

    def forget(self) -> None:
        """Remove every answer."""
        self._answers.clear()

    async def answer(
        self,
        request: web.Request,
        user: str | None,
        query: Query,
        read: Callable[[], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Return the cached answer, or read one and keep it; refusals are raised, not kept.

        Args:
            request: The request.
            user: The id of the user whose answer it is.
            query: What Directus makes of the parameters; others do not count.
            read: Called where no answer is cached.
        """
        if request.path in NEVER_CACHED:
            return await read()
        others = tuple(request.query.get(name) for name in OTHER_PARAMETERS)
        key = (user, request.path, repr(query), others)
        if key not in self._answers:
            made = await read()
            if not isinstance(made, web.Response) or not isinstance(made.body, bytes):
                return made
            self._answers[key] = made.body, made.content_type
        body, kind = self._answers[key]
        scope = "private" if user else "public"
        headers = {"Cache-Control": f"{scope}, max-age={LIFE}"}
        return web.Response(body=body, content_type=kind, headers=headers)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ServerInfo:
    """What ``GET /server/info`` tells."""

    version: str
    auth_mode: str
    websocket_path: str
    heartbeat_period: float
    limit_max: int | None
    websockets: bool = True


class RestApi:
    """Answers requests in the shapes of Directus.

    Args:
        accounts: Who may come in.
        reader: What to read with; its store is what is changed.
        faults: The switches of the server.
        info: See :class:`ServerInfo`.
        notice: Called with the method and path of every request.

    Attributes:
        cache: The cache of responses, if there is one.
    """

    def __init__(
        self,
        accounts: Accounts,
        reader: Reader,
        faults: Faults,
        info: ServerInfo,
        notice: Callable[[str], None],
        cache: ResponseCache | None = None,
    ) -> None:
        self.cache = cache
        self._accounts = accounts
        self._reader = reader
        self._faults = faults
        self._info = info
        self._notice = notice

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for an application."""
        return [
            web.get("/server/ping", self._ping),
            web.get("/server/health", self._health),
            web.get("/server/info", self._server_info),
            web.post("/auth/login", self._login),
            web.post("/auth/refresh", self._refresh),
            web.get("/users/me", self._me),
            web.get("/collections", self._collections),
            web.route("SEARCH", "/collections", self._search_collections),
            web.get("/collections/{collection}", self._collection),
            web.get("/fields", self._all_fields),
            web.get("/fields/{collection}", self._fields),
            web.get("/fields/{collection}/{field}", self._field),
            web.get("/relations", self._relations),
            web.get("/permissions/me", self._permissions),
            *self._item_routes("/items/{collection}"),
            *self._system_routes(),
        ]

    def _system_routes(self) -> list[web.RouteDef]:
        routes: list[web.RouteDef] = []
        for name in self._reader.store.schema.collections:
            if name.startswith(SYSTEM):
                is_read_only = name in (ACTIVITY, USERS)
                add = self._read_routes if is_read_only else self._item_routes
                routes += add(f"/{name.removeprefix(SYSTEM)}")
        return routes

    def _read_routes(self, path: str) -> list[web.RouteDef]:
        return [
            web.get(path, self._read),
            web.route("SEARCH", path, self._search),
            web.get(f"{path}/{{key}}", self._read_one),
        ]

    def _item_routes(self, path: str) -> list[web.RouteDef]:
        return [
            *self._read_routes(path),
            web.post(path, self._create),
            web.patch(path, self._update),
            web.delete(path, self._delete),
            web.patch(f"{path}/{{key}}", self._update_one),
            web.delete(f"{path}/{{key}}", self._delete_one),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn refusals into answers, and put the faults in between."""
        await self._faults.thawed.wait()
        if "Upgrade" in request.headers and self._info.websockets:
            if request.match_info.http_exception is not None:
                await asyncio.Event().wait()  # Directus never answers an unknown path here
            return await handler(request)
        self._notice(f"{request.method} {request.path}")
        try:
            answer = await self._answer(request, handler)
        except ApiError as refusal:
            answer = _errors(refusal)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            answer = _errors(unknown_route(request.path))
        await asyncio.sleep(self._faults.reply_delay)
        await self._faults.thawed.wait()
        answer.headers["Date"] = self._reader.store.clock.http_date()
        return answer

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        status = self._faults.search_status
        if request.method == "SEARCH" and status is not None:
            text = "<html><body><h1>The method SEARCH is not allowed.</h1></body></html>"
            return web.Response(status=status, text=text, content_type="text/html")
        if self._faults.is_pressed():
            raise under_pressure()
        if self.cache is None or request.method != "GET":
            return await handler(request)
        user = self._access(request).user
        query = self._query(request)
        return await self.cache.answer(
            request, user.id if user else None, query, lambda: handler(request)
        )

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="pong", content_type="text/html")

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, content_type="application/health+json")

    async def _server_info(self, request: web.Request) -> web.Response:
        project = {"project_name": "Directus", "project_descriptor": None}
        info: Item = {"project": project, "setupCompleted": True}
        if self._access(request).user is not None:
            info |= self._private_info()
        return _data(info)

    def _private_info(self) -> Item:
        socket = {
            "rest": {"authentication": self._info.auth_mode, "path": self._info.websocket_path},
            "graphql": False,
            "heartbeat": self._info.heartbeat_period or False,
            "collaborativeEditing": False,
            "logs": False,
        }
        limit = self._faults.rate_limit
        rate = {"points": limit.points, "duration": limit.seconds} if limit else False
        limit_max = -1 if self._info.limit_max is None else self._info.limit_max
        return {
            "rateLimit": rate,
            "rateLimitGlobal": False,
            "queryLimit": {"default": DEFAULT_QUERY_LIMIT, "max": limit_max},
            "websocket": socket if self._info.websockets else False,
            "version": self._info.version,
        }

    async def _login(self, request: web.Request) -> web.Response:
        body = await _body(request)
        email = body.get("email") if isinstance(body, dict) else None
        if not isinstance(email, str) or "@" not in email:
            raise invalid_payload('"email" must be a valid email')
        return _data(vars(self._accounts.login(email, body.get("password"))))

    async def _refresh(self, request: web.Request) -> web.Response:
        body = await _body(request)
        token = body.get("refresh_token") if isinstance(body, dict) else None
        if not token:
            raise invalid_payload("The refresh token is required in either the payload or cookie")
        return _data(vars(self._accounts.refresh(token)))

    async def _me(self, request: web.Request) -> web.Response:
        access = self._access(request)
        if access.user is None:
            raise invalid_credentials()
        if not access.may_read(USERS):
            return _data({"id": access.user.id})
        query = self._query(request)
        return _data(self._reader.read_one(access, USERS, access.user.id, query))

    async def _permissions(self, request: web.Request) -> web.Response:
        access = self._access(request)
        return _data(access.permissions(self._reader.store.schema.collections))

    async def _collections(self, request: web.Request) -> web.Response:
        self._demand_admin(request, forbidden_collection("directus_collections"))
        schema = self._reader.store.schema
        return _data([schema.describe_collection(each) for each in schema.collections.values()])

    async def _collection(self, request: web.Request) -> web.Response:
        schema, name = self._reader.store.schema, request.match_info["collection"]
        if not self._access(request).may_read(name):
            raise forbidden_action(name)
        self._demand_admin(request, forbidden_collection("directus_collections"))
        if name not in schema:
            raise forbidden()
        return _data(schema.describe_collection(schema[name]))

    async def _all_fields(self, request: web.Request) -> web.Response:
        self._demand_admin(request, forbidden_action("directus_fields"))
        schema = self._reader.store.schema
        collections = schema.collections.values()
        return _data([field for each in collections for field in schema.describe_fields(each)])

    async def _fields(self, request: web.Request) -> web.Response:
        self._demand_admin(request, forbidden_action("directus_fields"))
        schema = self._reader.store.schema
        return _data(schema.describe_fields(schema[request.match_info["collection"]]))

    async def _relations(self, request: web.Request) -> web.Response:
        self._demand_admin(request, forbidden_action("directus_relations"))
        return _data(self._reader.store.schema.describe_relations())

    async def _field(self, request: web.Request) -> web.Response:
        self._demand_admin(request, forbidden_action("directus_fields"))
        schema, name = self._reader.store.schema, request.match_info["field"]
        collection = schema[request.match_info["collection"]]
        if name not in collection.field_names:
            raise forbidden()
        return _data(schema.describe_field(collection, name))

    async def _search_collections(self, request: web.Request) -> web.Response:
        keys = searched_keys(await _body(request))
        self._demand_admin(request, forbidden_collection("directus_collections"))
        schema = self._reader.store.schema
        found = [each for each in schema.collections.values() if keys is None or each.name in keys]
        return _data([schema.describe_collection(each) for each in found])

    async def _read(self, request: web.Request) -> web.Response:
        items, query = self._items(request), self._query(request)
        return _rows(items, query, items.read(query))

    async def _search(self, request: web.Request) -> web.Response:
        body, items = await _body(request), self._items(request)
        query, keys = self._query(request), searched_keys(body)
        if request.path == "/users":
            keys = None  # Directus reads all users then
        if "query" in body:
            query = self._searched_query(body["query"])
        found = items.read(query) if keys is None else items.read_many(keys, query)
        return _rows(items, query, found)

    async def _create(self, request: web.Request) -> web.Response:
        body, items = await _body(request), self._items(request)
        return _data(items.create(body, self._query(request)))

    async def _update(self, request: web.Request) -> web.Response:
        body, items = await _body(request), self._items(request)
        return _data(items.update_any(body, self._query(request)))

    async def _delete(self, request: web.Request) -> web.Response:
        body, items = await _body(request), self._items(request)
        items.delete_any(body)
        return web.Response(status=204)

    async def _read_one(self, request: web.Request) -> web.Response:
        query = self._query(request)
        return _data(self._items(request).read_one(request.match_info["key"], query))

    async def _update_one(self, request: web.Request) -> web.Response:
        body, items = await _body(request), self._items(request)
        query = self._query(request)
        changed = items.update([request.match_info["key"]], body, query)
        return _data(changed[0]) if changed else web.Response(status=204)

    async def _delete_one(self, request: web.Request) -> web.Response:
        # The key stays the string it is in the address, as in Directus's event.
        self._items(request).delete([request.match_info["key"]])
        return web.Response(status=204)

    def _items(self, request: web.Request) -> Items:
        access = self._access(request)
        origin = Origin(
            user=access.user.id if access.user else None,
            ip=request.remote or "",
            user_agent=request.headers.get("User-Agent"),
        )
        return Items(self._reader, _collection_of(request), access, origin)

    def _query(self, request: web.Request) -> Query:
        clock = self._reader.store.clock
        return Query.from_address(request.query.items(), self._info.limit_max, clock)

    def _searched_query(self, values: Item) -> Query:
        return Query.from_request(values, self._info.limit_max, self._reader.store.clock)

    def _access(self, request: web.Request) -> Access:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._accounts.access(token)
        if "access_token" in request.query:
            return self._accounts.access(request.query["access_token"])
        return PUBLIC

    def _demand_admin(self, request: web.Request, refusal: ApiError) -> None:
        if not self._access(request).is_admin:
            raise refusal


def _collection_of(request: web.Request) -> str:
    """The collection of a path; those of the system have paths of their own."""
    name = request.match_info.get("collection")
    if name is None:
        return f"{SYSTEM}{request.path.split('/')[1]}"
    if name.startswith(SYSTEM):
        raise forbidden()
    return name


def _json(content: Any, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-cache"} if status == 200 else {}
    return web.json_response(content, status=status, dumps=encode, headers=headers)


def _data(data: Any) -> web.Response:
    return _json({"data": data})


def _rows(items: Items, query: Query, found: list[Item]) -> web.Response:
    answer: Item = {"data": found}
    if query.meta:
        answer = {"meta": items.meta(query), **answer}
    return _json(answer)


def _errors(refusal: ApiError) -> web.Response:
    return _json({"errors": [refusal.as_json()]}, status=refusal.status)


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.text() or "{}")
    except web.HTTPRequestEntityTooLarge:
        raise invalid_payload("request entity too large") from None
    except ValueError as error:
        raise invalid_payload(str(error)) from None
