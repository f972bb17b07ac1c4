from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from directus_realtime.client import credentials
from directus_realtime.client.credentials import PasswordLogin, StaticToken, make_credentials
from directus_realtime.client.keys import PrimaryKey
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.rest import (
    RestClient,
    ServerInfo,
    _retry_after,
    items_path,
)
from directus_realtime.client.rest_messages import data_of
from directus_realtime.client.socket_driver import websocket_url
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    CredentialsRefused,
    RequestRefused,
    SubscriptionRefused,
)
from directus_realtime.protocol.queries import Query
from tests.helpers.manual_clock import ManualClock


def test_system_collections_have_their_own_place() -> None:
    assert items_path("directus_users") == "/users"
    assert items_path("articles") == "/items/articles"


@pytest.mark.parametrize(
    ("collection", "path"),
    [
        ("../flows/trigger/1", "/items/..%2Fflows%2Ftrigger%2F1"),
        ("directus_../flows", "/..%2Fflows"),
        ("a?b#c", "/items/a%3Fb%23c"),
        ("été 1", "/items/%C3%A9t%C3%A9%201"),
    ],
)
def test_the_name_of_a_collection_leads_to_no_other_place(collection: str, path: str) -> None:
    assert items_path(collection) == path
    assert httpx.Client(base_url="http://cms").build_request("GET", path).url.raw_path == (
        path.encode()
    )


@pytest.mark.parametrize(
    ("url", "path", "query", "expected"),
    [
        ("https://cms.example.com", "/websocket", {}, "wss://cms.example.com/websocket"),
        ("http://cms:8055", "/websocket", {}, "ws://cms:8055/websocket"),
        ("https://x.com/cms", "/live", {}, "wss://x.com/cms/live"),
        ("http://[::1]:8055", "/websocket", {}, "ws://[::1]:8055/websocket"),
        ("http://cms", "/w", {"access_token": "a&b"}, "ws://cms/w?access_token=a%26b"),
    ],
)
def test_the_url_of_the_websocket(
    url: str, path: str, query: dict[str, str], expected: str
) -> None:
    assert websocket_url(url, path, query) == expected


