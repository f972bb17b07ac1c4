"""Remedies on a real Directus: the log was wiped, items were deleted without a row, skips."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psycopg
import pytest

from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import ARTICLE_FIELDS, own_postgres
from tests.helpers.process import Process
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e


def run(site: Site, *arguments: str) -> str:
    """Run a command, and return its exit status and its output."""
    process = site.start(*arguments)
    status = process.wait()
    return f"{status}\n{process.output}"


def stop(listener: Process) -> None:
    listener.send_signal(signal.SIGTERM)
    assert listener.wait() == 0


def test_a_load_repairs_what_a_wiped_log_has_lost(make_site: Callable[..., Site]) -> None:
    with own_postgres() as url, DirectusServer(database=url) as server, server.admin() as admin:
        admin.create_collection("articles", ARTICLE_FIELDS)
        env = {"DIRECTUS_URL": server.url, "DIRECTUS_TOKEN": server.admin_token}
        _load_after_a_wiped_log(make_site(env), admin, url)


def _load_after_a_wiped_log(site: Site, admin: DirectusAdmin, url: str) -> None:
    site.subscribe()
    site.subscribe("drafts", filter={"status": {"_eq": "draft"}})
    listener = site.listen()
    kept, changed, gone = (
        admin.create_item("articles", {"title": title, "status": "draft"})["id"]
        for title in ("kept", "changed", "gone")
    )
    site.wait_for_received(6)
    stop(listener)
    admin.update_item("articles", changed, {"title": "new", "status": "done"})
    admin.delete_item("articles", gone)
    with psycopg.connect(url) as database:
        database.execute("DELETE FROM directus_activity")
    admin.create_item("articles", {"title": "after", "status": "done"})
    site.listen()
    site.wait_for_received(1, "gap")

    output = run(site, "directus_load")
    assert output.startswith("0\n")
    wait_for(lambda: site.inbox.filter(origin="snapshot", state="done").count() >= 6)
    rows = site.inbox.filter(origin="snapshot")
    found = {
        (row.subscription, row.action, row.key, row.left_filter)
        for row in rows
        if row.key in {kept, changed, gone}
    }
    assert found == {
        ("all", "update", kept, False),
        ("all", "update", changed, False),
        ("all", "delete", gone, False),
        ("drafts", "update", kept, False),
        ("drafts", "update", changed, True),
        ("drafts", "delete", gone, False),
    }
    output = run(site, "directus_status", "--connection", "default", "--acknowledge-gap")
    assert output.startswith("0\n")


def test_the_position_is_set_while_the_listener_runs(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    listener = site.listen()
    directus.create_item("articles", {"title": "read"})
    site.wait_for_received(1)
    stop(listener)
    directus.create_item("articles", {"title": "skipped"})
    output = run(site, "directus_position", "--set", "now")
    assert output.startswith("1\n")
    assert "1 change of articles" in output
    listener = site.listen("--connection", "default")
    site.wait_for_received(2)
    output = run(site, "directus_position", "--set", "now", "--yes")
    assert output.startswith("0\n")
    listener.wait_for_line("The lease is lost")
    directus.create_item("articles", {"title": "after"})
    titles = [entry["title"] for entry in site.wait_for_received(3)]
    assert titles == ["read", "skipped", "after"]
    assert "unexplained  none" in run(site, "directus_anomalies")
