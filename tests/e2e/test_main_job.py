"""The main job on a real Directus: every change becomes a signal and a group message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from example_project.real_directus import DirectusAdmin
from tests.conftest import RedisServer
from tests.helpers.site import Site, messages
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e


def make_1000_changes(directus: DirectusAdmin, site: Site) -> Counter[str]:
    """Creates, updates and deletes, single and in batches of 150: 1,000 in all.

    Items are deleted once their events have come: a delete makes what is not read yet void.
    """
    batch = directus.create_items("articles", [{"title": f"b{n}"} for n in range(150)])
    keys = [item["id"] for item in batch]
    directus.update_items("articles", keys, {"status": "published"})
    more = directus.create_items("articles", [{"title": f"m{n}"} for n in range(150)])
    directus.update_items("articles", [item["id"] for item in more], {"status": "draft"})
    singles = []
    for number in range(80):
        item = directus.create_item("articles", {"title": f"s{number}"})
        directus.update_item("articles", item["id"], {"title": f"t{number}"})
        singles.append(item)
    site.wait_for_received(760)
    directus.delete_items("articles", keys)
    for item in [*singles, *more[:10]]:
        directus.delete_item("articles", item["id"])
    return Counter(create=380, update=380, delete=240)


@pytest.mark.parametrize("parts", ["sqlite", "postgres-and-redis"])
def test_1000_changes_are_1000_signals_and_1000_group_messages(
    parts: str,
    request: pytest.FixtureRequest,
    make_site: Callable[..., Site],
    directus: DirectusAdmin,
    directus_env: dict[str, str],
) -> None:
    database_url = ""
    if parts == "postgres-and-redis":
        database_url = request.getfixturevalue("postgres_url")
        redis: RedisServer = request.getfixturevalue("redis_server")
        directus_env["REDIS_URL"] = redis.url
    site = make_site(directus_env, database_url)
    site.subscribe(fields=["title"])
    group = site.print_group("directus.articles")
    site.listen()

    wanted = make_1000_changes(directus, site)

    signals = site.wait_for_received(1000)
    wait_for(lambda: len(messages(group)) >= 1000, 30, "1,000 group messages")
    site.wait_for_received(380, "created")
    assert Counter(entry["action"] for entry in signals) == wanted
    assert Counter(message["action"] for message in messages(group)) == wanted
    assert {type(entry["key"]) for entry in signals} == {int}
    assert {type(message["key"]) for message in messages(group)} == {int}
    assert {entry["id"] for entry in signals} == {message["id"] for message in messages(group)}
    assert len({entry["id"] for entry in signals}) == 1000
    assert site.inbox.exclude(state="done").count() == 0


def test_keys_of_a_uuid_collection_are_strings(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe("notes", "notes")
    site.listen()
    note = directus.create_item("notes", {"title": "a"})
    site.wait_for_received(1)
    directus.delete_item("notes", note["id"])
    entries = site.wait_for_received(2)
    assert [entry["key"] for entry in entries] == [note["id"]] * 2
    assert [entry["sender"] for entry in entries] == ["notes"] * 2


def test_events_of_one_item_keep_their_order(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    site.listen()
    item = directus.create_item("articles", {"title": "0"})
    for number in range(1, 30):
        directus.update_item("articles", item["id"], {"title": str(number)})
    site.wait_for_received(30)
    directus.delete_item("articles", item["id"])
    *entries, last = site.wait_for_received(31)
    assert [entry["action"] for entry in entries] == ["create", *["update"] * 29]
    # Each carries the item as it was when the change was read, and that is never older.
    titles = [int(entry["title"]) for entry in entries]
    assert titles == sorted(titles)
    assert (titles[-1], last["action"]) == (29, "delete")
    rows = [entry["activity_id"] for entry in [*entries, last]]
    assert rows == sorted(rows)


def test_a_filtered_subscription_gets_what_matches(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe("published", filter={"status": {"_eq": "published"}}, on_delete=False)
    site.listen()
    directus.create_item("articles", {"title": "no", "status": "draft"})
    directus.create_item("articles", {"title": "yes", "status": "published"})
    directus.create_item("articles", {"title": "also", "status": "published"})
    entries = site.wait_for_received(2)
    assert [entry["title"] for entry in entries] == ["yes", "also"]


def test_a_subscription_to_one_item_sees_its_changes_only(
    site: Site, directus: DirectusAdmin
) -> None:
    one, other = directus.create_items("articles", [{"title": "one"}, {"title": "other"}])
    site.subscribe("one", item=str(one["id"]))
    site.listen()
    directus.update_items("articles", [one["id"], other["id"]], {"status": "x"})
    site.wait_for_received(1)
    directus.delete_items("articles", [other["id"], one["id"]])
    entries = site.wait_for_received(2)
    directus.create_item("articles", {"title": "third"})
    assert [(entry["action"], entry["key"]) for entry in entries] == [
        ("update", one["id"]),
        ("delete", one["id"]),
    ]


def test_sync_and_async_receivers_both_get_every_event(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    site.listen(SAMPLE_ASYNC="1")
    items = directus.create_items("articles", [{"title": str(n)} for n in range(20)])
    site.wait_for_received(20)
    directus.delete_items("articles", [item["id"] for item in items])
    signals = site.wait_for_received(40)
    wanted = [entry["id"] for entry in signals]
    assert sorted(entry["id"] for entry in site.wait_for_received(40, "async")) == sorted(wanted)


def test_what_was_said_on_the_terminal(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    site.subscribe("wrong", "no_such_collection")
    listener = site.listen("-v", "2", ready=False)
    line = listener.wait_for_line("connected to")
    assert "(Directus 11.17.4) as admin" in line
    listener.wait_for_line("subscribed all: articles (create, update, delete)")
    assert "permission to access collection" in listener.wait_for_line("refused wrong:")
    item = directus.create_item("articles", {"title": "x"})
    listener.wait_for_line(f"create articles {item['id']} (all)")
    assert site.env["DIRECTUS_TOKEN"] not in listener.output


def test_quiet_listener_prints_only_what_is_wrong(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    site.subscribe("wrong", "no_such_collection")
    listener = site.listen("-v", "0", ready=False)
    listener.wait_for_line("refused wrong:")
    wait_for(lambda: site.subscriptions.get(name="all").state == "subscribed")
    directus.create_item("articles", {"title": "x"})
    site.wait_for_received(1)
    # On a busy machine, asyncio's debug mode names what took its time.
    said = [line for line in listener.lines if not line.startswith("Executing <")]
    assert len(said) == 1, said


def counted(rows: Any) -> int:
    return sum(row.event_count for row in rows.all())


def test_state_columns_say_what_is_true(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    site.subscribe("wrong", "no_such_collection")
    site.listen(ready=False)
    wait_for(lambda: site.subscriptions.get(name="all").state == "subscribed")
    wait_for(lambda: site.subscriptions.get(name="wrong").state == "refused")
    assert "no_such_collection" in site.subscriptions.get(name="wrong").last_error
    directus.create_items("articles", [{"title": "a"}, {"title": "b"}])
    wait_for(lambda: counted(site.subscriptions) == 2)
    assert site.subscriptions.get(name="all").last_event_at is not None
    status = site.statuses.get()
    assert (status.state, status.version) == ("connected", "11.17.4")


def test_a_limited_token_listens_to_what_it_may_read(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    rule = {"status": {"_eq": "published"}}
    token = directus.create_limited_user(
        [
            {
                "collection": "articles",
                "action": "read",
                "permissions": rule,
                "fields": ["id", "title"],
            }
        ]
    )
    site = make_site({**directus_env, "DIRECTUS_TOKEN": token})
    site.subscribe()
    site.subscribe("notes", "notes")
    listener = site.listen(ready=False)
    listener.wait_for_line("subscribed all:")
    listener.wait_for_line("refused notes: You don't have permission")
    directus.create_item("articles", {"title": "hidden", "status": "draft"})
    seen = directus.create_item("articles", {"title": "seen", "status": "published"})
    site.wait_for_received(1)
    directus.delete_item("articles", seen["id"])
    created, deleted = site.wait_for_received(2)
    assert created["title"] == "seen"
    # The token sees no schema; the type of the key is learnt from the rows.
    assert created["key"] == deleted["key"] == seen["id"]


def test_a_system_collection_is_listened_to(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe("folders", "directus_folders")
    site.listen()
    folder = directus.request("POST", "/folders", {"name": "Pictures"})
    (entry,) = site.wait_for_received(1)
    assert (entry["sender"], entry["key"]) == ("directus_folders", folder["id"])


def test_subscriptions_that_ask_the_same_get_events_of_their_own(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe("one", fields=["title", "status"])
    site.subscribe("two", fields=["status", "title"])
    site.listen()
    directus.create_item("articles", {"title": "x"})
    site.wait_for_received(2)
    site.subscriptions.get(name="one").delete()
    wait_for(lambda: "unsubscribed one" in site.listeners[0].output)
    item = directus.create_item("articles", {"title": "y"})
    directus.update_item("articles", item["id"], {"title": "z"})
    names = [entry["subscription"] for entry in site.wait_for_received(4)]
    assert sorted(names[:2]) == ["one", "two"]
    assert names[2:] == ["two", "two"]
