from __future__ import annotations

import pytest
from django.test import Client

from directus_realtime.models import (
    ParkedChange,
)
from tests.helpers.admin import (
    parked_change,
    url,
    user_who_may,
)

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
