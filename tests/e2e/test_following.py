"""Changes are found in the activity log, also after an outage, on real servers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from directus_realtime.models import LogPosition
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import ARTICLE_FIELDS, own_postgres
from tests.helpers.flows import create_by_flow, update_by_flow
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e

PUBLISHED = {"status": {"_eq": "published"}}
#: The log is read every second, however much the socket rings.
BEAT = {"DIRECTUS_CATCH_UP_INTERVAL": "1"}


@dataclass(frozen=True)
class OnPostgres:
    """A real Directus on PostgreSQL, and the URL of its database."""

    server: DirectusServer
    database_url: str


@pytest.fixture(scope="module")
def on_postgres() -> Iterator[OnPostgres]:
    with own_postgres() as url, DirectusServer(database=url) as server:
        with server.admin() as admin:
            admin.create_collection("articles", ARTICLE_FIELDS)
        yield OnPostgres(server, url)


@pytest.fixture(params=["sqlite", "postgres"])
def directus_on(request: pytest.FixtureRequest, directus_server: DirectusServer) -> DirectusServer:
    """A real Directus on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return directus_server
    found: OnPostgres = request.getfixturevalue("on_postgres")
    return found.server


def env_of(server: DirectusServer, token: str = "") -> dict[str, str]:
    return {"DIRECTUS_URL": server.url, "DIRECTUS_TOKEN": token or server.admin_token}


def stop(site: Site) -> None:
    """Stop the listener once each subscription is followed, by the log or by the socket."""
    wait_for(lambda: not site.subscriptions.filter(enabled=True, state="waiting").exists())
    listener = site.listeners[-1]
    listener.send_signal(15)
    assert listener.wait() == 0


def told(entries: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(entry["action"], entry["key"]) for entry in entries]


def test_what_changed_while_the_listener_was_away(
    make_site: Callable[..., Site], directus_on: DirectusServer
) -> None:
    """Creates, updates and deletes, each once, as they are now; then live ones as ever."""
    site = make_site(env_of(directus_on))
    site.subscribe()
    site.listen()
    with directus_on.admin() as admin:
        kept, deleted = (
            item["id"] for item in admin.create_items("articles", [{"title": "old"}] * 2)
        )
        site.wait_for_received(2)
        stop(site)
        admin.update_item("articles", kept, {"title": "newer"})
        admin.update_item("articles", kept, {"title": "newest"})
        made = admin.create_item("articles", {"title": "made"})["id"]
        admin.delete_item("articles", deleted)
        gone = admin.create_item("articles", {"title": "gone"})["id"]
        admin.delete_item("articles", gone)
        listener = site.listen()
        entries = site.wait_for_received(7)[2:]
        live = admin.create_item("articles", {"title": "live"})["id"]
        site.wait_for_received(8)
    assert told(entries) == [
        ("update", kept),
        ("update", kept),
        ("create", made),
        ("delete", deleted),
        ("delete", gone),
    ]
    assert {entry["origin"] for entry in entries} == {"catch-up"}
    assert [entry["title"] for entry in entries] == ["newest", "newest", "made", None, None]
    assert all(entry["activity_id"] for entry in entries)
    last = site.received()[-1]
    assert (last["key"], last["origin"]) == (live, "live")
    listener.wait_for_line("5 events caught up, nothing is missing")
    assert site.received("gap") == []  # a short outage that lost nothing


def test_nothing_comes_twice_over_restarts(
    make_site: Callable[..., Site], directus_on: DirectusServer
) -> None:
    """Listeners one after the other go on where the one before was stopped."""
    site = make_site({**env_of(directus_on), **BEAT})
    site.subscribe()
    with directus_on.admin() as admin:
        for number in range(3):
            site.listen()
            admin.create_items("articles", [{"title": f"live {number}"}] * 50)
            site.wait_for_received(number * 100 + 50)
            stop(site)
            admin.create_items("articles", [{"title": f"away {number}"}] * 50)
        site.listen()
        site.wait_for_received(300)
    keys = Counter(entry["key"] for entry in site.received())
    assert set(keys.values()) == {1}
    assert len(set(site.inbox.values_list("activity_id", flat=True))) == 300


