from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from directus_realtime.listener import outcomes
from directus_realtime.listener.outcomes import Outcomes, RetryPolicy, item_of
from directus_realtime.listener.receivers import Failure
from directus_realtime.models import InboxEvent, InboxState
from tests.unit.listener.conftest import states, store_event

FAILURE = Failure("app.receiver", "ValueError: no", "Traceback …")


@pytest.mark.parametrize(
    ("attempts", "limit"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (10_000, 300)]
)
def test_a_delay_is_drawn_below_a_ceiling_that_doubles(attempts: int, limit: float) -> None:
    policy = RetryPolicy(attempts=8, ceiling=300)
    delays = [policy.delay(attempts).total_seconds() for _ in range(200)]
    assert min(delays) >= 0
    assert max(delays) <= limit
    assert max(delays) > limit / 2
    assert min(delays) < limit / 2


def test_a_row_without_failures_is_through() -> None:
    row = InboxEvent()
    found = Outcomes()
    assert found.add(row, [], RetryPolicy(8, 0))
    assert found.done == [row]


def test_a_failed_row_is_tried_again_later() -> None:
    row, found = InboxEvent(), Outcomes()
    assert not found.add(row, [FAILURE], RetryPolicy(2, 5))
    assert found.failed == [row]
    assert (row.state, row.attempts) == (InboxState.FAILED, 1)
    assert row.next_attempt_at is not None
    assert row.next_attempt_at <= timezone.now() + timedelta(seconds=5)
    assert row.failures == {
        "app.receiver": {
            "receiver": "app.receiver",
            "error": "ValueError: no",
            "traceback": "Traceback …",
        }
    }


def test_the_last_attempt_makes_a_dead_letter() -> None:
    row, found = InboxEvent(attempts=1), Outcomes()
    assert found.add(row, [FAILURE], RetryPolicy(2, 5))
    assert (row.state, row.attempts, row.next_attempt_at) == (InboxState.DEAD, 2, None)
    assert row.failures


def test_a_failure_replaces_those_of_the_attempt_before() -> None:
    row, found = InboxEvent(failures={"other": {}}), Outcomes()
    found.add(row, [FAILURE], RetryPolicy(8, 5))
    assert list(row.failures) == ["app.receiver"]


@pytest.mark.django_db
def test_due_rows_are_pending_ones_in_order() -> None:
    rows = [store_event(), store_event(), store_event(state="done"), store_event(state="held")]
    due = outcomes.due_rows(["default"], 10, with_retries=True)
    assert [row.pk for row in due] == [rows[0].pk, rows[1].pk]


@pytest.mark.django_db
def test_due_rows_are_limited() -> None:
    first = store_event()
    store_event()
    assert outcomes.due_rows(["default"], 1, with_retries=False) == [first]


@pytest.mark.django_db
def test_due_rows_are_those_of_the_connections_at_hand() -> None:
    store_event(connection="blog")
    assert outcomes.due_rows(["default"], 10, with_retries=True) == []


@pytest.mark.django_db
def test_failed_rows_are_due_when_their_time_has_come() -> None:
    now = timezone.now()
    failed = store_event(state="failed", next_attempt_at=now - timedelta(seconds=1))
    store_event(state="failed", next_attempt_at=now + timedelta(seconds=60))
    pending = store_event()
    assert outcomes.due_rows(["default"], 10, with_retries=True) == [failed, pending]
    assert outcomes.due_rows(["default"], 10, with_retries=False) == [pending]


@pytest.mark.django_db
def test_only_failed_rows_block_their_item() -> None:
    failed = store_event("a", state="failed")
    for state in ("pending", "held", "done", "dead"):
        store_event(state, state=state)
    store_event("b", state="failed", connection="blog")
    blocked = outcomes.BlockedItems.read(["default"])
    assert item_of(failed) in blocked
    assert blocked.remove(failed)
    assert not blocked
    assert item_of(failed) == ("default", "articles", '"a"')


@pytest.mark.django_db
def test_writes_down_what_is_done() -> None:
    row = store_event(attempts=2, failures={"r": {}}, next_attempt_at=timezone.now())
    outcomes.write(Outcomes(done=[row]))
    row.refresh_from_db()
    assert (row.state, row.attempts, row.failures) == ("done", 3, {})
    assert row.next_attempt_at is None
    assert row.done_at is not None
    assert row.sent_at is not None


@pytest.mark.django_db
def test_writes_down_what_failed() -> None:
    row = store_event()
    found = Outcomes()
    found.add(row, [FAILURE], RetryPolicy(8, 5))
    outcomes.write(found)
    outcomes.write(found)  # as when the answer of the first write got lost
    row = InboxEvent.objects.get()
    assert (row.state, row.attempts) == ("failed", 1)
    assert list(row.failures) == ["app.receiver"]
    assert row.sent_at is not None
    assert row.done_at is None


@pytest.mark.django_db
def test_a_retry_does_not_change_when_it_was_sent() -> None:
    sent_at = timezone.now() - timedelta(hours=1)
    row, found = store_event(sent_at=sent_at, attempts=1), Outcomes()
    found.add(row, [FAILURE], RetryPolicy(8, 5))
    outcomes.write(found)
    row.refresh_from_db()
    assert row.sent_at == sent_at


@pytest.mark.django_db
def test_held_rows_are_marked_as_sent() -> None:
    row = store_event()
    outcomes.write(Outcomes(held=[row]))
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("held", 0)
    assert row.sent_at is not None


@pytest.mark.django_db
def test_released_items_go_on_and_no_others() -> None:
    released, other = store_event("a", state="held"), store_event("b", state="held")
    elsewhere = store_event("a", state="held", connection="blog")
    outcomes.write(Outcomes(released=[item_of(released)]))
    assert states() == {released.pk: "pending", other.pk: "held", elsewhere.pk: "held"}


@pytest.mark.django_db
def test_nothing_to_write_writes_nothing() -> None:
    row = store_event(state="held")
    outcomes.write(Outcomes())
    assert states() == {row.pk: "held"}
