"""Receivers' work and the marks of their rows commit together, on SQLite and PostgreSQL."""

from __future__ import annotations

import functools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connections, transaction
from django.dispatch import receiver as connects
from psycopg import IsolationLevel

from directus_realtime.database import own_alias
from directus_realtime.events import Event
from directus_realtime.listener.delivery import batches, delivery_queue
from directus_realtime.listener.delivery.batches import BatchRunner
from directus_realtime.listener.delivery.delivery_queue import RowsChanged
from directus_realtime.listener.delivery.receiver_calls import Job
from directus_realtime.listener.delivery.retries import Outcomes, RetryPolicy
from directus_realtime.models import InboxEvent
from directus_realtime.signals import directus_event, non_atomic
from tests.sample.models import Effect
from tests.unit.listener.conftest import Receivers, fails, store_event


@pytest.fixture
def runner(alias: str) -> BatchRunner:
    return make_runner()


def make_runner(attempts: int = 8, **values: Any) -> BatchRunner:
    return BatchRunner({"default": RetryPolicy(attempts, 600, base=600)}, **values)


def deliver(runner: BatchRunner, jobs: list[Job] | None = None, rounds: int = 20) -> int:
    """Run slices until nothing is left to do; how many it took."""
    left = jobs if jobs is not None else [Job.of(row) for row in InboxEvent.objects.order_by("id")]
    for count in range(rounds):
        if not left:
            return count
        left = runner.run(left).unfinished
        # As the database thread does it behind each run.
        connections[own_alias()].close_if_unusable_or_obsolete()
    raise AssertionError(f"not finished after {rounds} batches")


def effect(event: Event, name: str = "", **values: Any) -> Effect:
    return Effect.objects.create(event_id=event.id, receiver=name or str(event.key), **values)


def add(receivers: Receivers, name: str, work: Callable[[Event], Any]) -> None:
    """Connect a receiver of a name."""

    def receiver(event: Event, **kwargs: Any) -> None:
        receivers.log.append((name, str(event.key)))
        work(event)

    receiver.__qualname__ = name
    receivers.connect(receiver)


def effects() -> list[str]:
    return list(Effect.objects.order_by("id").values_list("receiver", flat=True))


def rows() -> list[tuple[str, list[str]]]:
    """State and error types of each row, by id."""
    found = InboxEvent.objects.order_by("id")
    return [
        (row.state, [f["error"].partition(":")[0] for f in row.failures.values()]) for row in found
    ]


DONE: tuple[str, list[str]] = ("done", [])


# What commits together


def test_the_work_and_the_marks_of_a_slice_commit_together(
    alias: str, receivers: Receivers
) -> None:
    """Another connection sees either both or nothing."""
    seen: list[Any] = []
    add(receivers, "work", effect)

    def look() -> None:
        def in_thread() -> None:
            seen.append((effects(), rows()))
            connections.close_all()

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()

    def fence() -> None:
        if connections[alias].vendor == "postgresql":
            look()

    store_event(1)
    assert deliver(make_runner(fence=fence)) == 1
    look()
    assert seen[-1] == (["1"], [DONE])
    assert seen[:-1] in ([], [([], [("pending", [])])])


def test_rows_of_a_slice_are_marked_by_one_update(
    alias: str, runner: BatchRunner, receivers: Receivers
) -> None:
    receivers.add()
    for key in range(50):
        store_event(key)
    jobs = [Job.of(row) for row in InboxEvent.objects.all()]
    with QueryLog(alias) as log:
        assert runner.run(jobs).unfinished == []
    assert [sql.split()[0] for sql in log.queries] in (["UPDATE"], ["BEGIN", "UPDATE"])
    assert rows() == [DONE] * 50


def test_only_receivers_that_use_the_database_have_a_savepoint(
    alias: str, runner: BatchRunner, receivers: Receivers
) -> None:
    receivers.add()
    add(receivers, "reads", lambda event: Effect.objects.count() if event.key == 2 else None)
    for key in range(4):
        store_event(key)
    with QueryLog(alias) as log:
        deliver(runner)
    assert [sql.split()[0] for sql in log.queries].count("SAVEPOINT") == 1
    assert [sql.split()[0] for sql in log.queries].count("RELEASE") == 1


