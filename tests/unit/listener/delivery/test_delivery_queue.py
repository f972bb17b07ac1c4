from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from directus_realtime.listener.delivery import delivery_queue
from directus_realtime.listener.delivery.delivery_queue import RowsChanged
from directus_realtime.listener.delivery.receiver_calls import Failure, Job, item_of
from directus_realtime.listener.delivery.retries import Outcomes, RetryPolicy
from directus_realtime.models import InboxEvent
from directus_realtime.utils.system_clock import SystemClock
from tests.unit.listener.conftest import make_event, states, store_event

CLOCK = SystemClock()
FAILURE = Failure("app.receiver", "ValueError: no", "Traceback …", "receivers.py:3")


@pytest.mark.parametrize(
    ("attempts", "limit"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (10_000, 300)]
)
def test_a_delay_is_drawn_below_a_ceiling_that_doubles(attempts: int, limit: float) -> None:
    policy = RetryPolicy(attempts=8, ceiling=300)
    delays = [policy.delay(attempts, CLOCK).total_seconds() for _ in range(200)]
    assert min(delays) >= 0
    assert max(delays) <= limit
    assert max(delays) > limit / 2
    assert min(delays) < limit / 2


def job_of(row: InboxEvent, *failures: Failure) -> Job:
    """A job whose receivers were called."""
    job = Job.of(row)
    job.failures += failures
    return job


def unsaved_row(**values: Any) -> InboxEvent:
    row = InboxEvent.from_event(make_event())
    for name, value in values.items():
        setattr(row, name, value)
    return row


def test_a_job_without_failures_is_done() -> None:
    job, found = job_of(unsaved_row()), Outcomes()
    found.add(job, RetryPolicy(8, 0), CLOCK)
    assert found.done == [job]
    assert found.failed == []


def test_a_failed_job_is_tried_again_later() -> None:
    job, found = job_of(unsaved_row(), FAILURE), Outcomes()
    found.add(job, RetryPolicy(2, 5), CLOCK)
    assert (found.failed, job.attempts) == ([job], 1)
    assert job.retry_at is not None
    assert job.retry_at <= timezone.now() + timedelta(seconds=5)


def test_the_last_attempt_makes_a_dead_letter() -> None:
    job, found = job_of(unsaved_row(attempts=1), FAILURE), Outcomes()
    found.add(job, RetryPolicy(2, 5), CLOCK)
    assert (found.failed, job.attempts, job.retry_at) == ([job], 2, None)


@pytest.mark.django_db
def test_due_rows_are_pending_ones_in_order() -> None:
    rows = [store_event(), store_event(), store_event(state="done"), store_event(state="held")]
    due = delivery_queue.due_rows(["default"], 10, CLOCK, with_retries=True)
    assert [row.pk for row in due] == [rows[0].pk, rows[1].pk]


@pytest.mark.django_db
def test_due_rows_are_limited() -> None:
    first = store_event()
    store_event()
    assert delivery_queue.due_rows(["default"], 1, CLOCK, with_retries=False) == [first]


@pytest.mark.django_db
def test_due_rows_are_those_of_the_given_connections() -> None:
    store_event(connection="blog")
    assert delivery_queue.due_rows(["default"], 10, CLOCK, with_retries=True) == []


@pytest.mark.django_db
def test_failed_rows_are_due_when_their_time_has_come() -> None:
    now = timezone.now()
    failed = store_event(state="failed", next_attempt_at=now - timedelta(seconds=1))
    store_event(state="failed", next_attempt_at=now + timedelta(seconds=60))
    pending = store_event()
    assert delivery_queue.due_rows(["default"], 10, CLOCK, with_retries=True) == [failed, pending]
    assert delivery_queue.due_rows(["default"], 10, CLOCK, with_retries=False) == [pending]


@pytest.mark.django_db
def test_only_failed_rows_block_their_item() -> None:
    failed = store_event("a", state="failed")
    for state in ("pending", "held", "done", "dead"):
        store_event(state, state=state)
    store_event("b", state="failed", connection="blog")
    blocked = delivery_queue.BlockedItems.read(["default"])
    assert item_of(failed) in blocked
    blocked.remove(failed)
    assert not blocked
    assert item_of(failed) == ("default", "articles", '"a"')


