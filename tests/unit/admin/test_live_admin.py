from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from directus_realtime.gateway.live_consumer import LiveConsumer
from directus_realtime.models import EventCount, InboxEvent, LogPosition
from tests.helpers.admin import parked_change, subscription, url, user_who_may
from tests.helpers.inbox import add_row, dead_letter, new_row

pytestmark = pytest.mark.django_db

RIGHTS = ("view_connectionstatus", "view_inboxevent")
HTML = "<script>alert(1)</script>"


def live(client: Client, page: str = "changelist", *args: Any, **query: Any) -> Any:
    return client.get(url("live", page, *args), query)


def state(client: Client, alias: str = "default") -> dict[str, Any]:
    found = {each["alias"]: each for each in live(client, "state").json()["connections"]}
    return found[alias]


def test_the_page_is_in_the_index(admin_client: Client) -> None:
    for page in (reverse("admin:index"), reverse("admin:app_list", args=["directus_realtime"])):
        content = admin_client.get(page).content.decode()
        assert f'href="{url("live")}"' in content
        assert "Directus live" in content


def test_the_pages_of_a_connection_lead_to_it(client: Client, listener: Any) -> None:
    pages = [url("connectionstatus"), url("connectionstatus", "change", "default")]
    link = f'<li><a href="{url("live")}">Directus live</a></li>'
    reader = user_who_may(*RIGHTS)
    client.force_login(reader)
    assert all(link in client.get(page).content.decode() for page in pages)
    reader.user_permissions.set(reader.user_permissions.filter(codename="view_connectionstatus"))
    assert not any(link in client.get(page).content.decode() for page in pages)


def test_the_page_shows_each_connection(admin_client: Client, listener: Any) -> None:
    listener.url, listener.version = "https://cms.example.com", "11.17.4"
    listener.identity = HTML
    listener.save()
    content = live(admin_client).content.decode()
    assert 'data-connection="default"' in content
    assert 'data-connection="blog"' in content
    assert "https://cms.example.com (Directus 11.17.4)" in content
    assert HTML not in content


def test_state__tells_dead_letters_with_the_way_to_them(
    admin_client: Client, listener: Any
) -> None:
    dead_letter(connection="blog")
    assert state(admin_client)["dead"] == 0
    assert state(admin_client, "blog")["texts"]["dead"] == "1 dead letter"
    link = "?state__exact=dead&amp;connection__exact=blog"
    assert link in live(admin_client).content.decode()


def test_state__of_no_listener_says_how_to_start_one(admin_client: Client) -> None:
    found = state(admin_client)
    assert found["state"] == "disconnected"
    assert "directus_listen" in found["texts"]["reason"]


def test_state__tells_what_directus_status_calls_not_healthy(
    admin_client: Client, listener: Any
) -> None:
    assert state(admin_client)["texts"]["reason"] == ""
    add_row(received_at=timezone.now() - timedelta(minutes=10))
    subscription("secret", state="refused", last_error="You may not.")
    assert state(admin_client)["texts"]["reason"].splitlines() == [
        "The subscription secret is refused: You may not. Run directus_check for the details.",
        "The oldest pending event has waited for 600 s; 60 s are allowed. "
        "Look for a slow or hanging receiver, or a missing worker.",
    ]
    assert state(admin_client)["level"] == "failed"
    page = admin_client.get(url("connectionstatus", "change", "default")).content.decode()
    assert "refused: You may not. Run directus_check for the details.<br>The oldest" in page


