"""First loads from a real Directus."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from directus_realtime.client import DirectusClient
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import ARTICLE_FIELDS, own_postgres
from tests.helpers.site import Site
from tests.helpers.waiting import await_for, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["-1", "50"], ids=["no-limit", "limit-50"], scope="module")
def limited(request: pytest.FixtureRequest) -> Iterator[DirectusServer]:
    """A real Directus with and without ``QUERY_LIMIT_MAX``."""
    with DirectusServer(env={"QUERY_LIMIT_MAX": request.param}) as server:
        with server.admin() as admin:
            admin.create_collection("articles", ARTICLE_FIELDS)
            admin.create_collection("notes", {"title": "string", "status": "string"}, "uuid")
        yield server


@pytest.mark.parametrize("collection", ["articles", "notes"])
async def test_every_matching_item_comes_once(limited: DirectusServer, collection: str) -> None:
    with limited.admin() as admin:
        wanted = [{"title": str(n), "status": "on"} for n in range(230)]
        keys = {item["id"] for item in admin.create_items(collection, wanted)}
        admin.create_items(collection, [{"title": "no", "status": "off"}])
    found: list[Any] = []
    async with DirectusClient(limited.url, token=limited.admin_token) as client:
        await client.subscribe(
            collection,
            filter={"status": {"_eq": "on"}},
            fields=["title"],
            snapshot=True,
            on_event=found.append,
        )
    assert {event.key for event in found} == keys
    assert len(found) == len(keys)
    assert {(event.action, event.origin) for event in found} == {("update", "snapshot")}
    with limited.admin() as admin:
        for start in range(0, 230, 50):
            admin.delete_items(collection, list(keys)[start : start + 50])


async def test_what_changes_during_the_load_ends_in_its_last_state(
    limited: DirectusServer,
) -> None:
    with limited.admin() as admin:
        items = admin.create_items("articles", [{"title": "old"} for _ in range(150)])
        keys = [item["id"] for item in items]

        def change() -> None:
            for key in keys[::3]:
                admin.update_item("articles", key, {"title": "new"})
            admin.delete_items("articles", keys[1::3])

        changing = threading.Thread(target=change)
        last: dict[Any, Any] = {}
        async with DirectusClient(limited.url, token=limited.admin_token) as client:
            changing.start()
            subscription = await client.subscribe(
                "articles",
                fields=["title"],
                snapshot=True,
                on_event=lambda event: last.update({event.key: event.data}),
            )
            wanted = {key: {"id": key, "title": "new"} for key in keys[::3]}
            wanted |= {key: {"id": key, "title": "old"} for key in keys[2::3]}
            await await_for(lambda: {key: last.get(key) for key in wanted} == wanted)
            await await_for(lambda: not any(last.get(key) for key in keys[1::3]))
            assert subscription.state == "subscribed"
        changing.join()
        admin.delete_items("articles", [*keys[::3][:50]])
        admin.delete_items("articles", [*keys[2::3]])


def test_the_listener_loads_once_and_again_after_the_filter_changed(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    site = make_site(directus_env)
    made = directus.create_items("notes", [{"title": "first-load"} for _ in range(120)])
    keys = {item["id"] for item in made}
    row = site.subscribe("notes", "notes", filter={"title": {"_eq": "first-load"}})
    site.listen()
    assert site.received() == []

    site.subscriptions.update(snapshot=True)
    entries = site.wait_for_received(120)
    assert {entry["key"] for entry in entries} == keys
    assert {(entry["action"], entry["origin"]) for entry in entries} == {("update", "snapshot")}
    wait_for(lambda: site.subscriptions.get().snapshot_of != "")
    assert (row.name, site.subscriptions.get().snapshot_total) == ("notes", 120)

    site.listeners[0].send_signal(signal.SIGTERM)
    assert site.listeners[0].wait() == 0
    site.listen()
    site.subscriptions.update(filter={"id": {"_eq": next(iter(keys))}})
    site.wait_for_received(121)
    wait_for(lambda: site.subscriptions.get().snapshot_total == 1)
    assert len(site.received()) == 121
    assert site.inbox.filter(origin="snapshot").count() == 121


async def test_big_keys_of_postgresql_are_numbers_in_a_load_as_in_an_event() -> None:
    """Directus sends them as texts, and deletes as whoever deletes has written them."""
    with own_postgres() as url, DirectusServer(database=url) as server, server.admin() as admin:
        admin.create_collection("orders", {"title": "string"}, "bigInteger")
        made = admin.create_items("orders", [{"title": "a"}, {"title": "b"}])
        first, second = (int(item["id"]) for item in made)
        found: list[Any] = []
        async with DirectusClient(server.url, token=server.admin_token) as client:
            await client.subscribe("orders", snapshot=True, on_event=found.append)
            admin.request("PATCH", f"/items/orders/{second}", {"title": "c"})
            admin.request("DELETE", f"/items/orders/{first}")
            await await_for(lambda: {event.action for event in found} == {"update", "delete"})
    assert {(event.action, event.origin, event.key) for event in found} == {
        ("update", "snapshot", first),
        ("update", "snapshot", second),
        ("update", "live", second),
        ("delete", "live", first),
    }
