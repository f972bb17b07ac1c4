from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from directus_realtime.listener.delivery import receiver_calls as receivers_module
from directus_realtime.listener.delivery.receiver_calls import (
    Call,
    Failure,
    calls_for,
)
from directus_realtime.signals import (
    directus_event,
    directus_item_created,
    directus_item_deleted,
    directus_item_updated,
    non_atomic,
)
from directus_realtime.utils.logs import EventLogger
from tests.unit.listener.conftest import Receivers, make_event


def plain(**kwargs: Any) -> None: ...


async def asynchronous(**kwargs: Any) -> None: ...


def call(receiver: Any) -> Call:
    arguments = {"event": make_event()}
    return Call("name", directus_event, receiver, "articles", arguments, is_async=False)


def raising(error: BaseException) -> Any:
    def receiver(**kwargs: Any) -> None:
        raise error

    return receiver


@pytest.mark.parametrize(
    ("action", "signal"),
    [
        ("create", directus_item_created),
        ("update", directus_item_updated),
        ("delete", directus_item_deleted),
    ],
)
def test_the_calls_of_an_event(receivers: Receivers, action: Any, signal: Any) -> None:
    for each in (directus_item_created, directus_item_updated, directus_item_deleted):
        receivers.connect(plain, each, sender="articles")
        receivers.connect(asynchronous, each, sender="authors")
    receivers.connect(asynchronous)
    event = make_event(action=action)
    found = calls_for(event)
    assert [(c.signal, c.receiver, c.is_async) for c in found] == [
        (signal, plain, False),
        (directus_event, asynchronous, True),
    ]
    assert {c.event for c in found} == {event} if event.data is None else True


def test_receivers_that_succeeded_are_not_called_again(receivers: Receivers) -> None:
    receivers.connect(plain)
    for name in ("mail", "invoice"):
        receivers.connect(functools.partial(plain, name))
    mail, invoice = [c.name for c in calls_for(make_event())][1:]
    delivered = [f"{__name__}.plain", mail, "gone"]
    assert [c.name for c in calls_for(make_event(), delivered)] == [invoice]


def test_calls_that_share_a_transaction_come_first_and_awaited_ones_last(
    receivers: Receivers,
) -> None:
    for receiver in (asynchronous, non_atomic(functools.partial(plain)), plain):
        receivers.connect(receiver)
    found = calls_for(make_event())
    assert [(c.name.rpartition(".")[2], c.is_atomic, c.is_async) for c in found] == [
        ("plain", True, False),
        ("plain)", False, False),
        ("asynchronous", False, True),
    ]


def test_a_call_passes_signal_sender_and_event() -> None:
    got: list[dict[str, Any]] = []
    made = call(lambda **kwargs: got.append(kwargs))
    assert made.run() is None
    assert got == [{"signal": directus_event, "sender": "articles", **made.arguments}]


async def test_an_async_call() -> None:
    got: list[str] = []

    async def receiver(sender: str, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        got.append(sender)

    assert await call(receiver).arun() is None
    assert got == ["articles"]


async def test_a_delivery_that_is_cancelled_is_not_a_failure() -> None:
    entered = asyncio.Event()

    async def receiver(**kwargs: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(call(receiver).arun())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_of_the_receivers_own_is_a_failure() -> None:
    async def receiver(**kwargs: Any) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    failure = await call(receiver).arun()
    assert failure is not None
    assert failure.error.startswith("CancelledError")


def failure_of(error: BaseException) -> Failure:
    failure = call(raising(error)).run()
    assert failure is not None
    return failure


def test_a_failure_says_what_and_where() -> None:
    failure = failure_of(ValueError("no"))
    assert failure.receiver == "name"
    assert failure.error == "ValueError: no"
    assert failure.traceback.startswith("Traceback (most recent call last):")
    assert failure.traceback.endswith("ValueError: no\n")
    assert "raise error" in failure.traceback


def test_a_failure_is_one_line() -> None:
    assert "\n" not in failure_of(ValueError("first line\nDETAIL: second line")).error


def test_a_failure_is_bounded() -> None:
    failure = failure_of(ValueError("x" * 100_000))
    assert len(failure.error) == 500
    assert len(failure.traceback) == 8000


def test_a_failure_can_be_stored() -> None:
    failure = failure_of(ValueError("nul \0 half a pair \ud800"))
    for text in (failure.error, failure.traceback):
        assert "\0" not in text
        text.encode()


def test_a_failure_shows_no_secret() -> None:
    failure = failure_of(ValueError('{"access_token": "s3cret"} ?token=s3cret'))
    assert "s3cret" not in failure.error
    assert "s3cret" not in failure.traceback


def test_a_slow_receiver_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(receivers_module, "SLOW", 0.0)
    monkeypatch.setattr(receivers_module, "logger", EventLogger("directus_realtime.receivers"))
    call(plain).run()
    assert "The receiver name took 0.0 s for articles; hand long work to" in caplog.text


def test_a_fast_receiver_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    call(plain).run()
    assert [record.getMessage() for record in caplog.records] == []
