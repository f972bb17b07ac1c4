"""The REST interface of a fake Directus, with its response cache."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from aiohttp import web

from directus_realtime.testing.fake.accounts import PUBLIC, Access, Accounts
from directus_realtime.testing.fake.fake_collection import ACTIVITY, SYSTEM, USERS, Item, Schema
from directus_realtime.testing.fake.items_service import ItemsService
from directus_realtime.testing.fake.query import DEFAULT_QUERY_LIMIT, Query, searched_keys
from directus_realtime.testing.fake.refusals import (
    ApiError,
    forbidden,
    forbidden_action,
    forbidden_collection,
    invalid_credentials,
    invalid_payload,
)
from directus_realtime.testing.fake.server_state import Faults, ServerOptions
from directus_realtime.testing.fake.socket_messages import encode
from directus_realtime.testing.fake.store import Origin, Store

LIFE = 300  # seconds in the header; here an answer stays until the cache is cleared
NEVER_CACHED = ("/server/ping", "/server/health")
OTHER_PARAMETERS = ("deep", "version", "backlink", "export")  # also in Directus's key


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RestApi:
    """The REST interface; ``requests`` gets the method and path of each request."""

    def __init__(
        self,
        accounts: Accounts,
        store: Store,
        faults: Faults,
        options: ServerOptions,
        requests: deque[str],
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._faults = faults
        self._options = options
        self._requests = requests
        self.cached: dict[Hashable, tuple[bytes, str]] = {}

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
        for name in self._store.schema.collections:
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
        """Turn refusals into answers, and apply the faults."""
        await self._faults.thawed.wait()
        if "Upgrade" in request.headers and self._options.websockets:
            if request.match_info.http_exception is not None:
                await asyncio.Event().wait()  # Directus never answers an unknown path here
            return await handler(request)
        self._requests.append(f"{request.method} {request.path}")
        try:
            answer = await self._answer(request, handler)
        except ApiError as refusal:
            answer = _errors(refusal)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            text = f"Route {request.path} doesn't exist."
            answer = _errors(ApiError(404, "ROUTE_NOT_FOUND", text, path=request.path))
        await asyncio.sleep(self._faults.reply_delay)
        await self._faults.thawed.wait()
        answer.headers["Date"] = self._store.clock.http_date()
        return answer

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        status = self._faults.search_status
        if request.method == "SEARCH" and status is not None:
            text = "<html><body><h1>The method SEARCH is not allowed.</h1></body></html>"
            return web.Response(status=status, text=text, content_type="text/html")
        if self._faults.is_pressed():
            text, reason = 'Service "api" is unavailable. Under pressure.', "Under pressure"
            raise ApiError(503, "SERVICE_UNAVAILABLE", text, service="api", reason=reason)
        is_cached = self._options.cache and request.path not in NEVER_CACHED
        if is_cached and request.method == "GET":
            return await self._cached(request, handler)
        return await handler(request)

    async def _cached(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Return the answer from the cache, or a new one; refusals are not cached."""
        user = self._access(request).user
        # Unknown parameters are not in the key.
        others = tuple(request.query.get(name) for name in OTHER_PARAMETERS)
        key = (user and user.id, request.path, repr(self._query(request)), others)
        if key not in self.cached:
            made = await handler(request)
            if not isinstance(made, web.Response) or not isinstance(made.body, bytes):
                return made
            self.cached[key] = made.body, made.content_type
        body, kind = self.cached[key]
        headers = {"Cache-Control": f"{'private' if user else 'public'}, max-age={LIFE}"}
        return web.Response(body=body, content_type=kind, headers=headers)

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
        options, limit = self._options, self._faults.rate_limit
        period = options.heartbeat_period
        socket = {
            "rest": {"authentication": options.auth_mode, "path": options.websocket_path},
            "graphql": False,
            "heartbeat": (int(period) if period == int(period) else period) or False,
            "collaborativeEditing": False,
            "logs": False,
        }
        highest = -1 if options.query_limit_max is None else options.query_limit_max
        return {
            "rateLimit": {"points": limit.points, "duration": limit.seconds} if limit else False,
            "rateLimitGlobal": False,
            "queryLimit": {"default": DEFAULT_QUERY_LIMIT, "max": highest},
            "websocket": socket if options.websockets else False,
            "version": options.version,
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
        users = ItemsService(self._store, USERS, access)
        return _data(users.read_one(access.user.id, self._query(request)))

    async def _permissions(self, request: web.Request) -> web.Response:
        return _data(self._access(request).permissions(self._store.schema.collections))

    async def _collections(self, request: web.Request) -> web.Response:
        schema = self._schema(request, forbidden_collection("directus_collections"))
        return _data([schema.describe_collection(each) for each in schema.collections.values()])

    async def _search_collections(self, request: web.Request) -> web.Response:
        keys = searched_keys(await _body(request))
        schema = self._schema(request, forbidden_collection("directus_collections"))
        found = [each for each in schema.collections.values() if keys is None or each.name in keys]
        return _data([schema.describe_collection(each) for each in found])

    async def _collection(self, request: web.Request) -> web.Response:
        name = request.match_info["collection"]
        if not self._access(request).may_read(name):
            raise forbidden_action(name)
        schema = self._schema(request, forbidden_collection("directus_collections"))
        if name not in schema:
            raise forbidden()
        return _data(schema.describe_collection(schema[name]))

    async def _all_fields(self, request: web.Request) -> web.Response:
        schema = self._schema(request, forbidden_action("directus_fields"))
        collections = schema.collections.values()
        return _data([field for each in collections for field in schema.describe_fields(each)])

    async def _fields(self, request: web.Request) -> web.Response:
        schema = self._schema(request, forbidden_action("directus_fields"))
        return _data(schema.describe_fields(schema[request.match_info["collection"]]))

    async def _field(self, request: web.Request) -> web.Response:
        schema = self._schema(request, forbidden_action("directus_fields"))
        collection, name = schema[request.match_info["collection"]], request.match_info["field"]
        if name not in collection.field_names:
            raise forbidden()
        return _data(schema.describe_field(collection, name))

    async def _relations(self, request: web.Request) -> web.Response:
        schema = self._schema(request, forbidden_action("directus_relations"))
        return _data(schema.describe_relations())

    async def _read(self, request: web.Request) -> web.Response:
        items, query = self._items(request), self._query(request)
        return _rows(items, query, items.read(query))

    async def _search(self, request: web.Request) -> web.Response:
        body, items = await _body(request), self._items(request)
        query, keys = self._query(request), searched_keys(body)
        if request.path == "/users":
            keys = None  # Directus then reads all users
        if "query" in body:
            limit_max = self._options.query_limit_max
            query = Query.from_request(body["query"], limit_max, self._store.clock)
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

    def _items(self, request: web.Request) -> ItemsService:
        access = self._access(request)
        origin = Origin(
            user=access.user.id if access.user else None,
            ip=request.remote or "",
            user_agent=request.headers.get("User-Agent"),
        )
        return ItemsService(self._store, _collection_of(request), access, origin)

    def _query(self, request: web.Request) -> Query:
        limit_max = self._options.query_limit_max
        return Query.from_address(request.query.items(), limit_max, self._store.clock)

    def _access(self, request: web.Request) -> Access:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._accounts.access(token)
        if "access_token" in request.query:
            return self._accounts.access(request.query["access_token"])
        return PUBLIC

    def _schema(self, request: web.Request, refusal: ApiError) -> Schema:
        """Return the collections to an administrator, and refuse others."""
        if not self._access(request).is_admin:
            raise refusal
        return self._store.schema


def _collection_of(request: web.Request) -> str:
    """Return the collection of a path; system collections have their own paths."""
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


def _rows(items: ItemsService, query: Query, found: list[Item]) -> web.Response:
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