def test_state__what_is_not_healthy_is_translated(admin_client: Client, listener: Any) -> None:
    add_row(received_at=timezone.now() - timedelta(minutes=10))
    LogPosition.objects.create(alias="default", problem="The token may not read directus_activity")
    with translation.override(None):  # which the middleware changes for good
        answer = admin_client.get(url("live", "state"), headers={"accept-language": "fr"}).json()
    texts = {each["alias"]: each["texts"] for each in answer["connections"]}
    assert texts["default"]["reason"] == (
        "Le plus ancien événement à livrer attend depuis 600 s ; 60 s sont admises. "
        "Cherchez un récepteur lent ou bloqué, ou un worker manquant."
    )
    assert texts["default"]["level"] == "dégradé"
    assert re.fullmatch(r"600,\d s", texts["default"]["lag"])
    assert texts["default"]["problem"] == "Le jeton n’a pas le droit de lire directus_activity"
    assert texts["blog"]["reason"] == (
        "Aucune écoute n’est en cours. Démarrez-la : python manage.py directus_listen"
    )


def test_state__catch_up_and_gap(admin_client: Client, listener: Any) -> None:
    now = timezone.now()
    LogPosition.objects.create(
        alias="default", rows_done=3, rows_total=9, gap_since=now, gap_recovered=False
    )
    found = state(admin_client)["texts"]
    assert found["rows"] == "3 of 9 rows"
    LogPosition.objects.update(rows_done=1, rows_total=1)
    assert state(admin_client)["texts"]["rows"] == "1 of 1 row"
    assert found["gap"].endswith("…: not recovered")


def test_state__socket_holes_and_changes_that_wait(admin_client: Client, listener: Any) -> None:
    listener.socket_problem = "The handshake timed out."
    listener.save()
    now = timezone.now()
    LogPosition.objects.create(
        alias="default", read_at=now, holes=[[1, 1000, now.timestamp()], [5, 5, 9e6]], dropped=1234
    )
    parked_change("parked")
    found = state(admin_client)
    assert found["level"] == "ok"
    assert found["texts"]["socket"] == "The handshake timed out."
    assert found["texts"]["holes"].startswith("1,001 ids since 1970-04-1")
    assert found["texts"]["dropped"] == "1,234"
    assert found["texts"]["parked"] == "1 parked, 0 unexplained"
    assert found["texts"]["notes"].count("\n") == 2
    parked_change("unexplained", activity_id=2)
    assert state(admin_client)["level"] == "degraded"


def count(minutes_ago: int, events: int, name: str = "all", alias: str = "default") -> None:
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    EventCount.objects.create(subscription=name, connection=alias, minute=minute, events=events)


def test_plot__the_last_hour_by_minute(admin_client: Client) -> None:
    count(30, 10)
    count(30, 5, "another")
    count(59, 7)
    count(75, 100)
    count(30, 1000, "other", "blog")
    plots = live(admin_client, "state", plots=1).json()["plots"]
    assert plots["default"]["text"] == "22 events in the last hour, at most 15 in a minute"
    assert plots["default"]["path"].count("M") == 2
    assert "1,000 events" in plots["blog"]["text"]


def test_plot__of_no_events_is_empty(admin_client: Client) -> None:
    plots = live(admin_client, "state", plots=1).json()["plots"]
    assert plots["default"] == {
        "path": "",
        "text": "0 events in the last hour, at most 0 in a minute",
    }


def test_rate__counts_this_minute_and_a_part_of_the_one_before(admin_client: Client) -> None:
    count(0, 10)
    count(1, 0)
    count(5, 1000)
    assert state(admin_client)["texts"]["rate"] == "10 events per minute"


def test_events__the_newest_and_then_what_is_new(admin_client: Client) -> None:
    InboxEvent.objects.bulk_create(new_row(key=number) for number in range(60))
    first = live(admin_client, "events").json()
    assert [event["key"] for event in first["events"]] == [str(n) for n in range(10, 60)]
    row = add_row(key="new", collection="notes", action="create")
    # Long ago, so that nothing is looked at a second time.
    InboxEvent.objects.exclude(pk=row.pk).update(received_at=timezone.now() - timedelta(hours=1))
    second = live(admin_client, "events", after=first["after"]).json()
    (event,) = second["events"]
    assert (event["id"], event["collection"], event["key"]) == (str(row.event_id), "notes", "new")
    assert live(admin_client, "events", after=second["after"]).json()["after"] == row.pk
    assert not second["left_out"]


