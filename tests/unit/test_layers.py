"""Two layers are two web processes: they share nothing but the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, ProgrammingError
from django.utils import timezone

from directus_realtime import layers as layers_module
from directus_realtime.events import Event
from directus_realtime.inbox_tail import InboxTail
from directus_realtime.layers import InboxChannelLayer, LayerFeed
from directus_realtime.models import ConnectionStatus, InboxEvent
from tests.helpers.waiting import DEADLINE, await_for

pytestmark = pytest.mark.django_db(transaction=True)

GROUP = "directus.articles"
EVENT = Event(
    connection="default", subscription="all", collection="articles", action="update", key=1
)


def store(title: str, sent: bool = True, key: int | str = 1, **values: Any) -> InboxEvent:
    """A row as the listener's process leaves it."""
    group = values.pop("group", "")
    data = values.pop("data", {}) | {"title": title}
    event = replace(EVENT, id=_new_id(), key=key, data=data, **values)
    row = InboxEvent.from_event(event, group)
    row.sent_at = timezone.now() if sent else None
    row.save()
    return row


def _new_id() -> str:
    return Event.__dataclass_fields__["id"].default_factory()  # type: ignore[misc,no-any-return]


def mark_sent(row: InboxEvent) -> None:
    InboxEvent.objects.filter(pk=row.pk).update(sent_at=timezone.now())


def write_status(state: str, age: float = 0.0, alias: str = "default") -> None:
    now = timezone.now()
    ConnectionStatus.objects.update_or_create(
        alias=alias,
        defaults={
            "state": state,
            "reason": f"because {state}",
            "changed_at": now,
            "heartbeat_at": now - timedelta(seconds=age),
        },
    )


astore, amark_sent, awrite_status = map(sync_to_async, (store, mark_sent, write_status))


class Looks:
    count = 0

    async def a_few(self) -> None:
        """Wait until the follower has looked a few times more."""
        enough = self.count + 3
        await await_for(lambda: self.count >= enough)


class Browser:
    """A member of groups of a layer."""

    def __init__(self, layer: InboxChannelLayer, channel: str) -> None:
        self.layer = layer
        self.channel = channel

    async def join(self, *groups: str) -> Browser:
        for group in groups or (GROUP,):
            await asyncio.wait_for(self.layer.group_add(group, self.channel), DEADLINE)
        return self

    async def leave(self, group: str = GROUP) -> None:
        await self.layer.group_discard(group, self.channel)

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await asyncio.wait_for(self.layer.receive(self.channel), DEADLINE)
        return message

    async def titles(self, count: int) -> list[str]:
        return [(await self.receive())["data"]["title"] for _ in range(count)]

    @property
    def waiting(self) -> int:
        queue = self.layer.channels.get(self.channel)
        return queue.qsize() if queue else 0


@pytest.fixture
async def layers() -> AsyncIterator[tuple[InboxChannelLayer, InboxChannelLayer]]:
    layers = InboxChannelLayer(poll_interval=0.01), InboxChannelLayer(poll_interval=0.01)
    yield layers
    for layer in layers:
        await layer.close()


@pytest.fixture
def layer(layers: tuple[InboxChannelLayer, InboxChannelLayer]) -> InboxChannelLayer:
    return layers[0]


