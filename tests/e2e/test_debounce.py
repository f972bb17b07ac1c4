"""Debounced subscriptions on a real Directus."""

from __future__ import annotations

import pytest

from directus_realtime.client import DirectusClient
from example_project.real_directus import DirectusAdmin
from tests.helpers.site import Site, messages
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e


def test_the_last_state_of_each_item_comes_once_per_window(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe("calm", debounce=2.0)
    site.subscribe("every", fields=["title"])
    group = site.print_group("directus.articles")
    site.listen()
    one, two = directus.create_items("articles", [{"title": "a0"}, {"title": "b0"}])
    for number in range(1, 6):
        directus.update_item("articles", one["id"], {"title": f"a{number}"})
    wait_for(lambda: site.inbox.filter(subscription="every").count() == 7)
    directus.delete_item("articles", two["id"])
    site.wait_for_received(8 + 2)
    calm = [entry for entry in site.received() if entry["subscription"] == "calm"]
    # The create is told, with the state that the item has by now; the delete is the last word.
    assert [(entry["action"], entry["key"], entry["title"]) for entry in calm] == [
        ("create", one["id"], "a5"),
        ("delete", two["id"], None),
    ]
    assert site.inbox.filter(state="merged", subscription="calm").count() == 6
    wait_for(lambda: len(messages(group)) == 10)

    directus.update_item("articles", one["id"], {"title": "later"})
    site.wait_for_received(12)
    assert [e["title"] for e in site.received() if e["subscription"] == "calm"][2:] == ["later"]


def test_a_window_of_the_whole_subscription_ends_for_all_its_items_at_once(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe("calm", debounce=4.0, debounce_by="subscription")
    site.listen()
    items = [directus.create_item("articles", {"title": str(n)}) for n in range(5)]
    wait_for(lambda: site.inbox.filter(next_attempt_at__isnull=False).count() == 5)
    ends = set(site.inbox.values_list("next_attempt_at", flat=True))
    assert len(ends) == 1
    assert None not in ends
    entries = site.wait_for_received(5)
    assert [entry["key"] for entry in entries] == [item["id"] for item in items]


def test_what_waits_for_its_window_outlives_kill_9(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe("calm", debounce=3.0)
    listener = site.listen()
    item = directus.create_item("articles", {"title": "x"})
    wait_for(lambda: site.inbox.count() == 1)
    listener.kill()
    assert site.received() == []
    site.listen()
    assert [entry["key"] for entry in site.wait_for_received(1)] == [item["id"]]


def test_changing_the_debounce_does_not_touch_the_wire(site: Site, directus: DirectusAdmin) -> None:
    row = site.subscribe("calm", debounce=600)
    listener = site.listen()
    row.debounce = 0
    row.save()
    listener.wait_for_line("unsubscribed calm")
    directus.create_item("articles", {"title": "x"})
    assert len(site.wait_for_received(1)) == 1


async def test_the_client_alone_debounces_too(
    directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    url, token = directus_env["DIRECTUS_URL"], directus_env["DIRECTUS_TOKEN"]
    async with DirectusClient(url, token=token) as client:
        calm = await client.subscribe("articles", debounce=1.0)
        shared = await client.subscribe("articles", debounce=1.0, debounce_by="subscription")
        item = directus.create_item("articles", {"title": "0"})
        for number in range(1, 4):
            directus.update_item("articles", item["id"], {"title": str(number)})
        for subscription in (calm, shared):
            event = await anext(aiter(subscription))
            assert (event.action, event.key, event.data["title"]) == ("create", item["id"], "3")
