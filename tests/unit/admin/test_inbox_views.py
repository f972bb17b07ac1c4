from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from directus_realtime import dead_letters
from directus_realtime.admin import inbox_views
from directus_realtime.admin.inbox_admin import all_results
from directus_realtime.admin.replay_request import Outcome
from directus_realtime.listener.delivery.crash_marker import CRASHED
from directus_realtime.models import InboxEvent
from directus_realtime.signals import directus_event
from tests.helpers.admin import run_action, said, subscription, url, user_who_may
from tests.helpers.inbox import add_row, dead_letter

pytestmark = pytest.mark.django_db

INBOX = "inboxevent"
BUTTONS = ("retry", "retry_alike", "handle", "replay")


def press(client: Client, page: str, row: InboxEvent, **values: Any) -> Any:
    return client.post(url(INBOX, page, row.pk), values, follow=True)


def logged() -> list[tuple[str, str, str]]:
    entries = LogEntry.objects.order_by("pk").select_related("user")
    return [(e.user.username, e.object_id or "", e.change_message) for e in entries]


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("dead", {"Retry now", "Retry all like this one…", "Mark as handled", "Replay this item…"}),
        ("failed", {"Retry now", "Replay this item…"}),
        ("done", {"Replay this item…"}),
        ("handled", {"Replay this item…"}),
    ],
)
def test_buttons__are_those_that_do_something(
    admin_client: Client, state: str, shown: set[str]
) -> None:
    row = dead_letter(state=state)
    content = admin_client.get(url(INBOX, "change", row.pk)).content.decode()
    words = {"Retry now", "Retry all like this one…", "Mark as handled", "Replay this item…"}
    assert {text for text in words if f">{text}<" in content} == shown


def test_retry__one_and_who_did_it_is_logged(admin_client: Client) -> None:
    row, other = dead_letter(), dead_letter()
    response = press(admin_client, "retry", row)
    assert said(response) == ["1 event is tried again."]
    assert logged() == [("admin", str(row.pk), "Tried again.")]
    assert list(InboxEvent.objects.filter(state="dead")) == [other]


def test_retry__what_is_through_meanwhile_is_told_and_not_logged(admin_client: Client) -> None:
    row = add_row(state="done")
    assert said(press(admin_client, "retry", row)) == ["0 events are tried again."]
    assert logged() == []


def test_handle__one(admin_client: Client) -> None:
    row = dead_letter()
    assert said(press(admin_client, "handle", row)) == ["1 dead letter is marked as handled."]
    row.refresh_from_db()
    assert row.state == "handled"
    assert logged() == [("admin", str(row.pk), "Marked as handled.")]


def test_retry_alike__says_how_many_and_why_before_it_does_it(admin_client: Client) -> None:
    row, _, other = dead_letter(), dead_letter("ValueError: <i>"), dead_letter("KeyError: 1")
    page = admin_client.get(url(INBOX, "retry_alike", row.pk)).content.decode()
    assert "2 events" in page
    assert "<code>app.receiver</code>: ValueError" in page
    assert InboxEvent.objects.filter(state="dead").count() == 3
    assert said(press(admin_client, "retry_alike", row)) == ["2 events are tried again."]
    assert list(InboxEvent.objects.filter(state="dead")) == [other]
    assert logged() == [("admin", str(row.pk), "Tried again, with all like it (2 events).")]


def test_retry_alike__of_one_is_logged_in_the_singular(admin_client: Client) -> None:
    row = dead_letter()
    assert said(press(admin_client, "retry_alike", row)) == ["1 event is tried again."]
    assert logged() == [("admin", str(row.pk), "Tried again, with all like it (1 event).")]


REPLAY_INSTEAD = "“Replay this item…” on the page of the event instead"
OVERTAKEN = "A newer event of this item was delivered since."


@pytest.mark.parametrize(
    ("newer", "is_told"),
    [
        ({}, True),
        ({"state": "pending"}, False),
        ({"key": 43}, False),
        ({"key": "42"}, False),
        ({"collection": "authors"}, False),
        ({"connection": "blog"}, False),
        ({"subscription": "other"}, True),
    ],
    ids=str,
)
def test_retry__of_what_is_overtaken_is_told_with_the_way_to_a_replay(
    admin_client: Client, newer: dict[str, Any], is_told: bool
) -> None:
    row = dead_letter()
    later = row.received_at + timedelta(minutes=1)
    add_row(**{"state": "done", "received_at": later, **newer})
    page = admin_client.get(url(INBOX, "change", row.pk)).content.decode()
    assert (OVERTAKEN in page) is is_told
    assert page.count(url(INBOX, "replay", row.pk)) == (2 if is_told else 1)


def test_retry__the_same_change_by_another_subscription_overtakes_nothing(
    admin_client: Client,
) -> None:
    row = dead_letter()
    add_row(state="done", subscription="other", received_at=row.received_at)
    assert OVERTAKEN not in admin_client.get(url(INBOX, "change", row.pk)).content.decode()


