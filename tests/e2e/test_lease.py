"""Several listeners: one is active, the others stand by and take over."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections

from directus_realtime.models import ListenerProcess
from directus_realtime.testing import FakeCollection, ThreadedFakeDirectus, run_in_thread
from tests.helpers.process import Process
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

#: Seconds; what a takeover may take, by the promise.
TAKEOVER = 10.0
#: Seconds; less than a standby waits for a lease that stands still.
AT_ONCE = 4.0


@pytest.fixture
def fake() -> Iterator[ThreadedFakeDirectus]:
    with run_in_thread(
        collections=[FakeCollection("articles", fields={"title": "string"})]
    ) as fake:
        yield fake


@pytest.fixture(params=["sqlite", "postgres"])
def site(
    request: pytest.FixtureRequest, make_site: Callable[..., Site], fake: ThreadedFakeDirectus
) -> Site:
    """A site on a fake Directus, with SQLite and with PostgreSQL."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    site = make_site({"DIRECTUS_URL": fake.url, "DIRECTUS_TOKEN": fake.token}, url)
    site.subscribe()
    return site


def elsewhere(host: str) -> dict[str, str]:
    """The environment of a process that believes to run on another machine."""
    return {"DJANGO_SETTINGS_MODULE": "tests.other_host", "OTHER_HOST": host}


def stand_by(site: Site, active: Process, *arguments: str, **env: str) -> Process:
    """Start a listener that stands by."""
    standby = site.listen(*arguments, ready=False, **env)
    standby.wait_for_line(f":{active.pid} is active")
    return standby


def wait_until_active(listener: Process, number: int, timeout: float = TAKEOVER) -> None:
    """Wait until a listener has taken over, and then until it is subscribed."""
    listener.wait_for_line(f"active, with the fencing token {number}", timeout)
    listener.wait_for_line("subscribed all:")


def create(fake: ThreadedFakeDirectus, count: int) -> list[Any]:
    items = fake.create("articles", [{"title": "x"} for _ in range(count)])
    return [item["id"] for item in items]


def wait_for_stored(site: Site, count: int) -> None:
    wait_for(lambda: site.inbox.count() == count, what=f"{count} events in the inbox")


def keys(site: Site) -> list[Any]:
    return [entry["key"] for entry in site.received()]


def pause(listener: Process, site: Site) -> None:
    """Stop a process when it is in no transaction: one there would lock the database."""

    def is_paused() -> bool:
        listener.send_signal(signal.SIGSTOP)
        if is_unlocked():
            return True
        listener.send_signal(signal.SIGCONT)
        return False

    wait_for(is_paused, what="a moment without a transaction")


def is_unlocked() -> bool:
    """Whether no other process is in a transaction that writes."""
    connection = connections[ALIAS]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state <> 'idle'"
            )
            return bool(cursor.fetchone()[0] == 0)
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        except OperationalError:
            return False
        finally:
            cursor.execute("PRAGMA busy_timeout = 20000")
        return True


@pytest.mark.parametrize("host", ["", "another-machine"])
def test_kill_9_of_the_active_one_is_survived_within_10_seconds_and_loses_nothing(
    site: Site, fake: ThreadedFakeDirectus, host: str
) -> None:
    active = site.listen(SAMPLE_SLEEP="0.3")
    standby = stand_by(site, active, **(elsewhere(host) if host else {}))
    stored = create(fake, 20)
    wait_for_stored(site, 20)
    active.kill()
    assert len(keys(site)) < 20
    stored += create(fake, 5)  # nobody is listening
    # On the same machine, it is known at once that the process is gone.
    wait_until_active(standby, 2, TAKEOVER if host else AT_ONCE)
    later = create(fake, 5)
    wait_for(lambda: set(keys(site)) == {*stored, *later})


def test_a_clean_stop_hands_over_at_once_and_delivers_each_event_once(
    site: Site, fake: ThreadedFakeDirectus
) -> None:
    active = site.listen(SAMPLE_SLEEP="0.1")
    standby = stand_by(site, active, **elsewhere("another-machine"))
    made = create(fake, 20)
    wait_for_stored(site, 20)
    active.send_signal(signal.SIGTERM)
    assert active.wait() == 0
    wait_until_active(standby, 2, AT_ONCE)
    made += create(fake, 5)
    site.wait_for_received(25)
    wait_for(lambda: not site.inbox.exclude(state="done").exists())
    assert keys(site) == made


