from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from directus_realtime.admin import replay_request
from directus_realtime.models import DirectusSubscription, InboxEvent
from directus_realtime.testing import FakeCollection, ThreadedFakeDirectus, run_in_thread
from tests.helpers.admin import run_action, said, subscription, url, user_who_may

pytestmark = pytest.mark.django_db

MODEL = "directussubscription"


def logged() -> list[tuple[str, str]]:
    """Who did what, the last first: the row and the words."""
    return [(entry.object_repr, entry.get_change_message()) for entry in LogEntry.objects.all()]


def test_what_was_really_switched_is_in_the_log(admin_client: Client) -> None:
    on, off = subscription("on"), subscription("off", enabled=False)
    run_action(admin_client, MODEL, "disable", on, off)
    assert logged() == [("on", "Disabled.")]
    run_action(admin_client, MODEL, "enable", off)
    assert logged()[0] == ("off", "Enabled.")


@pytest.mark.parametrize("action", ["enable", "disable", "load", "replay_since", "duplicate"])
def test_actions_need_their_right(client: Client, action: str) -> None:
    client.force_login(user_who_may("view_directussubscription"))
    row = subscription(enabled=action != "enable")
    before = DirectusSubscription.objects.values().get()
    response = run_action(client, MODEL, action, row)
    assert response.status_code == 200
    assert DirectusSubscription.objects.values().get() == before
    assert not LogEntry.objects.exists()


# Test


def test_a_test_says_of_each_what_works(admin_client: Client, fake: ThreadedFakeDirectus) -> None:
    good = subscription("good", fields=["title"])
    bad = subscription("bad", filter={"nope": {"_eq": 1}}, enabled=False)
    page = run_action(admin_client, MODEL, "test", good, bad).content.decode()
    assert "works" in page
    assert "You don&#x27;t have permission to access field &quot;nope&quot;" in page
    assert "Directus 11.17.4" in page


def test_a_test_of_a_row_that_is_not_sound_says_why(
    admin_client: Client, fake: ThreadedFakeDirectus
) -> None:
    row = subscription(fields=5)
    page = run_action(admin_client, MODEL, "test", row, subscription("good")).content.decode()
    assert "Fields must be a list of names" in page
    assert "works" in page


def test_a_test_of_a_server_that_is_away_says_so(admin_client: Client, settings: Any) -> None:
    settings.DIRECTUS_REALTIME["default"]["URL"] = "nonsense"
    row, other = subscription(), subscription("b", connection="gone")
    page = run_action(admin_client, MODEL, "test", row, other).content.decode()
    assert page.count("not connected") == 2
    assert "There is no connection &#x27;gone&#x27; in DIRECTUS_REALTIME." in page


