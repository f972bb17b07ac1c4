from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from django.utils.module_loading import import_string

from directus_realtime.database import DatabaseThread
from directus_realtime.events import Event
from directus_realtime.listener.delivery import tasks
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.tasks import (
    TaskDispatcher,
    deliver_row,
    enqueue,
)
from directus_realtime.models import InboxEvent
from directus_realtime.signals import non_atomic
from tests.helpers.waiting import DEADLINE, await_for
from tests.sample.models import Effect
from tests.unit.listener.conftest import Receivers, fails, fails_once, states, store_event

pytestmark = pytest.mark.django_db(transaction=True)

PAST, FUTURE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

astore = sync_to_async(store_event)
astates = sync_to_async(states)
adeliver = sync_to_async(deliver_row)


class Sender(GroupSender):
    """Notes which events the groups were told of."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: list[str] = []

    async def send_events(self, events: Any) -> None:
        self.titles += [(event.data or {})["title"] for event, _ in events]


class Workers:
    """Takes what is enqueued; the test says when it is done.

    Attributes:
        queue: Ids of rows.
        error: What enqueueing raises.
    """

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.error: Exception | None = None
        self.sender = Sender()

    def enqueue(self, row: InboxEvent) -> None:
        if self.error:
            raise self.error
        self.queue.append(row.pk)

    @asynccontextmanager
    async def dispatching(
        self, timeout: float = 600.0, **values: Any
    ) -> AsyncIterator[TaskDispatcher]:
        database = DatabaseThread("test-handover")
        dispatcher = TaskDispatcher(database, {"default": timeout}, self.sender, **values)
        stopping = asyncio.Event()
        task = asyncio.create_task(dispatcher.run(stopping))
        try:
            yield dispatcher
        finally:
            stopping.set()
            dispatcher.wake()
            try:
                await asyncio.wait_for(task, DEADLINE)
            finally:
                await database.aclose()

    async def until_queued(self, *pks: int) -> None:
        await await_for(lambda: self.queue == list(pks), 5, f"{pks} to be enqueued")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    workers = Workers()
    monkeypatch.setattr(tasks, "enqueue", workers.enqueue)
    monkeypatch.setattr(tasks, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(tasks, "BUSY_INTERVAL", 0.02)
    return workers


async def until_states(*expected: str) -> None:
    """Wait until the rows, by id, have these states."""
    async with asyncio.timeout(DEADLINE):
        # The database tells nobody of a change.
        while list((await astates()).values()) != list(expected):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# Handing over


async def test_each_item_has_one_event_with_the_workers(workers: Workers) -> None:
    rows = [await astore(key, title) for key, title in [(1, "a1"), (1, "a2"), (2, "b1")]]
    async with workers.dispatching():
        await workers.until_queued(rows[0].pk, rows[2].pk)
        await until_states("delivering", "pending", "delivering")
        await adeliver(rows[0].pk)
        await workers.until_queued(rows[0].pk, rows[2].pk, rows[1].pk)


async def test_items_whose_keys_differ_in_case_only_do_not_wait_for_each_other(
    workers: Workers,
) -> None:
    rows = [await astore(key, key) for key in ("abC", "Abc", "abC")]
    async with workers.dispatching():
        await workers.until_queued(rows[0].pk, rows[1].pk)
        await until_states("delivering", "delivering", "pending")


async def test_a_failed_event_is_enqueued_again_and_blocks_its_item(
    workers: Workers, receivers: Receivers, settings: Any
) -> None:
    receivers.add(fail=fails_once("a1"))
    first, second = await astore(1, "a1"), await astore(1, "a2")
    async with workers.dispatching():
        await workers.until_queued(first.pk)
        await adeliver(first.pk)
        await workers.until_queued(first.pk, first.pk)
        await adeliver(first.pk)
        await workers.until_queued(first.pk, first.pk, second.pk)
        await adeliver(second.pk)
        await until_states("done", "done")
    assert receivers.titles() == ["a1", "a1", "a2"]


async def test_debounced_events_wait_for_their_time_and_block_no_others(workers: Workers) -> None:
    await astore(1, "debounced", next_attempt_at=FUTURE)
    other = await astore(1, "a")
    async with workers.dispatching():
        await workers.until_queued(other.pk)
    assert list((await astates()).values()) == ["pending", "delivering"]


async def test_a_lost_task_is_enqueued_again(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    row = await astore(1, "a")
    async with workers.dispatching(timeout=0.05):
        await await_for(lambda: len(workers.queue) >= 2)
    assert set(workers.queue) == {row.pk}
    assert "A task is late or lost" in caplog.text


async def test_a_task_that_is_not_late_is_not_enqueued_again(workers: Workers) -> None:
    await astore(1, "a", state="delivering", next_attempt_at=FUTURE)
    other = await astore(2, "b")
    async with workers.dispatching():
        await workers.until_queued(other.pk)


async def test_an_unavailable_queue_is_tried_again(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    row = await astore(1, "a")
    workers.error = ConnectionError("refused")
    async with workers.dispatching():
        await await_for(lambda: "cannot be enqueued: ConnectionError" in caplog.text)
        workers.error = None
        await workers.until_queued(row.pk)


async def test_what_failed_does_not_wait_for_a_clock_that_was_put_back(workers: Workers) -> None:
    later = timezone.now() + timedelta(hours=1)
    row = await astore(1, "a", state="failed", next_attempt_at=later)
    async with workers.dispatching(ceiling=300.0):
        await workers.until_queued(row.pk)


async def test_any_number_of_lost_tasks_is_enqueued_again(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that lost all it had: no place is free until some of it is through."""
    monkeypatch.setattr(tasks, "MAX_ENQUEUED", 2)
    rows = [await astore(key, "a", state="delivering", next_attempt_at=PAST) for key in (1, 2)]
    await astore(3, "b")
    async with workers.dispatching():
        await workers.until_queued(*(row.pk for row in rows))
        await adeliver(rows[0].pk)
        await await_for(lambda: len(workers.queue) == 3)