def test_retry__the_look_for_newer_events_is_a_short_one(
    admin_client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(dead_letters, "SEARCHED", 10)
    row = dead_letter()
    add_row(state="done", pk=row.pk + 11)
    assert OVERTAKEN not in admin_client.get(url(INBOX, "change", row.pk)).content.decode()
    add_row(state="done", pk=row.pk + 10)
    assert OVERTAKEN in admin_client.get(url(INBOX, "change", row.pk)).content.decode()


def test_retry__what_is_not_retried_is_not_told_of(admin_client: Client) -> None:
    row = add_row(state="done")
    add_row(state="done")
    assert OVERTAKEN not in admin_client.get(url(INBOX, "change", row.pk)).content.decode()


def test_retry__of_several_says_what_an_event_carries(client: Client) -> None:
    row = dead_letter()
    pages = [f"{url(INBOX)}?state__exact=dead", url(INBOX, "retry_alike", row.pk)]
    client.force_login(user_who_may("view_inboxevent", "retry_inboxevent"))
    for page in pages:
        assert REPLAY_INSTEAD in client.get(page).content.decode()
    assert REPLAY_INSTEAD not in client.get(url(INBOX)).content.decode()


@pytest.mark.parametrize("page", ["retry", "handle"])
def test_buttons__a_link_does_nothing(admin_client: Client, page: str) -> None:
    row = dead_letter()
    assert admin_client.get(url(INBOX, page, row.pk)).status_code == 405
    assert InboxEvent.objects.get().state == "dead"


@pytest.mark.parametrize("page", BUTTONS)
def test_rights__to_look_or_to_change_is_not_enough(client: Client, page: str) -> None:
    client.force_login(user_who_may("view_inboxevent", "change_inboxevent"))
    row = dead_letter()
    assert press(client, page, row).status_code == 403
    assert InboxEvent.objects.get().state == "dead"


@pytest.mark.parametrize("page", BUTTONS)
def test_rights__without_view_the_others_are_not_enough(client: Client, page: str) -> None:
    client.force_login(user_who_may("retry_inboxevent", "replay_inboxevent"))
    assert press(client, page, dead_letter()).status_code == 403


def test_rights__each_of_its_own(client: Client) -> None:
    client.force_login(user_who_may("view_inboxevent", "retry_inboxevent"))
    row = dead_letter()
    content = client.get(url(INBOX, "change", row.pk)).content.decode()
    assert "Retry now" in content
    assert "Replay this item" not in content
    assert press(client, "replay", row).status_code == 403
    assert press(client, "retry", row).status_code == 200
    assert InboxEvent.objects.get().state == "pending"


def test_no_event_no_page(admin_client: Client) -> None:
    for page in BUTTONS:
        assert admin_client.post(url(INBOX, page, 4711)).status_code in (302, 404)


def test_list__selected_ones_are_put_away_and_logged(admin_client: Client) -> None:
    rows = [dead_letter(), dead_letter(), add_row(state="done")]
    response = run_action(admin_client, INBOX, "handle", *rows)
    assert said(response) == ["2 dead letters are marked as handled."]
    assert {entry[1] for entry in logged()} == {str(rows[0].pk), str(rows[1].pk)}


def test_list__all_of_many_make_one_entry(admin_client: Client, monkeypatch: Any) -> None:
    for _ in range(105):
        dead_letter()
    data = {
        "action": "retry",
        "select_across": "1",
        "_selected_action": [InboxEvent.objects.first().pk],  # type: ignore[union-attr]
    }
    page = f"{url(INBOX)}?state__exact=dead"
    assert said(admin_client.post(page, data, follow=True)) == ["105 events are tried again."]
    ((_, _, text),) = logged()
    assert text == "Tried again. So were all the others that were selected in the list."


def test_list__who_may_not_is_offered_nothing(client: Client) -> None:
    client.force_login(user_who_may("view_inboxevent"))
    row = dead_letter()
    run_action(client, INBOX, "retry", row)
    run_action(client, INBOX, "handle", row)
    assert InboxEvent.objects.get().state == "dead"


# Replay


@pytest.fixture
def replayed(monkeypatch: Any) -> list[Any]:
    """What was replayed; nothing is."""
    calls: list[Any] = []

    def replay(rows: Any, **values: Any) -> Outcome:
        calls.append((list(rows), values))
        return Outcome({"all": 2})

    monkeypatch.setattr(inbox_views, "replay", replay)
    return calls


def test_replay__the_item_since_its_event(admin_client: Client, replayed: list[Any]) -> None:
    wanted, row = subscription(), add_row(key="a-key", state="done")
    page = admin_client.get(url(INBOX, "replay", row.pk))
    since = page.context["form"].initial["since"]
    assert since < row.received_at
    response = press(admin_client, "replay", row, since=f"{since:%Y-%m-%d %H:%M:%S}")
    assert said(response) == ["2 events were put into the inbox."]
    ((rows, values),) = replayed
    assert (rows, values["key"], values["since"]) == ([wanted], "a-key", since)
    assert logged() == [("admin", str(row.pk), "Replayed the changes of the item.")]


@pytest.mark.parametrize(("state", "is_told"), [("dead", True), ("done", False)])
def test_replay__that_the_dead_letter_stays_is_said_before_and_after(
    admin_client: Client, replayed: list[Any], state: str, is_told: bool
) -> None:
    subscription()
    row = dead_letter(state=state)
    stays = "dead letter itself stays one, until it is retried or marked as handled."
    for page in ("change", "replay"):
        assert (stays in admin_client.get(url(INBOX, page, row.pk)).content.decode()) is is_told
    response = press(admin_client, "replay", row, since="2026-11-20 08:00:00")
    told = ["2 events were put into the inbox."]
    assert said(response) == told + [f"The {stays}"] * is_told
    row.refresh_from_db()
    assert row.state == state


def test_replay__who_may_not_replay_is_told_nothing_of_it(client: Client) -> None:
    client.force_login(user_who_may("view_inboxevent", "retry_inboxevent"))
    content = client.get(url(INBOX, "change", dead_letter().pk)).content.decode()
    assert "dead letter itself stays" not in content


def test_replay__a_mistake_is_told(admin_client: Client, replayed: list[Any]) -> None:
    subscription()
    response = press(admin_client, "replay", add_row(), since="tomorrow")
    assert "since" in response.context["form"].errors
    assert replayed == []


@pytest.mark.parametrize("values", [{"name": "another"}, {"enabled": False}], ids=str)
def test_replay__not_without_its_subscription(
    admin_client: Client, replayed: list[Any], values: dict[str, Any]
) -> None:
    subscription(**values)
    row = add_row()
    page = admin_client.get(url(INBOX, "replay", row.pk)).content.decode()
    assert "is not enabled any more" in page
    press(admin_client, "replay", row, since="2026-11-20 08:00:00")
    assert replayed == []


def test_replay__what_goes_wrong_is_told(admin_client: Client, monkeypatch: Any) -> None:
    problems = Outcome(problems=["articles: The token may not read directus_activity."])
    monkeypatch.setattr(inbox_views, "replay", lambda rows, **values: problems)
    subscription()
    response = press(admin_client, "replay", add_row(), since="2026-11-20 08:00:00")
    assert said(response) == problems.problems
    assert logged() == []


# Receivers


def receiver_for_tests(sender: Any, event: Any, **kwargs: Any) -> None:
    """A receiver that is connected."""


@pytest.fixture
def connected() -> Any:
    directus_event.connect(receiver_for_tests)
    yield
    directus_event.disconnect(receiver_for_tests)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("pending", "waiting"), ("dead", "waiting"), ("done", "through"), ("handled", "given-up")],
)
def test_receivers__those_that_the_row_does_not_name(
    connected: Any, state: str, outcome: str
) -> None:
    row = add_row(state=state)
    assert [(one.receiver, one.outcome) for one in all_results(row)] == [
        (receiver_for_tests.__module__ + ".receiver_for_tests", outcome)
    ]


