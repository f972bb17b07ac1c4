"""Databases and rows of the inbox, receivers that are told to fail, and a delivery to run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import environ
import pytest
from django.core.management import call_command
from django.db import connections

from directus_realtime.database import DatabaseThread
from directus_realtime.events import Event
from directus_realtime.listener.delivery import delivery as delivery_module
from directus_realtime.listener.delivery.delivery import Delivery
from directus_realtime.listener.delivery.group_sender import GroupSender
from directus_realtime.listener.delivery.retries import RetryPolicy
from directus_realtime.models import InboxEvent
from directus_realtime.signals import (
    DirectusSignal,
    directus_event,
    directus_item_created,
    directus_item_deleted,
    directus_item_updated,
)
from tests.conftest import own_postgres
from tests.helpers.waiting import DEADLINE
from tests.sample.models import Effect

ITEM_SIGNALS = (
    directus_event,
    directus_item_created,
    directus_item_updated,
    directus_item_deleted,
)


class ToAnother:
    """A database router that sends everything to one database."""

    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


ON_DEFAULT = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def postgres(django_db_blocker: Any) -> Iterator[str]:
    """Alias of a migrated database on PostgreSQL."""
    with own_postgres() as url, django_db_blocker.unblock():
        default = connections.databases["default"]
        database = {**default, **environ.Env.db_url_config(url), "OPTIONS": {}}
        connections.databases["other"] = database
        call_command("migrate", database="other", verbosity=0)
        yield "other"
        connections["other"].close()
        del connections["other"]
        del connections.databases["other"]


@pytest.fixture(params=[pytest.param("sqlite", marks=ON_DEFAULT), "postgres"])
def alias(request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Alias of the database that the inbox and the effects are in."""
    if request.param == "sqlite":
        return "default"
    alias: str = request.getfixturevalue("postgres")
    monkeypatch.setattr(ToAnother, "alias", alias)
    settings.DATABASE_ROUTERS = [ToAnother()]
    Effect.objects.all().delete()
    InboxEvent.objects.all().delete()
    return alias


def make_event(key: int | str = 1, title: str = "", **values: Any) -> Event:
    """An update of an article."""
    event = Event(
        connection="default",
        subscription="all",
        collection="articles",
        action="update",
        key=key,
        data={"id": key, "title": title},
    )
    return replace(event, **values)


def store_event(key: int | str = 1, title: str = "", **values: Any) -> InboxEvent:
    """A row of the inbox; values of the row after those of the event."""
    columns = {
        name: values.pop(name) for name in list(values) if name not in Event.__dataclass_fields__
    }
    row = InboxEvent.from_event(make_event(key, title, **values))
    for name, value in columns.items():
        setattr(row, name, value)
    row.save()
    return row


def states() -> dict[int, str]:
    """The state of each row, by id."""
    return dict(InboxEvent.objects.order_by("id").values_list("id", "state"))


class Receivers:
    """Connects receivers for one test.

    Attributes:
        log: Name of the receiver and title of the item, in the order of the calls.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self._stack: list[tuple[DirectusSignal, Any]] = []

    def connect(
        self, receiver: Any, signal: DirectusSignal = directus_event, sender: Any = None
    ) -> Any:
        signal.connect(receiver, sender=sender, weak=False)
        self._stack.append((signal, sender))
        return receiver

    def add(
        self,
        name: str = "receiver",
        fail: Callable[[Event], BaseException | None] = lambda event: None,
        signal: DirectusSignal = directus_event,
    ) -> None:
        """Connect a ``def`` receiver that writes down its calls and may fail."""

        def receiver(sender: str, event: Event, **kwargs: Any) -> None:
            self.log.append((name, (event.data or {}).get("title", "")))
            if error := fail(event):
                raise error

        receiver.__qualname__ = name
        self.connect(receiver, signal)

    def add_async(
        self,
        name: str = "receiver",
        fail: Callable[[Event], BaseException | None] = lambda event: None,
    ) -> None:
        """Connect an ``async def`` receiver that writes down its calls and may fail."""

        async def receiver(sender: str, event: Event, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            self.log.append((name, (event.data or {}).get("title", "")))
            if error := fail(event):
                raise error

        receiver.__qualname__ = name
        self.connect(receiver)

    def titles(self, name: str = "receiver") -> list[str]:
        return [title for called, title in self.log if called == name]


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    """Nobody else is connected to the signals of items."""
    kept = {signal: list(signal.receivers) for signal in ITEM_SIGNALS}
    for signal in ITEM_SIGNALS:
        signal.receivers = []
    yield Receivers()
    for signal, before in kept.items():
        signal.receivers = before


def fails(*titles: str, error: BaseException | None = None) -> Callable[[Event], Any]:
    """Fail for items with these titles, always."""
    return lambda event: (
        (error or ValueError("no")) if (event.data or {}).get("title") in titles else None
    )


def fails_once(*titles: str) -> Callable[[Event], Any]:
    """Fail for items with these titles, at the first try."""
    left = set(titles)

    def fail(event: Event) -> BaseException | None:
        title = (event.data or {}).get("title")
        if title in left:
            left.remove(title)
            return ValueError("not yet")
        return None

    return fail


RunDelivery = Callable[..., Any]


@pytest.fixture
def deliver(monkeypatch: pytest.MonkeyPatch) -> RunDelivery:
    """Runs a delivery in a context: ``async with deliver(attempts=8) as delivery``.

    Retries are due at once; without ``attempts`` the policy is the default one.
    """
    monkeypatch.setattr(delivery_module, "POLL_INTERVAL", 0.02)

    @asynccontextmanager
    async def run(
        attempts: int = 8,
        ceiling: float = 0.0,
        aliases: tuple[str, ...] = ("default",),
        sender: GroupSender | None = None,
        after_crash: bool = False,
    ) -> AsyncIterator[Delivery]:
        database = DatabaseThread("test-delivery")
        policies = {alias: RetryPolicy(attempts, ceiling, base=ceiling) for alias in aliases}
        delivery = Delivery(database, policies, sender or GroupSender(), after_crash=after_crash)
        stopping = asyncio.Event()
        task = asyncio.create_task(delivery.run(stopping))
        try:
            yield delivery
        finally:
            stopping.set()
            delivery.wake()
            try:
                await asyncio.wait_for(task, DEADLINE)
            finally:
                await database.aclose()

    return run
