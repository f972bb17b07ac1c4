"""``directus_check --explain-permissions`` on a real Directus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from example_project.real_directus import DirectusAdmin
from tests.helpers.process import Process
from tests.helpers.site import Site

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", autouse=True)
def books(directus_server: Any) -> Iterator[None]:
    """Books have writers and tags, and writers a country."""
    with directus_server.admin() as admin:
        admin.create_collection("countries", {"name": "string"})
        admin.create_collection("writers", {"name": "string", "country": "integer"})
        admin.create_collection(
            "books", {"title": "string", "status": "string", "writer": "integer"}, "string"
        )
        admin.create_relation("writers", "country", "countries")
        admin.create_relation("books", "writer", "writers")
        yield
        for name in ("books", "writers", "countries"):
            admin.delete_collection(name)


def reads(*entries: tuple[str, Sequence[str]], rule: Any = None) -> list[dict[str, Any]]:
    return [
        {"collection": name, "action": "read", "permissions": rule or {}, "fields": list(fields)}
        for name, fields in entries
    ]


WRITERS_IN_X = {"writer": {"country": {"name": {"_eq": "x"}}}}


@pytest.fixture
def subscribed(site: Site) -> Site:
    """A site with two subscriptions."""
    site.subscribe(
        "books",
        collection="books",
        fields=["title", "writer.name"],
        filter={"_and": [{"status": {"_eq": "x"}}, WRITERS_IN_X]},
    )
    site.subscribe("all-writers", collection="writers")
    return site


def explain(site: Site, *arguments: str, **env: str) -> Process:
    arguments = ("--explain-permissions", *arguments)
    return site.start("directus_check", *arguments, PYTHONDEVMODE="", **env)


def report_of(site: Site, **env: str) -> tuple[int, dict[str, Any]]:
    process = explain(site, "--json", **env)
    status = process.wait(60)
    (report,) = json.loads(process.output)
    return status, report


def test_an_administrator_is_told_the_smallest_policy(subscribed: Site) -> None:
    status, report = report_of(subscribed)
    assert (status, report["ok"], report["permissions"]["is_admin"]) == (0, True, True)
    policy = report["policy"]
    assert {each["collection"]: each["fields"] for each in policy["permissions"]} == {
        "books": ["id", "title", "writer", "status"],
        "countries": ["name"],
        "writers": ["*"],
        "directus_activity": ["action", "collection", "id", "item", "timestamp", "user"],
        "directus_collections": ["accountability", "collection"],
        "directus_fields": ["collection", "field"],
    }
    assert policy["admin_access"] is policy["app_access"] is False


def test_a_user_with_that_policy_lacks_nothing(subscribed: Site, directus: DirectusAdmin) -> None:
    _, report = report_of(subscribed)
    posted = directus.request("POST", "/policies", report["policy"])
    token = directus.create_user(policies=[posted["id"]])
    found = explain(subscribed, DIRECTUS_TOKEN=token)
    assert found.wait(60) == 0, found.output
    table = found.output.partition("\n\n")[0].splitlines()
    assert [line.strip() for line in table if line.startswith("  read")] == [
        "read          books (id, title, writer, status): ok",
        "read          countries (name): ok",
        "read          writers (all fields): ok",
        "read          directus_activity (action, collection, id, item, timestamp, user): ok",
        "read          directus_collections (accountability, collection): ok",
        "read          directus_fields (collection, field): ok",
    ]
    check = subscribed.start("directus_check", "--json", PYTHONDEVMODE="", DIRECTUS_TOKEN=token)
    assert check.wait(60) == 0
    (checked,) = json.loads(check.output)
    assert checked["log"]["access"] == "full"
    assert checked["log"]["reads_user"] is True
    assert [each["accountability"] for each in checked["subscriptions"]] == ["all", "all"]
    assert not any(each["notes"] for each in checked["subscriptions"])


def test_a_user_who_may_read_too_little(subscribed: Site, directus: DirectusAdmin) -> None:
    rights = [
        *reads(("books", ["id", "title"]), ("directus_fields", ["*"])),
        *reads(("directus_activity", ["*"]), rule={"action": {"_eq": "create"}}),
    ]
    token = directus.create_limited_user(rights)
    status, report = report_of(subscribed, DIRECTUS_TOKEN=token)
    assert (status, report["ok"]) == (1, False)
    found = {need["collection"]: need for need in report["permissions"]["needs"]}
    assert found["books"]["missing"] == ["status", "writer"]
    assert found["writers"]["missing"] == ["*"]
    assert found["directus_collections"]["missing"] == ["*"]
    assert found["directus_activity"]["missing"] == ["*"]
    assert found["directus_activity"]["note"].startswith("The user sees only a part of its rows")
    assert found["directus_fields"]["missing"] == []
    assert found["writers"]["reasons"] == ["all-writers"]


def test_the_user_of_a_change_may_stay_hidden(subscribed: Site, directus: DirectusAdmin) -> None:
    _, report = report_of(subscribed)
    policy = report["policy"]
    for permission in policy["permissions"]:
        permission["fields"] = [name for name in permission["fields"] if name != "user"]
    posted = directus.request("POST", "/policies", policy)
    token = directus.create_user(policies=[posted["id"]])
    status, report = report_of(subscribed, DIRECTUS_TOKEN=token)
    assert (status, report["ok"]) == (0, True)
    found = {need["collection"]: need for need in report["permissions"]["needs"]}
    assert found["directus_activity"]["missing"] == []
    assert "changed_by of events is None" in found["directus_activity"]["note"]
    check = subscribed.start("directus_check", PYTHONDEVMODE="", DIRECTUS_TOKEN=token)
    assert check.wait(60) == 0, check.output
    assert "The field user of directus_activity may not be read" in check.output


def test_what_may_not_be_seen_is_said(subscribed: Site, directus: DirectusAdmin) -> None:
    token = directus.create_limited_user(reads(("books", ["id", "title"])))
    found = explain(subscribed, DIRECTUS_TOKEN=token)
    assert found.wait(60) == 1
    unknown = [line for line in found.lines if line.startswith("  not known")]
    assert unknown == [
        "  not known     The collections that the field writer of books leads to may not be seen "
        "by this user, and are needed, too. Run this once with an administrator's token to have "
        "them named."
    ]