def test_kill_9_while_it_catches_up(
    make_site: Callable[..., Site], directus_on: DirectusServer
) -> None:
    """The next one goes on where it was; each change is stored once."""
    site = make_site({**env_of(directus_on), "SAMPLE_SLEEP": "0.002"})
    site.subscribe()
    site.listen()
    stop(site)
    with directus_on.admin() as admin:
        for _ in range(5):
            admin.create_items("articles", [{"title": "x"}] * 300)
    listener = site.listen(ready=False)
    wait_for(lambda: site.inbox.count() > 100)
    listener.kill()
    site.listen()
    wait_for(lambda: site.inbox.filter(state="done").count() == 1500)
    assert site.inbox.count() == 1500
    assert len({entry["key"] for entry in site.received()}) == 1500


def test_a_flow_that_emits_nothing_is_found_by_the_clock(
    site: Site, directus: DirectusAdmin
) -> None:
    item = directus.create_item("articles", {"title": "before"})["id"]
    site.subscribe()
    site.listen(**BEAT)
    create_by_flow(directus, "articles", {"title": "by a flow"})
    update_by_flow(directus, "articles", item, {"title": "again"})
    entries = site.wait_for_received(2)
    assert [(entry["action"], entry["title"]) for entry in entries] == [
        ("create", "by a flow"),
        ("update", "again"),
    ]
    assert {entry["origin"] for entry in entries} == {"live"}


def test_items_in_and_out_of_the_filter_while_away(
    make_site: Callable[..., Site], directus_on: DirectusServer
) -> None:
    """Who left the filter is said; what never was in it is not mentioned."""
    site = make_site(env_of(directus_on))
    site.subscribe("published", filter=PUBLISHED)
    with directus_on.admin() as admin:

        def create(status: str) -> int:
            return int(admin.create_item("articles", {"status": status})["id"])

        leaving, deleted = create("published"), create("published")
        draft, draft_deleted = create("draft"), create("draft")
        site.listen()
        wait_for(lambda: not site.subscriptions.filter(matched_of="").exists())
        stop(site)
        admin.update_item("articles", leaving, {"status": "draft", "title": "left"})
        admin.delete_item("articles", deleted)
        admin.update_item("articles", draft, {"title": "still a draft"})
        admin.delete_item("articles", draft_deleted)
        joining = create("draft")
        admin.update_item("articles", joining, {"status": "published"})
        site.listen()
        mark = create("published")
        entries = site.wait_for_received(5)
    # The create and the update of what joined, both as it is now; order is kept by item.
    assert sorted(told(entries)) == sorted(
        [
            ("update", leaving),
            ("delete", deleted),
            ("create", joining),
            ("update", joining),
            ("create", mark),
        ]
    )
    left = [entry for entry in entries if entry["left_filter"]]
    assert [(entry["key"], entry["title"]) for entry in left] == [(leaving, "left")]
    assert site.inbox.count() == 5


