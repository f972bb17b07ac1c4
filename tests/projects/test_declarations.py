"""Settings modules and deploys with other declarations, beside a listener that runs."""

from __future__ import annotations

import json
import signal

import pytest

from directus_realtime.testing.fake.threaded_fake import ThreadedFakeDirectus
from tests.helpers.process import Process
from tests.helpers.waiting import wait_for
from tests.projects.conftest import Open
from tests.projects.project import Project


@pytest.fixture
def project(open_project: Open, fake: ThreadedFakeDirectus) -> Project:
    project = open_project("declarations")
    project.connect(fake)
    project.manage("migrate")
    return project


def start(project: Project, *names: str, settings: str = "settings") -> Process:
    """Start the listener, and wait until it follows some subscriptions."""
    listener = project.listen(settings)
    for name in names:
        listener.wait_for_line(f"subscribed {name}:")
    return listener


def stop(listener: Process) -> None:
    listener.send_signal(signal.SIGTERM)
    assert listener.wait() == 0


def publish(fake: ThreadedFakeDirectus, title: str) -> None:
    fake.create("articles", {"title": title, "status": "published"})


def titles(project: Project) -> list[str]:
    return [json.loads(data)["title"] for (data,) in project.rows("InboxEvent", "data_json")]


def wait_for_titles(project: Project, *expected: str) -> None:
    wait_for(lambda: titles(project) == sorted(expected))


@pytest.mark.parametrize(
    "command",
    [
        ("migrate",),
        ("directus_check",),
        ("directus_check", "--explain-permissions"),
        ("directus_replay", "--collection", "authors", "--since", "2026-01-01"),
    ],
    ids=" ".join,
)
def test_a_command_with_fewer_declarations_takes_nothing_from_a_listener(
    project: Project, fake: ThreadedFakeDirectus, command: tuple[str, ...]
) -> None:
    start(project, "published", "orders")
    columns = ("id", "name", "followed_from", "orphaned_at", "state")
    wait_for(
        lambda: all(row[2] is not None for row in project.rows("DirectusSubscription", *columns))
    )
    before = project.rows("DirectusSubscription", "id", "name", "followed_from", "orphaned_at")
    # The user of the fake lacks rights that --explain-permissions names.
    status = 1 if "--explain-permissions" in command else 0
    project.manage(*command, settings="fewer", status=status)
    publish(fake, "after the command")
    wait_for_titles(project, "after the command")
    after = project.rows("DirectusSubscription", "id", "name", "followed_from", "orphaned_at")
    assert after == before


def test_a_renamed_declaration_continues_at_its_place(
    project: Project, fake: ThreadedFakeDirectus
) -> None:
    listener = start(project, "published", "orders")
    publish(fake, "before")
    wait_for_titles(project, "before")
    stop(listener)
    publish(fake, "during the deploy")
    project.manage("migrate", settings="renamed")
    listener = start(project, "news-on-the-front-page", settings="renamed")
    assert "nothing is missing" in listener.wait_for_line("followed again")
    wait_for_titles(project, "before", "during the deploy")


def test_a_replaced_declaration_is_a_gap(project: Project, fake: ThreadedFakeDirectus) -> None:
    listener = start(project, "published", "orders")
    publish(fake, "before")
    wait_for_titles(project, "before")
    stop(listener)
    publish(fake, "during the deploy")
    listener = start(project, "news-on-the-front-page", settings="replaced")
    line = listener.wait_for_line("followed again")
    assert "changes of articles may be lost" in line
    assert "the subscription 'published' is no longer declared" in line
    status = project.manage("directus_status", settings="replaced", status=1)
    assert "The subscription published is no longer declared" in status


def test_a_listener_with_fewer_declarations_keeps_the_places_of_the_others(
    project: Project, fake: ThreadedFakeDirectus
) -> None:
    listener = start(project, "published", "orders")
    publish(fake, "before")
    wait_for_titles(project, "before")
    stop(listener)
    listener = start(project, "orders", settings="fewer")
    assert "changes of articles may be lost" in listener.wait_for_line("followed again")
    publish(fake, "meanwhile")
    stop(listener)
    start(project, "published", "orders")
    wait_for_titles(project, "before", "meanwhile")


def test_an_orphan_is_removed_by_an_explicit_command(
    project: Project, fake: ThreadedFakeDirectus
) -> None:
    stop(start(project, "published", "orders"))
    stop(start(project, "orders", settings="fewer"))
    for arguments in ((), ("--orphaned", "--dry-run")):
        project.manage("directus_prune", *arguments)
        assert len(project.rows("DirectusSubscription", "name")) == 2
    output = project.manage("directus_prune", "--orphaned")
    assert "default: the subscription published deleted (no longer declared)" in output
    assert project.rows("DirectusSubscription", "name") == [("orders",)]
