"""``directus_check`` on a real Directus."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from directus_realtime.testing import DirectusAdmin, DirectusServer
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
        "  WebSocket     /websocket, handshake authentication",
        "  heartbeat     30 s",
        "  query limit   none",
        "  activity log  may read all of it",
        "  subscription  all (articles): ok",
    ]


def test_the_same_as_json(site: Site, directus_server: DirectusServer) -> None:
    site.subscribe()
    site.subscribe("wrong", fields=["no_such_field"])
    check = check_of(site, "--json")
    assert run(check) == 1
    (report,) = json.loads(check.output)
    subscriptions = report.pop("subscriptions")
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
        "activity": "full",
    }
    assert [(entry["name"], entry["ok"]) for entry in subscriptions] == [
        ("all", True),
        ("wrong", False),
    ]
    assert subscriptions[0]["accountability"] == "all"
    assert subscriptions[1]["reason"].startswith("You don't have permission to access field")


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
    quiet = check.lines.index("  subscription  quiet (unlogged): ok")
    assert check.lines[quiet + 1].strip() == (
        "Its accountability is off: the activity log has nothing of it, and what is missed "
        "cannot be caught up."
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
    assert report["activity"] == "none"
    (entry,) = report["subscriptions"]
    assert (entry["ok"], entry["reason"], entry["accountability"]) == (True, "", "unknown")
    assert entry["notes"] == [
        "Whether its changes are in the activity log is not known: the token may not read it in "
        "directus_collections."
    ]
    assert token not in check.output


def test_a_refused_token(make_site: Callable[..., Site], directus_env: dict[str, str]) -> None:
    site = make_site({**directus_env, "DIRECTUS_TOKEN": "wrong-token"})
    check = check_of(site)
    assert run(check) == 1
    assert "refused the credentials" in check.output
    assert "wrong-token" not in check.output
