from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from directus_realtime.events import Event
from directus_realtime.models import (
    ConnectionStatus,
    DirectusSubscription,
    InboxEvent,
    ListenerLease,
    ListenerProcess,
    LogPosition,
    MatchedItem,
    ParkedChange,
)
from tests.helpers.admin import (
    form,
    parked_change,
    run_action,
    said,
    subscription,
    url,
    user_who_may,
)

pytestmark = pytest.mark.django_db

TOKEN = "the-s3cret-token"


@pytest.fixture(autouse=True)
def connection(settings: Any) -> None:
    values = {"URL": "https://cms.example.com", "TOKEN": TOKEN, "PASSWORD": TOKEN}
    settings.DIRECTUS_REALTIME = {"default": values, "blog": values}


@pytest.fixture
def admin_client(client: Client) -> Client:
    """Like pytest-django's, without the time to hash a password."""
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.fixture
def listener() -> ConnectionStatus:
    """A listener that writes now."""
    now = timezone.now()
    return ConnectionStatus.objects.create(
        alias="default",
        state="connected",
        url="https://cms.example.com",
        version="11.17.4",
        identity="django@example.com",
        changed_at=now,
        heartbeat_at=now,
    )


def inbox_row(title: str = "x", **values: Any) -> InboxEvent:
    event = Event(
        connection="default",
        subscription="all",
        collection="articles",
        action="update",
        key=values.pop("key", 42),
        data=values.pop("data", {"title": title}),
    )
    row = InboxEvent.from_event(event)
    for name, value in values.items():
        setattr(row, name, value)
    row.save()
    return row


def add(client: Client, **values: Any) -> Any:
    return client.post(url("directussubscription", "add"), form(**values), follow=True)


def errors(response: Any) -> dict[str, list[str]]:
    """The errors at the form's fields."""
    return dict(response.context["adminform"].form.errors)


# Subscriptions: the list


def test_the_list_shows_what_is_listened_to(admin_client: Client, listener: Any) -> None:
    subscription(state="subscribed", event_count=1234, on_delete=False)
    page = admin_client.get(url("directussubscription")).content.decode()
    assert "articles" in page
    assert "create, update" in page
    assert '<span class="directus-state directus-state-subscribed">subscribed</span>' in page
    assert "1234" in page or "1,234" in page


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"state": "waiting"}, "waiting"),
        ({"state": "refused", "last_error": "You don't <may>"}, "refused"),
        ({"state": "subscribed", "enabled": False}, "paused"),
        ({"state": "subscribed", "connection": "blog"}, "no listener"),
    ],
)
def test_the_list_tells_the_state_as_it_is_now(
    admin_client: Client, listener: Any, values: dict[str, Any], shown: str
) -> None:
    subscription(**values)
    page = admin_client.get(url("directussubscription")).content.decode()
    assert f">{shown}</span>" in page
    if "last_error" in values:
        assert "You don&#x27;t &lt;may&gt;" in page
        assert "<may>" not in page