def test_data_of_an_answer() -> None:
    assert data_of(httpx.Response(200, json={"data": [1]})) == [1]
    assert data_of(httpx.Response(200, json={"data": None})) is None


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        (
            httpx.Response(
                403, json={"errors": [{"message": "No.", "extensions": {"code": "FORBIDDEN"}}]}
            ),
            "FORBIDDEN",
            "No.",
        ),
        (httpx.Response(500, json={"errors": [{"message": "No."}]}), "", "No."),
        (httpx.Response(400, json={"errors": []}), "", "The answer (HTTP 400) is not one"),
        (httpx.Response(400, json={"errors": ["x"]}), "", "The answer (HTTP 400) is not one"),
        (httpx.Response(200, text="<html>"), "", "The answer (HTTP 200) is not one of Directus."),
        (httpx.Response(200, json=[1]), "", "The answer (HTTP 200) is not one of Directus."),
        (httpx.Response(204), "", "The answer (HTTP 204) is not one of Directus."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_answer_that_is_an_error(response: httpx.Response, code: str, message: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        data_of(response)
    assert caught.value.status == response.status_code
    assert caught.value.code == code
    assert caught.value.message.startswith(message)


class Server:
    """Answers by path, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, Any] = {}
        self.methods: dict[str, httpx.Response] = {}
        self.script: Iterator[httpx.Response] | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.script is not None:
            return next(self.script)
        answer = self.methods.get(request.method, self.answers.get(request.url.path, []))
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json={"data": answer})

    @property
    def last(self) -> dict[str, str]:
        return dict(self.requests[-1].url.params)

    @property
    def body(self) -> Any:
        return json.loads(self.requests[-1].content)


@pytest.fixture
def server() -> Server:
    return Server()


class RecordingClock(ManualClock):
    """A clock that records its pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


@pytest.fixture
def clock() -> RecordingClock:
    return RecordingClock()


@pytest.fixture
def rest(server: Server, clock: RecordingClock) -> RestClient:
    credentials, options = StaticToken("T"), ClientOptions()
    client = RestClient("https://cms.example.com/sub", credentials, options, clock=clock)
    client._http = httpx.AsyncClient(
        base_url="https://cms.example.com/sub", transport=httpx.MockTransport(server)
    )
    return client


async def test_each_request_has_the_token_and_the_sub_path(
    rest: RestClient, server: Server
) -> None:
    server.answers["/sub/users/me"] = {"id": "1", "email": None, "first_name": "Django"}
    assert await rest.identity() == "Django"
    (request,) = server.requests
    assert request.headers["Authorization"] == "Bearer T"


@pytest.mark.parametrize(
    "query",
    [
        {"fields": ["id", "a.b"], "limit": 1},
        {"filter": {"a": {"_eq": "ä"}}, "limit": 1},
        {"aggregate": {"count": "*"}},
        {"aggregate": {"count": "*", "avg": "price"}, "groupBy": ["status"]},
        {"backlink": False, "limit": 1},
    ],
    ids=",".join,
)
async def test_items_are_read_by_search(
    rest: RestClient, server: Server, query: dict[str, Any]
) -> None:
    await rest.read_items("articles", **query)
    (request,) = server.requests
    assert (request.method, request.url.query) == ("SEARCH", b"")
    assert request.headers["Content-Type"] == "application/json"
    assert server.body == {"query": query}


async def test_a_query_that_is_written_for_a_url_is_read_by_get(
    rest: RestClient, server: Server
) -> None:
    await rest.read_items("articles", limit=1, **{"aggregate[count]": "*"})
    (request,) = server.requests
    assert request.method == "GET"
    assert server.last["aggregate[count]"] == "*"


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        ({"fields": ["id", "a.b"], "limit": 1}, {"fields": "id,a.b", "limit": "1"}),
        ({"filter": {"a": {"_eq": "ä"}}}, {"filter": '{"a": {"_eq": "\\u00e4"}}'}),
        ({"aggregate": {"count": "*"}}, {"aggregate[count]": "*"}),
        (
            {"aggregate": {"count": "*", "avg": "price"}, "groupBy": ["status"]},
            {"aggregate[count]": "*", "aggregate[avg]": "price", "groupBy": "status"},
        ),
        ({"backlink": False, "limit": 1}, {"backlink": "false", "limit": "1"}),
    ],
    ids=lambda value: ",".join(value),
)
async def test_queries_in_a_url_are_encoded_as_directus_wants_them(
    rest: RestClient, server: Server, parameters: dict[str, Any], sent: dict[str, str]
) -> None:
    await rest.get_fresh("/items/articles", parameters)
    asked = server.last
    del asked["deep"]
    assert asked == sent


async def test_each_get_has_an_address_that_no_cache_knows(
    rest: RestClient, server: Server
) -> None:
    own = {"author": {"_limit": 3}}
    for _ in range(3):
        await rest.get_fresh("/fields/articles", {"deep": own})
    found = [json.loads(request.url.params["deep"]) for request in server.requests]
    assert len({str(request.url) for request in server.requests}) == 3
    for deep in found:
        assert deep.pop("author") == own["author"]
        ((name, query),) = deep.items()
        assert name.startswith("fresh_")
        assert query == {"_limit": 1}


# Where SEARCH does not get through

PAGE = "<html>Forbidden</html>"


@pytest.fixture
def no_search(server: Server) -> Server:
    """A server behind a proxy that refuses the method."""
    server.methods["SEARCH"] = httpx.Response(405, text=PAGE)
    return server


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, text=PAGE),
        httpx.Response(403, text=PAGE),
        httpx.Response(404, text=PAGE),
        httpx.Response(405, text=""),
        httpx.Response(501, json={"message": "no"}),
    ],
    ids=lambda answer: str(answer.status_code),
)
async def test_a_proxy_that_refuses_search_is_passed_by_get(
    rest: RestClient, server: Server, answer: httpx.Response, caplog: pytest.LogCaptureFixture
) -> None:
    server.methods["SEARCH"] = answer
    server.answers["/sub/items/articles"] = [{"id": 1}]
    for _ in range(3):
        assert await rest.read_items("articles", limit=1) == [{"id": 1}]
    assert [request.method for request in server.requests] == ["SEARCH", "GET", "GET", "GET"]
    (warning,) = caplog.records
    assert f"the HTTP method SEARCH through (HTTP {answer.status_code})" in warning.getMessage()
    assert "Allow SEARCH there" in warning.getMessage()


