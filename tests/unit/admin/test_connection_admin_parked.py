from __future__ import annotations

import pytest
from django.test import Client

from directus_realtime.models import ConnectionStatus, LogPosition, ParkedChange
from tests.helpers.admin import (
    parked_change,
    url,
    user_who_may,
)
from tests.helpers.inbox import add_row

pytestmark = pytest.mark.django_db


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


def test_unlogged_changes_and_dropped_ids_are_shown_on_the_page_of_the_connection(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    add_row(collection="<b>", key_json="42", activity_id=None, origin="live")
    add_row(collection="logged", activity_id=7, origin="live")
    LogPosition.objects.create(alias="default", dropped=3, dropped_ranges=[[5, 7, 1_700_000_000]])
    page = admin_client.get(url("connectionstatus", "change", "default")).content.decode()
    assert "&lt;b&gt; 42 (" in page
    assert "logged 7" not in page
    assert "3<br>" in page
    assert ": 5 – 7" in page