@pytest.mark.django_db
def test_an_item_is_released_by_the_last_row_that_it_waits_for() -> None:
    first, second = store_event("a", state="failed"), store_event("a", state="failed")
    blocked = delivery_queue.BlockedItems.read(["default"])
    jobs = [job_of(first), job_of(second)]
    assert blocked.released_by(Outcomes(done=jobs[:1])) == []
    assert blocked.released_by(Outcomes(done=jobs)) == [item_of(first)]
    blocked.update(Outcomes(done=jobs[:1]))
    assert blocked.released_by(Outcomes(done=jobs[1:])) == [item_of(first)]


@pytest.mark.django_db
def test_an_item_that_fails_again_is_not_released() -> None:
    first, second = store_event("a", state="failed"), store_event("a")
    blocked = delivery_queue.BlockedItems.read(["default"])
    found = Outcomes(done=[job_of(first)])
    found.add(job_of(second, FAILURE), RetryPolicy(8, 5), CLOCK)
    assert blocked.released_by(found) == []
    blocked.update(found)
    assert item_of(first) in blocked


@pytest.mark.django_db
def test_stores_done_jobs() -> None:
    row = store_event(attempts=2, failures={"r": {}}, next_attempt_at=timezone.now())
    delivery_queue.write(Outcomes(done=[job_of(row)]), timezone.now())
    row.refresh_from_db()
    assert (row.state, row.attempts, row.failures) == ("done", 3, {})
    assert row.next_attempt_at is None
    assert row.done_at is not None
    assert row.sent_at is not None


@pytest.mark.django_db
def test_stores_failed_jobs() -> None:
    job, found = job_of(store_event(failures={"other": {}}), FAILURE), Outcomes()
    job.delivered.append("app.good")
    found.add(job, RetryPolicy(8, 5), CLOCK)
    delivery_queue.write(found, timezone.now())
    row = InboxEvent.objects.get()
    assert (row.state, row.attempts) == ("failed", 1)
    assert row.failures == {
        "app.receiver": {
            "receiver": "app.receiver",
            "error": "ValueError: no",
            "traceback": "Traceback …",
            "place": "receivers.py:3",
        }
    }
    assert row.delivered == ["app.good"]
    assert row.sent_at is not None
    assert row.done_at is None


@pytest.mark.django_db
def test_a_retry_does_not_change_when_it_was_sent() -> None:
    sent_at = timezone.now() - timedelta(hours=1)
    row, found = store_event(sent_at=sent_at, attempts=1), Outcomes()
    found.add(job_of(row, FAILURE), RetryPolicy(8, 5), CLOCK)
    assert found.to_send() == []
    delivery_queue.write(found, timezone.now())
    row.refresh_from_db()
    assert row.sent_at == sent_at


@pytest.mark.django_db
def test_stores_finished_receivers_while_others_are_unfinished() -> None:
    job = job_of(store_event())
    job.delivered.append("app.good")
    delivery_queue.write(Outcomes(progressed=[job]), timezone.now())
    row = InboxEvent.objects.get()
    assert (row.state, row.delivered, row.sent_at) == ("pending", ["app.good"], None)


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"state": "done"}, {"delivered": ["app.good"]}], ids=repr)
def test_rows_that_another_process_delivered_are_not_written(change: dict[str, Any]) -> None:
    jobs = [job_of(store_event("a")), job_of(store_event("b"))]
    InboxEvent.objects.filter(pk=jobs[1].row.pk).update(**change)
    before = list(InboxEvent.objects.order_by("id").values())
    with pytest.raises(RowsChanged), transaction.atomic():
        delivery_queue.write(Outcomes(done=jobs), timezone.now())
    assert list(InboxEvent.objects.order_by("id").values()) == before


@pytest.mark.django_db
def test_held_rows_are_marked_as_sent() -> None:
    row = store_event()
    delivery_queue.write(Outcomes(held=[job_of(row)]), timezone.now())
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("held", 0)
    assert row.sent_at is not None


@pytest.mark.django_db
def test_released_items_go_on_and_no_others() -> None:
    released, other = store_event("a", state="held"), store_event("b", state="held")
    elsewhere = store_event("a", state="held", connection="blog")
    delivery_queue.write(Outcomes(released=[item_of(released)]), timezone.now())
    assert states() == {released.pk: "pending", other.pk: "held", elsewhere.pk: "held"}


@pytest.mark.django_db
def test_nothing_to_write_writes_nothing() -> None:
    row = store_event(state="held")
    delivery_queue.write(Outcomes(), timezone.now())
    assert states() == {row.pk: "held"}
