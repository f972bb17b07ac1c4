"""Names of receivers, and what is read off them through their wrappers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from directus_realtime.checks import check_receivers
from directus_realtime.listener.delivery.receiver_calls import calls_for
from directus_realtime.receivers import ConnectedReceiver, connected_receivers, receiver_name
from directus_realtime.signals import (
    DirectusSignal,
    directus_event,
    directus_item_updated,
    non_atomic,
    signals_for,
)
from tests.unit.listener.conftest import Receivers, make_event, receivers

__all__ = ["receivers"]


def plain(*args: Any, **kwargs: Any) -> None: ...


def other(*args: Any, **kwargs: Any) -> None: ...


async def asynchronous(*args: Any, **kwargs: Any) -> None: ...


class Receiver:
    def __call__(self, **kwargs: Any) -> None: ...

    def method(self, **kwargs: Any) -> None: ...


class AsyncReceiver:
    async def __call__(self, **kwargs: Any) -> None: ...


def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(**kwargs: Any) -> Any:
        return function(**kwargs)

    return wrapper


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def wrapper(**kwargs: Any) -> Any:
        return function(**kwargs)

    return wrapper


def found() -> list[ConnectedReceiver]:
    return connected_receivers(signals_for("update"), "articles")


@pytest.mark.parametrize(
    ("receiver", "name"),
    [
        (plain, f"{__name__}.plain"),
        (asynchronous, f"{__name__}.asynchronous"),
        (Receiver(), f"{__name__}.Receiver"),
        (Receiver().method, f"{__name__}.Receiver.method"),
        (functools.partial(plain), f"functools.partial({__name__}.plain)"),
        (without_wraps(plain), f"{__name__}.without_wraps.<locals>.wrapper({__name__}.plain)"),
        (traced(plain), f"{__name__}.plain"),
        (print, "builtins.print"),
    ],
)
def test_names_of_receivers(receiver: Any, name: str) -> None:
    assert receiver_name(receiver) == name


def test_the_name_of_a_partial_shows_none_of_its_values() -> None:
    names = [receiver_name(functools.partial(plain, value)) for value in ("s3cret", "mail")]
    assert names[0] != names[1]
    assert "s3cret" not in names[0]
    assert receiver_name(functools.partial(plain, "mail")) == names[1]


def test_the_name_of_a_partial_is_the_same_in_every_process() -> None:
    name = receiver_name(functools.partial(plain, "mail", object(), (1, other), key=None))
    assert name == f"functools.partial({__name__}.plain, f16028a5)"


def test_a_receiver_that_a_deploy_adds_changes_no_other_name(receivers: Receivers) -> None:
    def names(*works: str) -> dict[str, str]:
        directus_event.receivers = []
        for work in works:
            receivers.connect(functools.partial(plain, work))
        return dict(zip(works, (each.mark for each in found()), strict=True))

    before, after = names("mail", "invoice"), names("new", "mail", "invoice")
    assert len(set(after.values())) == 3
    assert before.items() <= after.items()


def test_a_dispatch_uid_is_the_name(receivers: Receivers) -> None:
    for uid in ("index", ("shop", 1)):
        directus_event.connect(Receiver(), weak=False, dispatch_uid=uid)
    assert [each.name for each in found()] == ["index", "('shop', 1)"]
    assert all(each.is_stable for each in found())


def test_a_dispatch_uid_that_differs_in_every_process_is_no_name(receivers: Receivers) -> None:
    directus_event.connect(plain, dispatch_uid=object())
    assert [each.name for each in found()] == [f"{__name__}.plain"]


def test_the_same_receiver_on_two_signals_is_numbered(receivers: Receivers) -> None:
    receivers.connect(plain, directus_item_updated)
    receivers.connect(plain, directus_event)
    assert [each.mark for each in found()] == [f"{__name__}.plain", f"{__name__}.plain#2"]


def test_receivers_of_one_name_are_told_apart_in_this_process_only(receivers: Receivers) -> None:
    for _ in range(2):
        receivers.connect(Receiver())
    first, second = found()
    assert (first.name, second.name) == (f"{__name__}.Receiver", f"{__name__}.Receiver#2")
    assert [call.name for call in calls_for(make_event(), [first.mark])] == [second.name]
    # What another process, with other receivers of that name, has stored.
    assert len(calls_for(make_event(), [first.name, second.name])) == 2


def test_a_check_names_receivers_that_share_a_name(receivers: Receivers) -> None:
    receivers.connect(plain)
    assert check_receivers() == []
    for _ in range(2):
        receivers.connect(Receiver(), sender="articles")
    (warning,) = check_receivers()
    assert warning.id == "directus_realtime.W009"
    assert f"Several receivers have the name {__name__}.Receiver." in warning.msg


class TracedSignal(DirectusSignal):
    """Wraps receivers when they are called, as Sentry's ``signals_spans`` does."""

    def _live_receivers(self, sender: object) -> Any:
        sync, asynchronous = super()._live_receivers(sender)
        return [traced(each) for each in sync], asynchronous


@pytest.mark.parametrize(
    ("receiver", "is_async", "is_non_atomic"),
    [
        (plain, False, False),
        (asynchronous, True, False),
        (AsyncReceiver(), True, False),
        (functools.partial(AsyncReceiver()), True, False),
        (non_atomic(Receiver()), False, True),
        (functools.partial(non_atomic(Receiver())), False, True),
        (traced(non_atomic(without_wraps(plain))), False, True),
    ],
)
def test_what_a_receiver_is_does_not_depend_on_its_wrappers(
    receiver: Any, is_async: bool, is_non_atomic: bool
) -> None:
    for signal in (DirectusSignal(), TracedSignal()):
        signal.connect(receiver, sender="articles", weak=False)
        (each,) = connected_receivers([signal], "articles")
        assert (each.is_async, each.is_non_atomic) == (is_async, is_non_atomic)
        assert each.receiver is receiver
        assert each.name == receiver_name(receiver)


def test_the_wrapper_of_a_tool_is_what_is_called() -> None:
    signal = TracedSignal()
    for receiver in (plain, Receiver().method):
        signal.connect(receiver, weak=False)
    for each in connected_receivers([signal], ""):
        assert each.function is not each.receiver
        assert inspect.unwrap(each.function) == each.receiver


def test_an_async_function_in_a_plain_wrapper_is_run(receivers: Receivers) -> None:
    calls: list[str] = []

    async def work(name: str, **kwargs: Any) -> None:
        calls.append(name)

    receivers.connect(traced(functools.partial(work, "returned")))
    receivers.connect(functools.wraps(work)(lambda **kwargs: async_to_sync(work)("run", **kwargs)))
    found = calls_for(make_event())
    assert [(call.is_async, call.is_atomic) for call in found] == [(False, False)] * 2
    assert [call.run() for call in found] == [None, None]
    assert calls == ["returned", "run"]