async def test_after_a_reconnect_search_is_tried_again(rest: RestClient, no_search: Server) -> None:
    no_search.answers["/sub/server/info"] = {"project": {}}
    await rest.read_items("articles", limit=1)
    await rest.server_info()
    del no_search.methods["SEARCH"]
    await rest.read_items("articles", limit=1)
    await rest.read_items("articles", limit=1)
    assert [request.method for request in no_search.requests[-2:]] == ["SEARCH", "SEARCH"]


@pytest.mark.parametrize("status", [403, 404])
async def test_a_path_that_is_not_there_by_get_either_changes_nothing(
    rest: RestClient, server: Server, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    gone = {"errors": [{"message": "Gone.", "extensions": {"code": "ROUTE_NOT_FOUND"}}]}
    server.methods["SEARCH"] = httpx.Response(404, json=gone)
    server.methods["GET"] = httpx.Response(status, json=gone)
    for _ in range(2):
        with pytest.raises(RequestRefused, match="Gone"):
            await rest.search("/nope")
    assert [request.method for request in server.requests] == ["SEARCH", "GET"] * 2
    assert caplog.records == []


async def test_a_path_without_search_in_directus_itself_is_its_own_case(
    rest: RestClient, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    gone = {"errors": [{"message": "Gone.", "extensions": {"code": "ROUTE_NOT_FOUND"}}]}
    server.methods["SEARCH"] = httpx.Response(404, json=gone)
    await rest.search("/settings")
    await rest.search("/settings")
    del server.methods["SEARCH"]
    await rest.search("/items/articles")
    methods = [request.method for request in server.requests]
    assert methods == ["SEARCH", "GET", "GET", "SEARCH"]
    assert caplog.records == []


async def test_a_refusal_of_directus_itself_is_no_refusal_of_search(
    rest: RestClient, server: Server
) -> None:
    server.answers["/sub/items/articles"] = httpx.Response(403, json=REFUSAL)
    with pytest.raises(RequestRefused, match=r"^No\.$"):
        await rest.search("/items/articles")
    assert len(server.requests) == 1


async def test_keys_go_into_a_filter_in_addresses_of_a_bearable_length(
    rest: RestClient, no_search: Server
) -> None:
    own = {"n": {"_gt": 1}}
    keys = [f"key-{number:04}" for number in range(250)]
    no_search.answers["/sub/items/articles"] = [{"id": "x"}]
    found = await rest.search("/items/articles", {"filter": own}, keys=keys)
    asked = [json.loads(request.url.params["filter"]) for request in no_search.requests[1:]]
    assert [len(each["_and"][0]["id"]["_in"]) for each in asked] == [100, 100, 50]
    assert all(each["_and"][1] == own for each in asked)
    assert len(found) == 3


async def test_text_keys_that_a_filter_would_interpret_are_asked_for_by_address(
    rest: RestClient, no_search: Server
) -> None:
    odd = ["true", "null", "NULL", "$NOW", "$NOW(-1 day)", "$CURRENT_USER", "$CURRENT_ROLES.x"]
    for key in odd:
        path = f"/sub/items/articles/{key}"
        no_search.answers[path] = {"id": key}
    no_search.answers["/sub/items/articles/null"] = httpx.Response(403, json=REFUSAL)
    no_search.answers["/sub/items/articles"] = [{"id": "TRUE"}]
    found = await rest.search("/items/articles", {"limit": -1}, keys=[*odd, "TRUE"])
    assert [row["id"] for row in found] == ["TRUE", *(key for key in odd if key != "null")]
    assert json.loads(no_search.requests[1].url.params["filter"])["_and"][0] == {
        "id": {"_in": ["TRUE"]}
    }
    assert "limit" not in no_search.last


async def test_an_empty_key_goes_into_a_filter(rest: RestClient, server: Server) -> None:
    """Directus refuses it among the keys of a SEARCH."""
    await rest.search("/items/articles", {"limit": -1}, keys=["a", ""])
    first, second = (json.loads(request.content) for request in server.requests)
    assert first == {"query": {"limit": -1, "filter": {"_and": [{"id": {"_in": [""]}}]}}}
    assert second == {"query": {"limit": -1}, "keys": ["a"]}


async def test_half_a_surrogate_pair_travels_by_search_and_not_in_a_url(
    rest: RestClient, server: Server
) -> None:
    await rest.search("/items/articles", keys=["\ud800"])
    assert server.body["keys"] == ["\ud800"]
    with pytest.raises(RequestRefused, match="cannot be sent in a URL: it has half a surrogate"):
        await rest.get_fresh("/items/articles", {"search": "\ud800"})
    with pytest.raises(RequestRefused, match="cannot be sent in a URL") as caught:
        await rest.get_fresh("/items/articles", {"search": "x" * 100_000})
    assert caught.value.code == "INVALID_QUERY"


# Errors of the way there


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (httpx.ConnectError("refused"), "Cannot reach https://cms.example.com/sub"),
        (httpx.ReadTimeout("slow"), "did not answer in time"),
        (httpx.RemoteProtocolError("gone"), "Cannot reach https://cms.example.com/sub"),
        (httpx.DecodingError("not gzip"), "Cannot reach https://cms.example.com/sub"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_of_the_transport_is_one_of_ours(
    rest: RestClient, error: httpx.HTTPError, sentence: str
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    rest._http = httpx.AsyncClient(base_url="http://cms", transport=httpx.MockTransport(fail))
    asked: list[Awaitable[Any]] = [
        rest.server_info(),
        rest.identity(),
        rest.read_items("articles", limit=1),
        rest.read_item("articles", 1),
        rest.create_item("articles", {}),
        rest.update_item("articles", 1, {}),
        rest.delete_item("articles", 1),
        rest.primary_key("articles"),
        rest.accountability("articles"),
        rest.read_access("articles"),
    ]
    for each in asked:
        with pytest.raises(ConnectionFailed, match=sentence):
            await each


async def test_an_error_of_the_log_in_is_one_of_ours() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    rest = RestClient("http://cms", PasswordLogin("e", "p"), ClientOptions())
    rest._http = httpx.AsyncClient(base_url="http://cms", transport=httpx.MockTransport(fail))
    for ask in (rest.access_token, rest.identity):
        with pytest.raises(ConnectionFailed, match="Cannot reach http://cms"):
            await ask()


def test_a_url_that_is_none_is_an_error_of_ours() -> None:
    with pytest.raises(ConnectionImpossible, match="is not a URL"):
        RestClient("http://cms:port", StaticToken("T"), ClientOptions())


PRESSURE = {
    "errors": [
        {
            "message": 'Service "api" is unavailable. Under pressure.',
            "extensions": {"code": "SERVICE_UNAVAILABLE"},
        }
    ]
}


async def test_a_server_under_pressure_is_asked_again_a_little_later(
    rest: RestClient, server: Server, clock: RecordingClock
) -> None:
    answers = [httpx.Response(503, json=PRESSURE)] * 3 + [httpx.Response(200, json={"data": 1})]
    server.script = iter(answers)
    assert await rest.search("/items/articles") == 1
    assert clock.sleeps == [0.25] * 3


async def test_a_server_that_stays_under_pressure_is_not_asked_for_ever(
    rest: RestClient, server: Server, clock: RecordingClock
) -> None:
    server.answers["/sub/items/articles"] = httpx.Response(503, json=PRESSURE)
    with pytest.raises(RequestRefused, match="Under pressure"):
        await rest.search("/items/articles")
    assert clock.sleeps == [0.25] * 20


async def test_another_503_is_not_waited_for(
    rest: RestClient, server: Server, clock: RecordingClock
) -> None:
    server.answers["/sub/items/articles"] = httpx.Response(503, text="<html>")
    with pytest.raises(RequestRefused):
        await rest.search("/items/articles")
    assert clock.sleeps == []


async def test_what_is_written_may_be_dates_decimals_and_uuids(
    rest: RestClient, server: Server
) -> None:
    paid = {"paid_at": datetime(2026, 5, 4, 3, 2, tzinfo=UTC), "total": Decimal("9.90")}
    sent = {"paid_at": "2026-05-04T03:02:00+00:00", "total": "9.90"}
    await rest.create_item("orders", {**paid, "lines": [{"of": UUID(int=1)}]})
    await rest.update_item("orders", 1, paid)
    assert [json.loads(request.content) for request in server.requests] == [
        {**sent, "lines": [{"of": "00000000-0000-0000-0000-000000000001"}]},
        sent,
    ]


async def test_what_cannot_be_written_is_named(rest: RestClient, server: Server) -> None:
    with pytest.raises(ValueError, match="cannot be sent to Directus"):
        await rest.create_item("orders", {"total": 1j})
    assert server.requests == []


@pytest.mark.parametrize(
    ("websocket", "path", "mode"),
    [
        ({"websocket": {"rest": {"path": "/live", "authentication": "strict"}}}, "/live", "strict"),
        ({"websocket": {"rest": {}}}, "/websocket", "handshake"),
        ({}, "/websocket", "handshake"),
    ],
)
async def test_what_a_server_says_of_itself(
    rest: RestClient, server: Server, websocket: dict[str, Any], path: str, mode: str
) -> None:
    server.answers["/sub/server/info"] = {"project": {}, "version": "11.17.4", **websocket}
    info = await rest.server_info()
    assert (info.version, info.websocket_path, info.auth_mode) == ("11.17.4", path, mode)


@pytest.mark.parametrize("websocket", [False, {"rest": False}])
async def test_a_server_without_websockets(
    rest: RestClient, server: Server, websocket: Any
) -> None:
    server.answers["/sub/server/info"] = {"project": {}, "websocket": websocket}
    info: ServerInfo = await rest.server_info()
    assert info.websocket_path is None


async def test_the_primary_key_of_a_collection(rest: RestClient, server: Server) -> None:
    server.answers["/sub/fields/articles"] = [
        {"field": "alias", "type": "alias", "schema": None},
        {"field": "title", "type": "string", "schema": {"is_primary_key": False}},
        {"field": "slug", "type": "string", "schema": {"is_primary_key": True}},
    ]
    assert await rest.primary_key("articles") == PrimaryKey("slug", "string")


REFUSAL = {"errors": [{"message": "No.", "extensions": {"code": "FORBIDDEN"}}]}


async def test_a_query_that_is_refused(rest: RestClient, server: Server) -> None:
    server.answers["/sub/items/articles"] = httpx.Response(403, json=REFUSAL)
    with pytest.raises(SubscriptionRefused, match=r"^No\.$"):
        await rest.check_query(Query("articles", fields=("x",)), PrimaryKey())
    assert server.body == {"query": {"fields": ["id", "x"], "limit": 1}}


async def test_an_unreadable_item_is_no_reason_to_refuse_a_query(
    rest: RestClient, server: Server
) -> None:
    failed = httpx.Response(500, json={"errors": [{"message": "Invalid time value"}]})
    server.script = iter([failed, httpx.Response(200, json={"data": []})])
    await rest.check_query(Query("articles"), PrimaryKey())
    assert server.body == {"query": {"limit": 0}}
    server.script = iter([failed, failed])
    with pytest.raises(SubscriptionRefused, match="Invalid time value"):
        await rest.check_query(Query("articles"), PrimaryKey())


async def test_deletes_alone_need_no_right_to_read(rest: RestClient, server: Server) -> None:
    await rest.check_query(Query("articles", events=("delete",)), PrimaryKey())
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"meta": {"accountability": "all"}}, "all"),
        ({"meta": {"accountability": "activity"}}, "activity"),
        ({"meta": {"accountability": None}}, "none"),
        ({"meta": {"accountability": "new-in-13"}}, "unknown"),
        ({"meta": {"accountability": []}}, "unknown"),
        ({"meta": {}}, "unknown"),
        ({"meta": None}, "unknown"),
        (None, "unknown"),
        (httpx.Response(403, json=REFUSAL), "unknown"),
    ],
    ids=str,
)
async def test_the_accountability_of_a_collection(
    rest: RestClient, server: Server, answer: Any, expected: str
) -> None:
    other = {"collection": "others", "meta": {"accountability": "activity"}}
    if not isinstance(answer, httpx.Response):
        answer = [other] if answer is None else [other, {"collection": "articles", **answer}]
    server.answers["/sub/collections"] = answer
    assert await rest.accountability("articles") == expected


