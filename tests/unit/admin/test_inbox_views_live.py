from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from directus_realtime.models import ConnectionStatus, InboxEvent, InboxState
from tests.helpers.admin import url, user_who_may
from tests.helpers.inbox import add_row, dead_letter

pytestmark = pytest.mark.django_db

INBOX = "inboxevent"
NO_LISTENER = "No listener is running. Start it: python manage.py directus_listen"
OPEN = {"pending", "held", "delivering", "failed"}


def page_of(client: Client, row: InboxEvent) -> str:
    return str(client.get(url(INBOX, "change", row.pk)).content.decode())


def now(client: Client, row: InboxEvent) -> Any:
    response = client.get(url(INBOX, "live_row", row.pk))
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    return response.json()


@pytest.mark.parametrize("state", InboxState.values)
def test_the_page_follows_an_event_that_is_on_its_way(
    admin_client: Client, listener: Any, state: str
) -> None:
    row = add_row(state=state)
    assert (f'data-url="{url(INBOX, "live_row", row.pk)}"' in page_of(admin_client, row)) is (
        state in OPEN
    )
    assert now(admin_client, row)["is_open"] is (state in OPEN)


def test_what_becomes_of_a_retry_is_told_as_on_the_page(
    admin_client: Client, listener: Any
) -> None:
    row = dead_letter()
    admin_client.post(url(INBOX, "retry", row.pk))
    tried = now(admin_client, row)
    assert tried["state"] == "State: pending"
    assert ">pending<" in tried["cells"]["state_column"]
    assert "Retry now" not in tried["buttons"]

    later = timezone.now() + timedelta(hours=1)
    InboxEvent.objects.update(state="failed", attempts=1, next_attempt_at=later)
    failed = now(admin_client, row)
    assert failed["cells"]["attempts"] == "1"
    assert failed["cells"]["next_attempt_field"].startswith("20")
    assert "Retry now" in failed["buttons"]
    assert "Mark as handled" not in failed["buttons"]

    InboxEvent.objects.update(state="done", failures={}, done_at=timezone.now())
    done = now(admin_client, row)
    content = page_of(admin_client, row)
    for name, cell in done["cells"].items():
        assert f'<div class="readonly">{cell}</div>' in content, name
    assert done["buttons"].strip() in content


def test_texts_of_a_failure_stay_text(admin_client: Client, listener: Any) -> None:
    row = dead_letter("ValueError: <script>alert(1)</script>", state="failed")
    cells = now(admin_client, row)["cells"]
    assert "&lt;script&gt;" in cells["receivers_field"]
    assert "<script>" not in cells["receivers_field"]


def test_without_a_listener_it_is_told_why_nothing_happens(
    admin_client: Client, listener: ConnectionStatus
) -> None:
    row, done = add_row(), add_row(state="done")
    assert NO_LISTENER not in page_of(admin_client, row)
    listener.heartbeat_at -= timedelta(seconds=30)
    listener.save()
    assert NO_LISTENER in page_of(admin_client, row)
    assert NO_LISTENER in now(admin_client, row)["buttons"]
    assert NO_LISTENER not in page_of(admin_client, done)


def test_the_list_follows_the_rows_that_are_on_their_way(
    admin_client: Client, listener: Any
) -> None:
    rows = {state: add_row(state=state) for state in InboxState.values}
    content = admin_client.get(url(INBOX)).content.decode()
    followed = {s for s, row in rows.items() if f'data-directus-event="{row.pk}"' in content}
    assert followed == OPEN
    pending = rows["pending"]
    asked = {"ids": f"{pending.pk},{rows['done'].pk},x,"}
    shown = admin_client.get(url(INBOX, "live"), asked).json()["rows"]
    assert set(shown) == {str(pending.pk), str(rows["done"].pk)}
    assert f'data-directus-event="{pending.pk}"' in shown[str(pending.pk)]
    assert "data-directus-event" not in shown[str(rows["done"].pk)]


def test_to_follow_takes_the_right_to_look_and_offers_no_more(
    client: Client, listener: Any
) -> None:
    row = dead_letter(state="failed")
    pages = [url(INBOX, "live"), url(INBOX, "live_row", row.pk)]
    assert [client.get(page).status_code for page in pages] == [302, 302]
    reader = user_who_may("view_inboxevent")
    client.force_login(reader)
    assert now(client, row)["buttons"].strip() == ""
    assert 'form="directus' not in page_of(client, row)
    reader.user_permissions.clear()
    assert [client.get(page).status_code for page in pages] == [403, 403]


def test_an_event_that_is_pruned_meanwhile_is_not_there(admin_client: Client) -> None:
    assert admin_client.get(url(INBOX, "live_row", 4711)).status_code == 404
    assert admin_client.post(url(INBOX, "live_row", 4711)).status_code == 405