def test_events__one_that_was_committed_late_is_not_overlooked(admin_client: Client) -> None:
    newer = add_row(pk=10_000)
    older = add_row(pk=9_990)
    found = live(admin_client, "events", after=newer.pk).json()
    assert str(older.event_id) in [event["id"] for event in found["events"]]


def test_events__too_many_are_said_to_be(admin_client: Client) -> None:
    add_row(pk=1)
    InboxEvent.objects.bulk_create(new_row(key=number) for number in range(250))
    found = live(admin_client, "events", after=1).json()
    assert found["left_out"]
    assert found["events"][-1]["key"] == "249"


def test_events__of_one_collection(admin_client: Client) -> None:
    add_row(collection="notes", key=1)
    add_row(key=2)
    found = live(admin_client, "events", collection="notes").json()
    assert [event["key"] for event in found["events"]] == ["1"]


@pytest.mark.parametrize("after", ["x", "-1", "9" * 30, ""])
def test_events__nonsense_is_a_first_look(admin_client: Client, after: str) -> None:
    add_row()
    assert len(live(admin_client, "events", after=after).json()["events"]) == 1


def test_event__the_payload_is_text(admin_client: Client) -> None:
    row = add_row(data={"title": HTML})
    response = live(admin_client, "event", row.event_id)
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.json()["data"]) == {"title": HTML}
    assert response.json()["url"] == url("inboxevent", "change", row.pk)


def test_event__that_is_gone(admin_client: Client) -> None:
    assert live(admin_client, "event", "00000000-0000-4000-8000-000000000001").status_code == 404


@pytest.mark.parametrize("rights", [(), *((right,) for right in RIGHTS)], ids=str)
def test_rights__both_are_needed(client: Client, rights: tuple[str, ...]) -> None:
    client.force_login(user_who_may(*rights))
    row = add_row()
    pages = [("changelist",), ("state",), ("events",), ("event", row.event_id)]
    for page in pages:
        assert live(client, *page).status_code == 403
    assert f'href="{url("live")}"' not in client.get(reverse("admin:index")).content.decode()


def test_rights__both_are_enough(client: Client) -> None:
    client.force_login(user_who_may(*RIGHTS))
    assert live(client).status_code == 200
    assert live(client, "state").status_code == 200


def test_rights__who_is_not_signed_in_is_sent_to_the_log_in(client: Client) -> None:
    assert live(client, "state").status_code == 302
    client.force_login(User.objects.create_user("customer"))
    assert live(client, "state").status_code == 302


@pytest.mark.parametrize("page", ["changelist", "state", "events"])
def test_queries__few(admin_client: Client, listener: Any, page: str) -> None:
    for number in range(60):
        subscription(f"s-{number}", collection=f"c-{number}")
    InboxEvent.objects.bulk_create(new_row(key=number) for number in range(60))
    with CaptureQueriesContext(database) as found:
        assert live(admin_client, page, plots=1).status_code == 200
    assert len(found) <= 15


def config(client: Client) -> dict[str, Any]:
    return live(client).context["page_config"]  # type: ignore[no-any-return]


@pytest.fixture
def mounted(monkeypatch: Any) -> None:
    monkeypatch.setattr(LiveConsumer, "mounted_at", "directus/admin-live/")


def test_socket__is_tried_where_it_is_mounted(admin_client: Client, mounted: None) -> None:
    assert config(admin_client)["socket"] == "/directus/admin-live/"


def test_socket__is_not_tried_where_it_is_not(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(LiveConsumer, "mounted_at", None)
    found = config(admin_client)
    assert found["socket"] == ""
    assert "not mounted" in found["words"]["polled"]


def test_socket__is_not_tried_with_a_layer_of_one_process(
    admin_client: Client, mounted: None
) -> None:
    previous = channel_layers.set("default", InMemoryChannelLayer())
    try:
        found = config(admin_client)
    finally:
        channel_layers.set("default", previous)
    assert found["socket"] == ""
    assert "from one process to another" in found["words"]["polled"]
