from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from directus_realtime.signals import (
    DirectusSignal,
    directus_event,
    directus_item_created,
    directus_item_deleted,
    directus_item_updated,
    signals_for,
)

NAMES = ["articles", "my-articles", "directus_users", "ärticles", "a b", ""]


@pytest.fixture
def signal() -> DirectusSignal:
    return DirectusSignal()


@pytest.fixture(autouse=True)
def names_of_this_test() -> Iterator[None]:
    before = dict(DirectusSignal._names)
    yield
    DirectusSignal._names.clear()
    DirectusSignal._names.update(before)


def from_json(name: str) -> str:
    """An equal string that is another object, like one that came over the wire."""
    return "".join(json.loads(json.dumps(list(name))))


class Recorder:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, sender: str, **kwargs: Any) -> str:
        self.calls.append(sender)
        return "received"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("send", ["send", "send_robust"])
def test_senders_match_by_equality(signal: DirectusSignal, name: str, send: str) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender=name)
    getattr(signal, send)(from_json(name))
    assert receiver.calls == [name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("send", ["asend", "asend_robust"])
async def test_senders_match_by_equality_when_awaited(
    signal: DirectusSignal, name: str, send: str
) -> None:
    calls: list[str] = []

    async def receiver(sender: str, **kwargs: Any) -> None:
        calls.append(sender)

    signal.connect(receiver, sender=name)
    await getattr(signal, send)(from_json(name))
    assert calls == [name]


def test_another_sender_is_not_received(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender="articles")
    assert signal.send("authors") == []
    assert not signal.has_listeners("authors")


def test_a_receiver_without_a_sender_gets_all(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver)
    signal.send(from_json("articles"))
    signal.send(from_json("authors"))
    assert receiver.calls == ["articles", "authors"]


def test_has_listeners_matches_by_equality(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender="my-articles")
    assert signal.has_listeners(from_json("my-articles"))


@pytest.mark.parametrize("name", NAMES)
def test_disconnects_by_equality(signal: DirectusSignal, name: str) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender=name)
    assert signal.disconnect(receiver, sender=from_json(name))
    assert signal.send(name) == []
    assert not signal.disconnect(receiver, sender=name)


def test_disconnects_by_dispatch_uid(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender=from_json("articles"), dispatch_uid="once")
    signal.connect(receiver, sender=from_json("articles"), dispatch_uid="once")
    assert len(signal.send("articles")) == 1
    assert signal.disconnect(sender=from_json("articles"), dispatch_uid="once")
    assert signal.send("articles") == []


def test_two_spellings_of_a_sender_are_one_connection(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender="my-articles")
    signal.connect(receiver, sender=from_json("my-articles"))
    signal.send("my-articles")
    assert receiver.calls == ["my-articles"]


def test_senders_that_are_no_strings_match_by_identity(signal: DirectusSignal) -> None:
    first, second = object(), object()
    receiver = Recorder()
    signal.connect(receiver, sender=first)
    assert len(signal.send(first)) == 1
    assert signal.send(second) == []


def test_sending_keeps_no_names(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver)
    signal.connect(receiver, sender="articles")
    before = len(signal._names)
    for number in range(1000):
        signal.send(f"collection-{number}")
        signal.has_listeners(f"other-{number}")
        signal.disconnect(receiver, sender=f"third-{number}")
    assert len(signal._names) == before
    assert len(signal.sender_receivers_cache) == 0


def test_a_name_without_other_references_stays_matched(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender=from_json("run-time-name"))
    gc.collect()
    others = [f"unrelated-{number}" for number in range(5000)]
    assert [name for name in others if signal.send(name)] == []
    assert signal.send(from_json("run-time-name"))


def test_receivers_are_held_weakly(signal: DirectusSignal) -> None:
    receiver = Recorder()
    signal.connect(receiver, sender="articles")
    del receiver
    gc.collect()
    assert signal.send("articles") == []


def test_receivers_can_be_held_strongly(signal: DirectusSignal) -> None:
    signal.connect(Recorder(), sender="articles", weak=False)
    gc.collect()
    assert len(signal.send("articles")) == 1


def test_receivers_for_tells_sync_from_async(signal: DirectusSignal) -> None:
    def sync(**kwargs: Any) -> None: ...
    async def asynchronous(**kwargs: Any) -> None: ...

    signal.connect(sync, sender="articles")
    signal.connect(asynchronous)
    assert signal.receivers_for(from_json("articles")) == ([sync], [asynchronous])
    assert signal.receivers_for("authors") == ([], [asynchronous])


def test_each_action_has_its_signal_and_the_one_of_all() -> None:
    assert signals_for("create") == (directus_item_created, directus_event)
    assert signals_for("update") == (directus_item_updated, directus_event)
    assert signals_for("delete") == (directus_item_deleted, directus_event)
