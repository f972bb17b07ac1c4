"""``directus_replay`` on a real Directus, with and without a listener."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from example_project.real_directus import DirectusAdmin
from tests.helpers.site import Site
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e


def replay(site: Site, *arguments: str) -> str:
    process = site.start("directus_replay", *arguments)
    status = process.wait()
    return f"{status}\n{process.output}"


def told(entries: list[dict[str, Any]]) -> list[tuple[str, Any, str]]:
    return [(entry["action"], entry["key"], entry["origin"]) for entry in entries]


def test_changes_are_delivered_once_more_as_the_items_are_now(
    site: Site, directus: DirectusAdmin
) -> None:
    directus.create_item("articles", {"title": "long ago"})
    since = timezone.now() + timedelta(seconds=0.01)
    wait_for(lambda: timezone.now() > since)
    kept = directus.create_item("articles", {"title": "old"})["id"]
    gone = directus.create_item("articles", {"title": "gone"})["id"]
    directus.update_item("articles", kept, {"title": "new"})
    directus.delete_item("articles", gone)
    site.subscribe()
    site.subscribe("drafts", filter={"status": {"_eq": "draft"}})
    site.listen()
    window = ["--collection", "articles", "--since", since.isoformat()]

    output = replay(site, *window, "--subscription", "all", "--dry-run")
    assert output.startswith("0\n")
    assert "4 changes of articles since " in output
    assert "all: would be replayed" in output
    assert not site.inbox.exists()

    output = replay(site, *window, "--subscription", "all")
    assert "all: 3 events put into the inbox" in output
    entries = site.wait_for_received(3)
    assert told(entries) == [
        ("create", kept, "replay"),
        ("update", kept, "replay"),
        ("delete", gone, "replay"),
    ]
    assert [entry["title"] for entry in entries] == ["new", "new", None]
    assert all(entry["activity_id"] for entry in entries)

    replay(site, *window, "--subscription", "all", "--key", str(gone))
    again = site.wait_for_received(4)[3:]
    assert told(again) == [("delete", gone, "replay")]
    assert again[0]["id"] != entries[2]["id"]


def test_without_a_listener_it_waits_in_the_inbox(site: Site, directus: DirectusAdmin) -> None:
    since = (timezone.now() - timedelta(seconds=2)).isoformat()
    made = directus.create_item("articles", {"title": "x"})["id"]
    site.subscribe()
    replay(site, "--collection", "articles", "--since", since, "--key", str(made))
    assert [row.state for row in site.inbox.all()] == ["pending"]
    site.listen()
    assert told(site.wait_for_received(1)) == [("create", made, "replay")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--since", "yesterday"], "'yesterday' is not a time such as 2026-11-20T08:00."),
        (
            ["--since", "2026-11-20", "--subscription", "nobody"],
            "'nobody' is not an enabled subscription of articles on 'default'.",
        ),
        (
            ["--since", "2026-11-20", "--connection", "blog"],
            "There is no connection 'blog' in DIRECTUS_REALTIME. Configured: default.",
        ),
        (["--since", "2026-11-20", "--until", "2026-11-19"], "--until is before --since."),
    ],
)
def test_mistakes_are_told(site: Site, arguments: list[str], sentence: str) -> None:
    site.subscribe()
    output = replay(site, "--collection", "articles", *arguments)
    assert not output.startswith("0\n")
    assert sentence in output


def test_a_token_that_may_not_read_the_log_is_told(
    make_site: Any, directus: DirectusAdmin, directus_env: dict[str, str]
) -> None:
    token = directus.create_limited_user(
        [{"collection": "articles", "action": "read", "permissions": {}, "fields": ["*"]}]
    )
    site = make_site({**directus_env, "DIRECTUS_TOKEN": token})
    site.subscribe()
    output = replay(site, "--collection", "articles", "--since", "2026-11-20")
    assert output.startswith("1\n")
    assert "You don't have permission" in output