async def test_a_server_that_is_not_ready_says_nothing_of_the_accountability(
    rest: RestClient, server: Server
) -> None:
    server.answers["/sub/collections"] = httpx.Response(503, json=REFUSAL)
    with pytest.raises(RequestRefused):
        await rest.accountability("articles")


# Credentials


def test_credentials_need_something() -> None:
    for given in ({}, {"email": "e"}, {"password": "p"}, {"token": ""}):
        with pytest.raises(ConnectionImpossible, match="Give a token"):
            make_credentials(**given)
    assert isinstance(make_credentials("t", "e", "p"), StaticToken)
    assert isinstance(make_credentials(email="e", password="p"), PasswordLogin)


def tokens(number: int, expires: int = 900_000) -> dict[str, Any]:
    return {"access_token": f"a{number}", "refresh_token": f"r{number}", "expires": expires}


@pytest.fixture
def http(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="https://cms", transport=httpx.MockTransport(server))


async def test_a_log_in_is_kept_until_it_nears_its_end(
    http: httpx.AsyncClient, server: Server
) -> None:
    server.answers["/auth/login"] = tokens(1)
    login = PasswordLogin("e", "p")
    first = await login.access_token(http)
    assert await login.access_token(http) is first
    assert len(server.requests) == 1
    assert "a1" not in repr(first)


