"""Reports of ``directus_check``, on a fake Directus."""

from __future__ import annotations

from typing import Any

import pytest

from directus_realtime.listener import diagnostics
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.protocol.queries import Query
from directus_realtime.settings import ConnectionSettings
from directus_realtime.testing import FakeCollection, FakeDirectus, FakeUser
from tests.integration.conftest import TOKEN

ARTICLES = FakeCollection("articles", fields={"title": "string"})
LIMITED = "a-limited-token"


def wanted(collection: str = "articles") -> DesiredSubscription:
    return DesiredSubscription(collection, collection, Query(collection), "")


async def report_of(
    fake: FakeDirectus, *entries: DesiredSubscription, token: str = TOKEN
) -> diagnostics.ConnectionReport:
    settings = ConnectionSettings("default", fake.url, token=token)
    return await diagnostics.check_connection(settings, entries or [wanted()])


def limited(**values: Any) -> FakeUser:
    return FakeUser("limited@example.com", "", token=LIMITED, **values)


async def test_everything_works(fake: FakeDirectus) -> None:
    await fake.create("articles", {"title": "x"})
    report = await report_of(fake)
    assert (report.ok, report.socket_problem, report.clock_ahead) == (True, "", 0)
    assert (report.lets_search_through, report.cache_lifetime) == (True, 0)
    assert (report.log.access, report.log.problem, report.log.reads_user) == ("full", "", True)
    assert report.log.days == 0
    (entry,) = report.subscriptions
    assert (entry.ok, entry.source, entry.primary_key) == (True, "log", "id (integer)")
    assert (entry.accountability, entry.is_partial, entry.notes) == ("all", False, [])


async def test_how_far_the_log_reaches_back_by_the_clock_of_the_server(fake: FakeDirectus) -> None:
    fake.shift_clock(86_400)
    await fake.create("articles", {"title": "x"})
    fake.shift_clock(2 * 86_400)
    report = await report_of(fake)
    assert report.log.days == 2
    assert report.clock_ahead == 3 * 86_400


async def test_an_empty_log_reaches_nowhere() -> None:
    async with FakeDirectus([ARTICLES], TOKEN) as fake:
        report = await report_of(fake)
    assert report.ok
    assert (report.log.days, report.log.oldest_change) == (None, None)


async def test_a_proxy_that_refuses_search(fake: FakeDirectus) -> None:
    fake.refuse_search()
    report = await report_of(fake)
    assert report.ok
    assert not report.lets_search_through


async def test_a_cache_that_is_read_past() -> None:
    async with FakeDirectus([ARTICLES], TOKEN, cache=True) as fake:
        report = await report_of(fake)
    assert (report.ok, report.cache_lifetime) == (True, 300)


async def test_a_server_without_websockets_is_no_error() -> None:
    async with FakeDirectus([ARTICLES], TOKEN, websockets=False) as fake:
        report = await report_of(fake)
    assert report.ok
    assert "WEBSOCKETS_ENABLED" in report.socket_problem
    assert report.poll_interval == 1


async def test_without_the_log_the_socket_alone_brings_changes() -> None:
    user = limited(readable={"articles": {}})
    async with FakeDirectus([ARTICLES], TOKEN, [user]) as fake:
        report = await report_of(fake, token=LIMITED)
    assert report.ok
    assert report.log.problem == "The token may not read directus_activity."
    (entry,) = report.subscriptions
    assert (entry.source, len(entry.notes)) == ("socket", 1)


async def test_without_the_log_and_without_a_socket_nothing_is_received() -> None:
    user = limited(readable={"articles": {}})
    async with FakeDirectus([ARTICLES], TOKEN, [user], websockets=False) as fake:
        report = await report_of(fake, token=LIMITED)
    assert not report.ok
    assert report.subscriptions[0].reason.startswith("Nothing is received")


@pytest.mark.parametrize(
    ("field", "problem", "reads_user"),
    [("user", "", False), ("item", "The token may not read item of directus_activity.", False)],
)
async def test_a_field_of_the_log_that_may_not_be_read(
    field: str, problem: str, reads_user: bool
) -> None:
    names = {"id", "action", "collection", "item", "timestamp", "user"} - {field}
    readable = {"articles": {}, "directus_activity": {}, "directus_collections": {}}
    user = limited(readable=readable, fields={"directus_activity": sorted(names)})
    async with FakeDirectus([ARTICLES], TOKEN, [user]) as fake:
        await fake.create("articles", {"title": "x"})
        report = await report_of(fake, token=LIMITED)
    assert report.ok
    assert (report.log.problem, report.log.reads_user) == (problem, reads_user)
    assert (report.subscriptions[0].source == "socket") is bool(problem)


async def test_a_rule_that_hides_items() -> None:
    readable = {"articles": {"title": {"_eq": "x"}}, "directus_activity": {}}
    user = limited(readable={**readable, "directus_collections": {}})
    async with FakeDirectus([ARTICLES], TOKEN, [user]) as fake:
        report = await report_of(fake, token=LIMITED)
    (entry,) = report.subscriptions
    # The fake shows its collections to administrators alone.
    assert (entry.ok, entry.source, entry.is_partial) == (True, "unknown", True)
    assert "A rule hides items" in entry.notes[1]


async def test_a_collection_that_does_not_exist(fake: FakeDirectus) -> None:
    report = await report_of(fake, wanted(), wanted("nope"))
    assert [entry.ok for entry in report.subscriptions] == [True, False]
    assert report.subscriptions[1].reason.startswith("refused: ")


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "TIMEOUT", 0.5)


async def test_a_server_that_is_away(short_timeout: None) -> None:
    settings = ConnectionSettings("default", "http://127.0.0.1:9", token=TOKEN)
    report = await diagnostics.check_connection(settings, [])
    assert not report.ok
    assert report.reason == "Cannot reach http://127.0.0.1:9 (Connection refused)."
    assert report.server is None


async def test_a_server_that_answers_nothing(fake: FakeDirectus, short_timeout: None) -> None:
    fake.freeze()
    settings = ConnectionSettings("default", fake.url, token=TOKEN)
    report = await diagnostics.check_connection(settings, [])
    assert (report.ok, report.reason) == (False, "Not connected within 0.5 s.")
    fake.thaw()


async def test_a_callable_that_fails(fake: FakeDirectus, short_timeout: None) -> None:
    def read() -> str:
        raise LookupError("s3cret")

    report = await diagnostics.check_connection(ConnectionSettings("a", fake.url, token=read), [])
    assert not report.ok
    assert report.reason == "There is no token: the callable of TOKEN raised LookupError."
