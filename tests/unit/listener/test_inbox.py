from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DataError, OperationalError, connection, connections

from directus_realtime.database import DatabaseThread, sqlite_write_lock
from directus_realtime.events import Event
from directus_realtime.listener import inbox as inbox_module
from directus_realtime.listener import inbox_insert
from directus_realtime.listener.inbox import FreshRows, Inbox, store
from directus_realtime.listener.inbox_entry import InboxEntry
from directus_realtime.models import InboxEvent
from directus_realtime.utils.system_clock import SystemClock
from tests.helpers.waiting import DEADLINE, await_for
from tests.unit.listener.conftest import make_event

pytestmark = pytest.mark.django_db(transaction=True)


def incoming(event: Event) -> InboxEntry:
    return InboxEntry(InboxEvent.from_event(event))


def put(inbox: Inbox, *events: Event) -> None:
    inbox.put([incoming(event) for event in events])


def refuse_too_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the database refuse each row with "too big" in it."""
    real = inbox_module.insert

    def insert(rows: Sequence[InboxEvent], using: str) -> int:
        if any("too big" in row.data_json for row in rows):
            raise DataError("string or blob too big")
        return real(rows, using)

    monkeypatch.setattr(inbox_module, "insert", insert)


class Stores:
    """Counts the writes, and may fail for a while."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.failures: list[Exception] = []

    def __call__(
        self,
        rows: list[InboxEntry],
        fence: Callable[[], None],
        fresh: FreshRows,
        functions: Sequence[Callable[[], Any]],
        clock: SystemClock,
    ) -> list[InboxEntry]:
        if self.failures:
            raise self.failures.pop(0)
        self.sizes.append(len(rows))
        return store(rows, fence, fresh, functions, clock)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    stores = Stores()
    monkeypatch.setattr(inbox_module, "store", stores)
    return stores


@pytest.fixture
async def inbox(stores: Stores) -> AsyncIterator[Inbox]:
    database = DatabaseThread("test-inbox")
    woken: list[int] = []
    inbox = Inbox(database, lambda: woken.append(1))
    inbox.woken = woken  # type: ignore[attr-defined]
    yield inbox
    await database.aclose()


async def titles() -> list[str]:
    rows = [row async for row in InboxEvent.objects.order_by("id")]
    return [(row.to_event().data or {})["title"] for row in rows]


async def test_events_are_stored_in_the_order_they_came(inbox: Inbox) -> None:
    for number in range(3):
        inbox.put([InboxEntry(InboxEvent.from_event(make_event(number, str(number)), "news"))])
    assert inbox.waiting == 3
    await inbox.flush()
    assert inbox.waiting == 0
    assert await titles() == ["0", "1", "2"]
    row = await InboxEvent.objects.afirst()
    assert row is not None
    assert (row.group, row.state) == ("news", "pending")


async def test_what_came_in_together_is_one_write(inbox: Inbox, stores: Stores) -> None:
    for number in range(50):
        put(inbox, make_event(number))
    await inbox.flush()
    assert stores.sizes == [50]
    assert inbox.woken == [1]  # type: ignore[attr-defined]


async def test_a_write_has_a_bound(
    inbox: Inbox, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "BATCH_SIZE", 20)
    for number in range(50):
        put(inbox, make_event(number, str(number)))
    await inbox.flush()
    assert stores.sizes == [20, 20, 10]
    assert await titles() == [str(number) for number in range(50)]