def test_receivers__each_with_its_outcome(admin_client: Client) -> None:
    row = dead_letter("ValueError: <b>no</b>", delivered=["app.through"])
    content = admin_client.get(url(INBOX, "change", row.pk)).content.decode()
    assert "<td><code>app.receiver</code></td>" in content
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in content
    assert "Traceback (most recent call last)" in content
    assert '<span class="directus-state directus-outcome-failed">failed</span>' in content
    assert '<td data-label="Tries">8</td>' in content
    assert '<span class="directus-state directus-outcome-through">succeeded</span>' in content


def test_receivers__a_process_that_ended_has_no_traceback(admin_client: Client) -> None:
    row = add_row(state="dead", failures={CRASHED.receiver: asdict(CRASHED)})
    content = admin_client.get(url(INBOX, "change", row.pk)).content.decode()
    assert "ProcessEnded: The process ended while this event was delivered." in content
    assert "Traceback" not in content


# The item in Directus


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({}, "content/articles/42"),
        ({"collection": "a b/c", "key": "k/ü"}, "content/a%20b%2Fc/k%2F%C3%BC"),
        ({"collection": "directus_users", "key": "u"}, "users/u"),
        ({"collection": "directus_files", "key": "f"}, "files/f"),
        ({"collection": "directus_flows", "key": "f"}, "settings/flows/f"),
        ({"collection": "directus_revisions"}, ""),
        ({"action": "delete", "data": None}, ""),
        ({"connection": "gone"}, ""),
    ],
    ids=str,
)
def test_studio__the_page_of_the_item(
    admin_client: Client, values: dict[str, Any], path: str
) -> None:
    row = add_row(**values)
    content = admin_client.get(url(INBOX, "change", row.pk)).content.decode()
    assert ("Open in Directus" in content) is bool(path)
    if path:
        assert f'href="http://127.0.0.1:9/admin/{path}"' in content


def test_a_staff_user_without_rights_sees_nothing(client: Client) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(url(INBOX, "change", dead_letter().pk)).status_code == 403
