"""``directus_check`` on a real Directus."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import running_directus
from tests.helpers.process import Process
from tests.helpers.site import Site

pytestmark = pytest.mark.e2e


def check_of(site: Site, *arguments: str) -> Process:
    """The command as people run it: asyncio's own remarks on slow machines are not in between."""
    return site.start("directus_check", *arguments, PYTHONDEVMODE="")


def run(process: Process) -> int:
    return process.wait()


def test_a_site_where_all_works(site: Site, directus_server: DirectusServer) -> None:
    site.subscribe()
    check = check_of(site)
    assert run(check) == 0
    assert check.lines == [
        f"default  {directus_server.url}",
        f"  connection    ok, as {directus_server.admin_email}",
        "  Directus      11.17.4",
        "  WebSocket     open, /websocket, handshake mode",
        "  heartbeat     30 s",
        "  query limit   none",
        "  activity log  may read all of it",
        "                it reaches back 0 days; changes of a longer outage are lost "
        "(ACTIVITY_RETENTION of Directus)",
        "  subscription  all (articles): ok, from the activity log, key id (integer)",
    ]


def test_the_same_as_json(site: Site, directus_server: DirectusServer) -> None:
    site.subscribe()
    site.subscribe("wrong", fields=["no_such_field"])
    check = check_of(site, "--json")
    assert run(check) == 1
    (report,) = json.loads(check.output)
    subscriptions, log = report.pop("subscriptions"), report.pop("log")
    assert report == {
        "alias": "default",
        "url": directus_server.url,
        "ok": False,
        "reason": "",
        "identity": directus_server.admin_email,
        "server": {
            "version": "11.17.4",
            "websocket_path": "/websocket",
            "auth_mode": "handshake",
            "heartbeat": 30,
            "query_limit": -1,
        },
        "socket_problem": "",
        "poll_interval": 1.0,
        "lets_search_through": True,
        "cache_lifetime": 0.0,
        "clock_ahead": 0,
    }
    assert (log.pop("days"), log.pop("oldest_change")) != (None, None)
    assert log == {"access": "full", "problem": "", "reads_user": True}
    assert [(entry["name"], entry["ok"]) for entry in subscriptions] == [
        ("all", True),
        ("wrong", False),
    ]
    assert subscriptions[0]["accountability"] == "all"
    assert (subscriptions[0]["source"], subscriptions[0]["primary_key"]) == ("log", "id (integer)")
    assert subscriptions[1]["reason"].startswith(
        "refused: You don't have permission to access field"
    )


def test_what_the_activity_log_has_not_and_what_directus_does_not_send(
    site: Site, directus: DirectusAdmin
) -> None:
    directus.create_collection("unlogged", {"title": "string"})
    directus.request("PATCH", "/collections/unlogged", {"meta": {"accountability": None}})
    try:
        site.subscribe("quiet", collection="unlogged")
        site.subscribe("fields", collection="directus_fields")
        check = check_of(site)
        assert run(check) == 0
    finally:
        directus.delete_collection("unlogged")
    quiet = check.lines.index("  subscription  quiet (unlogged): ok, socket only, key id (integer)")
    assert check.lines[quiet + 1].strip() == (
        "Its accountability is off, so the activity log has no changes of it. It is socket only: "
        "what the WebSocket does not bring is lost."
    )
    assert "Directus sends no create and no update of a field, only deletes." in check.output


def test_a_ca_file_that_is_not_there(
    make_site: Callable[..., Site], directus_env: dict[str, str]
) -> None:
    check = check_of(make_site({**directus_env, "DIRECTUS_CA_FILE": "/no/such/file"}))
    assert run(check) == 1
    assert "CA_FILE '/no/such/file' of 'default' cannot be used" in check.output
    assert "Traceback" not in check.output


def test_a_refused_subscription_is_named_with_the_reason(site: Site) -> None:
    site.subscribe()
    site.subscribe("wrong", fields=["no_such_field"])
    check = check_of(site)
    assert run(check) == 1
    assert "all (articles): ok" in check.output
    assert (
        "wrong (articles): refused: You don't have permission to access field \"no" in check.output
    )


