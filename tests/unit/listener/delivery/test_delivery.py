from __future__ import annotations

import asyncio
import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from django.utils import timezone

from directus_realtime.database import DatabaseThread
from directus_realtime.dead_letters import retry_now
from directus_realtime.events import Event
from directus_realtime.listener.delivery import batches, shared_transaction
from directus_realtime.listener.delivery import delivery as delivery_module
from directus_realtime.listener.delivery.delivery import Delivery
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.retries import RetryPolicy
from directus_realtime.models import InboxEvent
from directus_realtime.signals import (
    directus_item_created,
    directus_item_updated,
    non_atomic,
)
from tests.helpers.waiting import DEADLINE, await_for
from tests.sample.models import Effect
from tests.unit.listener.conftest import (
    Receivers,
    RunDelivery,
    fails,
    fails_once,
)
from tests.unit.listener.delivery.rows import astates, astore, row, until_states

pytestmark = pytest.mark.django_db(transaction=True)

PAST, FUTURE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


async def test_pending_events_are_delivered_in_order(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add()
    for number in range(5):
        await astore(number % 2, str(number))
    async with deliver():
        await until_states(*["done"] * 5)
    assert receivers.titles() == ["0", "1", "2", "3", "4"]


async def test_the_signal_of_the_action_and_the_one_of_all_are_sent(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add("all")
    receivers.add("updated", signal=directus_item_updated)
    receivers.add("created", signal=directus_item_created)
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert sorted(receivers.log) == [("all", "a"), ("updated", "a")]


async def test_receivers_get_the_event_and_the_collection_as_sender(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    got: list[dict[str, Any]] = []
    receivers.connect(lambda **kwargs: got.append(kwargs), sender="articles")
    receivers.connect(lambda **kwargs: got.append(kwargs), sender="authors")
    stored = await astore("a-key", "a")
    async with deliver():
        await until_states("done")
    (kwargs,) = got
    assert kwargs["sender"] == "articles"
    assert kwargs["event"] == stored.to_event()


async def test_an_event_without_receivers_is_done(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    await astore()
    async with deliver():
        await until_states("done")


async def test_what_is_stored_later_is_delivered_when_woken(
    receivers: Receivers, deliver: RunDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "POLL_INTERVAL", 60)
    receivers.add()
    await astore(1, "a")
    async with deliver() as delivery:
        await until_states("done")
        await astore(2, "b")
        delivery.wake()
        await until_states("done", "done")
    assert receivers.titles() == ["a", "b"]


async def test_events_of_another_connection_are_left_alone(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add()
    await astore(1, "a", connection="blog")
    await astore(2, "b")
    async with deliver():
        await until_states("pending", "done")
    assert receivers.titles() == ["b"]


# Failures


async def test_a_failing_receiver_is_tried_again(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails_once("a"))
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert receivers.titles() == ["a", "a"]
    assert (await row("a")).attempts == 2
    assert (await row("a")).failures == {}


@pytest.mark.parametrize("kinds", ["sync sync", "async async", "sync async", "async sync"])
async def test_only_the_failed_receiver_is_tried_again(
    receivers: Receivers, deliver: RunDelivery, kinds: str
) -> None:
    good, bad = kinds.split()
    (receivers.add if good == "sync" else receivers.add_async)("good")
    (receivers.add if bad == "sync" else receivers.add_async)("bad", fail=fails_once("a"))
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert sorted(receivers.log) == [("bad", "a"), ("bad", "a"), ("good", "a")]


async def test_a_receiver_of_two_signals_is_tried_again_only_where_it_failed(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    calls: list[Any] = []

    def receiver(signal: Any, **kwargs: Any) -> None:
        calls.append(signal)
        if signal is directus_item_updated and calls.count(signal) == 1:
            raise ValueError("once")

    receivers.connect(receiver, directus_item_updated)
    receivers.connect(receiver)
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert calls.count(directus_item_updated) == 2
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_failed_event_holds_back_later_ones_of_its_item_only(
    receivers: Receivers, deliver: RunDelivery, kind: str
) -> None:
    (receivers.add if kind == "sync" else receivers.add_async)(fail=fails("a1"))
    for key, title in [(1, "a1"), (2, "b1"), (1, "a2"), (2, "b2")]:
        await astore(key, title)
    async with deliver(ceiling=600):
        await until_states("failed", "done", "held", "done")
    assert receivers.titles() == ["a1", "b1", "b2"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_order_of_an_item_is_kept_over_failures(
    receivers: Receivers, deliver: RunDelivery, kind: str
) -> None:
    (receivers.add if kind == "sync" else receivers.add_async)(fail=fails_once("a1", "a2", "a4"))
    for number in range(1, 6):
        await astore(1, f"a{number}")
    async with deliver():
        await until_states(*["done"] * 5)
    assert receivers.titles() == ["a1", "a1", "a2", "a2", "a3", "a4", "a4", "a5"]


async def test_the_order_is_kept_when_an_event_comes_in_with_the_retry(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    """The failed one is due, one is held behind it, and a new one has just been stored."""
    receivers.add()
    name = f"{__package__}.conftest.receiver"
    await astore(1, "a1", state="failed", attempts=1, failures={name: {}}, next_attempt_at=PAST)
    await astore(1, "a2", state="held")
    await astore(1, "a3")
    async with deliver():
        await until_states("done", "done", "done")
    assert receivers.titles() == ["a1", "a2", "a3"]


async def test_the_order_is_kept_when_an_event_comes_in_as_the_failed_one_dies(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails("a1"))
    name = f"{__package__}.conftest.receiver"
    await astore(1, "a1", state="failed", attempts=1, failures={name: {}}, next_attempt_at=PAST)
    await astore(1, "a2", state="held")
    await astore(1, "a3")
    async with deliver(attempts=2):
        await until_states("dead", "done", "done")
    assert receivers.titles() == ["a1", "a2", "a3"]


async def test_after_all_attempts_an_event_is_a_dead_letter_and_held_ones_go_on(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails("a1"))
    for title in ("a1", "a2", "a3"):
        await astore(1, title)
    async with deliver(attempts=3):
        await until_states("dead", "done", "done")
    assert receivers.titles() == ["a1", "a1", "a1", "a2", "a3"]
    dead = await row("a1")
    assert dead.attempts == 3
    (failure,) = dead.failures.values()
    assert failure["error"] == "ValueError: no"
    assert "raise error" in failure["traceback"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_without_retries_later_events_of_the_item_are_delivered(
    receivers: Receivers, deliver: RunDelivery, kind: str
) -> None:
    (receivers.add if kind == "sync" else receivers.add_async)(fail=fails("a1"))
    for title in ("a1", "a2", "a3"):
        await astore(1, title)
    async with deliver(attempts=1):
        await until_states("dead", "done", "done")
    assert receivers.titles() == ["a1", "a2", "a3"]


async def test_what_failed_before_a_restart_is_tried_again_and_holds_others_back(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails_once("a1"))
    await astore(1, "a1")
    await astore(1, "a2")
    async with deliver(ceiling=600):
        await until_states("failed", "held")
    await InboxEvent.objects.filter(state="failed").aupdate(next_attempt_at=PAST)
    async with deliver(ceiling=600):
        await until_states("done", "done")
    assert receivers.titles() == ["a1", "a1", "a2"]


async def test_a_receiver_that_is_gone_is_not_missed(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    failures = {"app.removed": {}}
    await astore(1, "a", state="failed", failures=failures, next_attempt_at=PAST)
    async with deliver():
        await until_states("done")


class PanicException(BaseException):
    """What an extension in Rust raises; gevent's time-outs are like it."""


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(1),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
        PanicException("of an extension in Rust"),
        RecursionError(),
        StopIteration(),
        KeyError("x"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_whatever_a_receiver_raises_is_its_failure_and_no_more(
    receivers: Receivers, deliver: RunDelivery, kind: str, error: BaseException
) -> None:
    (receivers.add if kind == "sync" else receivers.add_async)("bad", fails("a", error=error))
    receivers.add("good")
    await astore(1, "a")
    await astore(2, "b")
    async with deliver(attempts=1):
        await until_states("dead", "done")
    assert receivers.titles("good") == ["a", "b"]
    (failure,) = (await row("a")).failures.values()
    assert type(error).__name__ in failure["error"] or kind == "async"


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot even say what is wrong")


async def test_an_error_that_cannot_be_shown_is_a_failure_like_any_other(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails("a", error=BrokenError()))
    await astore(1, "a")
    await astore(2, "b")
    async with deliver(attempts=1):
        await until_states("dead", "done")


async def test_odd_receivers_can_fail_and_are_tried_again(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    calls: list[str] = []

    class Callable:
        def __call__(self, event: Event, **kwargs: Any) -> None:
            fail_first("object")

    def fail_first(name: str, **kwargs: Any) -> None:
        calls.append(name)
        if calls.count(name) == 1:
            raise ValueError(name)

    async def fail_first_async(name: str, **kwargs: Any) -> None:
        fail_first(name)

    receivers.connect(functools.partial(fail_first, "partial"))
    receivers.connect(functools.partial(fail_first, "partial 2"))
    receivers.connect(functools.partial(fail_first_async, "async partial"))
    receivers.connect(Callable())
    receivers.add("good")
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert sorted(calls) == sorted(["partial", "partial 2", "async partial", "object"] * 2)
    assert receivers.titles("good") == ["a"]


async def test_a_callable_object_with_an_async_call_is_awaited(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    calls: list[Event] = []

    class Callable:
        async def __call__(self, event: Event, **kwargs: Any) -> None:
            calls.append(event)

    receivers.connect(Callable())
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert len(calls) == 1


async def test_a_failure_is_logged_without_secrets(
    receivers: Receivers, deliver: RunDelivery, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError('{"token": "s3cret"}')
    receivers.add(fail=fails("a", error=error))
    await astore(42, "a")
    async with deliver(attempts=1):
        await until_states("dead")
    assert re.search(
        r"failed for articles 42 update \(try 1, conftest\.py:\d+\): ValueError", caplog.text
    )
    assert "s3cret" not in caplog.text
    assert "s3cret" not in str((await row("a")).failures)


async def test_what_hides_an_async_receiver_is_a_failure_and_not_a_success(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    async def receiver(**kwargs: Any) -> None:
        raise AssertionError("nobody awaits it")

    receivers.connect(lambda **kwargs: receiver(**kwargs))
    await astore(1, "a")
    async with deliver(attempts=1):
        await until_states("dead")
    (failure,) = (await row("a")).failures.values()
    assert failure["error"].startswith("TypeError: The receiver returned a coroutine")


# A clock that is put back


def hour(ahead: float = 0) -> datetime:
    """What a clock shows that is an hour ahead."""
    return timezone.now() + timedelta(hours=1, seconds=ahead)


async def test_what_failed_does_not_wait_for_a_clock_that_was_put_back(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add()
    failures = {f"{__package__}.conftest.receiver": {}}
    soon = timezone.now() + timedelta(seconds=60)
    await astore(1, "a", state="failed", failures=failures, next_attempt_at=hour(5))
    await astore(1, "b", state="held")
    await astore(2, "c", state="failed", failures=failures, next_attempt_at=soon)
    async with deliver(ceiling=300):
        await until_states("done", "done", "failed")


async def test_what_is_debounced_does_not_wait_for_a_clock_that_was_put_back(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add()
    await astore(1, "a", received_at=hour(), next_attempt_at=hour(5))
    await astore(2, "b", next_attempt_at=hour())
    async with deliver():
        await until_states("done", "pending")


# What holds an item back


@pytest.mark.parametrize("how", ["deleted", "done"])
async def test_an_item_is_released_when_a_person_removes_the_failed_event(
    receivers: Receivers, deliver: RunDelivery, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(delivery_module, "REFRESH_INTERVAL", 0.02)
    receivers.add(fail=fails("a1"))
    await astore(1, "a1")
    await astore(1, "a2")
    async with deliver(ceiling=600):
        await until_states("failed", "held")
        failed = InboxEvent.objects.filter(state="failed")
        await (failed.adelete() if how == "deleted" else failed.aupdate(state="done"))
        await await_for(lambda: "a2" in receivers.titles())
        await astore(1, "a3")
        await await_for(lambda: "a3" in receivers.titles())
    assert receivers.titles() == ["a1", "a2", "a3"]


async def test_what_was_held_back_by_nothing_goes_on_at_the_next_start(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add()
    await astore(1, "a", state="held")
    later = timezone.now() + timedelta(seconds=600)
    await astore(2, "b1", state="failed", failures={"x": {}}, next_attempt_at=later)
    await astore(2, "b2", state="held")
    async with deliver(ceiling=600):
        await until_states("done", "failed", "held")


async def test_an_item_goes_on_where_the_answer_of_the_commit_that_held_it_back_got_lost(
    receivers: Receivers, deliver: RunDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []

    @contextmanager
    def losing_the_answer(using: str) -> Iterator[Any]:
        with shared_transaction.shared_transaction(using) as shared:
            yield shared
        if receivers.titles() == ["a1"] and not lost:
            lost.append("answer")
            raise OperationalError("server closed the connection unexpectedly")

    receivers.add(fail=fails_once("a1"))
    await astore(1, "a1")
    await astore(1, "a2")
    monkeypatch.setattr(batches, "shared_transaction", losing_the_answer)
    async with deliver(ceiling=0.2):
        await until_states("done", "done")
    assert lost == ["answer"]
    assert receivers.titles()[-2:] == ["a1", "a2"]


# Inside and outside of the transaction


def note_transaction(log: list[tuple[str, bool]], name: str) -> Any:
    """A receiver that notes whether a transaction is open."""

    def receiver(event: Event, **kwargs: Any) -> None:
        log.append((name, connection.in_atomic_block))

    receiver.__qualname__ = name
    return receiver


async def test_non_atomic_receivers_are_called_outside_of_the_transaction(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    log: list[tuple[str, bool]] = []
    receivers.connect(non_atomic(note_transaction(log, "outside")))
    receivers.connect(note_transaction(log, "inside"))
    for key in (1, 2):
        await astore(key, str(key))
    async with deliver():
        await until_states("done", "done")
    assert sorted(log) == [("inside", True)] * 2 + [("outside", False)] * 2


@pytest.mark.parametrize("kind", ["non-atomic", "async"])
async def test_finished_receivers_are_marked_before_others_are_called(
    receivers: Receivers, deliver: RunDelivery, kind: str
) -> None:
    """What a crash in a receiver outside of the transaction does not repeat."""
    seen: list[list[str]] = []

    @non_atomic
    def look(event: Event, **kwargs: Any) -> None:
        seen.append(InboxEvent.objects.get().delivered)

    async def alook(event: Event, **kwargs: Any) -> None:
        seen.append((await InboxEvent.objects.aget()).delivered)

    receivers.add("first")
    if kind == "async":
        receivers.connect(non_atomic(note_transaction([], "second")))
        receivers.connect(alook)
    else:
        receivers.connect(look)
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert [len(names) for names in seen] == [2 if kind == "async" else 1]
    assert (await row("a")).delivered == []


async def test_of_an_item_no_later_event_overtakes_receivers_outside_of_the_transaction(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    outside: list[str] = []

    @non_atomic
    def receiver(event: Event, **kwargs: Any) -> None:
        outside.append((event.data or {})["title"])
        if outside == ["a1"]:
            raise ValueError("once")

    receivers.connect(receiver)
    receivers.add("inside")
    for key, title in [(1, "a1"), (1, "a2"), (2, "b1")]:
        await astore(key, title)
    async with deliver():
        await until_states("done", "done", "done")
    assert receivers.titles("inside") in (["a1", "a2", "b1"], ["a1", "b1", "a2"])
    assert [title for title in outside if title != "b1"] == ["a1", "a1", "a2"]


class Watcher(GroupSender):
    """Notes what the database holds when a group message is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    async def send_events(self, events: Any) -> None:
        for event, _ in events:
            stored = await InboxEvent.objects.aget(event_id=event.id)
            self.seen.append((stored.state, await Effect.objects.acount()))


async def test_a_browser_that_reads_again_sees_the_receivers_work(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    def work(event: Event, **kwargs: Any) -> None:
        Effect.objects.create(event_id=event.id, receiver="work")

    receivers.connect(work)
    await astore(1, "a")
    watcher = Watcher()
    async with deliver(sender=watcher):
        await until_states("done")
        await await_for(lambda: watcher.seen)
    assert watcher.seen == [("done", 1)]


async def test_what_the_fence_raises_ends_delivery(receivers: Receivers) -> None:
    class LeaseLost(Exception):
        pass

    def fence() -> None:
        raise LeaseLost

    receivers.add()
    await astore(1, "a")
    database = DatabaseThread("test-fence")
    policies = {"default": RetryPolicy(8, 0)}
    delivery = Delivery(database, policies, GroupSender(), fence)
    try:
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(delivery.run(asyncio.Event()), DEADLINE)
    finally:
        await database.aclose()
    assert list((await astates()).values()) == ["pending"]


async def test_rows_that_another_process_delivers_are_read_again(
    receivers: Receivers, deliver: RunDelivery, caplog: pytest.LogCaptureFixture
) -> None:
    def take_away(event: Event, **kwargs: Any) -> None:
        titles.append((event.data or {})["title"])
        if titles == ["a"]:
            InboxEvent.objects.filter(event_id=event.id).update(state="done")

    titles: list[str] = []
    receivers.connect(non_atomic(take_away))
    await astore(1, "a")
    await astore(2, "b")
    async with deliver():
        await until_states("done", "done")
    assert titles == ["a", "b"]
    assert "Another process has delivered or changed the same events" in caplog.text


async def test_events_that_wait_for_the_catch_up_are_left_alone(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add()
    await astore(1, "a", state="waiting")
    await astore(2, "b")
    async with deliver():
        await until_states("waiting", "done")
    assert receivers.titles() == ["b"]


async def test_a_receiver_that_hangs_is_reported(
    receivers: Receivers,
    deliver: RunDelivery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(delivery_module, "PATIENCE", 0.05)
    go_on = threading.Event()

    def receiver(event: Event, **kwargs: Any) -> None:
        assert go_on.wait(10)

    receivers.connect(receiver)
    await astore(1, "a")
    async with deliver():
        try:
            await await_for(lambda: "Delivery has waited for a receiver for" in caplog.text)
        finally:
            go_on.set()
        await until_states("done")


async def test_an_async_receiver_is_cancelled_with_delivery(receivers: Receivers) -> None:
    """As when the lease is lost: somebody else delivers the event now."""
    log: list[str] = []

    async def receiver(event: Event, **kwargs: Any) -> None:
        log.append("called")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    receivers.connect(receiver)
    await astore(1, "a")
    database = DatabaseThread("test-cancel")
    delivery = Delivery(database, {"default": RetryPolicy(8, 0)}, GroupSender())
    task = asyncio.create_task(delivery.run(asyncio.Event()))
    try:
        await await_for(lambda: log == ["called"])
        task.cancel()
        await await_for(lambda: log == ["called", "ended"], 5)
    finally:
        await asyncio.gather(task, return_exceptions=True)
        await database.aclose()
    assert list((await astates()).values()) == ["pending"]


# The admin's retry


async def test_a_dead_letter_is_tried_again_from_the_admin(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add("good")
    receivers.add("bad", fail=fails_once("a"))
    await astore(1, "a")
    async with deliver(attempts=1):
        await until_states("dead")
        assert await sync_to_async(retry_now)(InboxEvent.objects.all()) == 1
        await until_states("done")
    assert receivers.titles("bad") == ["a", "a"]
    assert receivers.titles("good") == ["a"]


async def test_a_retry_from_the_admin_has_all_attempts(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails("a"))
    await astore(1, "a")
    async with deliver(attempts=2):
        await until_states("dead")
        await sync_to_async(retry_now)(InboxEvent.objects.all())
        await until_states("dead")
        await await_for(lambda: len(receivers.log) >= 4)
        await until_states("dead")
    assert receivers.titles() == ["a"] * 4
    assert (await row("a")).attempts == 2


async def test_a_failed_event_is_tried_at_once_from_the_admin(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails_once("a"))
    await astore(1, "a")
    async with deliver(ceiling=600):
        await until_states("failed")
        assert await sync_to_async(retry_now)(InboxEvent.objects.all()) == 1
        await until_states("done")


async def test_a_dead_letter_that_succeeds_does_not_let_others_past_a_failed_one(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails("a2"))
    name = f"{__package__}.conftest.receiver"
    await astore(1, "a1", failures={name: {}})  # as the admin's retry leaves it
    later = timezone.now() + timedelta(seconds=600)
    await astore(1, "a2", state="failed", attempts=1, failures={name: {}}, next_attempt_at=later)
    await astore(1, "a3", state="held")
    async with deliver(ceiling=600):
        await until_states("done", "failed", "held")
        await InboxEvent.objects.filter(state="failed").aupdate(next_attempt_at=PAST)
        await await_for(lambda: "a2" in receivers.titles())
        await until_states("done", "failed", "held")
    assert receivers.titles() == ["a1", "a2"]


# Stopping


async def test_the_present_delivery_is_finished_and_no_other_started(
    receivers: Receivers, deliver: RunDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_SECONDS", 0.0)
    entered, go_on = threading.Event(), threading.Event()

    def receiver(event: Event, **kwargs: Any) -> None:
        entered.set()
        assert go_on.wait(10)

    receivers.connect(receiver)
    await astore(1, "a")
    await astore(2, "b")
    async with deliver():
        await sync_to_async(entered.wait, thread_sensitive=False)(10)
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert list((await astates()).values()) == ["done", "pending"]


async def test_an_async_receiver_may_wait_for_a_sync_one_of_another_event(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    """The loop goes on while a ``def`` receiver works in its thread."""
    order: list[str] = []

    def slow(event: Event, **kwargs: Any) -> None:
        asyncio.run_coroutine_threadsafe(note(), loop).result(10)
        order.append("receiver")

    async def note() -> None:
        order.append("loop")

    loop = asyncio.get_running_loop()
    receivers.connect(slow)
    await astore(1, "a")
    async with deliver():
        await until_states("done")
    assert order == ["loop", "receiver"]
