from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from directus_realtime import dead_letters
from directus_realtime.dead_letters import alike, is_overtaken, mark_handled, retry_now
from directus_realtime.models import InboxEvent
from tests.helpers.inbox import add_row, dead_letter

pytestmark = pytest.mark.django_db


def test_retry__the_attempts_of_dead_letters_start_at_0() -> None:
    row = dead_letter(delivered=["app.other"])
    assert retry_now(InboxEvent.objects.all()) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts, row.next_attempt_at) == ("pending", 0, None)
    # Only these are called again.
    assert list(row.failures) == ["app.receiver"]
    assert row.delivered == ["app.other"]


def test_retry__a_waiting_failure_is_due_now() -> None:
    later = timezone.now() + timedelta(hours=1)
    row = add_row(state="failed", attempts=2, next_attempt_at=later)
    assert retry_now(InboxEvent.objects.all()) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("failed", 2)
    assert row.next_attempt_at <= timezone.now()


@pytest.mark.parametrize("state", ["waiting", "pending", "held", "delivering", "handled", "done"])
def test_retry_and_handle__leave_other_states_alone(state: str) -> None:
    add_row(state=state)
    assert retry_now(InboxEvent.objects.all()) == 0
    assert mark_handled(InboxEvent.objects.all()) == 0
    assert InboxEvent.objects.get().state == state


def test_retry__only_of_the_rows_that_are_meant() -> None:
    dead_letter(collection="authors")
    meant = dead_letter()
    assert retry_now(InboxEvent.objects.filter(collection="articles")) == 1
    assert InboxEvent.objects.get(state="pending") == meant


def test_retry__many_in_transactions_of_some(monkeypatch: Any) -> None:
    monkeypatch.setattr(dead_letters, "CHUNK", 3)
    for _ in range(7):
        dead_letter()
        add_row(state="failed")
    assert retry_now(InboxEvent.objects.all()) == 14
    assert InboxEvent.objects.filter(state="pending").count() == 7


def test_handled__keeps_the_failures() -> None:
    row = dead_letter()
    assert mark_handled(InboxEvent.objects.all()) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("handled", 8)
    assert row.done_at is not None
    assert list(row.failures) == ["app.receiver"]


def test_handled__not_while_it_is_still_tried() -> None:
    # It holds back the later events of its item.
    add_row(state="failed", attempts=2)
    assert mark_handled(InboxEvent.objects.all()) == 0


@pytest.mark.parametrize(
    ("other", "is_alike"),
    [
        ({}, True),
        ({"error": "ValueError: another text"}, True),
        ({"error": "ValueErrorOfMine: no"}, False),
        ({"error": "KeyError: no"}, False),
        ({"receiver": "app.another"}, False),
        ({"subscription": "another"}, False),
        ({"collection": "authors"}, False),
        ({"state": "failed"}, False),
    ],
    ids=str,
)
def test_alike__same_subscription_receiver_and_type_of_error(
    other: dict[str, Any], is_alike: bool
) -> None:
    row, another = dead_letter(), dead_letter(**other)
    assert (another in alike(row)) is is_alike
    assert row in alike(row)


def test_alike__each_receiver_that_failed_must_have_failed() -> None:
    failure = {"receiver": "app.make.<locals>.receiver#2", "error": "KeyError: x", "traceback": ""}
    both = dead_letter()
    both.failures["app.make.<locals>.receiver#2"] = failure
    both.save()
    only_one = dead_letter()
    assert list(alike(both)) == [both]
    assert set(alike(only_one)) == {both, only_one}


@pytest.mark.parametrize(("key", "is_newer"), [("Abc", True), ("abC", False), ("Abc ", False)])
def test_overtaken__by_a_newer_event_of_the_very_item(key: str, is_newer: bool) -> None:
    row = dead_letter(key="Abc")
    add_row(key=key, state="done")
    assert is_overtaken(row) == is_newer