async def test_a_row_that_was_deleted_takes_no_place(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_ENQUEUED", 1)
    deleted, other = await astore(1, "a"), await astore(2, "b")
    async with workers.dispatching():
        await workers.until_queued(deleted.pk)
        await InboxEvent.objects.filter(pk=deleted.pk).adelete()
        await workers.until_queued(deleted.pk, other.pk)


async def test_no_more_are_with_workers_than_there_is_room_for(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_ENQUEUED", 3)
    late = await astore(1, "a", state="delivering", next_attempt_at=PAST)
    await astore(2, "b", state="delivering", next_attempt_at=FUTURE)
    new = [await astore(key, "c") for key in (3, 4)]
    async with workers.dispatching():
        await workers.until_queued(late.pk, new[0].pk)
        await until_states("delivering", "delivering", "delivering", "pending")
        await adeliver(late.pk)
        await workers.until_queued(late.pk, new[0].pk, new[1].pk)


async def test_what_the_queue_refuses_is_seen_to_wait_and_keeps_its_order(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "directus_realtime")
    rows = [
        await astore(1, "a"),
        await astore(2, "b", state="failed", attempts=1, next_attempt_at=PAST),
        await astore(3, "c", state="delivering", next_attempt_at=PAST),
    ]
    workers.error = ConnectionError("refused")
    async with workers.dispatching():
        await await_for(lambda: caplog.text.count("cannot be enqueued") >= 4)
        await until_states("pending", "failed", "delivering")
        workers.error = None
        await await_for(lambda: len(workers.queue) == 3)
    assert set(workers.queue) == {row.pk for row in rows}
    said = [record for record in caplog.records if "cannot be enqueued" in record.message]
    assert [record.levelname for record in said if record.levelno > 10] == ["ERROR"]
    assert caplog.text.count("is enqueued again") == 1


async def test_group_messages_are_sent_in_order_when_a_worker_has_finished(
    workers: Workers, receivers: Receivers
) -> None:
    receivers.add(fail=fails("b"))
    rows = [await astore(key, title) for key, title in [(1, "a"), (2, "b"), (3, "c")]]
    async with workers.dispatching():
        await workers.until_queued(*(row.pk for row in rows))
        assert workers.sender.titles == []
        for row in rows:
            await adeliver(row.pk)
        await await_for(lambda: workers.sender.titles == ["a", "b", "c"])
        # A retry is no news for the groups.
        await await_for(lambda: len(workers.queue) > 3)
        await adeliver(rows[1].pk)
        await await_for(lambda: len(workers.queue) > 4)
    assert workers.sender.titles == ["a", "b", "c"]


async def test_a_new_listener_goes_on_where_another_one_has_stopped(
    workers: Workers, receivers: Receivers
) -> None:
    row = await astore(1, "a", state="delivering", next_attempt_at=FUTURE)
    held = await astore(2, "b", state="held")
    async with workers.dispatching():
        await workers.until_queued(held.pk)
        await adeliver(row.pk)
        await await_for(lambda: workers.sender.titles == ["a"])


async def test_an_error_of_the_fence_ends_the_dispatcher_and_nothing_is_enqueued(
    workers: Workers,
) -> None:
    class LeaseLost(Exception):
        pass

    def fence() -> None:
        raise LeaseLost

    await astore(1, "a")
    database = DatabaseThread("test-fence")
    try:
        dispatcher = TaskDispatcher(database, {"default": 600}, workers.sender, fence)
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(dispatcher.run(asyncio.Event()), DEADLINE)
    finally:
        await database.aclose()
    assert list((await astates()).values()) == ["pending"]
    assert workers.queue == []


async def test_rows_of_other_connections_are_left_alone(workers: Workers) -> None:
    await astore(1, "a", connection="blog")
    other = await astore(1, "b")
    async with workers.dispatching():
        await workers.until_queued(other.pk)


async def test_a_backend_that_runs_tasks_at_once_delivers_in_the_listener(
    workers: Workers, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "enqueue", enqueue)
    receivers.add()
    receivers.add_async("awaited")
    for title in ("a1", "a2"):
        await astore(1, title)
    async with workers.dispatching():
        await until_states("done", "done")
        await await_for(lambda: workers.sender.titles == ["a1", "a2"])
    assert receivers.titles() == receivers.titles("awaited") == ["a1", "a2"]


# What a worker does


def deliver(**values: Any) -> InboxEvent:
    row = store_event(1, "a", state="delivering", next_attempt_at=FUTURE, **values)
    deliver_row(row.pk)
    row.refresh_from_db()
    return row


def test_a_worker_calls_all_kinds_of_receivers_and_marks_the_row(receivers: Receivers) -> None:
    receivers.add("inside")
    receivers.add_async("awaited")
    receivers.connect(non_atomic(note(receivers.log, "outside")))
    row = deliver()
    assert sorted(receivers.log) == [("awaited", "a"), ("inside", "a"), ("outside", "a")]
    assert (row.state, row.attempts, row.delivered) == ("done", 1, [])


def note(log: list[tuple[str, str]], name: str) -> Callable[..., None]:
    def receiver(event: Event, **kwargs: Any) -> None:
        log.append((name, (event.data or {})["title"]))

    return receiver


def test_a_worker_leaves_a_failure_to_be_enqueued_again(receivers: Receivers) -> None:
    receivers.add("good")
    receivers.add("bad", fail=fails("a"))
    row = deliver()
    assert (row.state, len(row.failures), len(row.delivered)) == ("failed", 1, 1)
    assert row.next_attempt_at is not None
    assert row.next_attempt_at < timezone.now() + timedelta(seconds=10)


def test_after_all_attempts_a_worker_makes_a_dead_letter(receivers: Receivers) -> None:
    receivers.add(fail=fails("a"))
    assert deliver(attempts=7).state == "dead"


@pytest.mark.parametrize("state", ["done", "pending", "failed", "dead"])
def test_a_task_for_a_row_that_is_not_with_a_worker_does_nothing(
    receivers: Receivers, state: str
) -> None:
    receivers.add()
    deliver_row(store_event(1, "a", state=state).pk)
    deliver_row(10**9)
    assert receivers.log == []


def test_of_two_tasks_for_a_row_only_one_has_an_effect(receivers: Receivers) -> None:
    def work(event: Event, **kwargs: Any) -> None:
        Effect.objects.create(event_id=event.id, receiver="work")

    @non_atomic
    def is_overtaken(event: Event, **kwargs: Any) -> None:
        calls.append(event.id)
        if len(calls) == 1:
            deliver_row(row.pk)  # as another worker would

    calls: list[str] = []
    receivers.connect(work)
    receivers.connect(is_overtaken)
    row = store_event(1, "a", state="delivering", next_attempt_at=FUTURE)
    deliver_row(row.pk)
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("done", 1)
    assert Effect.objects.count() == 1
    assert len(calls) == 2


def test_the_task_can_be_found_by_its_path() -> None:
    assert import_string(tasks.TASK_PATH).module_path == tasks.TASK_PATH


def test_the_task_goes_into_the_queue_of_its_connection(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    class Task:
        def using(self, **route: str) -> Task:
            sent.append(route)
            return self

        def enqueue(self, pk: int) -> None:
            sent.append(pk)

    monkeypatch.setattr(tasks, "import_string", lambda path: Task())
    own = {"TASK_BACKEND": "slow", "TASK_QUEUE": "events"}
    settings.DIRECTUS_REALTIME = {"default": {}, "blog": own}
    rows = [store_event(1, "a"), store_event(1, "b", connection="blog")]
    for row in rows:
        enqueue(row)
    assert sent == [
        {"backend": "default", "queue_name": "default"},
        rows[0].pk,
        {"backend": "slow", "queue_name": "events"},
        rows[1].pk,
    ]
