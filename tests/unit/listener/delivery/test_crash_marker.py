"""Delivery after a process that was cut off, and of events that end the process."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from directus_realtime.database import DatabaseThread
from directus_realtime.events import Event
from directus_realtime.layers import LayerFeed
from directus_realtime.listener.delivery import crash_marker, delivery_queue
from directus_realtime.listener.delivery.batches import BatchRunner
from directus_realtime.listener.delivery.crash_marker import CRASHED
from directus_realtime.listener.delivery.delivery import Delivery
from directus_realtime.listener.delivery.delivery_queue import RowsChanged
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.receiver_calls import Job
from directus_realtime.listener.delivery.retries import RetryPolicy
from directus_realtime.models import InboxEvent
from directus_realtime.signals import directus_event, non_atomic
from directus_realtime.utils.system_clock import SystemClock
from tests.helpers.waiting import DEADLINE
from tests.unit.listener.conftest import Receivers, RunDelivery, fails
from tests.unit.listener.delivery.rows import astore, row, until_states

pytestmark = pytest.mark.django_db(transaction=True)


async def cut_off(monkeypatch: pytest.MonkeyPatch, after_crash: bool = True) -> None:
    """Deliver until the first commit of receivers, as another process that ends there."""

    class Killed(Exception):
        pass

    def fence() -> None:
        if called:
            raise Killed

    def receiver(event: Event, **kwargs: Any) -> None:
        called.append(event)

    called: list[Event] = []
    directus_event.connect(receiver)
    monkeypatch.setattr(crash_marker, "_THIS_PROCESS", uuid.uuid4().hex)
    database = DatabaseThread("test-killed")
    policies = {"default": RetryPolicy(3, 0)}
    delivery = Delivery(database, policies, GroupSender(), fence, after_crash=after_crash)
    try:
        with pytest.raises(Killed):
            await asyncio.wait_for(delivery.run(asyncio.Event()), DEADLINE)
    finally:
        await database.aclose()
        assert directus_event.disconnect(receiver)
        monkeypatch.setattr(crash_marker, "_THIS_PROCESS", uuid.uuid4().hex)


def own_failure(row: InboxEvent) -> str:
    return str(row.failures["directus_listen"]["error"])


async def test_without_a_crash_an_attempt_has_no_marker(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await astore(1, "a")
    await cut_off(monkeypatch, after_crash=False)
    assert (await row("a")).failures == {}


async def test_after_a_crash_each_attempt_has_a_marker_before_it_starts(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for title in ("a", "b"):
        await astore(1, title)
    await cut_off(monkeypatch)
    first, second = await row("a"), await row("b")
    assert (first.state, first.attempts, first.sent_at) == ("pending", 0, None)
    assert own_failure(first).startswith("Begun: ")
    assert (second.state, second.failures) == ("pending", {})


async def test_an_attempt_in_which_the_process_ended_has_failed(
    receivers: Receivers,
    deliver: RunDelivery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is tried again later, and holds back its own item meanwhile."""
    receivers.add()
    await astore(1, "a")
    await astore(1, "b")
    await astore(2, "c")
    await cut_off(monkeypatch)
    receivers.log.clear()
    monkeypatch.setattr(RetryPolicy, "delay", lambda *_: timedelta(seconds=30))
    async with deliver():
        await until_states("failed", "held", "done")
    failed = await row("a")
    assert (failed.attempts, own_failure(failed)) == (1, CRASHED.error)
    assert failed.sent_at is not None
    assert receivers.titles() == ["c"]
    assert CRASHED.error in caplog.text


async def test_an_event_that_ends_each_process_is_a_dead_letter(
    receivers: Receivers,
    deliver: RunDelivery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receivers.add()
    await astore(1, "a")
    for attempts in range(3):
        await cut_off(monkeypatch, after_crash=attempts == 0)
        assert (await row("a")).attempts == attempts
    receivers.log.clear()
    async with deliver(attempts=3):
        await until_states("dead")
    dead = await row("a")
    assert (dead.attempts, own_failure(dead)) == (3, CRASHED.error)
    assert dead.sent_at is not None
    assert receivers.log == []
    assert f"articles 1 update is a dead letter after 3 tries (event {dead.pk}" in caplog.text


async def test_a_success_after_a_crash_leaves_no_marker(
    receivers: Receivers, deliver: RunDelivery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "directus_realtime")
    receivers.add()
    receivers.add_async("async")
    receivers.connect(non_atomic(lambda event, **kwargs: None))
    for title in ("a", "b", "c"):
        await astore(1, title)
    async with deliver(after_crash=True):
        await until_states("done", "done", "done")
        assert "3 events due, delivered one by one" in caplog.text
    found = [(await row(title)) for title in ("a", "b", "c")]
    assert [(each.attempts, each.failures) for each in found] == [(1, {})] * 3
    assert receivers.titles() == receivers.titles("async") == ["a", "b", "c"]
    assert all(each.sent_at for each in found)


async def test_a_receiver_that_fails_after_a_crash_is_the_one_that_failed(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    receivers.add(fail=fails("a"))
    await astore(1, "a")
    await astore(1, "b")
    async with deliver(attempts=2, after_crash=True):
        await until_states("dead", "done")
    assert receivers.titles() == ["a", "a", "b"]
    failed = await row("a")
    assert failed.attempts == 2
    assert [each["error"] for each in failed.failures.values()] == ["ValueError: no"]


async def test_after_a_crash_browsers_are_notified_after_the_commit(
    receivers: Receivers, deliver: RunDelivery
) -> None:
    feed = LayerFeed(SystemClock())
    await sync_to_async(feed.start)(["default"])
    told: list[int] = []

    async def receiver(event: Event, **kwargs: Any) -> None:
        told.append(len(await sync_to_async(feed.read)(False)))

    receivers.connect(receiver)
    await astore(1, "a")
    async with deliver(after_crash=True):
        await until_states("done")
    assert told == [0]
    assert await sync_to_async(feed.read)(False)


async def test_after_a_crash_a_database_that_becomes_unavailable_is_no_failure(
    receivers: Receivers, deliver: RunDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(outcomes: delivery_queue.Outcomes, now: datetime) -> None:
        if next(writes) == 0:
            raise OperationalError("server closed the connection unexpectedly")
        real(outcomes, now)

    real, writes = delivery_queue.write, itertools.count()
    monkeypatch.setattr(delivery_queue, "write", write)
    receivers.add()
    await astore(1, "a")
    async with deliver(attempts=1, after_crash=True):
        await until_states("done")
    assert receivers.titles() == ["a", "a"]


async def test_a_marker_of_this_process_is_no_crash(
    receivers: Receivers, deliver: RunDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the commit got lost, and the inbox is read again."""

    def write_ahead(runner: BatchRunner, job: Job) -> None:
        real(runner, job)
        if next(writes) == 0:
            raise RowsChanged

    real, writes = BatchRunner.write_ahead, itertools.count()
    monkeypatch.setattr(BatchRunner, "write_ahead", write_ahead)
    receivers.add()
    await astore(1, "a")
    async with deliver(attempts=1, after_crash=True):
        await until_states("done")
    assert receivers.titles() == ["a"]
    assert next(writes) == 2