class QueryLog:
    """The queries on a connection."""

    def __init__(self, alias: str) -> None:
        self.queries: list[str] = []
        self._wrapping = connections[alias].execute_wrapper(self._note)

    def _note(self, execute: Any, sql: Any, *arguments: Any) -> Any:
        self.queries.append(str(sql))
        return execute(sql, *arguments)

    def __enter__(self) -> QueryLog:
        self._wrapping.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._wrapping.__exit__(*error)


# What fails


def save_twice(event: Event) -> None:
    effect(event)
    effect(event)
    raise ValueError("no")


def fail_in_the_database(event: Event) -> None:
    effect(event)
    Effect.objects.create(pk=Effect.objects.get().pk, receiver="same", event_id=event.id)


def fail_in_atomic(event: Event) -> None:
    with transaction.atomic(Effect.objects.db):
        save_twice(event)


def fail_in_inner_atomic(event: Event) -> None:
    with transaction.atomic(Effect.objects.db, savepoint=False):
        save_twice(event)


@pytest.mark.parametrize(
    "work",
    [save_twice, fail_in_the_database, fail_in_atomic, fail_in_inner_atomic],
    ids=lambda work: work.__name__,
)
def test_a_failing_receiver_loses_its_own_work_only(
    runner: BatchRunner, receivers: Receivers, work: Callable[[Event], None]
) -> None:
    add(receivers, "before", lambda event: effect(event, "before"))
    add(receivers, "bad", lambda event: work(event) if event.key == 2 else None)
    add(receivers, "behind", lambda event: effect(event, "behind"))
    for key in (1, 2, 3):
        store_event(key)
    deliver(runner)
    assert effects() == ["before", "behind"] * 3
    assert [state for state, _ in rows()] == ["done", "failed", "done"]
    assert sorted(InboxEvent.objects.get(state="failed").delivered) == [
        f"{__name__}.before",
        f"{__name__}.behind",
    ]


def test_atomic_works_in_receivers(runner: BatchRunner, receivers: Receivers) -> None:
    def work(event: Event) -> None:
        with transaction.atomic(Effect.objects.db):
            effect(event, "kept")
            with pytest.raises(ValueError, match="no"), transaction.atomic(Effect.objects.db):
                save_twice(event)
            with transaction.atomic(Effect.objects.db, savepoint=False):
                effect(event, "kept too")

    add(receivers, "work", work)
    store_event(1)
    deliver(runner)
    assert effects() == ["kept", "kept too"]
    assert rows() == [DONE]


def test_an_error_of_the_database_that_is_hidden_is_a_failure_with_advice(
    runner: BatchRunner, receivers: Receivers, alias: str
) -> None:
    def work(event: Event) -> None:
        taken = effect(event).pk
        with pytest.raises(IntegrityError):
            Effect.objects.create(pk=taken, event_id=event.id, receiver="same")

    add(receivers, "hides", work)
    add(receivers, "good", lambda event: effect(event, "good"))
    store_event(1)
    deliver(runner)
    assert effects() == ["good"]
    (failure,) = InboxEvent.objects.get().failures.values()
    assert "Put atomic() around what may fail" in failure["error"]


def break_at_commit(event: Event) -> None:
    effect(event, parent_id=999_999)


def close_the_connection(event: Event) -> None:
    effect(event)
    connections[Effect.objects.db].close()


def close_behind_the_back(event: Event) -> None:
    effect(event)
    connections[Effect.objects.db].connection.close()