async def test_a_log_in_is_renewed_by_the_refresh_token(
    http: httpx.AsyncClient, server: Server
) -> None:
    server.answers["/auth/login"] = tokens(1, expires=0)
    server.answers["/auth/refresh"] = tokens(2)
    login = PasswordLogin("e", "p")
    await login.access_token(http)
    assert (await login.access_token(http)).value == "a2"
    assert b'"r1"' in server.requests[-1].content


async def test_a_refresh_token_that_is_used_up_means_a_new_log_in(
    http: httpx.AsyncClient, server: Server
) -> None:
    server.answers["/auth/login"] = tokens(1, expires=0)
    server.answers["/auth/refresh"] = httpx.Response(401, json=REFUSAL)
    login = PasswordLogin("e", "p")
    await login.access_token(http)
    await login.access_token(http)
    paths = [request.url.path for request in server.requests]
    assert paths == ["/auth/login", "/auth/refresh", "/auth/login"]


async def test_a_refused_log_in(http: httpx.AsyncClient, server: Server) -> None:
    server.answers["/auth/login"] = httpx.Response(401, json=REFUSAL)
    with pytest.raises(CredentialsRefused, match="Check EMAIL and PASSWORD"):
        await PasswordLogin("e", "p").access_token(http)


@pytest.fixture
def log_in_clock() -> Iterator[ManualClock]:
    """A clock for log-ins; no user has been refused before."""
    credentials._refusals.clear()
    yield ManualClock()
    credentials._refusals.clear()


