from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone, translation

from directus_realtime.models import (
    ConnectionStatus,
    ListenerLease,
    ListenerProcess,
    LogPosition,
)
from tests.helpers.admin import (
    parked_change,
    said,
    url,
    user_who_may,
)
from tests.helpers.inbox import add_row

pytestmark = pytest.mark.django_db


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
    add_row(received_at=now - timedelta(seconds=90))
    add_row(state="dead")
    add_row(state="done")
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


def test_a_connection_whose_listener_died_is_disconnected_since_then(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    now = timezone.now()
    listener.changed_at, listener.heartbeat_at = now - timedelta(days=1), now - timedelta(hours=1)
    listener.save()
    died = f"{timezone.localtime(listener.heartbeat_at):%Y-%m-%d %H:%M:%S}"
    for page in (url("connectionstatus"), url("connectionstatus", "change", "default")):
        content = admin_client.get(page).content.decode()
        shown = re.search(r"field-since_column.*?(20[\d: -]+\d)", content, re.S)
        assert shown is not None
        assert shown[1] == died


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
