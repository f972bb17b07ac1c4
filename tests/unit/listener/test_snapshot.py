"""First loads of several subscriptions, without a server and a database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from directus_realtime.client.keys import PrimaryKey
from directus_realtime.events import Key
from directus_realtime.listener import matched_items
from directus_realtime.listener.inbox_entry import Memory
from directus_realtime.listener.snapshot import SnapshotLoader
from tests.helpers.manual_clock import ManualClock
from tests.helpers.waiting import await_for

PAGES, PAGE = 3, 2500


class Parts:
    """What a loader works with: it writes down what is read and remembered.

    Attributes:
        steps: What happened, with the name of the subscription.
        stored: Sizes of what was remembered at a time.
        may_store: Whether what is to be remembered is stored, or waits.
    """

    name = "default"

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.stored: list[int] = []
        self.may_store = asyncio.Event()
        self.may_store.set()

    async def read_keys(self, query: Any, primary_key: PrimaryKey) -> AsyncIterator[list[Key]]:
        for _ in range(PAGES):
            self.steps.append(("read", query.name))
            await asyncio.sleep(0)
            yield list(range(PAGE))

    @contextlib.contextmanager
    def noting_changes(self, collection: str) -> Iterator[set[Key]]:
        yield {0}

    async def run_in_order(self, function: partial[None]) -> None:
        if function.func is matched_items.remember_page:
            await self.may_store.wait()
            memory, keys = function.args
            self.steps.append(("remember", memory.matched_of))
            self.stored.append(len(keys))


def start(loader: SnapshotLoader, name: str) -> None:
    desired: Any = SimpleNamespace(
        uid=name,
        name=name,
        snapshot_of="",
        load_request="",
        unmatched=True,
        memory=Memory(1, name),
        query=SimpleNamespace(name=name),
    )
    subscription: Any = SimpleNamespace(
        desired=desired, collection="articles", primary_key=PrimaryKey()
    )
    loader.start(subscription)


def make_loader(parts: Any) -> SnapshotLoader:
    return SnapshotLoader(parts, parts, parts, parts, parts, ManualClock())


async def test_loads_take_turns_page_by_page() -> None:
    parts = Parts()
    loader = make_loader(parts)
    for name in ("a", "b"):
        start(loader, name)
    await await_for(lambda: len(parts.stored) == 2 * 3 * PAGES)
    await loader.aclose()
    page = [("read", "a"), *[("remember", "a")] * 3, ("read", "b"), *[("remember", "b")] * 3]
    assert parts.steps == page * PAGES


async def test_no_page_is_remembered_at_once() -> None:
    """Events that come in meanwhile wait for what is being remembered."""
    parts = Parts()
    loader = make_loader(parts)
    start(loader, "a")
    await await_for(lambda: len(parts.stored) == 3 * PAGES)
    await loader.aclose()
    assert parts.stored == [999, 1000, 500] * PAGES


async def test_a_load_that_ends_in_its_turn_gives_it_away() -> None:
    parts = Parts()
    parts.may_store.clear()
    loader = make_loader(parts)
    start(loader, "a")
    start(loader, "b")
    await await_for(lambda: parts.steps == [("read", "a")])
    loader.stop("a")
    parts.may_store.set()
    await await_for(lambda: parts.stored == [999, 1000, 500] * PAGES)
    await loader.aclose()
    assert ("remember", "a") not in parts.steps
