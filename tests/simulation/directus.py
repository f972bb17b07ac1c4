"""A Directus in memory: the rules and the store of the fake one, without sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web
from multidict import CIMultiDict, MultiDict

from directus_realtime.testing.fake import FakeCollection, FakeDirectus, FakeUser
from directus_realtime.testing.fake.rest import Handler
from tests.simulation import clock
from tests.simulation.loop import MACHINE
from tests.simulation.sockets import SocketHall
from tests.simulation.trace import Trace

TOKEN = "a-token-of-the-simulation"
ARTICLES, NOTES, ACTIVITY = "articles", "notes", "directus_activity"
#: Collections with items.
COLLECTIONS = (ARTICLES, NOTES)
#: What the token may read while it has lost one of these; else it may read everything.
RIGHTS: Mapping[str, Any] = {
    ARTICLES: {},
    NOTES: {},
    ACTIVITY: {},
    "directus_users": {},
    "directus_collections": {},
}


def collections() -> list[FakeCollection]:
    """Return the collections: one with numbers as keys, one with texts."""
    fields = {"title": "string", "status": "string", "version": "integer"}
    return [
        FakeCollection(ARTICLES, fields=fields),
        FakeCollection(NOTES, key_type="string", fields=fields),
    ]


@dataclass
class _Request:
    """A request, as far as the fake looks at one."""

    method: str
    path: str
    query: MultiDict[str]
    headers: CIMultiDict[str]
    match_info: Any
    content: bytes
    remote: str = "127.0.0.1"

    async def text(self) -> str:
        return self.content.decode()


class _Match(dict[str, str]):
    """The variable parts of a path."""

    http_exception = None


@dataclass
class _Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler


@dataclass
class Weather:
    """What is wrong between the machines and Directus; times are true seconds.

    Attributes:
        down_until: The server refuses connections.
        cut: By machine, until when the network between it and Directus is cut.
        slow_until: Answers take long.
        statuses: Answers of the next requests, instead of the real ones.
        garbled: So many of the next answers are cut off.
    """

    down_until: float = 0.0
    cut: dict[str, float] = field(default_factory=dict)
    slow_until: float = 0.0
    statuses: list[int] = field(default_factory=list)
    garbled: int = 0


class SimulatedDirectus:
    """The server.

    Args:
        chance: Gives the delays of answers.
        trace: Gets a line for each request.
        has_cache: Whether GET is answered by a cache that lies.
        has_socket: Whether it has WebSockets.
    """

    def __init__(
        self, chance: random.Random, trace: Trace, *, has_cache: bool, has_socket: bool
    ) -> None:
        self.weather = Weather()
        self.requests = 0
        self._chance = chance
        self._trace = trace
        self.user = FakeUser("listener@example.com", "", token=TOKEN)
        self.user.id = "11111111-1111-4111-8111-111111111111"
        self.fake = FakeDirectus(
            collections(), users=[self.user], websockets=has_socket, cache=has_cache
        )
        self.sockets = SocketHall(self.fake, chance, self._check_network)
        # Who may read an item may read the schema, too.
        self.fake._rest._schema = lambda request, refusal: self.store.schema  # type: ignore
        self.store = self.fake._store
        self.store.clock.now = self.now  # type: ignore[method-assign]
        self.ahead = 0.0
        self._routes = [
            _Route(route.method, _pattern(route.path), route.handler)
            for route in self.fake._rest.routes()
            if isinstance(route, web.RouteDef)
        ]
        self._found: dict[tuple[str, str], tuple[Handler, _Match] | None] = {}

    def now(self) -> dt.datetime:
        """Return the server's time."""
        return clock.true_time() + dt.timedelta(seconds=self.ahead)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request.

        Raises:
            httpx.TransportError: The network, or the server, does not.
        """
        self.requests += 1
        machine = MACHINE.get()
        name = machine.name if machine else ""
        limits = request.extensions.get("timeout", {})
        await asyncio.sleep(self._chance.expovariate(400))
        self._check_network(name)
        try:
            async with asyncio.timeout(limits.get("read") or 10.0):
                response = await self._answer_or_fail(request)
                await asyncio.sleep(self._delay())
        except TimeoutError:
            self._note(name, request, "no answer")
            raise httpx.ReadTimeout("Simulated: no answer.", request=request) from None
        self._check_network(name)
        self._note(name, request, f"{response.status_code}")
        return response

    def _delay(self) -> float:
        delay = self._chance.expovariate(400)
        if clock.true_seconds() < self.weather.slow_until:
            delay += self._chance.expovariate(1)
        return delay

    def _check_network(self, machine: str) -> None:
        now = clock.true_seconds()
        until = max(self.weather.down_until, self.weather.cut.get(machine, 0.0))
        if now < until:
            raise httpx.ConnectError("Simulated: connection refused.")

    def _note(self, machine: str, request: httpx.Request, words: str) -> None:
        if self._trace.is_detailed:
            what = f"{request.method} {request.url.path} {request.content.decode()[:300]}"
            self._trace.add(clock.true_seconds(), machine, f"rest {what}: {words}")

    async def _answer_or_fail(self, request: httpx.Request) -> httpx.Response:
        if self.weather.statuses:
            return _error(self.weather.statuses.pop(0))
        response = await self._handle(request)
        if self.weather.garbled and response.status_code == 200:
            self.weather.garbled -= 1
            content = response.content
            return httpx.Response(200, content=content[: len(content) // 2])
        return response

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        found = self._route(request.method, path)
        if found is None:
            return _error(404)
        handler, match = found
        asked = _Request(
            request.method,
            path,
            MultiDict(request.url.params.multi_items()),
            CIMultiDict(request.headers.multi_items()),
            match,
            request.content,
        )
        guard: Callable[..., Any] = self.fake._rest.guard
        answer = await guard(asked, handler)
        return httpx.Response(
            answer.status, headers=dict(answer.headers), content=answer.body or b""
        )

    def _route(self, method: str, path: str) -> tuple[Handler, _Match] | None:
        place = method, path
        if place not in self._found:
            self._found[place] = None
            for route in self._routes:
                if route.method == method and (match := route.pattern.fullmatch(path)):
                    self._found[place] = route.handler, _Match(match.groupdict())
                    break
        return self._found[place]


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def _error(status: int) -> httpx.Response:
    codes = {403: "FORBIDDEN", 404: "ROUTE_NOT_FOUND", 500: "INTERNAL_SERVER_ERROR"}
    if status not in codes and status != 503:
        return httpx.Response(status, text="<html><body>Bad gateway</body></html>")
    code = codes.get(status, "SERVICE_UNAVAILABLE")
    message = "Under pressure" if status == 503 else "Simulated."
    errors = [{"message": message, "extensions": {"code": code}}]
    return httpx.Response(status, content=json.dumps({"errors": errors}).encode())


class SimulatedTransport(httpx.AsyncBaseTransport):
    """Takes requests of a client to a simulated Directus.

    Args:
        directus: The server.
    """

    def __init__(self, directus: SimulatedDirectus) -> None:
        self._directus = directus

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._directus.answer(request)
