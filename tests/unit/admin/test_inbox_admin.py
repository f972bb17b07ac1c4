from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.helpers.admin import (
    run_action,
    said,
    url,
    user_who_may,
)
from tests.helpers.inbox import FAILURES, add_row

pytestmark = pytest.mark.django_db


def test_the_inbox_lists_events(admin_client: Client) -> None:
    add_row(key="a-key", state="dead", attempts=8)
    page = admin_client.get(url("inboxevent")).content.decode()
    assert "&quot;a-key&quot;" in page
    assert '<span class="directus-state directus-state-dead">dead letter</span>' in page


def test_the_inbox_asks_no_more_questions_for_more_rows(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(50):
        add_row(key=number, failures=FAILURES, state="failed")
    with django_assert_max_num_queries(10):
        admin_client.get(url("inboxevent"))


def test_a_payload_stays_text(admin_client: Client) -> None:
    html = "<script>alert(1)</script>"
    row = add_row(data={html: html, "ä": "🙂", "nul": "\0"}, key=html, failures=FAILURES)
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
    row = add_row(data=data)
    assert admin_client.get(url("inboxevent", "change", row.pk)).status_code == 200


def test_a_payload_that_is_nested_deep_can_be_looked_at(admin_client: Client) -> None:
    row = add_row()
    row.data_json = '{"a": ' + "[" * 600 + "]" * 600 + "}"
    row.save()
    assert admin_client.get(url("inboxevent", "change", row.pk)).status_code == 200


def test_nobody_adds_changes_or_deletes_an_event(admin_client: Client) -> None:
    row = add_row()
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
    dead = add_row(state="dead", attempts=8, failures=FAILURES)
    failed = add_row(state="failed", attempts=2, failures=FAILURES, next_attempt_at=later)
    done = add_row(state="done", attempts=1)
    not_selected = add_row(state="dead", attempts=8)
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
    row = add_row(state="dead", attempts=8)
    assert client.get(url("inboxevent")).status_code == 200
    run_action(client, "inboxevent", "retry", row)
    row.refresh_from_db()
    assert row.state == "dead"


def test_the_message_of_the_data_is_the_json_that_came(admin_client: Client) -> None:
    data = {"title": "x", "list": [1, None]}
    row = add_row(data=data)
    content = admin_client.get(url("inboxevent", "change", row.pk)).content.decode()
    shown = json.dumps(data, indent=2).replace('"', "&quot;")
    assert shown in content
