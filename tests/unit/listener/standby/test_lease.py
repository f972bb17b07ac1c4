from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directus_realtime.database import DatabaseThread
from directus_realtime.exceptions import LeaseLost
from directus_realtime.listener.inbox import Inbox, store
from directus_realtime.listener.standby import candidate as presence_module
from directus_realtime.listener.standby.candidate import Presence, dead_processes, name_of, new_id
from directus_realtime.listener.standby.lease import (
    STANDSTILL,
    Fence,
    Lease,
    LeaseWatch,
    acquire,
    read_leases,
    release,
)
from directus_realtime.models import InboxEvent, ListenerLease, ListenerProcess
from tests.helpers.manual_clock import ManualClock
from tests.unit.listener.conftest import make_event
from tests.unit.listener.test_inbox import incoming

ME, OTHER = uuid.uuid4(), uuid.uuid4()
ALIASES = ["blog", "default"]


def have(holder: uuid.UUID, *aliases: str) -> Fence:
    """Take leases that nobody contends for."""
    fence = acquire(read_leases(aliases or ALIASES), holder)
    assert fence is not None
    return fence


def holders() -> dict[str, uuid.UUID | None]:
    return dict(ListenerLease.objects.values_list("alias", "holder"))


# The rows


@pytest.mark.django_db
def test_leases_are_made_free_and_in_order() -> None:
    assert read_leases(["default", "blog"]) == [
        Lease("blog", None, 0, 0),
        Lease("default", None, 0, 0),
    ]
    assert ListenerLease.objects.count() == 2


@pytest.mark.django_db
def test_each_holder_gets_a_greater_fencing_token() -> None:
    assert have(ME).tokens == {"blog": 1, "default": 1}
    release(ALIASES, ME)
    assert holders() == {"blog": None, "default": None}
    assert have(OTHER).tokens == {"blog": 2, "default": 2}


@pytest.mark.django_db
def test_a_fence_knows_whether_the_holder_before_has_left() -> None:
    assert not have(ME).after_crash  # there was none
    release(ALIASES, ME)
    assert not have(OTHER).after_crash
    assert have(ME).after_crash
    assert not have(ME).after_crash  # a commit whose answer got lost
    release(["blog"], ME)
    assert have(OTHER).after_crash


@pytest.mark.django_db
def test_of_two_that_saw_the_same_lease_one_gets_it() -> None:
    seen = read_leases(ALIASES)
    assert acquire(seen, ME) is not None
    assert acquire(seen, OTHER) is None
    assert holders() == {"blog": ME, "default": ME}


@pytest.mark.django_db
def test_a_lease_that_was_renewed_meanwhile_is_not_taken() -> None:
    fence = have(OTHER)
    seen = read_leases(ALIASES)
    fence.renew()
    assert acquire(seen, ME) is None
    assert [lease.beat for lease in read_leases(ALIASES)] == [1, 1]


@pytest.mark.django_db
def test_leases_are_taken_all_or_none() -> None:
    seen = read_leases(ALIASES)
    have(OTHER, "default")
    assert acquire(seen, ME) is None
    assert holders() == {"blog": None, "default": OTHER}


@pytest.mark.django_db
def test_a_release_leaves_what_others_have() -> None:
    have(OTHER, "default")
    have(ME, "blog")
    release(ALIASES, ME)
    assert holders() == {"blog": None, "default": OTHER}


# The fence


@pytest.mark.django_db
def test_a_fence_holds_until_the_lease_is_taken() -> None:
    fence = have(ME)
    fence.check()
    fence.renew()
    fence.check()
    have(OTHER, "default")
    with pytest.raises(LeaseLost, match=r"^Another listener has taken over: default\.$"):
        fence.check()
    with pytest.raises(LeaseLost):
        fence.renew()


@pytest.mark.django_db
def test_a_fence_does_not_hold_again_when_the_same_listener_takes_the_lease_again() -> None:
    old = have(ME)
    have(OTHER)
    new = have(ME)
    new.check()
    with pytest.raises(LeaseLost):
        old.check()


@pytest.mark.django_db
def test_a_fence_does_not_hold_once_it_was_given_up() -> None:
    fence = have(ME)
    release(ALIASES, ME)
    with pytest.raises(LeaseLost):
        fence.check()


@pytest.mark.django_db
def test_a_check_and_a_renewal_are_one_query_each() -> None:
    fence = have(ME)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        fence.check()
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        fence.renew()
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]


def test_a_fence_shows_its_tokens() -> None:
    assert str(Fence(ME, {"default": 7})) == "7"
    assert str(Fence(ME, {"blog": 2, "default": 7})) == "2 (blog), 7 (default)"


@pytest.mark.django_db
def test_the_inbox_stores_nothing_behind_a_fence() -> None:
    fence = have(ME)
    store([incoming(make_event(1))], fence.check)
    have(OTHER)
    with pytest.raises(LeaseLost):
        store([incoming(make_event(2))], fence.check)
    assert InboxEvent.objects.get().key_json == "1"


@pytest.mark.django_db(transaction=True)
async def test_an_inbox_that_lost_its_lease_ends() -> None:
    def fence() -> None:
        raise LeaseLost(["default"])

    database = DatabaseThread("test")
    inbox = Inbox(database, lambda: None, fence=fence)
    inbox.put([incoming(make_event(1))])
    with pytest.raises(LeaseLost):
        await inbox.run()
    await database.aclose()
    assert not await InboxEvent.objects.aexists()