def leave_open(event: Event) -> None:
    transaction.atomic(Effect.objects.db).__enter__()
    effect(event)


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (break_at_commit, "IntegrityError"),
        (leave_open, "TransactionBroken"),
        (close_the_connection, "TransactionBroken"),
        (close_behind_the_back, ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_of_a_transaction_that_breaks_the_guilty_one_is_found_and_the_others_commit(
    runner: BatchRunner, receivers: Receivers, work: Callable[[Event], None], error: str
) -> None:
    add(receivers, "before", lambda event: effect(event, "before"))
    add(receivers, "bad", lambda event: work(event) if event.key == 2 else None)
    add(receivers, "behind", lambda event: effect(event, "behind"))
    for key in (1, 2, 3):
        store_event(key)
    deliver(runner, rounds=30)
    assert sorted(effects()) == ["before"] * 3 + ["behind"] * 3
    assert [state for state, _ in rows()] == ["done", "failed", "done"]
    (failure,) = InboxEvent.objects.get(state="failed").failures.values()
    assert failure["receiver"] == f"{__name__}.bad"
    assert error in failure["error"]


def test_what_is_left_open_outside_of_the_transaction_is_ended_and_a_failure(
    alias: str, runner: BatchRunner, receivers: Receivers
) -> None:
    """Or all that is delivered later would be part of it, and undone at the end."""
    receivers.connect(non_atomic(lambda event, **kwargs: leave_open(event)))
    store_event(1)
    (job,) = [Job.of(row) for row in InboxEvent.objects.all()]
    job.run_next()
    deliver(runner, [job])
    connections[alias].close()
    assert effects() == []
    assert rows() == [("failed", ["TransactionBroken"])]


def test_after_a_failure_only_unfinished_receivers_are_called(
    runner: BatchRunner, receivers: Receivers
) -> None:
    add(receivers, "good", effect)
    receivers.add("bad", fail=fails("x"))
    store_event(1, "x")
    deliver(runner)
    deliver(runner)
    assert receivers.log == [("good", "1"), ("bad", "x"), ("bad", "x")]
    assert InboxEvent.objects.get().attempts == 2


# Two at the same time


def test_two_runs_of_an_event_cannot_both_commit(runner: BatchRunner, receivers: Receivers) -> None:
    add(receivers, "work", effect)
    store_event(1)
    (first,), (second,) = [[Job.of(row) for row in InboxEvent.objects.all()] for _ in range(2)]
    runner.run([first])
    with pytest.raises(RowsChanged):
        runner.run([second])
    assert effects() == ["1"]
    assert rows() == [DONE]


def test_two_runs_of_a_receiver_cannot_both_commit_while_others_are_unfinished(
    alias: str, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the row is the same before and after: pending."""
    monkeypatch.setattr(batches, "BATCH_SECONDS", 0.0)
    add(receivers, "one", lambda event: effect(event, "one"))
    add(receivers, "two", lambda event: effect(event, "two"))
    store_event(1)
    (first,), (second,) = [[Job.of(row) for row in InboxEvent.objects.all()] for _ in range(2)]
    make_runner().run([first])
    assert effects() == ["one"]
    with pytest.raises(RowsChanged):
        make_runner().run([second])
    assert effects() == ["one"]
    assert InboxEvent.objects.get().delivered == [f"{__name__}.one"]


def test_a_conflict_undoes_the_whole_slice(runner: BatchRunner, receivers: Receivers) -> None:
    add(receivers, "work", effect)
    for key in (1, 2, 3):
        store_event(key)
    jobs = [Job.of(row) for row in InboxEvent.objects.order_by("id")]
    InboxEvent.objects.filter(pk=jobs[1].row.pk).update(state="done")
    # On SQLite the first one has a transaction of its own.
    runner.run(jobs[:1])
    with pytest.raises(RowsChanged):
        runner.run(jobs[1:])
    assert effects() == ["1"]
    deliver(runner, [Job.of(row) for row in InboxEvent.objects.filter(state="pending")])
    assert effects() == ["1", "3"]


class LeaseLost(Exception):
    pass


def test_what_the_fence_raises_comes_out_and_nothing_has_happened(
    alias: str, receivers: Receivers
) -> None:
    def fence() -> None:
        assert connections[alias].in_atomic_block
        raise LeaseLost

    hooks: list[str] = []
    add(receivers, "work", effect)
    add(
        receivers,
        "hook",
        lambda event: transaction.on_commit(lambda: hooks.append("called"), using=alias),
    )
    store_event(1)
    with pytest.raises(LeaseLost):
        deliver(make_runner(fence=fence))
    assert (effects(), rows(), hooks) == ([], [("pending", [])], [])


def test_a_fence_is_asked_in_every_transaction(alias: str, receivers: Receivers) -> None:
    asked: list[int] = []
    store_event(1)
    deliver(make_runner(fence=lambda: asked.append(1)))
    assert asked == [1]


def test_a_database_that_is_unavailable_before_any_call_is_no_failure_of_a_receiver(
    runner: BatchRunner, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(outcomes: Outcomes, now: datetime) -> None:
        raise OperationalError("away")

    store_event(1)
    monkeypatch.setattr(delivery_queue, "write", away)
    with pytest.raises(OperationalError):
        deliver(runner)


def test_the_loss_of_the_connection_at_the_marks_costs_no_attempt(
    runner: BatchRunner, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(receivers, "work", effect)
    write, lost = delivery_queue.write, [OperationalError("lost")]

    def lose(outcomes: Outcomes, now: datetime) -> None:
        if lost:
            raise lost.pop()
        write(outcomes, now)

    monkeypatch.setattr(delivery_queue, "write", lose)
    store_event(1)
    deliver(runner)
    assert effects() == ["1"]
    assert rows() == [DONE]
    assert InboxEvent.objects.get().attempts == 1


# Conflicts with other transactions


@pytest.fixture
def serializable(alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The strictest isolation level, on new connections."""
    options = connections[alias].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", IsolationLevel.SERIALIZABLE)
    connections[alias].close()
    yield
    monkeypatch.undo()
    connections[alias].close()


def change_elsewhere(number: int) -> None:
    """Change the first effect in another transaction."""

    def in_thread() -> None:
        try:
            Effect.objects.filter(receiver__startswith="shared").update(receiver=f"shared {number}")
        finally:
            connections[own_alias()].close()

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()


@pytest.mark.parametrize("alias", ["postgres"], indirect=True)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_conflict_with_another_transaction_costs_no_attempt(
    runner: BatchRunner, receivers: Receivers, serializable: None, hidden: bool
) -> None:
    def conflict(event: Event) -> None:
        shared = Effect.objects.get(receiver__startswith="shared")
        if len(receivers.log) < 4:
            change_elsewhere(len(receivers.log))
        with suppress(OperationalError if hidden else NotImplementedError):
            Effect.objects.filter(pk=shared.pk).update(receiver="shared, done")

    Effect.objects.create(event_id=uuid.uuid4(), receiver="shared")
    add(receivers, "work", conflict)
    store_event(1)
    deliver(runner)
    assert len(receivers.log) == 4
    assert rows() == [DONE]
    assert InboxEvent.objects.get().attempts == 1
    assert effects() == ["shared, done"]


@pytest.mark.parametrize("alias", ["postgres"], indirect=True)
def test_a_receiver_that_conflicts_each_time_fails(
    runner: BatchRunner, receivers: Receivers, serializable: None
) -> None:
    def conflict(event: Event) -> None:
        shared = Effect.objects.get(receiver__startswith="shared")
        change_elsewhere(len(receivers.log))
        Effect.objects.filter(pk=shared.pk).update(receiver="never")

    Effect.objects.create(event_id=uuid.uuid4(), receiver="shared")
    add(receivers, "work", conflict)
    store_event(1)
    deliver(runner, rounds=50)
    assert rows() == [("failed", ["OperationalError"])]


def test_a_conflict_at_the_marks_without_a_call_is_run_again(
    runner: BatchRunner, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, conflicts = delivery_queue.write, [OperationalError(1213, "Deadlock found")]

    def conflict(outcomes: Outcomes, now: datetime) -> None:
        if conflicts:
            raise conflicts.pop()
        write(outcomes, now)

    monkeypatch.setattr(delivery_queue, "write", conflict)
    store_event(1)
    assert deliver(runner) == 2
    assert rows() == [DONE]


# Hooks


def test_hooks_run_after_the_commit_and_a_failed_one_changes_nothing(
    alias: str, runner: BatchRunner, receivers: Receivers, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    def work(event: Event) -> None:
        effect(event)
        transaction.on_commit(functools.partial(fail_with, "hook"), using=alias)
        transaction.on_commit(lambda: seen.append((effects(), rows())), using=alias)

    add(receivers, "work", work)
    store_event(1)
    deliver(runner)
    assert seen == [(["1"], [DONE])]
    assert "The on_commit hook functools.partial(" in caplog.text
    assert not connections[alias].in_atomic_block


def fail_with(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("uses_database", [True, False])
def test_hooks_of_a_receiver_that_fails_do_not_run(
    alias: str, runner: BatchRunner, receivers: Receivers, uses_database: bool
) -> None:
    called: list[str] = []

    def hook_of(name: str) -> Callable[[Event], None]:
        def work(event: Event) -> None:
            transaction.on_commit(lambda: called.append(name), using=alias)
            if uses_database:
                effect(event)
            if name == "bad":
                raise ValueError(name)

        return work

    for name in ("good", "bad", "better"):
        add(receivers, name, hook_of(name))
    store_event(1)
    deliver(runner)
    assert called == ["good", "better"]


# Time


def test_a_slice_ends_when_its_time_is_used_up(
    runner: BatchRunner, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_SECONDS", 0.0)
    receivers.add()
    for key in (1, 2, 3):
        store_event(key)
    left = runner.run([Job.of(row) for row in InboxEvent.objects.order_by("id")]).unfinished
    assert len(left) == 2
    assert [state for state, _ in rows()] == ["done", "pending", "pending"]


def test_a_receiver_that_is_known_to_be_slow_has_a_transaction_of_its_own(
    runner: BatchRunner, receivers: Receivers, alias: str
) -> None:
    open_work: list[int] = []
    add(receivers, "fast", effect)

    def slow(event: Event) -> None:
        # Rows of this transaction that are not committed are seen by it alone.
        open_work.append(Effect.objects.count() - committed())
        time.sleep(2 * batches.BATCH_SECONDS)  # the span is what makes it slow

    def committed() -> int:
        counts: list[int] = []

        def count() -> None:
            counts.append(Effect.objects.count())
            connections.close_all()

        thread = threading.Thread(target=count)
        thread.start()
        thread.join()
        return counts[0]

    add(receivers, "slow", slow)
    store_event(1)
    deliver(runner)
    InboxEvent.objects.all().delete()
    store_event(2)
    store_event(3)
    deliver(runner)
    assert open_work[1:] == [0, 0]
    assert rows() == [DONE, DONE]


@pytest.mark.skipif(connections["default"].vendor != "sqlite", reason="others lock rows")
def test_on_sqlite_other_writers_are_not_blocked_while_a_receiver_does_not_write(
    transactional_db: None, receivers: Receivers
) -> None:
    """The heartbeat is written to the same file."""
    locked: list[bool] = []

    def look(event: Event) -> None:
        def write() -> None:
            with connections["default"].cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout = 0")
            try:
                Effect.objects.create(event_id=event.id, receiver="heartbeat")
                locked.append(False)
            except OperationalError:
                locked.append(True)
            connections.close_all()

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    add(receivers, "before", look)
    add(receivers, "writes", effect)
    add(receivers, "behind", look)
    for key in (1, 2):
        store_event(key)
    deliver(make_runner())
    assert locked == [False] * 4
    assert rows() == [DONE, DONE]


# Outside of the transaction


def test_non_atomic_marks_a_receiver_below_and_above_receiver(
    db: None, receivers: Receivers
) -> None:
    @connects(directus_event)
    @non_atomic
    def below(event: Event, **kwargs: Any) -> None: ...

    @non_atomic
    @connects(directus_event)  # noqa: DJ013 - the order is what is tested
    def above(event: Event, **kwargs: Any) -> None: ...

    class Called:
        @non_atomic
        def __call__(self, event: Event, **kwargs: Any) -> None: ...

        @non_atomic
        def method(self, event: Event, **kwargs: Any) -> None: ...

    receivers.connect(Called())
    receivers.connect(Called().method)
    receivers.connect(functools.partial(below))
    job = Job.of(InboxEvent.from_event(store_event().to_event()))
    assert [call.is_atomic for call in job.remaining] == [False] * 5
    assert above is not None