def test_a_dead_listener_is_told_with_the_way_out(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    subscription(state="subscribed")
    listener.heartbeat_at = timezone.now() - timedelta(seconds=6)
    listener.save()
    page = admin_client.get(url("directussubscription")).content.decode()
    assert "no listener" in page
    assert "python manage.py directus_listen" in page


@pytest.mark.parametrize("has_listener", [True, False])
def test_the_list_asks_no_more_questions_for_more_rows(
    admin_client: Client,
    django_assert_max_num_queries: Any,
    has_listener: bool,
    request: pytest.FixtureRequest,
) -> None:
    if has_listener:
        request.getfixturevalue("listener")
    for number in range(30):
        subscription(f"s{number}", declared_in="app" if number % 2 else "")
    with django_assert_max_num_queries(12):
        admin_client.get(url("directussubscription"))


@pytest.mark.parametrize("query", ["?enabled__exact=1", "?state__exact=refused", "?q=arti"])
def test_the_list_filters_and_searches(admin_client: Client, listener: Any, query: str) -> None:
    subscription(state="refused")
    response = admin_client.get(url("directussubscription") + query)
    assert response.status_code == 200
    assert response.context["cl"].result_count == 1


# Subscriptions: adding and changing


def test_a_subscription_is_added(admin_client: Client) -> None:
    response = add(
        admin_client,
        on_update=None,
        filter='{"status": {"_eq": "published"}}',
        fields='["id", "author.name"]',
        item="7",
        group="news",
    )
    row = DirectusSubscription.objects.get()
    assert (row.name, row.connection, row.collection) == ("new", "default", "articles")
    assert row.actions == ("create", "delete")
    assert row.filter == {"status": {"_eq": "published"}}
    assert row.fields == ["id", "author.name"]
    assert (row.item, row.group) == ("7", "news")
    assert row.enabled
    assert "No listener is running. Start it: python manage.py directus_listen" in said(response)


def test_with_a_listener_it_is_said_when_it_is_taken_up(
    admin_client: Client, listener: Any
) -> None:
    assert "The listener takes it up within 2 seconds." in said(add(admin_client))


def test_the_form_offers_the_configured_connections(admin_client: Client) -> None:
    page = admin_client.get(url("directussubscription", "add")).content.decode()
    assert '<option value="default" selected>default</option>' in page
    assert '<option value="blog">blog</option>' in page
    assert 'name="state"' not in page


def test_a_connection_that_is_no_longer_configured_is_still_shown(admin_client: Client) -> None:
    row = subscription(connection="gone")
    page = admin_client.get(url("directussubscription", "change", row.pk)).content.decode()
    assert '<option value="gone" selected>gone</option>' in page


@pytest.mark.parametrize("empty", ["", "null"])
def test_an_emptied_filter_and_emptied_fields_are_none(admin_client: Client, empty: str) -> None:
    add(admin_client, filter=empty, fields=empty)
    row = DirectusSubscription.objects.get()
    assert (row.filter, row.fields) == ({}, [])


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"name": ""}, "name", "This field is required."),
        ({"collection": ""}, "collection", "This field is required."),
        ({"connection": "x"}, "connection", "There is no connection “x” in DIRECTUS_REALTIME."),
        (
            {"on_create": None, "on_update": None, "on_delete": None},
            "on_create",
            "Choose at least one action.",
        ),
        ({"filter": "{status: 1}"}, "filter", "Enter a valid JSON."),
        ({"filter": "[1]"}, "filter", "The filter must be an object"),
        ({"filter": '{"a": {"_is": 1}}'}, "filter", "_is is not a Directus filter operator."),
        ({"fields": "id, title"}, "fields", "Enter a valid JSON."),
        ({"fields": '"id"'}, "fields", "Fields must be a list of names"),
        ({"fields": "[1]"}, "fields", "Fields must be a list of names"),
        ({"group": "a b"}, "group", "Use fewer than 100 letters"),
        ({"group": "x" * 100}, "group", "Ensure this value has at most 99 characters"),
        ({"item": "x" * 256}, "item", "Ensure this value has at most 255 characters"),
    ],
)
def test_a_mistake_is_told_at_its_field(
    admin_client: Client, values: dict[str, Any], field: str, sentence: str
) -> None:
    response = add(admin_client, **values)
    found = errors(response)
    assert list(found) == [field]
    assert found[field][0].startswith(sentence)
    assert not DirectusSubscription.objects.exists()


def test_a_name_that_is_taken_is_told(admin_client: Client) -> None:
    subscription("new")
    assert "already exists" in errors(add(admin_client))["name"][0]


def test_a_subscription_is_changed_and_keeps_its_state(admin_client: Client) -> None:
    row = subscription("new", state="subscribed", event_count=5, last_error="e")
    page = url("directussubscription", "change", row.pk)
    assert admin_client.get(page).status_code == 200
    admin_client.post(page, form(collection="authors", state="refused", event_count="0"))
    row.refresh_from_db()
    assert row.collection == "authors"
    assert (row.state, row.event_count, row.last_error) == ("subscribed", 5, "e")


def test_a_declaration_cannot_be_forged(admin_client: Client) -> None:
    add(admin_client, declared_in="app")
    assert DirectusSubscription.objects.get().declared_in == ""


# Subscriptions: declared in code