def test_a_test_of_very_many_is_refused(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("directus_realtime.admin.subscription_actions.MOST_TESTED", 1)
    response = run_action(admin_client, MODEL, "test", subscription("a"), subscription("b"))
    assert said(response) == ["Select 1 subscriptions at the most, or run directus_check."]


# Load


def test_a_load_is_asked_for_also_of_declared_ones(admin_client: Client) -> None:
    row = subscription(declared_in="app", snapshot_of="x", snapshot_done=5, snapshot_total=9)
    off = subscription("off", enabled=False)
    response = run_action(admin_client, MODEL, "load", row, off)
    assert said(response) == [
        "All items of 1 subscription are loaded as soon as the listener has it.",
        "1 subscription is disabled and was left out.",
    ]
    row.refresh_from_db()
    assert row.snapshot_of.startswith("again")
    assert (row.snapshot_done, row.snapshot_total) == (0, 0)
    assert logged() == [("all", "Asked for a load of all items.")]


# Duplicate


def test_a_copy_asks_for_the_same_and_is_disabled(admin_client: Client) -> None:
    asked = {"filter": {"a": {"_eq": 1}}, "fields": ["id"], "snapshot": True, "on_delete": False}
    row = subscription(
        declared_in="app", browser_access="function", state="refused", event_count=7, **asked
    )
    response = run_action(admin_client, MODEL, "duplicate", row)
    copy = DirectusSubscription.objects.get(name="all-2")
    assert response.redirect_chain[-1][0] == url(MODEL, "change", copy.pk)
    assert {name: getattr(copy, name) for name in asked} == asked
    assert (copy.enabled, copy.declared_in, copy.state, copy.event_count) == (
        False,
        "",
        "waiting",
        0,
    )
    assert copy.browser_access == "nobody"
    assert logged() == [("all-2", "Duplicated.")]


def test_copies_have_names_of_their_own(admin_client: Client) -> None:
    rows = [subscription("x" * 100), subscription("a"), subscription("a-2")]
    run_action(admin_client, MODEL, "duplicate", *rows)
    names = set(DirectusSubscription.objects.values_list("name", flat=True))
    assert {"x" * 98 + "-2", "a-3", "a-2-2"} <= names


# Replay


@pytest.fixture
def changing(settings: Any) -> Iterator[ThreadedFakeDirectus]:
    """A fake Directus whose log the test fills."""
    with run_in_thread(collections=[FakeCollection("articles", fields={"title": "string"})]) as own:
        settings.DIRECTUS_REALTIME = {"default": {"URL": own.url, "TOKEN": own.token}}
        yield own


def replay(client: Client, *rows: DirectusSubscription, **values: str) -> Any:
    ids = ",".join(str(row.pk) for row in rows)
    given = {"since": "2020-01-01T00:00:00", "until": "", "key": "", **values}
    return client.post(f"{url(MODEL, 'replay')}?ids={ids}", given, follow=True)


def test_the_action_leads_to_a_page_that_asks_for_the_time(admin_client: Client) -> None:
    row, off = subscription(), subscription("off", enabled=False)
    response = run_action(admin_client, MODEL, "replay_since", row, off)
    page = response.content.decode()
    assert "<li>all (articles)</li>" in page
    assert "off is disabled and is left out." in page
    assert 'type="datetime-local"' in page


@pytest.mark.django_db(transaction=True)
def test_changes_are_put_into_the_inbox_once_more(
    admin_client: Client, changing: ThreadedFakeDirectus
) -> None:
    changing.create("articles", [{"title": "a"}, {"title": "b"}])
    row = subscription()
    assert said(replay(admin_client, row)) == ["all: 2 events were put into the inbox."]
    events = [event.to_event() for event in InboxEvent.objects.order_by("id")]
    assert [(event.origin, event.data and event.data["title"]) for event in events] == [
        ("replay", "a"),
        ("replay", "b"),
    ]
    assert logged() == [("all", "Replayed changes: 2020-01-01 00:00:00 – …")]
    assert said(replay(admin_client, row, key="2")) == ["all: 1 event was put into the inbox."]


@pytest.mark.django_db(transaction=True)
def test_more_than_a_page_can_wait_for_is_for_the_command(
    admin_client: Client, changing: ThreadedFakeDirectus, monkeypatch: Any
) -> None:
    monkeypatch.setattr(replay_request, "MOST_CHANGES", 1)
    changing.create("articles", [{"title": "a"}, {"title": "b"}])
    (sentence,) = said(replay(admin_client, subscription()))
    assert "python manage.py directus_replay --connection default" in sentence
    assert "--collection articles --since 2020-01-01T00:00:00" in sentence
    assert not InboxEvent.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_replay_of_a_subscription_that_is_refused_says_why(
    admin_client: Client, changing: ThreadedFakeDirectus
) -> None:
    row = subscription(filter={"nope": {"_eq": 1}})
    (sentence,) = said(replay(admin_client, row))
    assert sentence.startswith("articles: You don't have permission to access field")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"since": ""}, "This field is required."),
        ({"since": "2999-01-01T00:00"}, "“Since” is in the future."),
        ({"until": "2019-01-01T00:00"}, "“Until” is before “Since”."),
    ],
)
def test_a_span_that_is_none_is_told(
    admin_client: Client, values: dict[str, str], sentence: str
) -> None:
    assert sentence in replay(admin_client, subscription(), **values).content.decode()


def test_a_replay_needs_its_right(client: Client) -> None:
    client.force_login(user_who_may("view_directussubscription"))
    assert replay(client, subscription()).status_code == 403


def test_who_may_replay_needs_no_other_right(client: Client) -> None:
    client.force_login(user_who_may("view_directussubscription", "replay_inboxevent"))
    row = subscription()
    page = run_action(client, MODEL, "replay_since", row)
    assert "all (articles)" in page.content.decode()