# The watch


class Watcher:
    """A watch that polls twice a second."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.watch = LeaseWatch(ME, clock=self.clock, **options)

    def look(self, *leases: Lease, dead: set[uuid.UUID] | None = None) -> bool:
        return self.watch.may_acquire(leases, dead or set())

    def seconds_until_taken(self, *leases: Lease, limit: float = 20) -> float:
        started = self.clock.monotonic()
        while self.clock.monotonic() - started < limit:
            if self.look(*leases):
                return self.clock.monotonic() - started
            self.clock.advance(0.5)
        return limit


def held(beat: int = 1, alias: str = "default", holder: uuid.UUID | None = OTHER) -> Lease:
    return Lease(alias, holder, 3, beat)


FREE = held(holder=None)


def test_a_free_lease_is_taken_at_once() -> None:
    assert Watcher().look(FREE)


def test_a_lease_that_stands_still_is_taken_after_6_seconds() -> None:
    assert Watcher().seconds_until_taken(held()) == STANDSTILL == 6


def test_a_lease_that_is_renewed_is_never_taken() -> None:
    watcher = Watcher()
    for beat in range(20):
        assert watcher.seconds_until_taken(held(beat), limit=5.5) == 5.5


def test_all_leases_must_stand_still() -> None:
    watcher = Watcher()
    for beat in range(20):
        both = held(alias="blog"), held(beat)
        assert watcher.seconds_until_taken(*both, limit=2) == 2
    # The first has stood still all the time; the second must do so by itself.
    assert watcher.seconds_until_taken(held(alias="blog"), held(20)) == STANDSTILL


def test_a_holder_that_is_known_to_be_dead_is_not_waited_for() -> None:
    assert not Watcher().look(held(), dead={uuid.uuid4()})
    assert Watcher().look(held(), dead={OTHER})


def test_an_own_lease_whose_taking_was_not_confirmed_is_taken_again() -> None:
    assert Watcher().look(held(holder=ME))


def test_time_in_which_nothing_could_be_seen_does_not_count() -> None:
    """The database was away for both, or the one that watches was paused."""
    watcher = Watcher()
    assert watcher.seconds_until_taken(held(), limit=5.5) == 5.5
    watcher.clock.advance(60)
    assert watcher.seconds_until_taken(held()) == STANDSTILL


def test_standby_only_is_not_the_first() -> None:
    watcher = Watcher(may_be_first=False)
    assert watcher.seconds_until_taken(FREE) == 20
    assert not watcher.look(held())
    assert watcher.look(FREE)  # somebody was active, and stopped


def test_standby_only_takes_over_from_one_that_died_before_it_came() -> None:
    assert Watcher(may_be_first=False).seconds_until_taken(held()) == STANDSTILL


def test_standby_only_wants_to_have_seen_each_of_its_connections_held() -> None:
    watcher = Watcher(may_be_first=False)
    never_had = held(alias="blog", holder=None)
    assert watcher.seconds_until_taken(never_had, held()) == 20


# The processes


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def process(id_: uuid.UUID, pid: int, **values: Any) -> ListenerProcess:
    now = timezone.now()
    given = {"host": "h", "role": "active", "started_at": now, "heartbeat_at": now, **values}
    return ListenerProcess.objects.create(id=id_, pid=pid, **given)


@pytest.mark.django_db
def test_a_process_of_this_machine_that_has_ended_is_dead() -> None:
    me, ended, alive, reused = (new_id() for _ in range(4))
    process(ended, ended_pid())
    process(alive, os.getppid())
    process(reused, os.getpid())
    assert dead_processes([ended, alive, reused, me, None], me) == {ended, reused}


@pytest.mark.django_db
def test_a_process_of_another_machine_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = new_id()
    process(ended, ended_pid())
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
    assert dead_processes([ended], new_id()) == set()


@pytest.mark.django_db
def test_a_machine_of_the_same_name_with_processes_of_its_own_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = new_id()
    process(ended, ended_pid())
    monkeypatch.setattr(presence_module.os, "readlink", lambda path: "pid:[other]")
    assert dead_processes([ended], new_id()) == set()


@pytest.mark.django_db
def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    other = new_id()
    process(other, 1)
    monkeypatch.setattr(presence_module.os, "kill", kill)
    assert dead_processes([other], new_id()) == set()


def test_ids_differ() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000


@pytest.mark.django_db
def test_a_process_writes_its_row_and_removes_it() -> None:
    presence = Presence(["default"])
    presence.write("standby")
    presence.write("active")
    row = ListenerProcess.objects.get()
    assert (row.host, row.pid, row.role) == (socket.gethostname(), os.getpid(), "active")
    assert row.aliases == ["default"]
    assert name_of(presence.id) == f"{socket.gethostname()}:{os.getpid()}"
    presence.remove()
    assert not ListenerProcess.objects.exists()


@pytest.mark.django_db
def test_rows_without_a_heartbeat_for_a_day_are_deleted() -> None:
    now = timezone.now()
    process(OTHER, 1, heartbeat_at=now - timedelta(hours=25))
    kept = process(ME, 2, heartbeat_at=now - timedelta(hours=23))
    presence = Presence(["default"])
    presence.write("standby")
    assert {row.id for row in ListenerProcess.objects.all()} == {kept.id, presence.id}


@pytest.mark.django_db
def test_missing_and_unknown_holders_have_names() -> None:
    assert name_of(None) == "nobody"
    assert name_of(OTHER) == "another listener"