async def refused(http: httpx.AsyncClient, clock: ManualClock, password: str = "p") -> str:
    """The reason of a log-in of a new client."""
    with pytest.raises(CredentialsRefused) as caught:
        await PasswordLogin("e", password, clock).access_token(http)
    return str(caught.value)


async def test_a_password_that_is_refused_is_tried_ever_more_seldom(
    http: httpx.AsyncClient, server: Server, log_in_clock: ManualClock
) -> None:
    """By all clients together: in ten days, fewer than what suspends a user."""
    server.answers["/auth/login"] = httpx.Response(401, json=REFUSAL)
    assert "The next try" not in await refused(http, log_in_clock)
    await refused(http, log_in_clock)
    assert "The next try comes after 1 h" in await refused(http, log_in_clock)
    for _ in range(10):
        assert "The next try comes after 1 h" in await refused(http, log_in_clock)
    assert len(server.requests) == 3
    log_in_clock.advance(1.01 * 3600)
    assert "The next try comes after 2 h" in await refused(http, log_in_clock)
    for _ in range(10 * 24 * 2):
        await refused(http, log_in_clock)
        log_in_clock.advance(0.5 * 3600)
    assert "The next try comes after 24 h" in await refused(http, log_in_clock)
    assert 10 < len(server.requests) < 20