@pytest.fixture
async def browser(layer: InboxChannelLayer) -> Browser:
    return await Browser(layer, "browser").join()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Counts the looks at the inbox."""
    looks, read = Looks(), LayerFeed.read

    def counted(self: LayerFeed, with_states: bool) -> Any:
        found = read(self, with_states)
        looks.count += 1
        return found

    monkeypatch.setattr(LayerFeed, "read", counted)
    return looks


def followers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "directus-inbox"]


async def test_every_process_sees_the_rows_in_order(
    layers: tuple[InboxChannelLayer, InboxChannelLayer],
) -> None:
    first = await Browser(layers[0], "first").join()
    second = await Browser(layers[1], "second").join()
    titles = [str(number) for number in range(20)]
    for title in titles:
        await astore(title, key=int(title) % 3)
    assert await first.titles(20) == titles
    assert await second.titles(20) == titles


async def test_a_message_is_the_message_of_the_event(browser: Browser) -> None:
    row = await astore("a", key="k")
    message = await browser.receive()
    assert message["type"] == "directus.event"
    assert message["id"] == str(row.event_id)
    assert message["key"] == "k"
    assert message["data"] == {"title": "a"}


async def test_a_row_goes_to_its_own_group_and_to_that_of_its_item(
    layer: InboxChannelLayer,
) -> None:
    news = await Browser(layer, "news").join("news")
    item = await Browser(layer, "item").join("directus.articles.7")
    collection = await Browser(layer, "collection").join()
    await astore("own", group="news", key=7)
    await astore("last", key=8)
    assert await news.titles(1) == ["own"]
    assert await item.titles(1) == ["own"]
    assert await collection.titles(1) == ["last"]
    assert news.waiting == item.waiting == 0


async def test_what_was_sent_before_is_not_sent_again(layer: InboxChannelLayer) -> None:
    await astore("old")
    browser = await Browser(layer, "browser").join()
    await astore("new")
    assert await browser.titles(1) == ["new"]


async def test_a_row_that_is_not_sent_yet_holds_back_those_behind_it(
    browser: Browser, looks: Looks
) -> None:
    await astore("first")
    waiting = await astore("waiting", sent=False)
    await astore("behind", key=2)
    assert await browser.titles(1) == ["first"]
    await looks.a_few()
    assert browser.waiting == 0
    await amark_sent(waiting)
    assert await browser.titles(2) == ["waiting", "behind"]


async def test_a_row_that_waited_when_the_browser_came_is_sent(layer: InboxChannelLayer) -> None:
    await astore("old")
    waiting = await astore("waiting", sent=False)
    browser = await Browser(layer, "browser").join()
    await amark_sent(waiting)
    assert await browser.titles(1) == ["waiting"]


@pytest.mark.parametrize("state", ["pending", "delivering"])
async def test_a_row_that_waited_before_one_that_was_sent_when_the_browser_came_is_sent(
    layer: InboxChannelLayer, state: str
) -> None:
    waiting = await astore("waiting", sent=False)
    await InboxEvent.objects.filter(pk=waiting.pk).aupdate(state=state)
    await astore("old")
    browser = await Browser(layer, "browser").join()
    await amark_sent(waiting)
    assert await browser.titles(1) == ["waiting"]


async def test_a_connection_that_nobody_delivers_holds_back_no_other(browser: Browser) -> None:
    """Its listener is stopped, or it is no longer configured, with rows left in the inbox."""
    await astore("left behind", sent=False, connection="removed")
    await astore("a")
    assert await browser.titles(1) == ["a"]


async def test_a_row_that_was_merged_into_a_later_one_holds_back_none(browser: Browser) -> None:
    merged = await astore("overtaken", sent=False)
    await InboxEvent.objects.filter(pk=merged.pk).aupdate(state="merged", done_at=timezone.now())
    await astore("a")
    assert await browser.titles(1) == ["a"]


async def test_a_row_that_waits_for_its_window_holds_back_no_other_item(browser: Browser) -> None:
    waiting = await astore("debounced", sent=False, subscription="debounced")
    later = timezone.now() + timedelta(minutes=1)
    await InboxEvent.objects.filter(pk=waiting.pk).aupdate(next_attempt_at=later)
    await astore("a", key=2)
    assert await browser.titles(1) == ["a"]


async def test_a_payload_that_is_nested_deep_ends_nothing(browser: Browser) -> None:
    nested: Any = "innermost"
    for _ in range(600):
        nested = [nested]
    await astore("deep", data={"nested": nested})
    await astore("behind")
    found = [(await browser.receive())["data"]["title"]]
    if found == ["deep"]:
        found.append((await browser.receive())["data"]["title"])
    assert found[-1] == "behind"


async def test_messages_within_the_process_still_work(browser: Browser) -> None:
    await browser.layer.group_send(GROUP, {"type": "own", "data": {"title": "own"}})
    assert await browser.titles(1) == ["own"]


async def test_changes_of_the_connections_state_are_sent(layer: InboxChannelLayer) -> None:
    await awrite_status("connected")
    browser = await Browser(layer, "browser").join("directus_connection.default")
    await awrite_status("reconnecting")
    assert await browser.receive() == {
        "type": "directus.connection",
        "connection": "default",
        "state": "reconnecting",
        "reason": "because reconnecting",
    }
    await awrite_status("connected")
    assert (await browser.receive())["state"] == "connected"
    assert browser.waiting == 0


async def test_a_listener_that_is_gone_is_told(layer: InboxChannelLayer) -> None:
    await awrite_status("connected")
    browser = await Browser(layer, "browser").join("directus_connection.default")
    await awrite_status("connected", age=60)
    message = await browser.receive()
    assert message["state"] == "disconnected"
    assert message["reason"].startswith("No listener is running.")


async def test_states_of_other_connections_go_to_their_own_groups(
    layer: InboxChannelLayer,
) -> None:
    blog = await Browser(layer, "blog").join("directus_connection.blog")
    default = await Browser(layer, "default").join("directus_connection.default")
    await awrite_status("connected", alias="default")
    await awrite_status("reconnecting", alias="blog")
    assert (await blog.receive())["connection"] == "blog"
    assert (await default.receive())["connection"] == "default"


# The follower


async def test_there_is_one_follower_for_all_members(layer: InboxChannelLayer) -> None:
    assert followers() == []
    await asyncio.gather(*(Browser(layer, f"b{number}").join() for number in range(5)))
    assert len(followers()) == 1


async def test_the_follower_ends_when_the_last_member_leaves(
    layer: InboxChannelLayer, looks: Looks
) -> None:
    first = await Browser(layer, "first").join()
    second = await Browser(layer, "second").join()
    await first.leave()
    await looks.a_few()
    assert len(followers()) == 1
    await second.leave()
    await await_for(lambda: not followers())


async def test_the_next_member_is_followed_again(layer: InboxChannelLayer) -> None:
    browser = await Browser(layer, "browser").join()
    await browser.leave()
    await await_for(lambda: not followers())
    await astore("meanwhile")
    await browser.join()
    await astore("new")
    assert await browser.titles(1) == ["new"]


async def test_closing_ends_the_follower(layer: InboxChannelLayer, browser: Browser) -> None:
    await layer.close()
    assert followers() == []


async def test_without_members_nobody_asks_the_database(layer: InboxChannelLayer) -> None:
    await layer.group_send(GROUP, {"type": "x"})
    assert followers() == []


async def test_a_member_is_told_when_the_inbox_cannot_be_read(
    layer: InboxChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: LayerFeed, aliases: list[str]) -> None:
        raise ProgrammingError("relation does not exist")

    monkeypatch.setattr(LayerFeed, "start", start)
    with pytest.raises(ProgrammingError):
        await asyncio.wait_for(layer.group_add(GROUP, "browser"), DEADLINE)


async def test_a_look_that_fails_is_not_the_last(
    browser: Browser, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "_PAUSE", 0.01)
    failures, read = Looks(), LayerFeed.read

    def fails(self: LayerFeed, with_states: bool) -> Any:
        failures.count += 1
        raise ProgrammingError("no such column")

    monkeypatch.setattr(LayerFeed, "read", fails)
    await failures.a_few()
    await astore("meanwhile")
    monkeypatch.setattr(LayerFeed, "read", read)
    assert await browser.titles(1) == ["meanwhile"]


async def test_a_look_that_breaks_off_loses_nothing(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OperationalError("server closed the connection")]
    read_skipped = InboxTail._read_skipped

    def fails_once(self: InboxTail) -> Any:
        # Behind the read of the rows.
        if self._last_ids["default"] and errors:
            raise errors.pop()
        return read_skipped(self)

    monkeypatch.setattr(InboxTail, "_read_skipped", fails_once)
    await astore("a")
    assert await browser.titles(1) == ["a"]
    assert not errors


def test_a_layer_serves_one_loop_after_another() -> None:
    layer = InboxChannelLayer(poll_interval=0.01)

    async def visit() -> None:
        browser = await Browser(layer, "browser").join()
        assert len(followers()) == 1
        await astore("a")
        assert await browser.titles(1) == ["a"]

    asyncio.run(visit())
    asyncio.run(visit())
