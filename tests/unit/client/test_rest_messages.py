"""Answers that are JSON, and not what Directus sends: an error that names the place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from directus_realtime.client.activity_log import ActivityLog, ActivityRow, IdRange, UnreadableRow
from directus_realtime.client.connection_errors import explain
from directus_realtime.client.credentials import PasswordLogin, StaticToken
from directus_realtime.client.items import (
    read_by_keys,
    read_keys,
    read_newest,
    read_pages,
    read_sample,
)
from directus_realtime.client.options import ClientOptions
from directus_realtime.client.rest import PrimaryKey, RestClient, ServerInfo
from directus_realtime.client.rest_messages import MALFORMED
from directus_realtime.client.schema import Rights, read_schema
from directus_realtime.exceptions import ConnectionImpossible, RequestRefused
from directus_realtime.protocol.queries import Query

KEY = PrimaryKey("id", "integer")
QUERY = Query("articles")
SPAN = [IdRange(1, 100)]
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
FIELDS = [{"field": "id", "type": "integer", "schema": {"is_primary_key": True}}]


def rest_of(*answers: Any) -> RestClient:
    """REST that answers so, one after another, and then the last one for ever."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": left.pop(0) if len(left) > 1 else left[0]})

    rest = RestClient("http://cms", StaticToken("t"), ClientOptions())
    rest._http = httpx.AsyncClient(base_url="http://cms", transport=httpx.MockTransport(answer))
    rest.info = ServerInfo("11.17.4")
    return rest


async def _all(pages: Any) -> list[Any]:
    return [page async for page in pages]


def _log(rest: RestClient) -> ActivityLog:
    return ActivityLog(rest)


def _rights(rest: RestClient) -> Rights:
    return Rights(rest)


Ask = Callable[[RestClient], Awaitable[Any]]
NO_ROWS: list[Any] = [[None], [{"id": {}}], [{"id": True}], ["x"], 1, "x"]


@pytest.mark.parametrize(
    ("ask", "answers", "place"),
    [
        (lambda rest: read_by_keys(rest, QUERY, KEY, [1]), [None, *NO_ROWS], "/items/articles"),
        (lambda rest: _all(read_keys(rest, QUERY, KEY)), [None, *NO_ROWS], "/items/articles"),
        (lambda rest: _all(read_pages(rest, QUERY, KEY)), [None, *NO_ROWS], "/items/articles"),
        (lambda rest: rest.newest_first("articles"), [[None], ["x"], 1], "/fields/articles"),
        (lambda rest: rest.server_info(), [{"project": {}, "queryLimit": {"max": "x"}}, []], "/s"),
        (lambda rest: rest.identity(), [None, []], "/users/me"),
        (lambda rest: rest.read_access("articles"), [[], {"articles": 1}], "/permissions/me"),
        (lambda rest: _log(rest).count(SPAN), [None, [], [{}], [{"count": None}]], "/activity"),
        (lambda rest: _log(rest).newest(), [None, {}, [None], [{"id": 1}]], "/activity"),
        (lambda rest: _rights(rest).of_collections(), [[], {"a": 1}], "/permissions/me"),
        (lambda rest: _rights(rest).is_admin(), [[1], "x"], "/policies/me/globals"),
        (lambda rest: _rights(rest).relations(), [[None], [{}], 1], "/relations"),
        (lambda rest: _rights(rest).foreign_keys("a"), [[None], [{}], 1], "/fields/a"),
        (lambda rest: read_schema(rest), [None, [None], [{}]], "/collections"),
    ],
    ids=[
        "by keys",
        "keys",
        "pages",
        "fields",
        "info",
        "identity",
        "access",
        "count",
        "log",
        "permissions",
        "admin",
        "relations",
        "foreign keys",
        "schema",
    ],
)
async def test_an_odd_answer_is_an_error_that_names_the_place(
    ask: Ask, answers: list[Any], place: str
) -> None:
    for answer in answers:
        with pytest.raises(RequestRefused, match=f"The answer of {place}.* not one") as caught:
            await ask(rest_of(answer))
        assert (caught.value.status, caught.value.code) == (200, MALFORMED)


async def test_an_odd_count_of_a_sample_is_one_too() -> None:
    for count in ([], [None], [{"countDistinct": {}}]):
        rest = rest_of(FIELDS, [{"id": 1}, {"id": 2}], count)
        with pytest.raises(RequestRefused, match="a count"):
            await read_sample(rest, QUERY, 1)


async def test_the_newest_items_may_come_without_keys_but_not_as_something_else() -> None:
    assert (await read_newest(rest_of(FIELDS, [{"title": "x"}]), QUERY, 5)).rows == []
    with pytest.raises(RequestRefused, match="/items/articles"):
        await read_newest(rest_of(FIELDS, [None]), QUERY, 5)


async def test_a_singleton_is_one_item_and_none_before_it_is_saved() -> None:
    saved = await read_by_keys(rest_of({"id": 1}), QUERY, KEY, [1])
    assert saved.rows == {1: {"id": 1}}
    unsaved = await read_by_keys(rest_of({"id": None, "title": "x"}), QUERY, KEY, [1])
    assert unsaved.rows == {}
    assert await _all(read_keys(rest_of({"id": None}), QUERY, KEY)) == []
    assert await _all(read_keys(rest_of({"id": 1}), QUERY, KEY)) == [[1]]