def test_a_token_that_may_read_little(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    rights = {"collection": "articles", "action": "read", "permissions": {}, "fields": ["*"]}
    token = directus.create_limited_user([rights])
    site = make_site({**directus_env, "DIRECTUS_TOKEN": token})
    site.subscribe()
    check = check_of(site, "--json")
    assert run(check) == 0
    (report,) = json.loads(check.output)
    assert report["log"]["access"] == "none"
    assert report["log"]["problem"] == "The token may not read directus_activity."
    (entry,) = report["subscriptions"]
    assert (entry["ok"], entry["reason"], entry["accountability"]) == (True, "", "unknown")
    assert entry["source"] == "socket"
    assert entry["notes"] == ["It is socket only: what the WebSocket does not bring is lost."]
    assert token not in check.output


def test_a_refused_token(make_site: Callable[..., Site], directus_env: dict[str, str]) -> None:
    site = make_site({**directus_env, "DIRECTUS_TOKEN": "wrong-token"})
    check = check_of(site)
    assert run(check) == 1
    assert "refused the credentials" in check.output
    assert "wrong-token" not in check.output


def test_a_log_with_a_field_that_is_needed_and_may_not_be_read(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    read = {"action": "read", "permissions": {}}
    rights = [
        {"collection": "articles", **read, "fields": ["*"]},
        {"collection": "directus_activity", **read, "fields": ["id", "action", "collection"]},
    ]
    token = directus.create_limited_user(rights)
    site = make_site({**directus_env, "DIRECTUS_TOKEN": token})
    site.subscribe()
    check = check_of(site)
    assert run(check) == 0
    assert "The token may not read item, timestamp of directus_activity." in check.output
    assert "all (articles): ok, socket only" in check.output
    listener = site.listen()
    listener.wait_for_line("The token may not read item, timestamp of directus_activity")


def test_items_that_a_rule_hides(
    make_site: Callable[..., Site], directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    read = {"action": "read", "fields": ["*"]}
    token = directus.create_limited_user(
        [
            {"collection": "articles", **read, "permissions": {"status": {"_eq": "x"}}},
            {"collection": "directus_activity", **read, "permissions": {}},
            {"collection": "directus_collections", **read, "permissions": {}},
        ]
    )
    site = make_site({**directus_env, "DIRECTUS_TOKEN": token})
    site.subscribe()
    check = check_of(site)
    assert run(check) == 0
    assert "A rule hides items of it from the token" in check.output


def test_a_server_with_everything_switched_off(make_site: Callable[..., Site]) -> None:
    """No WebSocket is no error where the log can be read; without both nothing is received."""
    with running_directus(WEBSOCKETS_ENABLED="false", CACHE_ENABLED="true") as server:
        site = make_site({"DIRECTUS_URL": server.url, "DIRECTUS_TOKEN": server.admin_token})
        site.subscribe()
        check = check_of(site)
        assert run(check) == 0
        assert "WebSocket     none, so changes are found within 1 s: " in check.output
        assert "Directus answers GET up to 300 s late" in check.output
        assert "SEARCH" not in check.output
        rights = {"collection": "articles", "action": "read", "permissions": {}, "fields": ["*"]}
        with server.admin() as admin:
            token = admin.create_limited_user([rights])
        check = site.start("directus_check", PYTHONDEVMODE="", DIRECTUS_TOKEN=token)
        assert run(check) == 1
        assert "all (articles): Nothing is received" in check.output


def test_a_socket_without_a_heartbeat(make_site: Callable[..., Site]) -> None:
    with running_directus(WEBSOCKETS_HEARTBEAT_ENABLED="false") as server:
        site = make_site({"DIRECTUS_URL": server.url, "DIRECTUS_TOKEN": server.admin_token})
        check = check_of(site)
        assert run(check) == 0
        assert "  heartbeat     off; " in check.output