async def test_another_password_is_tried_at_once(
    http: httpx.AsyncClient, server: Server, log_in_clock: ManualClock
) -> None:
    server.answers["/auth/login"] = httpx.Response(401, json=REFUSAL)
    for _ in range(4):
        await refused(http, log_in_clock)
    await refused(http, log_in_clock, "another")
    assert len(server.requests) == 4


async def test_a_password_that_is_good_again_is_found_after_the_pause(
    http: httpx.AsyncClient, server: Server, log_in_clock: ManualClock
) -> None:
    server.answers["/auth/login"] = httpx.Response(401, json=REFUSAL)
    for _ in range(4):
        await refused(http, log_in_clock)
    server.answers["/auth/login"] = tokens(1)
    await refused(http, log_in_clock)
    log_in_clock.advance(1.01 * 3600)
    assert (await PasswordLogin("e", "p", log_in_clock).access_token(http)).value == "a1"
    server.answers["/auth/login"] = httpx.Response(401, json=REFUSAL)
    assert "The next try" not in await refused(http, log_in_clock)


async def test_a_proxy_that_refuses_a_log_in_is_asked_again(
    http: httpx.AsyncClient, server: Server, log_in_clock: ManualClock
) -> None:
    server.answers["/auth/login"] = httpx.Response(403, text="<html>Forbidden</html>")
    for _ in range(10):
        assert "The next try" not in await refused(http, log_in_clock)
    assert len(server.requests) == 10


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_not_ready_is_not_taken_for_a_wrong_password(
    http: httpx.AsyncClient, server: Server, status: int
) -> None:
    server.answers["/auth/login"] = httpx.Response(status, json={"errors": [{"message": "busy"}]})
    with pytest.raises(Exception, match="busy") as caught:
        await PasswordLogin("e", "p").access_token(http)
    assert not isinstance(caught.value, ConnectionImpossible)


@pytest.mark.parametrize(
    ("header", "text", "seconds"),
    [
        ("7", "", 7),
        ("9" * 5000, "", 1),
        ("²", "", 1),
        ("soon", "Try again, retry after 3s.", 3),
        ("", f"retry after {'9' * 5000}s", 1),
        ("999", "", 60),
    ],
    ids=lambda value: str(value)[:10],
)
def test_how_long_the_rate_limiter_is_waited_out(header: str, text: str, seconds: int) -> None:
    response = httpx.Response(429, headers={"Retry-After": header.encode()}, text=text)
    assert seconds <= _retry_after(response, ManualClock()) <= seconds + 1


@pytest.mark.parametrize("most", [None, 0, -1, -5, 0.5])
async def test_a_query_limit_that_is_none(most: Any) -> None:
    info = {"project": {}, "queryLimit": {"max": most}}
    client = RestClient("http://cms", StaticToken("t"), ClientOptions())
    client._http = httpx.AsyncClient(
        base_url="http://cms",
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"data": info})),
    )
    assert (await client.server_info()).query_limit == -1