async def test_waits_for_room_until_enough_events_are_stored(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "ROOM", 2)
    put(inbox, make_event(1), make_event(2))
    await asyncio.wait_for(inbox.has_room(), DEADLINE)
    put(inbox, make_event(3))
    waiting = asyncio.create_task(inbox.has_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await inbox.flush()
    await asyncio.wait_for(waiting, DEADLINE)


async def test_events_that_were_put_together_are_stored_together(
    inbox: Inbox, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "BATCH_SIZE", 20)
    put(inbox, *(make_event(number) for number in range(50)))
    await inbox.flush()
    assert stores.sizes == [50]


async def test_what_is_put_with_events_is_written_in_their_transaction(inbox: Inbox) -> None:
    seen: list[int] = []

    def write() -> None:
        seen.append(InboxEvent.objects.count())

    def fail() -> None:
        raise ValueError("The position cannot be written.")

    inbox.put([incoming(make_event(1, "a")), incoming(make_event(2, "b"))], write)
    await inbox.flush()
    assert seen == [2]
    inbox.put([incoming(make_event(3, "c"))], fail)
    with pytest.raises(ValueError, match="position"):
        await inbox.flush()
    assert await titles() == ["a", "b"]


async def test_what_is_put_with_events_is_written_beside_a_row_that_cannot_be_stored(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_too_big(monkeypatch)
    written: list[str] = []
    inbox.put(
        [incoming(make_event(1, "a")), incoming(make_event(2, "too big"))],
        lambda: written.append("position"),
    )
    await inbox.flush()
    assert (await titles(), written[-1:]) == (["a"], ["position"])


async def test_a_function_with_a_result_runs_behind_what_was_put_before_and_before_the_rest(
    inbox: Inbox,
) -> None:
    put(inbox, make_event(1, "a"))
    counting = asyncio.create_task(inbox.run_in_order(InboxEvent.objects.count))
    await asyncio.sleep(0)
    put(inbox, make_event(2, "b"))
    await inbox.flush()
    assert await counting == 1
    assert await titles() == ["a", "b"]


async def test_a_function_that_fails_fails_for_its_caller_alone(inbox: Inbox) -> None:
    def fail() -> None:
        raise ValueError("no")

    failing = asyncio.create_task(inbox.run_in_order(fail))
    await asyncio.sleep(0)
    put(inbox, make_event(1, "a"))
    await inbox.flush()
    with pytest.raises(ValueError, match="no"):
        await failing
    assert await titles() == ["a"]


async def test_runs_until_cancelled(inbox: Inbox) -> None:
    task = asyncio.create_task(inbox.run())
    put(inbox, make_event(1, "a"))
    await await_for(lambda: inbox.waiting == 0)
    put(inbox, make_event(2, "b"))
    await await_for(lambda: inbox.waiting == 0)
    assert await titles() == ["a", "b"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_flush_beside_the_running_inbox_stores_everything_once(inbox: Inbox) -> None:
    """Stopping flushes while the inbox may be in the middle of a write."""
    task = asyncio.create_task(inbox.run())
    for number in range(30):
        put(inbox, make_event(number, str(number)))
    await asyncio.sleep(0)  # the inbox has begun to write
    await inbox.flush()
    assert not task.done()
    assert inbox.waiting == 0
    assert await titles() == [str(number) for number in range(30)]
    assert inbox.take_tallies()["all"].events == 30
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_flush_beside_the_running_inbox_loses_nothing_that_comes_meanwhile(
    inbox: Inbox,
) -> None:
    task = asyncio.create_task(inbox.run())
    put(inbox, make_event(0, "0"))
    await asyncio.sleep(0)
    flush = asyncio.create_task(inbox.flush())
    await asyncio.sleep(0)
    for number in range(1, 10):
        put(inbox, make_event(number, str(number)))
    await flush
    await await_for(lambda: inbox.waiting == 0)
    assert await titles() == [str(number) for number in range(10)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("count", [1, 3])
async def test_a_database_that_is_away_is_waited_for(
    inbox: Inbox,
    stores: Stores,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("directus_realtime.database.full_jitter", lambda **_: iter([0.0] * count))
    stores.failures = [OperationalError("server closed the\nconnection") for _ in range(count)]
    caplog.set_level("INFO", "directus_realtime")
    put(inbox, make_event(1, "a"))
    flush = asyncio.create_task(inbox.flush())
    put(inbox, make_event(2, "b"))
    await flush
    assert await titles() == ["a", "b"]
    assert [record.getMessage() for record in caplog.records] == [
        "The database is away (server closed the connection); waiting for it.",
        "The database is back.",
    ]


async def test_a_cancelled_write_keeps_its_events(inbox: Inbox, stores: Stores) -> None:
    stores.failures = [OperationalError("away")] * 1000
    put(inbox, make_event(1, "a"))
    task = asyncio.create_task(inbox.flush())
    await await_for(lambda: len(stores.failures) < 1000)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert inbox.waiting == 1
    stores.failures = []
    await inbox.flush()
    assert await titles() == ["a"]


async def test_tallies_count_by_subscription_and_are_given_once(inbox: Inbox) -> None:
    events = [make_event(subscription=name) for name in ("a", "b", "a")]
    for event in events:
        put(inbox, event)
    assert inbox.take_tallies() == {}  # nothing is stored yet
    await inbox.flush()
    tallies = inbox.take_tallies()
    assert {name: tally.events for name, tally in tallies.items()} == {"a": 2, "b": 1}
    assert tallies["a"].last_event_at == events[2].received_at
    assert inbox.take_tallies() == {}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others need no turns")
async def test_work_has_its_turn_before_it_opens_a_transaction(inbox: Inbox) -> None:
    """Two threads must not wait for each other, one for the turn, one for the lock."""
    turn: Any = sqlite_write_lock("default")

    def somebody_else_may_write() -> bool:
        with ThreadPoolExecutor(1) as other:
            return bool(other.submit(turn.acquire, blocking=False).result())

    work = asyncio.create_task(inbox.run_in_order(somebody_else_may_write))
    await asyncio.sleep(0)
    await inbox.flush()
    assert await work is False
    with turn:
        pass  # it was given back


async def test_odd_contents_survive(inbox: Inbox) -> None:
    data = {
        "nul": "a\0b",
        "half a pair": "\ud83d",
        "huge": 10**300,
        "deep": [[[[{"a": None}]]]],
        "html": "<script>alert(1)</script>",
        "\ud800": "as a name",
    }
    for key in ("\0", "\ud800", 2**70, "'; DROP TABLE x; --"):
        put(inbox, make_event(key, data=data))
    await inbox.flush()
    found = [row.to_event() async for row in InboxEvent.objects.order_by("id")]
    assert [event.key for event in found] == ["\0", "\ud800", 2**70, "'; DROP TABLE x; --"]
    assert [event.data for event in found] == [data] * 4


async def test_a_payload_that_is_nested_deep_is_stored_with_its_neighbours(inbox: Inbox) -> None:
    nested: Any = "innermost"
    for _ in range(600):
        nested = [nested]
    put(inbox, make_event(1, "before"))
    put(inbox, make_event(2, data={"title": "deep", "nested": nested}))
    put(inbox, make_event(3, "behind"))
    await inbox.flush()
    assert await titles() == ["before", "deep", "behind"]


def test_a_second_store_of_the_same_rows_changes_nothing() -> None:
    events = [make_event(number) for number in range(3)]
    store([incoming(event) for event in events[:2]])
    InboxEvent.objects.update(state="done")
    store([incoming(event) for event in events])
    assert sorted(InboxEvent.objects.values_list("state", flat=True)) == ["done", "done", "pending"]


def test_a_row_that_the_database_cannot_hold_takes_no_neighbour_along(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_too_big(monkeypatch)
    bad = make_event(2, "too big")
    store([incoming(make_event(1)), incoming(bad), incoming(make_event(3))])
    assert list(InboxEvent.objects.order_by("id").values_list("key_json", flat=True)) == ["1", "3"]
    assert bad.id in caplog.text


def fail_on_mariadb(monkeypatch: pytest.MonkeyPatch, error: Exception, limit: int) -> None:
    """Let the database be one that fails on each row with "large" in it."""
    real = inbox_module.insert

    def insert(rows: Sequence[InboxEvent], using: str) -> int:
        if any("large" in row.data_json for row in rows):
            raise error
        return real(rows, using)

    monkeypatch.setattr(inbox_module, "insert", insert)
    monkeypatch.setattr(inbox_insert, "_limit", lambda connection: limit)
    monkeypatch.setattr(connections["default"], "vendor", "mysql")


TOO_LARGE = OperationalError(1153, "Got a packet bigger than 'max_allowed_packet' bytes")
GONE = OperationalError(2006, "Server has gone away")


@pytest.mark.parametrize("error", [TOO_LARGE, GONE])
def test_a_row_larger_than_a_packet_takes_no_neighbour_along(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_on_mariadb(monkeypatch, error, limit=20_000)
    large = make_event(2, "large" * 4000)
    stored = store([incoming(make_event(1)), incoming(large), incoming(make_event(3))])
    assert [entry.row.key_json for entry in stored] == ["1", "3"]
    assert list(InboxEvent.objects.order_by("id").values_list("key_json", flat=True)) == ["1", "3"]
    (record,) = caplog.records
    assert (record.event, record.event_id) == ("store-failed", large.id)  # type: ignore[attr-defined]


def test_a_lost_connection_is_no_refusal_of_a_row_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_on_mariadb(monkeypatch, GONE, limit=20_000)
    with pytest.raises(OperationalError, match="gone away"):
        store([incoming(make_event(1, "large"))])


def test_a_database_that_does_not_say_its_limit_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on_mariadb(monkeypatch, GONE, limit=20_000)

    def away(connection: Any) -> int:
        raise OperationalError(2002, "Can't connect to server")

    monkeypatch.setattr(inbox_insert, "_limit", away)
    with pytest.raises(OperationalError, match="connect"):
        store([incoming(make_event(1, "large" * 4000))])


@pytest.mark.skipif(connection.vendor != "mysql", reason="it is MariaDB that has the limit")
@pytest.mark.parametrize("share", [1.001, 1.5, 4])
async def test_mariadb_goes_on_behind_a_row_larger_than_it_takes(
    share: float, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    limit = await sync_to_async(inbox_insert._limit)(connection)
    large = make_event(2, "x" * int(limit * share))
    for event in (make_event(1, "before"), large, make_event(3, "behind")):
        put(inbox, event)
    await asyncio.wait_for(inbox.flush(), 60)
    assert await titles() == ["before", "behind"]
    assert large.id in caplog.text