def test_a_listener_that_was_paused_stores_and_delivers_nothing_more(
    site: Site, fake: ThreadedFakeDirectus
) -> None:
    paused = site.listen()
    standby = stand_by(site, paused)
    pause(paused, site)
    create(fake, 5)
    wait_until_active(standby, 2)
    made = create(fake, 10)
    wait_for(lambda: set(made) <= set(keys(site)))
    paused.send_signal(signal.SIGCONT)
    # Its socket holds all of these events; what it stored would be delivered twice.
    paused.wait_for_line(f":{standby.pid} is active now. Nothing more is delivered here.")
    paused.wait_for_line(f"standing by; {socket.gethostname()}:{standby.pid} is active")
    made += create(fake, 10)
    wait_for(lambda: set(made) <= set(keys(site)))
    assert sorted(keys(site)) == sorted(set(keys(site)))
    assert site.inbox.count() == len(keys(site))
    # And it can take over again.
    standby.send_signal(signal.SIGTERM)
    assert standby.wait() == 0
    paused.wait_for_line("active, with the fencing token 3", AT_ONCE)
    paused.wait_for_line("subscribed all:", count=2)
    made = create(fake, 1)
    wait_for(lambda: keys(site)[-1:] == made)


def test_a_listener_that_was_paused_delivers_nothing_of_what_the_other_one_stored(
    site: Site, fake: ThreadedFakeDirectus
) -> None:
    paused = site.listen()
    standby = stand_by(site, paused, SAMPLE_SLEEP="0.5")
    pause(paused, site)
    wait_until_active(standby, 2)
    made = create(fake, 20)
    wait_for_stored(site, 20)
    # Most of them are pending, for whoever looks; and the other one is busy for seconds.
    wait_for(lambda: site.inbox.filter(state="pending").count() >= 15)
    paused.send_signal(signal.SIGCONT)
    paused.wait_for_line(f"standing by; {socket.gethostname()}:{standby.pid} is active")
    site.wait_for_received(20)
    wait_for(lambda: not site.inbox.exclude(state="done").exists())
    assert keys(site) == made


def test_a_rolling_deploy_delivers_each_event_once(site: Site, fake: ThreadedFakeDirectus) -> None:
    with changing(fake) as made:
        old = site.listen()
        for number in (2, 3):
            new = stand_by(site, old)
            old.send_signal(signal.SIGTERM)
            wait_until_active(new, number, AT_ONCE + 8)  # the old one finishes its delivery
            assert old.wait() == 0
            old = new
    first = keys(site)[0]  # what was made before somebody listened is not asked for
    expected = made[made.index(first) :]
    wait_for(lambda: set(expected) <= set(keys(site)))
    assert sorted(keys(site)) == expected


@contextlib.contextmanager
def changing(fake: ThreadedFakeDirectus) -> Iterator[list[Any]]:
    """Create an item every few milliseconds, and collect the keys."""
    made: list[Any] = []
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.02):
            made.extend(create(fake, 1))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield made
    finally:
        stopping.set()
        thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_stands_by_stops_at_once_and_disturbs_nobody(
    site: Site, fake: ThreadedFakeDirectus, number: int
) -> None:
    active = site.listen()
    standby = stand_by(site, active)
    processes = ListenerProcess.objects.using(ALIAS)
    roles = dict(processes.values_list("pid", "role"))
    assert roles == {active.pid: "active", standby.pid: "standby"}
    standby.send_signal(number)
    assert standby.wait() == 0
    assert standby.lines[-1] == "Stopped."
    assert [row.pid for row in processes.all()] == [active.pid]
    made = create(fake, 1)
    site.wait_for_received(1)
    assert keys(site) == made
    active.send_signal(signal.SIGTERM)
    assert active.wait() == 0
    assert not processes.exists()


def test_standby_only_is_never_the_first_and_takes_over(
    site: Site, fake: ThreadedFakeDirectus
) -> None:
    standby = site.listen("--standby-only", ready=False)
    standby.wait_for_line("standing by; nobody is active")
    active = site.listen()
    active.wait_for_line("active, with the fencing token 1")
    standby.wait_for_line(f":{active.pid} is active")
    active.kill()
    wait_until_active(standby, 2)
    create(fake, 1)
    site.wait_for_received(1)