@pytest.fixture
def declared() -> DirectusSubscription:
    return subscription("declared", declared_in="app.directus_subscriptions")


def test_a_declared_row_is_shown_with_its_place(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    page = admin_client.get(url("directussubscription", "change", declared.pk)).content.decode()
    assert "app.directus_subscriptions" in page
    assert '<input type="text" name="collection"' not in page
    assert 'name="_save"' not in page


def test_a_declared_row_cannot_be_changed(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    page = url("directussubscription", "change", declared.pk)
    assert admin_client.post(page, form(collection="authors")).status_code == 403
    declared.refresh_from_db()
    assert declared.collection == "articles"


def test_a_declared_row_cannot_be_deleted(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    page = url("directussubscription", "delete", declared.pk)
    assert admin_client.post(page, {"post": "yes"}).status_code == 403
    run = {"action": "delete_selected", "_selected_action": [declared.pk], "post": "yes"}
    admin_client.post(url("directussubscription"), run)
    assert DirectusSubscription.objects.get() == declared


def test_a_row_of_the_admin_can_be_deleted(admin_client: Client) -> None:
    row = subscription()
    admin_client.post(url("directussubscription", "delete", row.pk), {"post": "yes"})
    assert not DirectusSubscription.objects.exists()


def test_what_is_remembered_of_items_is_not_listed_before_a_delete(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    row, other = subscription("first"), subscription("second")
    digests = [f"{number:064}" for number in range(1000)]
    MatchedItem.objects.bulk_create(
        MatchedItem(subscription=each, digest=d) for each in (row, other) for d in digests
    )
    with django_assert_max_num_queries(10):
        page = admin_client.get(url("directussubscription", "delete", row.pk)).content.decode()
    assert "first" in page
    assert "0001" not in page
    answer = run_action(admin_client, "directussubscription", "delete_selected", row, other)
    assert "0001" not in answer.content.decode()
    admin_client.post(url("directussubscription", "delete", row.pk), {"post": "yes"})
    assert list(DirectusSubscription.objects.all()) == [other]
    assert set(MatchedItem.objects.values_list("subscription", flat=True)) == {other.pk}


def test_of_a_declared_row_it_is_said_why_it_is_not_deleted(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    answer = run_action(
        admin_client, "directussubscription", "delete_selected", declared, subscription()
    )
    assert "declared, which is declared in code" in answer.content.decode()
    assert DirectusSubscription.objects.count() == 2


# Subscriptions: actions


def test_disables_and_enables(admin_client: Client) -> None:
    first, second, other = subscription("a"), subscription("b"), subscription("c")
    response = run_action(admin_client, "directussubscription", "disable", first, second)
    assert said(response) == ["2 subscriptions are disabled."]
    enabled = DirectusSubscription.objects.filter(enabled=True)
    assert list(enabled.all()) == [other]
    response = run_action(admin_client, "directussubscription", "enable", first)
    assert said(response) == ["1 subscription is enabled."]
    assert set(enabled.all()) == {first, other}


def test_an_action_leaves_declared_rows_as_they_are(
    admin_client: Client, declared: DirectusSubscription
) -> None:
    row = subscription()
    response = run_action(admin_client, "directussubscription", "disable", row, declared)
    assert said(response) == [
        "1 subscription is disabled.",
        "1 subscription is declared in code and was left as it is.",
    ]
    assert list(DirectusSubscription.objects.filter(enabled=True)) == [declared]


def test_actions_need_the_right_to_change(client: Client) -> None:
    client.force_login(user_who_may("view_directussubscription"))
    row = subscription()
    run_action(client, "directussubscription", "disable", row)
    row.refresh_from_db()
    assert row.enabled


# Inbox

FAILURES = {
    "app.receiver": {
        "receiver": "app.receiver",
        "error": "ValueError: <b>no</b>",
        "traceback": "Traceback (most recent call last):\n  <i>here</i>",
    }
}


def test_the_inbox_lists_events(admin_client: Client) -> None:
    inbox_row(key="a-key", state="dead", attempts=8)
    page = admin_client.get(url("inboxevent")).content.decode()
    assert "&quot;a-key&quot;" in page
    assert '<span class="directus-state directus-state-dead">dead letter</span>' in page


def test_the_inbox_asks_no_more_questions_for_more_rows(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(50):
        inbox_row(key=number, failures=FAILURES, state="failed")
    with django_assert_max_num_queries(10):
        admin_client.get(url("inboxevent"))


def test_a_payload_stays_text(admin_client: Client) -> None:
    html = "<script>alert(1)</script>"
    row = inbox_row(data={html: html, "ä": "🙂", "nul": "\0"}, key=html, failures=FAILURES)
    for page in (url("inboxevent"), url("inboxevent", "change", row.pk)):
        content = admin_client.get(page).content.decode()
        assert "<script>alert" not in content
        assert "<b>no</b>" not in content
        assert "<i>here</i>" not in content
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in content
    assert "ä" in content
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in content


@pytest.mark.parametrize(
    "data", [None, {}, {"text": "half a pair \ud800"}, {"huge": 10**300}], ids=repr
)
def test_every_payload_can_be_looked_at(admin_client: Client, data: Any) -> None:
    row = inbox_row(data=data)
    assert admin_client.get(url("inboxevent", "change", row.pk)).status_code == 200


def test_a_payload_that_is_nested_deep_can_be_looked_at(admin_client: Client) -> None:
    row = inbox_row()
    row.data_json = '{"a": ' + "[" * 600 + "]" * 600 + "}"
    row.save()
    assert admin_client.get(url("inboxevent", "change", row.pk)).status_code == 200


def test_nobody_adds_changes_or_deletes_an_event(admin_client: Client) -> None:
    row = inbox_row()
    assert admin_client.get(url("inboxevent", "add")).status_code == 403
    change = admin_client.post(url("inboxevent", "change", row.pk), {"state": "done"})
    assert change.status_code == 403
    delete = admin_client.post(url("inboxevent", "delete", row.pk), {"post": "yes"})
    assert delete.status_code == 403
    run = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    admin_client.post(url("inboxevent"), run)
    row.refresh_from_db()
    assert row.state == "pending"


def test_dead_letters_are_put_back(admin_client: Client) -> None:
    later = timezone.now() + timedelta(hours=1)
    dead = inbox_row(state="dead", attempts=8, failures=FAILURES)
    failed = inbox_row(state="failed", attempts=2, failures=FAILURES, next_attempt_at=later)
    done = inbox_row(state="done", attempts=1)
    not_selected = inbox_row(state="dead", attempts=8)
    response = run_action(admin_client, "inboxevent", "retry", dead, failed, done)
    assert said(response) == ["2 events are tried again."]
    for row in (dead, failed, done, not_selected):
        row.refresh_from_db()
    assert (dead.state, dead.attempts) == ("pending", 0)
    assert dead.failures == FAILURES  # only these receivers are called again
    assert failed.state == "failed"
    assert failed.next_attempt_at is not None
    assert failed.next_attempt_at <= timezone.now()
    assert (done.state, done.attempts) == ("done", 1)
    assert not_selected.state == "dead"


def test_who_may_only_look_retries_nothing(client: Client) -> None:
    client.force_login(user_who_may("view_inboxevent"))
    row = inbox_row(state="dead", attempts=8)
    assert client.get(url("inboxevent")).status_code == 200
    run_action(client, "inboxevent", "retry", row)
    row.refresh_from_db()
    assert row.state == "dead"


# Connections


def test_the_connections_are_listed(admin_client: Client, listener: ConnectionStatus) -> None:
    page = admin_client.get(url("connectionstatus")).content.decode()
    for shown in ("https://cms.example.com", "11.17.4", "django@example.com", "connected"):
        assert shown in page
    detail = admin_client.get(url("connectionstatus", "change", listener.pk))
    assert detail.status_code == 200


def test_what_the_server_says_stays_text(admin_client: Client, listener: ConnectionStatus) -> None:
    listener.state = "reconnecting"
    listener.reason = listener.identity = listener.version = "<script>alert(1)</script>"
    listener.save()
    for page in (url("connectionstatus"), url("connectionstatus", "change", "default")):
        content = admin_client.get(page).content.decode()
        assert "<script>alert" not in content
        assert "&lt;script&gt;alert(1)" in content


def test_nobody_changes_a_connection(admin_client: Client, listener: ConnectionStatus) -> None:
    assert admin_client.get(url("connectionstatus", "add")).status_code == 403
    change = admin_client.post(url("connectionstatus", "change", listener.pk), {"state": "x"})
    assert change.status_code == 403


# Lists without rows


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("directussubscription", "Nothing is listened to yet. Add a subscription"),
        ("inboxevent", "No events yet."),
        ("connectionstatus", "No listener has been started yet."),
        ("listenerprocess", "No listener is running. Start it:"),
        ("parkedchange", "Every logged change was delivered"),
    ],
)
def test_an_empty_list_says_what_that_means(
    admin_client: Client, model: str, sentence: str
) -> None:
    assert sentence in admin_client.get(url(model)).content.decode()


@pytest.mark.parametrize("query", ["?q=nothing", "?state__exact=dead"])
def test_a_list_in_which_nothing_matches_says_so(admin_client: Client, query: str) -> None:
    inbox_row()
    page = admin_client.get(url("inboxevent") + query).content.decode()
    assert "Nothing matches what is asked for." in page
    assert "No events yet." not in page
    assert 'name="action"' not in page


# All pages


def test_no_page_shows_a_token(admin_client: Client, listener: ConnectionStatus) -> None:
    row, event = subscription(), inbox_row(failures=FAILURES)
    pages = [reverse("admin:index"), url("directussubscription", "add")]
    for model, pk in [
        ("directussubscription", row.pk),
        ("inboxevent", event.pk),
        ("connectionstatus", listener.pk),
    ]:
        pages += [url(model), url(model, "change", pk)]
    for page in pages:
        response = admin_client.get(page)
        assert response.status_code == 200, page
        assert TOKEN not in response.content.decode(), page


@pytest.mark.parametrize("model", ["directussubscription", "inboxevent", "connectionstatus"])
def test_the_pages_need_a_right(client: Client, model: str) -> None:
    assert client.get(url(model)).status_code == 302
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(url(model)).status_code == 403


def test_the_message_of_the_data_is_the_json_that_came(admin_client: Client) -> None:
    data = {"title": "x", "list": [1, None]}
    row = inbox_row(data=data)
    content = admin_client.get(url("inboxevent", "change", row.pk)).content.decode()
    shown = json.dumps(data, indent=2).replace('"', "&quot;")
    assert shown in content


# Listeners


def process(pid: int, seconds: float, **values: Any) -> ListenerProcess:
    """A listener that wrote so many seconds ago."""
    now = timezone.now()
    given = {"host": "web-1", "role": "active", "aliases": ["default", "blog"], **values}
    return ListenerProcess.objects.create(
        pid=pid, started_at=now, heartbeat_at=now - timedelta(seconds=seconds), **given
    )


def test_listeners_are_listed_with_what_they_do(admin_client: Client) -> None:
    process(4711, 1)
    process(4712, 1, role="standby")
    process(4713, 6)
    page = admin_client.get(url("listenerprocess")).content.decode()
    assert "default, blog" in page
    assert '<span class="directus-state directus-state-active">active</span>' in page
    assert '<span class="directus-state directus-state-standby">standing by</span>' in page
    # One that was killed could not say so.
    assert page.count('<span class="directus-state directus-state-gone">gone</span>') == 1


def test_listeners_are_only_looked_at(admin_client: Client) -> None:
    row = process(4711, 1)
    assert admin_client.get(url("listenerprocess", "change", row.pk)).status_code == 200
    assert admin_client.get(url("listenerprocess", "add")).status_code == 403
    assert admin_client.post(url("listenerprocess", "delete", row.pk)).status_code == 403


def test_a_connection_shows_its_lag_its_catch_up_and_its_listeners(
    admin_client: Client, listener: Any
) -> None:
    active = process(4711, 1)
    process(4712, 1, role="standby", host="web-2")
    ListenerLease.objects.create(alias="default", holder=active.id, token=3)
    now = timezone.now()
    inbox_row(received_at=now - timedelta(seconds=90))
    inbox_row(state="dead")
    inbox_row(state="done")
    LogPosition.objects.create(
        alias="default",
        problem="The token may not read <directus_activity>.",
        rows_done=120,
        rows_total=400,
        read_at=now,
        gap_since=now,
        gap_until=now,
        gap_recovered=True,
    )
    parked_change()
    page = admin_client.get(url("connectionstatus", "change", "default")).content.decode()
    assert '<span class="directus-state directus-level-degraded">degraded</span>' in page
    assert '?connection__exact=default">0 parked, 1 unexplained</a>' in page
    assert "90.0 s" in page or "90.1 s" in page
    assert "pending: 1, dead letter: 1" in page
    assert "120 of 400 rows" in page
    assert "may not read &lt;directus_activity&gt;." in page
    assert ": recovered" in page
    assert "web-1:4711 (fencing token 3)" in page
    assert "web-2:4712" in page


# The last gap


@pytest.fixture
def gap(listener: ConnectionStatus) -> LogPosition:
    now = timezone.now()
    return LogPosition.objects.create(
        alias="default",
        read_at=now,
        gap_since=now - timedelta(hours=1),
        gap_until=now,
        gap_recovered=False,
        gap_reason="The activity log does not reach back that far",
        gap_collections=["articles", "authors"],
    )


def acknowledge(client: Client, gap: LogPosition, alias: str = "default") -> Any:
    data = {"gap": gap.gap_since.isoformat() if gap.gap_since else ""}
    address = url("connectionstatus", "acknowledge_gap", alias)
    return client.post(address, data, follow=True)


BUTTON = "Acknowledge the last gap"


def test_a_gap_is_shown_and_acknowledged(admin_client: Client, gap: LogPosition) -> None:
    address = url("connectionstatus", "change", "default")
    page = admin_client.get(address).content.decode()
    assert BUTTON in page
    assert "not recovered<br>articles, authors<br>The activity log does not reach back" in page
    assert f'name="gap" value="{gap.gap_since and gap.gap_since.isoformat()}"' in page
    answer = acknowledge(admin_client, gap)
    assert said(answer) == ["The last gap was acknowledged."]
    assert BUTTON not in answer.content.decode()
    assert "not recovered, acknowledged 20" in answer.content.decode()
    gap.refresh_from_db()
    assert gap.gap_acknowledged_at is not None
    assert said(acknowledge(admin_client, gap)) == ["There is no gap to acknowledge."]
    assert LogEntry.objects.get().change_message == "The last gap was acknowledged."


def test_a_newer_gap_has_to_be_read_first(admin_client: Client, gap: LogPosition) -> None:
    LogPosition.objects.update(gap_since=timezone.now())
    answer = acknowledge(admin_client, gap)
    assert said(answer) == ["There is a newer gap. Read about it before you acknowledge it."]
    assert LogPosition.objects.get().gap_acknowledged_at is None


def test_a_gap_is_acknowledged_with_a_right_and_by_post_only(
    client: Client, gap: LogPosition
) -> None:
    reader = user_who_may("view_connectionstatus")
    client.force_login(reader)
    page = client.get(url("connectionstatus", "change", "default")).content.decode()
    assert BUTTON not in page
    assert acknowledge(client, gap).status_code == 403
    reader.user_permissions.set(Permission.objects.filter(codename__endswith="_connectionstatus"))
    assert client.get(url("connectionstatus", "acknowledge_gap", "default")).status_code == 405
    assert acknowledge(client, gap, "nowhere").status_code == 404
    assert LogPosition.objects.get().gap_acknowledged_at is None
    assert BUTTON in client.get(url("connectionstatus", "change", "default")).content.decode()
    assert said(acknowledge(client, gap)) == ["The last gap was acknowledged."]


# Parked changes


def test_a_parked_change_is_shown_and_put_away(admin_client: Client) -> None:
    row = parked_change(key_json='"<b>"', reason="Not found.")
    parked_change("parked", activity_id=2)
    page = admin_client.get(url("parkedchange")).content.decode()
    assert '<span class="directus-state directus-state-unexplained">unexplained</span>' in page
    assert '<span class="directus-state directus-state-parked">parked</span>' in page
    assert "&lt;b&gt;" in page
    page = admin_client.get(url("parkedchange", "change", row.pk)).content.decode()
    assert "delete this entry when it is dealt with" in page
    assert "Not found." in page
    admin_client.post(url("parkedchange", "delete", row.pk), {"post": "yes"})
    assert [each.state for each in ParkedChange.objects.all()] == ["parked"]


def test_a_parked_change_is_not_changed_and_deleted_with_a_right_only(
    client: Client, admin_client: Client
) -> None:
    row = parked_change()
    assert admin_client.get(url("parkedchange", "add")).status_code == 403
    assert admin_client.post(url("parkedchange", "change", row.pk), {}).status_code == 403
    client.force_login(user_who_may("view_parkedchange"))
    assert client.post(url("parkedchange", "delete", row.pk), {"post": "yes"}).status_code == 403
    assert ParkedChange.objects.exists()


def test_a_listener_shows_why_it_could_not_log_in(admin_client: Client) -> None:
    row = process(4711, 1, role="standby", problems={"blog": "Directus refused <you>."})
    page = admin_client.get(url("listenerprocess", "change", row.pk)).content.decode()
    assert "blog: Directus refused &lt;you&gt;." in page


def test_a_connection_that_never_had_a_listener_shows_dashes(
    admin_client: Client, listener: Any
) -> None:
    response = admin_client.get(url("connectionstatus", "change", "default"))
    assert response.status_code == 200
    assert response.content.decode().count(">–<") >= 6


def test_all_times_of_a_page_are_told_alike(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    at = timezone.now().replace(2026, 11, 5, 9, 8, 7)
    listener.complete_until = at
    listener.save()
    subscription(last_event_at=at)
    ListenerProcess.objects.create(
        host="web-1", pid=1, role="active", started_at=at, heartbeat_at=at
    )
    row = DirectusSubscription.objects.get()
    pages = [
        url("connectionstatus", "change", "default"),
        url("connectionstatus"),
        url("listenerprocess", "change", ListenerProcess.objects.get().pk),
        url("directussubscription", "change", row.pk),
    ]
    for page in pages:
        content = admin_client.get(page).content.decode()
        assert not re.search(r"Nov\. \d|[ap]\.m\.", content), page
        assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", content), page
    # What the moment means is still said.
    assert "Up to this moment" in admin_client.get(pages[0]).content.decode()


def test_a_connection_whose_listener_died_is_disconnected_since_then(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    now = timezone.now()
    listener.changed_at, listener.heartbeat_at = now - timedelta(days=1), now - timedelta(hours=1)
    listener.save()
    died = f"{timezone.localtime(listener.heartbeat_at):%Y-%m-%d %H:%M:%S}"
    for page in (url("connectionstatus"), url("connectionstatus", "change", "default")):
        content = admin_client.get(page).content.decode()
        shown = re.search(r"field-listed_since.*?(20[\d: -]+\d)", content, re.S)
        assert shown is not None
        assert shown[1] == died


def test_the_help_of_the_filter_says_what_happens_with_deletes(
    admin_client: Client, client: Client
) -> None:
    page = url("directussubscription", "add")
    assert "A delete carries no data that a filter could judge" in (
        admin_client.get(page).content.decode()
    )
    with translation.override(None):
        content = client.get(page, headers={"accept-language": "fr"}).content.decode()
    assert "Une suppression ne porte pas de données" in content
    # Those who may only look are told, too.
    row = subscription()
    client.force_login(user_who_may("view_directussubscription"))
    page = url("directussubscription", "change", row.pk)
    assert "A delete carries no data" in client.get(page).content.decode()


def test_the_pages_of_listeners_are_translated(admin_client: Client, listener: Any) -> None:
    process(4711, 1, role="standby")
    with translation.override(None):  # which the middleware changes for good
        pages = [
            admin_client.get(address, headers={"accept-language": "fr"}).content.decode()
            for address in (
                url("listenerprocess"),
                url("connectionstatus", "change", "default"),
            )
        ]
    assert "en attente" in pages[0]
    for text in ("Boîte de réception", "Journal d’activité", "Retard", "Dernière interruption"):
        assert text in pages[1]