def test_an_item_leaves_the_filter_live(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe("published", filter=PUBLISHED)
    site.listen()
    wait_for(lambda: not site.subscriptions.filter(matched_of="").exists())
    item = directus.create_item("articles", {"status": "published"})["id"]
    site.wait_for_received(1)
    directus.update_item("articles", item, {"status": "draft", "title": "left"})
    site.wait_for_received(2)
    draft = directus.create_item("articles", {"status": "draft"})["id"]
    directus.update_item("articles", draft, {"title": "never in it"})
    directus.delete_item("articles", draft)
    directus.delete_item("articles", item)
    mark = directus.create_item("articles", {"status": "published"})["id"]
    wait_for(lambda: ("create", mark) in told(site.received()))
    entries = site.received()
    assert told(entries) == [("create", item), ("update", item), ("create", mark)]
    assert (entries[1]["left_filter"], entries[1]["title"]) == (True, "left")


def test_a_token_that_may_not_read_the_log(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_server: DirectusServer
) -> None:
    """It is said at the start, in the database and with each gap; live events come."""
    token = directus.create_limited_user(
        [{"collection": "articles", "action": "read", "permissions": {}, "fields": ["*"]}]
    )
    site = make_site(env_of(directus_server, token))
    site.subscribe()
    listener = site.listen()
    listener.wait_for_line("Allow the token to read directus_activity")
    wait_for(LogPosition.objects.using(ALIAS).exclude(read_at=None).exists)
    stop(site)
    directus.create_item("articles", {"title": "missed"})
    listener = site.listen()
    gap = site.wait_for_received(1, "gap")[-1]
    assert (gap["recovered"], gap["collections"]) == (False, ["articles"])
    listener.wait_for_line("0 events caught up, changes of articles may be lost:")
    directus.create_item("articles", {"title": "live"})
    (entry,) = site.wait_for_received(1)
    assert (entry["title"], entry["origin"]) == ("live", "live")


def test_a_collection_without_accountability(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_server: DirectusServer
) -> None:
    """Its live events come; of a gap it is said that something may be missing."""
    name = f"unlogged_{time.monotonic_ns()}"
    directus.create_collection(name, {"title": "string"})
    directus.request("PATCH", f"/collections/{name}", {"meta": {"accountability": None}})
    site = make_site({**env_of(directus_server), **BEAT})
    site.subscribe("unlogged", name)
    site.listen()
    directus.create_item(name, {"title": "live"})
    site.wait_for_received(1)
    stop(site)
    directus.create_item(name, {"title": "missed"})
    listener = site.listen()
    gap = site.wait_for_received(1, "gap")[-1]
    assert (gap["recovered"], gap["collections"]) == (False, [name])
    listener.wait_for_line(f"Directus does not log the changes of {name}")
    directus.create_item(name, {"title": "live again"})
    entries = site.wait_for_received(2)
    assert [entry["title"] for entry in entries] == ["live", "live again"]


def test_a_log_that_was_pruned(make_site: Callable[..., Site], on_postgres: OnPostgres) -> None:
    site = make_site(env_of(on_postgres.server))
    site.subscribe()
    site.listen()
    stop(site)
    with on_postgres.server.admin() as admin:
        admin.create_item("articles", {"title": "missed"})
        with psycopg.connect(on_postgres.database_url) as database:
            database.execute("DELETE FROM directus_activity")
        admin.create_item("articles", {"title": "found"})
    listener = site.listen()
    gap = site.wait_for_received(1, "gap")[-1]
    (entry,) = site.wait_for_received(1)
    assert gap["recovered"] is False
    listener.wait_for_line("the activity log was pruned beyond the last row that was read")
    assert entry["title"] == "found"


def test_a_subscription_that_was_refused_meanwhile_misses_nothing(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_server: DirectusServer
) -> None:
    """What changed while the token had lost the right comes when it has it again."""
    read = {"action": "read", "permissions": {}, "fields": ["*"]}
    token = directus.create_limited_user(
        [
            {"collection": "articles", **read},
            {"collection": "directus_activity", **read},
            {"collection": "directus_collections", **read},
        ]
    )
    site = make_site({**env_of(directus_server, token), **BEAT})
    site.subscribe()
    site.listen()
    stop(site)
    query = {"filter": '{"collection":{"_eq":"articles"}}', "limit": "-1"}
    found = directus.request("GET", "/permissions", params=query)
    # Directus mixes permissions of its own in, which have no id.
    permission = max((each for each in found if each.get("id")), key=lambda each: each["id"])
    directus.request("DELETE", f"/permissions/{permission['id']}")
    listener = site.listen(ready=False)
    listener.wait_for_line("refused all")
    made = directus.create_item("articles", {"title": "meanwhile"})["id"]
    directus.request(
        "POST", "/permissions", {"policy": permission["policy"], "collection": "articles", **read}
    )
    (entry,) = site.wait_for_received(1)
    assert (entry["key"], entry["origin"]) == (made, "catch-up")


def test_a_subscription_made_later_has_no_past(site: Site, directus: DirectusAdmin) -> None:
    directus.create_item("articles", {"title": "before"})
    site.subscribe()
    site.listen(**BEAT)
    stop(site)
    site.subscribe("another")
    site.listen(**BEAT)
    made = directus.create_item("articles", {"title": "after"})["id"]
    entries = site.wait_for_received(2)
    assert {entry["key"] for entry in entries} == {made}