async def test_an_odd_answer_to_a_log_in_is_said_to_be_one() -> None:
    good = {"refresh_token": "r", "expires": 900_000, "access_token": "a"}
    odd: list[dict[str, Any]] = [
        {"expires": None},
        {"expires": -1},
        {"access_token": None},
        {"access_token": "a\nb"},
    ]
    for answer in (None, [], *({**good, **each} for each in odd)):
        login = PasswordLogin("a@example.com", "secret")
        with pytest.raises(RequestRefused, match="/auth/login") as caught:
            await login.access_token(rest_of(answer)._http)
        error = explain(caught.value, "http://cms")
        assert isinstance(error, ConnectionImpossible)
        assert str(error).startswith("http://cms does not answer like Directus (The answer of /au")


async def test_an_answer_that_is_nested_too_deeply_is_an_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text='{"data": ' + "[" * 200_000 + "]" * 200_000 + "}")

    rest = rest_of([])
    rest._http = httpx.AsyncClient(base_url="http://cms", transport=httpx.MockTransport(answer))
    with pytest.raises(RequestRefused, match="too deeply") as caught:
        await rest.get_fresh("/items/articles")
    assert caught.value.code == MALFORMED


# Rows of the log


def row(number: Any, **values: Any) -> dict[str, Any]:
    timestamp = "2026-11-26T12:00:00.000Z"
    change = {"action": "update", "collection": "articles", "item": "1", "timestamp": timestamp}
    return {"id": number, **change, **values}


@pytest.mark.parametrize(
    ("odd", "place", "collection"),
    [
        (None, "A row without an id", ""),
        ("x", "A row without an id", ""),
        (row(None), "A row without an id", "articles"),
        (row(2, timestamp=None), "Row 2", "articles"),
        (row(2, timestamp="yesterday"), "Row 2", "articles"),
        (row(2, timestamp="0001-01-01T00:00:00Z"), "Row 2", "articles"),
        (row(2, item=None), "Row 2", "articles"),
        (row(2, collection=None), "Row 2", ""),
        ({"id": 2}, "Row 2", ""),
    ],
    ids=str,
)
async def test_a_row_of_the_log_that_makes_no_sense_is_left_out(
    odd: Any, place: str, collection: str
) -> None:
    (page,) = await _all(_log(rest_of([row(1), odd, row(3)])).pages(SPAN))
    assert [each.id for each in page.rows] == [1, 3]
    assert page.unreadable == [UnreadableRow(place, collection)]


async def test_the_id_of_a_row_that_makes_no_sense_is_read() -> None:
    """Or else it would be looked for again as one that is not visible yet."""
    (page,) = await _all(_log(rest_of([row(1), row(2, timestamp=None), row(3)])).pages(SPAN))
    assert (page.ids, page.size) == ([1, 2, 3], 3)


async def test_a_time_without_a_zone_is_that_of_the_server() -> None:
    newest = await _log(rest_of([row(7, timestamp="2026-11-26T12:00:00")])).newest()
    assert newest == ActivityRow(7, "update", "articles", "1", NOON)


async def test_the_next_page_begins_behind_a_row_that_makes_no_sense() -> None:
    rest = rest_of([row(1), row(2, timestamp=None)], [row(3)])
    rest.info = ServerInfo("11.17.4", query_limit=2)
    pages = await _all(_log(rest).pages(SPAN))
    assert [[each.id for each in page.rows] for page in pages] == [[1], [3]]
    assert [each.place for page in pages for each in page.unreadable] == ["Row 2"]


async def test_a_page_without_any_id_has_no_next_one() -> None:
    rest = rest_of([None, None])
    rest.info = ServerInfo("11.17.4", query_limit=2)
    with pytest.raises(RequestRefused, match="/activity"):
        await _all(_log(rest).pages(SPAN))


async def test_the_newest_row_is_the_newest_that_makes_sense() -> None:
    newest = await _log(rest_of([row(9, timestamp=None), None, row(7), row(6)])).newest()
    assert newest is not None
    assert newest.id == 7


async def test_a_row_that_makes_no_sense_any_more_is_as_good_as_gone() -> None:
    assert await _log(rest_of([row(7, timestamp=None)])).find([7]) == {}


async def test_items_behind_those_that_come_twice_are_not_taken_for_missing() -> None:
    """A filter on a to-many relation may give an item twice, and QUERY_LIMIT_MAX cuts the rest."""
    twice = [{"id": 1}, {"id": 1}, {"id": 2}]
    rest = rest_of(twice, [{"id": 3}])
    rest.info = ServerInfo("11.17.4", query_limit=3)
    assert list((await read_by_keys(rest, QUERY, KEY, [1, 2, 3])).rows) == [1, 2, 3]


async def test_a_row_of_the_log_whose_id_no_column_can_hold_has_none() -> None:
    row = {"id": 2**63, "action": "login", "collection": "x", "timestamp": NOON.isoformat()}
    (page,) = await _all(_log(rest_of([row])).pages(SPAN))
    assert (page.rows, page.ids) == ([], [])
    assert page.unreadable == [UnreadableRow("A row without an id", "x")]
