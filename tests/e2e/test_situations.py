"""Situations in which listeners of Directus have gone wrong, on real servers.

In each, the last event of every item is what the item is, every change in the activity log made
one event, and no loss is announced that is none.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from directus_realtime.models import ParkedChange, ParkedState
from example_project.real_directus import DirectusAdmin, DirectusServer
from example_project.real_directus.directus_admin import DirectusAdminError
from example_project.real_directus.npm import is_installed
from tests.conftest import own_database, running_directus
from tests.helpers.site import ALIAS, Site
from tests.helpers.truth import Truth, assert_nothing_doubted
from tests.helpers.waiting import wait_for
from tests.helpers.writes import (
    OpenTransaction,
    create_unlogged,
    delete_unlogged,
    described,
    update_unlogged,
)

pytestmark = [pytest.mark.e2e, pytest.mark.postgres]

#: The log is read every second, however much the socket rings.
BEAT = {"DIRECTUS_CATCH_UP_INTERVAL": "1"}
FIELDS = {"title": "string", "status": "string", "n": "integer", "at": "timestamp"}


@dataclass
class Lab:
    """A real Directus, and sites that follow it."""

    server: DirectusServer
    admin: DirectusAdmin
    make_site: Callable[..., Site]

    def collection(self, primary_key_type: str = "integer", **fields: Any) -> str:
        """Make a collection of its own."""
        name = f"c_{uuid.uuid4().hex[:10]}"
        self.admin.create_collection(name, {**FIELDS, **fields}, primary_key_type)
        return name

    def items(self, collection: str, count: int) -> list[Any]:
        """Create items and return their keys."""
        made = self.admin.create_items(collection, [{"title": "old"}] * count)
        return [item["id"] for item in made]

    def follow(
        self, collection: str, env: dict[str, str] | None = None, token: str = "", **fields: Any
    ) -> Site:
        """Start a listener with one subscription, and wait until it has begun."""
        environment = {
            "DIRECTUS_URL": self.server.url,
            "DIRECTUS_TOKEN": token or self.server.admin_token,
            **(env or {}),
        }
        site = self.make_site(environment)
        site.subscribe("all", collection, **fields)
        site.listen()
        wait_for(lambda: site.subscriptions.get().followed_from is not None)
        return site

    def patch_list(self, collection: str, objects: list[dict[str, Any]]) -> None:
        """Change several items in one request, each in its own way."""
        self.admin.request("PATCH", f"/items/{collection}", objects)

    def send_file(self, method: str, path: str, name: str, content: bytes) -> Any:
        """Send a file."""
        answer = httpx.request(
            method,
            f"{self.server.url}{path}",
            headers={"Authorization": f"Bearer {self.server.admin_token}"},
            files={"file": (name, content, "text/plain")},
            timeout=60,
        )
        assert answer.is_success, answer.text
        return answer.json()["data"] if answer.content else None


def stop(site: Site) -> None:
    """Stop the listener."""
    listener = site.listeners[-1]
    listener.send_signal(15)
    assert listener.wait() == 0


@pytest.fixture
def lab(directus_pg: DirectusServer, make_site: Callable[..., Site]) -> Iterator[Lab]:
    """On PostgreSQL, where transactions overlap and commit late."""
    with directus_pg.admin() as admin:
        yield Lab(directus_pg, admin, make_site)


@pytest.fixture
def own_lab(make_site: Callable[..., Site]) -> Iterator[Callable[..., Lab]]:
    """Make a lab on a server of its own, with other settings or of another version."""
    with ExitStack() as stack:

        def make(kind: str = "postgres", version: str = "11.17.4", **env: str) -> Lab:
            url = stack.enter_context(own_database(kind))
            server = stack.enter_context(running_directus(url, version, **env))
            return Lab(server, stack.enter_context(server.admin()), make_site)

        yield make


# Writes whose events come before their commit


@pytest.mark.parametrize("count", [60, 600])
def test_a_patch_with_a_list(lab: Lab, count: int) -> None:
    _patch_a_list(lab, count)


def test_a_patch_with_a_list_on_mariadb(
    directus_mariadb: DirectusServer, make_site: Callable[..., Site]
) -> None:
    with directus_mariadb.admin() as admin:
        _patch_a_list(Lab(directus_mariadb, admin, make_site), 60)


@pytest.mark.skipif(
    not is_installed("12.4.1"), reason="Directus 12.4.1, which make test-contract installs"
)
@pytest.mark.parametrize("count", [60, 600])
def test_a_patch_with_a_list_on_directus_12(own_lab: Callable[..., Lab], count: int) -> None:
    _patch_a_list(own_lab(version="12.4.1"), count)


def _patch_a_list(lab: Lab, count: int) -> None:
    collection = lab.collection()
    keys = lab.items(collection, count)
    site = lab.follow(collection)
    lab.patch_list(collection, [{"id": key, "title": f"new {key}"} for key in keys])
    truth = Truth(site, lab.admin)
    truth.settle()
    # A list that takes Directus longer than rings wait may make one harmless event more of each.
    logged = [event for event in truth.events() if event["activity_id"] is not None]
    assert len(logged) == count
    assert {event["origin"] for event in logged} == {"live"}
    assert_nothing_doubted(site)


def test_a_list_that_moves_items_in_and_out_of_a_filter(lab: Lab) -> None:
    collection = lab.collection()
    inside = [{"title": "old", "status": "on"}] * 30
    made = lab.admin.create_items(collection, [*inside, *([{"status": "off"}] * 30)])
    keys = [item["id"] for item in made]
    leaving, staying, joining, outside = (keys[start : start + 15] for start in range(0, 60, 15))
    site = lab.follow(collection, filter={"status": {"_eq": "on"}})
    wait_for(lambda: not site.subscriptions.filter(matched_of="").exists())
    status = {**dict.fromkeys(leaving + outside, "off"), **dict.fromkeys(staying + joining, "on")}
    changes = [{"id": key, "title": "new", "status": status[key]} for key in sorted(status)]
    lab.patch_list(collection, changes)
    mark = lab.admin.create_item(collection, {"status": "on"})["id"]
    wait_for(lambda: site.inbox.filter(key_json=str(mark), state="done").exists())
    wait_for(lambda: site.inbox.count() >= 46)
    found = {
        json.loads(key): (left, json.loads(data)["title"])
        for key, left, data in site.inbox.order_by("id").values_list(
            "key_json", "left_filter", "data_json"
        )
    }
    assert found == {
        **dict.fromkeys(leaving, (True, "new")),
        **dict.fromkeys(staying + joining, (False, "new")),
        mark: (False, None),
    }
    assert site.inbox.count() == 46
    assert_nothing_doubted(site)


def test_a_batch_of_graphql(lab: Lab) -> None:
    collection = lab.collection()
    keys = lab.items(collection, 20)
    site = lab.follow(collection)
    name = f"update_{collection}"
    batch = f"mutation($data: [{name}_input!]) {{ {name}_batch(data: $data) {{ id }} }}"
    data = [{"id": key, "title": f"new {key}"} for key in keys]
    body = {"query": batch, "variables": {"data": data}}
    assert len(lab.admin.request("POST", "/graphql", body)[f"{name}_batch"]) == 20
    truth = Truth(site, lab.admin)
    truth.settle()
    assert len(truth.events()) == 20


def test_imports(lab: Lab) -> None:
    """New items and changed ones, in files of 1, 5 and 50 rows."""
    collection = lab.collection()
    keys = lab.items(collection, 56)
    site = lab.follow(collection)
    for count in (1, 5, 50):
        changed = [{"id": keys.pop(), "title": "imported"} for _ in range(count)]
        rows = [*changed, *({"title": f"made {number}"} for number in range(count))]
        answer = httpx.post(
            f"{lab.server.url}/utils/import/{collection}",
            headers={"Authorization": f"Bearer {lab.server.admin_token}"},
            files={"file": ("rows.json", json.dumps(rows).encode(), "application/json")},
            timeout=60,
        )
        assert answer.is_success, answer.text
    truth = Truth(site, lab.admin)
    truth.settle()
    assert len(truth.events()) == 112
    assert_nothing_doubted(site)


def test_a_list_that_is_rolled_back_changes_nothing(lab: Lab) -> None:
    collection = lab.collection()
    site = lab.follow(collection)
    first, second, other = lab.items(collection, 3)
    truth = Truth(site, lab.admin)
    truth.settle()
    with pytest.raises(DirectusAdminError):
        lab.patch_list(
            collection, [{"id": first, "title": "never"}, {"id": second, "n": "no number"}]
        )
    # A ring without a row that came later is answered later.
    update_unlogged(lab.admin, collection, [other], {"title": "unlogged"})
    wait_for(truth.unlogged, 90)
    assert [event["key_json"] for event in truth.unlogged()] == [str(other)]
    truth.settle()
    assert len(truth.events()) == 4
    assert_nothing_doubted(site)


# Transactions


@pytest.mark.parametrize("emit", [True, False], ids=["rung", "silent"])
def test_rows_of_a_transaction_that_commits_late(lab: Lab, emit: bool) -> None:
    collection = lab.collection()
    key, gone = lab.items(collection, 2)
    site = lab.follow(collection, BEAT)
    truth = Truth(site, lab.admin)
    writes = [
        described(collection, "update", keys=[key], payload={"title": "late"}, emit=emit),
        described(collection, "delete", keys=[gone], emit=emit),
        described(collection, "create", payload=[{"title": "late"}] * 5, emit=emit),
    ]
    with OpenTransaction(lab.admin, *writes) as transaction:
        lab.items(collection, 3)
        truth.settle()
        assert len(truth.events()) == 3
        transaction.commit()
    truth.settle()
    assert len(truth.events()) == 10
    assert_nothing_doubted(site)


def test_a_transaction_that_commits_while_no_listener_runs(lab: Lab) -> None:
    collection = lab.collection()
    site = lab.follow(collection, BEAT)
    truth = Truth(site, lab.admin)
    items = [{"title": "late"}] * 5
    with OpenTransaction(lab.admin, described(collection, "create", payload=items)) as transaction:
        lab.items(collection, 3)
        truth.settle()
        stop(site)
        transaction.commit()
    lab.items(collection, 2)
    site.listen()
    truth.settle()
    assert len(truth.events()) == 10
    assert_nothing_doubted(site)


def test_a_transaction_that_began_before_the_first_listener(lab: Lab) -> None:
    """A subscription begins at the end of the log, and open transactions are after it."""
    collection = lab.collection()
    write = described(collection, "create", payload={"title": "late"})
    with OpenTransaction(lab.admin, write) as transaction:
        lab.items(collection, 1)
        site = lab.follow(collection, BEAT)
        transaction.commit()
        (key,) = transaction.keys[0]
        wait_for(site.inbox.exists)
    assert [event["key_json"] for event in Truth(site, lab.admin).events()] == [str(key)]


# Changes without a row


def test_changes_that_directus_does_not_log(lab: Lab) -> None:
    collection = lab.collection()
    changed, deleted = lab.items(collection, 2)
    site = lab.follow(collection)
    truth = Truth(site, lab.admin)
    update_unlogged(lab.admin, collection, [changed], {"title": "unlogged"})
    delete_unlogged(lab.admin, collection, [deleted])
    (made,) = create_unlogged(lab.admin, collection, [{"title": "made"}])
    wait_for(lambda: len(truth.unlogged()) >= 3, 90)
    truth.settle()
    actions = {event["key_json"]: event["action"] for event in truth.unlogged()}
    assert actions == {str(changed): "update", str(deleted): "delete", str(made): "update"}
    assert len(truth.events()) == 3
    assert_nothing_doubted(site)


def test_a_file_that_is_uploaded_and_replaced(lab: Lab) -> None:
    fields = ["id", "title", "filename_download", "filesize", "type"]
    site = lab.follow("directus_files", fields=fields)
    truth = Truth(site, lab.admin)
    file = lab.send_file("POST", "/files", "a.txt", b"hello")
    wait_for(lambda: _last_size(truth, file["id"]) == 5, 90)
    lab.send_file("PATCH", f"/files/{file['id']}", "b.txt", b"hello, longer")
    wait_for(lambda: _last_size(truth, file["id"]) == 13, 90)
    truth.settle()
    assert [event["action"] for event in truth.events()].count("create") == 1
    assert_nothing_doubted(site)


def _last_size(truth: Truth, key: str) -> int | None:
    event = truth.last_events().get(key)
    return int(json.loads(event["data_json"])["filesize"] or 0) if event else None


def test_items_that_are_sorted(lab: Lab) -> None:
    """Directus logs nothing of it, and announces the moved item alone."""
    collection = lab.collection(sort="integer")
    lab.admin.request("PATCH", f"/collections/{collection}", {"meta": {"sort_field": "sort"}})
    keys = lab.items(collection, 4)
    for number, key in enumerate(keys, 1):
        lab.admin.update_item(collection, key, {"sort": number})
    site = lab.follow(collection)
    truth = Truth(site, lab.admin)
    lab.admin.request("POST", f"/utils/sort/{collection}", {"item": keys[0], "to": keys[3]})
    wait_for(truth.unlogged, 90)
    truth.settle()
    events = [(event["action"], event["key_json"]) for event in truth.events()]
    assert events == [("update", str(keys[0]))]


SYSTEM_ITEMS: dict[str, dict[str, Any]] = {
    "users": {"first_name": "old"},
    "roles": {"name": "old"},
    "flows": {"name": "old", "trigger": "manual"},
    "dashboards": {"name": "old"},
    "folders": {"name": "old"},
    "translations": {"key": "old", "language": "en-US", "value": "x"},
}


@pytest.mark.parametrize("name", SYSTEM_ITEMS)
def test_system_collections(lab: Lab, name: str) -> None:
    """SEARCH of some of them ignores keys, and answers with all items."""
    data = SYSTEM_ITEMS[name]
    field = next(iter(data))
    site = lab.follow(f"directus_{name}", fields=["id", field])
    truth = Truth(site, lab.admin)
    first, second = (
        lab.admin.request("POST", f"/{name}", {**data, field: text})["id"]
        for text in (f"a {uuid.uuid4().hex[:6]}", f"b {uuid.uuid4().hex[:6]}")
    )
    truth.settle()
    lab.admin.request("PATCH", f"/{name}/{first}", {field: "new"})
    truth.settle()
    lab.admin.request("DELETE", f"/{name}/{second}")
    truth.settle()
    found = [(event["action"], json.loads(event["key_json"])) for event in truth.events()]
    expected = [("create", first), ("create", second), ("update", first), ("delete", second)]
    assert found == expected
    lab.admin.request("DELETE", f"/{name}/{first}")
    assert_nothing_doubted(site)


def test_children_that_a_cascade_deletes(lab: Lab) -> None:
    """Those whose create is in the log and that were never seen are unexplained, never made up."""
    parents = lab.collection()
    children = lab.collection(parent="integer")
    relation = {"collection": children, "field": "parent", "related_collection": parents}
    lab.admin.request("POST", "/relations", {**relation, "schema": {"on_delete": "CASCADE"}})
    (parent,) = lab.items(parents, 1)
    site = lab.follow(children, {**BEAT, "DIRECTUS_HOLE_AGE": "2"})
    truth = Truth(site, lab.admin)
    seen = lab.admin.create_item(children, {"parent": parent})["id"]
    truth.settle()
    stop(site)
    unseen = lab.admin.create_item(children, {"parent": parent})["id"]
    lab.admin.delete_item(parents, parent)
    (kept,) = lab.items(children, 1)
    site.listen()
    parked = ParkedChange.objects.using(ALIAS)
    wait_for(lambda: parked.filter(state=ParkedState.UNEXPLAINED).exists())
    assert [each.key_json for each in parked.all()] == [str(unseen)]
    events = [(event["action"], event["key_json"]) for event in truth.events()]
    assert events == [("create", str(seen)), ("create", str(kept))]
    status = site.start("directus_status")
    assert status.wait() == 1
    assert "1 logged change is unexplained" in status.output


# Keys


def test_integer_keys_in_odd_spellings(lab: Lab) -> None:
    collection = lab.collection()
    keys = lab.items(collection, 6)
    site = lab.follow(collection)
    admin, path = lab.admin, f"/items/{collection}"
    for number, spelled in enumerate((f"00{keys[0]}", f" {keys[1]} ", f"+{keys[2]}")):
        admin.request("PATCH", f"{path}/{quote(spelled)}", {"n": number})
    admin.request("PATCH", path, {"keys": [f"0{keys[3]}", str(keys[4])], "data": {"n": 9}})
    admin.request("DELETE", path, [f"0{keys[5]}"])
    truth = Truth(site, admin, canonical=lambda key: str(int(key)))
    truth.settle()
    found = [(event["action"], json.loads(event["key_json"])) for event in truth.events()]
    assert sorted(found) == sorted([("update", key) for key in keys[:5]] + [("delete", keys[5])])
    assert truth.unlogged() == []
    assert_nothing_doubted(site)


def test_uuid_keys_in_upper_case(lab: Lab) -> None:
    collection = lab.collection("uuid")
    changed, deleted = lab.items(collection, 2)
    site = lab.follow(collection)
    lab.admin.update_item(collection, changed.upper(), {"title": "new"})
    lab.admin.delete_items(collection, [deleted.upper()])
    truth = Truth(site, lab.admin, canonical=lambda key: str(key).lower())
    truth.settle()
    found = {(event["action"], json.loads(event["key_json"])) for event in truth.events()}
    assert found == {("update", changed), ("delete", deleted)}
    assert len(truth.events()) == 2


def test_big_keys(lab: Lab) -> None:
    collection = lab.collection("bigInteger")
    site = lab.follow(collection)
    keys = [str(2**53 + 1), str(2**63 - 1)]
    lab.admin.create_items(collection, [{"id": key, "title": "old"} for key in keys])
    lab.admin.update_item(collection, keys[0], {"title": "new"})
    lab.admin.delete_item(collection, keys[1])
    truth = Truth(site, lab.admin)
    truth.settle()
    assert {event["key_json"] for event in truth.events()} == set(keys)
    assert_nothing_doubted(site)


def test_text_keys_that_look_like_something_else(lab: Lab) -> None:
    collection = lab.collection("string")
    site = lab.follow(collection)
    keys = ["$NOW", "$CURRENT_USER", "true", "null", "a,b", "a/b", "42", " a ", "été"]
    lab.admin.create_items(collection, [{"id": key, "title": "old"} for key in keys])
    truth = Truth(site, lab.admin)
    truth.settle()
    assert {json.loads(event["key_json"]) for event in truth.events()} == set(keys)
    for key in keys:
        path = f"/items/{collection}/{quote(key, safe='')}"
        lab.admin.request("PATCH", path, {"title": f"new {key}"})
    truth.settle()
    lab.admin.delete_items(collection, keys)
    truth.settle()
    assert {event["action"] for event in truth.last_events().values()} == {"delete"}
    assert len(truth.last_events()) == len(keys)
    assert_nothing_doubted(site)


def test_an_item_that_directus_cannot_read_holds_up_no_other(lab: Lab) -> None:
    collection = lab.collection()
    keys = lab.items(collection, 5)
    site = lab.follow(collection, BEAT)
    truth = Truth(site, lab.admin)
    stop(site)
    lab.admin.update_items(collection, keys, {"title": "new"})
    _execute(lab, f"UPDATE {collection} SET at = 'infinity' WHERE id = {keys[2]}")
    site.listen()
    wait_for(lambda: len(truth.events()) == 4)
    (parked,) = ParkedChange.objects.using(ALIAS).all()
    assert parked.key_json == str(keys[2])
    assert "cannot be read" in parked.reason
    _execute(lab, f"UPDATE {collection} SET at = NULL WHERE id = {keys[2]}")
    truth.settle()
    assert len(truth.events()) == 5
    assert not ParkedChange.objects.using(ALIAS).exists()


def _execute(lab: Lab, statement: str) -> None:
    with psycopg.connect(lab.server.database) as database:
        database.execute(statement.encode())


# Settings of the server


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"WEBSOCKETS_ENABLED": "false"}, id="without websockets"),
        pytest.param({"WEBSOCKETS_HEARTBEAT_ENABLED": "false"}, id="without a heartbeat"),
        pytest.param({"CACHE_ENABLED": "true"}, id="with a cache"),
        pytest.param({"QUERY_LIMIT_MAX": "50"}, id="with a limit"),
        pytest.param(
            {
                "RATE_LIMITER_ENABLED": "true",
                "RATE_LIMITER_POINTS": "15",
                "RATE_LIMITER_DURATION": "1",
            },
            id="with a rate limiter",
        ),
    ],
)
def test_everything_under_other_settings(own_lab: Callable[..., Lab], env: dict[str, str]) -> None:
    lab = own_lab(**env)
    collection = lab.collection()
    keys = lab.items(collection, 90)
    site = lab.follow(collection, {"DIRECTUS_PING_INTERVAL": "1", "DIRECTUS_PONG_TIMEOUT": "1"})
    truth = Truth(site, lab.admin, page=int(env.get("QUERY_LIMIT_MAX", -1)))
    for title in ("first", "second"):
        lab.patch_list(collection, [{"id": key, "title": f"{title} {key}"} for key in keys])
        lab.admin.delete_items(collection, [keys.pop() for _ in range(5)])
        lab.items(collection, 5)
        truth.settle()
    stop(site)
    lab.patch_list(collection, [{"id": key, "title": f"third {key}"} for key in keys])
    site.listen()
    truth.settle()
    assert_nothing_doubted(site)
    assert [entry["state"] for entry in site.received("connection")].count("reconnecting") == 0


def test_a_server_without_websockets_says_what_delay_to_expect(
    own_lab: Callable[..., Lab],
) -> None:
    lab = own_lab("sqlite", WEBSOCKETS_ENABLED="false")
    collection = lab.collection()
    site = lab.follow(collection)
    line = site.listeners[-1].wait_for_line("no WebSocket, so the activity log is read every 1 s")
    assert "WEBSOCKETS_ENABLED=true" in line
    lab.items(collection, 1)
    Truth(site, lab.admin).settle()
    status = site.start("directus_status")
    assert status.wait() == 0, status.output


# Rights, schema and time


def test_a_user_who_is_suspended_is_not_healthy(lab: Lab) -> None:
    email = f"listener-{uuid.uuid4().hex[:8]}@example.com"
    policy = {"name": email, "admin_access": True, "app_access": False}
    token = lab.admin.create_user([policy], email=email)
    (user,) = lab.admin.request("GET", "/users", params={"filter[email][_eq]": email})
    collection = lab.collection()
    site = lab.follow(collection, BEAT, token)
    lab.admin.request("PATCH", f"/users/{user['id']}", {"status": "suspended"})
    wait_for(lambda: not site.statuses.filter(state="connected").exists())
    status = site.start("directus_status")
    assert status.wait() == 1
    assert "failed" in status.output.lower()
    (key,) = lab.items(collection, 1)
    lab.admin.request("PATCH", f"/users/{user['id']}", {"status": "active"})
    truth = Truth(site, lab.admin)
    truth.settle()
    assert [event["key_json"] for event in truth.events()] == [str(key)]
    wait_for(lambda: site.start("directus_status").wait() == 0)
    assert_nothing_doubted(site)


def test_a_collection_that_is_made_again_with_another_key(lab: Lab) -> None:
    collection = lab.collection()
    site = lab.follow(collection, BEAT)
    truth = Truth(site, lab.admin)
    lab.items(collection, 1)
    truth.settle()
    lab.admin.delete_collection(collection)
    lab.admin.create_collection(collection, FIELDS, "string")
    lab.admin.create_item(collection, {"id": "A1", "title": "one"})
    lab.admin.update_item(collection, "A1", {"title": "two"})
    wait_for(lambda: "A1" in truth.last_events())
    wait_for(lambda: len(truth.events()) == 3)
    last = truth.last_events()["A1"]
    assert (last["action"], json.loads(last["data_json"])["title"]) == ("update", "two")


def test_a_filter_with_now(lab: Lab) -> None:
    """It is decided when an item is read, not when the subscription began."""
    collection = lab.collection()
    site = lab.follow(collection, filter={"at": {"_lte": "$NOW"}})
    early, late = (
        lab.admin.create_item(collection, {"at": at})["id"]
        for at in ("2000-01-01T00:00:00Z", "2999-01-01T00:00:00Z")
    )
    now = _now_of(lab)
    current = lab.admin.create_item(collection, {"at": now})["id"]
    wait_for(lambda: site.inbox.count() >= 2)
    lab.admin.update_item(collection, late, {"at": now})
    wait_for(lambda: site.inbox.count() >= 3)
    events = [(e["action"], json.loads(e["key_json"])) for e in Truth(site, lab.admin).events()]
    assert events == [("create", early), ("create", current), ("update", late)]
    assert_nothing_doubted(site)


def _now_of(lab: Lab) -> str:
    """The time of the database, one second ago."""
    with psycopg.connect(lab.server.database) as database:
        row = database.execute("SELECT now() - interval '1 second'").fetchone()
    assert row is not None
    return str(row[0].isoformat())
