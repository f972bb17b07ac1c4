"""The listener as a process: stopping, dying, changing subscriptions, losing its parts."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import ARTICLE_FIELDS, POSTGRES_URL, RedisServer, free_port
from tests.helpers.site import Site, messages
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def own_directus() -> Iterator[DirectusServer]:
    """A real Directus that a test may kill, start again and freeze."""
    server = DirectusServer(env={"ACCESS_TOKEN_TTL": "10s"})
    server.start()
    try:
        with server.admin() as admin:
            admin.create_collection("articles", ARTICLE_FIELDS)
        yield server
    finally:
        server.close()


def env_of(server: DirectusServer) -> dict[str, str]:
    return {"DIRECTUS_URL": server.url, "DIRECTUS_TOKEN": server.admin_token}


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_finishes_the_delivery_at_hand_and_exits_0(
    site: Site, directus: DirectusAdmin, number: int
) -> None:
    site.subscribe()
    listener = site.listen(SAMPLE_SLEEP="0.5")
    directus.create_items("articles", [{"title": str(n)} for n in range(20)])
    wait_for(lambda: site.inbox.count() == 20)
    listener.send_signal(number)
    assert listener.wait() == 0
    assert listener.lines[-1] == "Stopped."
    assert site.inbox.filter(state="done").count() == len(site.received())
    pending = site.inbox.filter(state="pending").count()
    assert pending == 20 - len(site.received()) > 0


def test_what_was_pending_is_delivered_first_after_a_restart(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe()
    listener = site.listen(SAMPLE_SLEEP="0.5")
    items = directus.create_items("articles", [{"title": str(n)} for n in range(10)])
    wait_for(lambda: site.inbox.count() == 10)
    listener.send_signal(signal.SIGTERM)
    assert listener.wait() == 0
    site.listen()
    entries = site.wait_for_received(10)
    assert [entry["key"] for entry in entries] == [item["id"] for item in items]


def test_second_signal_forces(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    listener = site.listen(SAMPLE_SLEEP="60")
    directus.create_item("articles", {"title": "x"})
    site.wait_for_received(1)
    listener.send_signal(signal.SIGTERM)
    listener.wait_for_line("finishing the delivery at hand")

    def is_gone() -> bool:
        listener.send_signal(signal.SIGTERM)
        return listener.has_ended

    wait_for(is_gone)
    assert listener.wait() == 128 + signal.SIGTERM


def test_one_ctrl_c_that_arrives_twice_is_one(site: Site, directus: DirectusAdmin) -> None:
    site.subscribe()
    listener = site.listen()
    listener.send_signal(signal.SIGINT)
    listener.send_signal(signal.SIGINT)
    assert listener.wait() == 0
    assert listener.lines[-1] == "Stopped."


def test_a_receiver_that_hangs_does_not_keep_the_process_from_ending(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe()
    listener = site.listen(SAMPLE_SLEEP="600")
    directus.create_item("articles", {"title": "x"})
    site.wait_for_received(1)
    listener.send_signal(signal.SIGTERM)
    assert listener.wait() == 0
    assert "will be delivered again" in listener.output
    assert site.inbox.get().state == "pending"


def test_kill_9_in_a_burst_loses_nothing_that_was_received(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe()
    listener = site.listen(SAMPLE_SLEEP="0.01")
    items: list[dict[str, Any]] = []
    for _ in range(10):
        items += directus.create_items("articles", [{"title": "x"} for _ in range(100)])
    # Directus is through; kill while most of it is received and little is delivered.
    wait_for(lambda: site.inbox.count() == 1000)
    delivered = len(site.received())
    listener.kill()
    assert delivered < 1000
    site.listen(SAMPLE_SLEEP="0")
    wait_for(lambda: not site.inbox.exclude(state="done").exists())
    keys = [entry["key"] for entry in site.received()]
    assert set(keys) == {item["id"] for item in items}
    # At least once: what a crash repeats is bounded by a slice.
    assert len(keys) - 1000 <= 20


def test_kill_9_while_events_come_in_loses_nothing_that_was_stored(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe()
    listener = site.listen(SAMPLE_SLEEP="0.01")
    first = directus.create_items("articles", [{"title": "x"} for _ in range(100)])
    wait_for(lambda: site.inbox.count() >= 50)
    listener.kill()
    stored = set(site.inbox.values_list("key_json", flat=True))
    assert stored <= {str(item["id"]) for item in first}
    site.listen()
    wait_for(lambda: not site.inbox.exclude(state="done").exists())
    assert stored <= {str(entry["key"]) for entry in site.received()}


@pytest.mark.alone
def test_after_kill_9_the_connection_is_shown_as_down(site: Site) -> None:
    site.subscribe()
    listener = site.listen()
    wait_for(lambda: site.statuses.get().current_state == "connected")
    listener.kill()
    wait_for(lambda: site.statuses.get().current_state == "disconnected", 6)
    assert "directus_listen" in site.statuses.get().current_reason


# Subscriptions while it runs


@pytest.mark.alone
def test_subscriptions_change_on_the_same_socket_within_2_seconds(
    site: Site, directus: DirectusAdmin
) -> None:
    listener = site.listen()
    row = site.subscribe("new")
    listener.wait_for_line("subscribed new:", 2)
    directus.create_item("articles", {"title": "1"})
    site.wait_for_received(1)

    row.filter = {"title": {"_eq": "3"}}
    row.on_delete = False
    row.save()
    listener.wait_for_line("subscribed new: articles (create, update)", 2)
    directus.create_items("articles", [{"title": "2"}, {"title": "3"}])
    entries = site.wait_for_received(2)
    assert [entry["title"] for entry in entries] == ["1", "3"]

    site.subscriptions.update(enabled=False)
    listener.wait_for_line("unsubscribed new", 2, count=2)
    site.subscribe("other", fields=["title"])
    listener.wait_for_line("subscribed other:", 2)
    directus.create_item("articles", {"title": "4"})
    assert [entry["subscription"] for entry in site.wait_for_received(3)][2:] == ["other"]

    site.subscriptions.get(name="other").delete()
    listener.wait_for_line("unsubscribed other", 2)
    assert listener.output.count("connected to") == 1
    assert "reconnecting" not in listener.output


def test_a_refused_subscription_harms_no_other_and_is_announced(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe("bad", filter={"no_such_field": {"_eq": 1}})
    listener = site.listen(ready=False)
    listener.wait_for_line("refused bad:")
    (failed,) = site.wait_for_received(1, "subscription_failed")
    assert (failed["sender"], failed["subscription"]) == ("articles", "bad")
    assert "no_such_field" in failed["error"]
    site.subscribe("good")
    listener.wait_for_line("subscribed good:")
    directus.create_item("articles", {"title": "x"})
    assert site.wait_for_received(1)[0]["subscription"] == "good"


# Receivers that fail


def test_a_receiver_that_raises_is_retried_and_disturbs_no_other(
    site: Site, directus: DirectusAdmin
) -> None:
    site.subscribe()
    listener = site.listen()
    # Both at once, so that the other one is there before the first one is tried again.
    titles = [{"title": "fail-once"}, {"title": "fine"}]
    failing = directus.create_items("articles", titles)[0]
    wait_for(lambda: site.inbox.count() == 2)
    directus.update_item("articles", failing["id"], {"title": "later"})
    listener.wait_for_line("on_article_created failed for articles")
    created = site.wait_for_received(2, "created")
    signals = site.wait_for_received(3)
    wait_for(lambda: site.inbox.filter(state="done").count() == 3)
    assert created[-1]["key"] == failing["id"]
    # The receiver that had succeeded was not called again, and the item kept its order.
    own = [entry["title"] for entry in signals if entry["key"] == failing["id"]]
    assert own == ["fail-once", "later"]
    assert [entry["title"] for entry in signals].index("fine") < 2
    assert "not-to-be-shown" not in listener.output


def test_an_event_that_ends_the_process_is_a_dead_letter_in_the_end(
    make_site: Callable[..., Site], directus_env: dict[str, str], directus: DirectusAdmin
) -> None:
    """One that nobody sees fail does not end every listener for ever, nor hold back others."""

    def is_dead() -> bool:
        return bool(site.inbox.filter(state="dead").exists())

    site = make_site({**directus_env, "DIRECTUS_RETRY_ATTEMPTS": "3"})
    site.subscribe()
    listeners = [site.listen()]
    bad = directus.create_items("articles", [{"title": "end-the-process"}, {"title": "fine"}])[0]
    while not is_dead():
        assert listeners[-1].wait() == 9
        assert len(listeners) < 10
        listeners.append(site.listen(ready=False))
        wait_for(lambda: listeners[-1].has_ended or is_dead())
    # The first one did not know that it would end; the last one knows that it shall not try.
    assert len(listeners) == 1 + 3 + 1
    row = site.inbox.get(state="dead")
    assert row.attempts == 3
    assert row.failures["directus_listen"]["error"].startswith("ProcessEnded: ")
    last = listeners[-1]
    last.wait_for_line(f"articles {bad['id']} create is a dead letter after 3 tries")
    last.wait_for_line("subscribed all:")
    directus.update_item("articles", bad["id"], {"title": "later"})
    wait_for(lambda: site.inbox.filter(state="done").count() == 2)
    assert [entry["title"] for entry in site.received() if entry["key"] != bad["id"]] == ["fine"]
    assert not last.has_ended


# Losing the server


def test_a_restart_of_directus_is_survived(
    make_site: Callable[..., Site], own_directus: DirectusServer
) -> None:
    site = make_site(env_of(own_directus))
    site.subscribe()
    listener = site.listen()
    own_directus.kill()
    listener.wait_for_line("reconnecting:")
    own_directus.start()
    listener.wait_for_line("connected to", count=2)
    listener.wait_for_line("subscribed all:", count=2)
    with own_directus.admin() as admin:
        item = admin.create_item("articles", {"title": "after"})
    entries = site.wait_for_received(1)
    assert [entry["key"] for entry in entries] == [item["id"]]
    listener.wait_for_line("nothing is missing")
    assert site.received("gap") == []  # it took no 30 s
    states = [entry["state"] for entry in site.received("connection")]
    assert states[0] == "connected"
    assert states[-1] == "connected"
    assert set(states[1:-1]) == {"reconnecting"}


def test_a_frozen_directus_is_noticed(
    make_site: Callable[..., Site], own_directus: DirectusServer
) -> None:
    site = make_site(env_of(own_directus))
    site.subscribe()
    listener = site.listen(DIRECTUS_PING_INTERVAL="1", DIRECTUS_PONG_TIMEOUT="1")
    own_directus.pause()
    try:
        listener.wait_for_line("did not answer a ping within 1 s")
    finally:
        own_directus.resume()
    listener.wait_for_line("the WebSocket announces changes", count=2)
    with own_directus.admin() as admin:
        item = admin.create_item("articles", {"title": "after"})
    assert [entry["key"] for entry in site.wait_for_received(1)] == [item["id"]]


def test_password_login_is_renewed_before_it_ends(
    make_site: Callable[..., Site], own_directus: DirectusServer
) -> None:
    login = {"DIRECTUS_EMAIL": own_directus.admin_email}
    site = make_site({"DIRECTUS_URL": own_directus.url, "DIRECTUS_TOKEN": "", **login})
    site.subscribe()
    listener = site.listen(DIRECTUS_PASSWORD=own_directus.admin_password)
    # The access token lives for 10 s, and Directus closes a socket 10 s after its end.
    until = time.monotonic() + 25
    made = 0
    with own_directus.admin() as admin:
        while time.monotonic() < until:
            admin.create_item("articles", {"title": "x"})
            made += 1
            site.wait_for_received(made)
    assert "reconnecting" not in listener.output
    assert own_directus.admin_password not in listener.output


# What can never succeed


def test_a_wrong_token_ends_the_command(make_site: Callable[..., Site], directus_env: Any) -> None:
    site = make_site({**directus_env, "DIRECTUS_TOKEN": "wrong-token"})
    listener = site.listen(ready=False)
    assert listener.wait() == 1
    assert "refused the credentials (Invalid user credentials). Check TOKEN" in listener.output
    assert "Traceback" not in listener.output
    assert "wrong-token" not in listener.output


def test_a_url_that_is_not_directus_ends_the_command(
    make_site: Callable[..., Site], directus_env: Any
) -> None:
    site = make_site({**directus_env, "DIRECTUS_URL": directus_env["DIRECTUS_URL"] + "/admin"})
    listener = site.listen(ready=False)
    assert listener.wait() == 1
    assert "does not answer like Directus" in listener.output
    assert "Traceback" not in listener.output


def test_a_server_that_is_not_up_yet_is_waited_for(make_site: Callable[..., Site]) -> None:
    site = make_site({"DIRECTUS_URL": f"http://127.0.0.1:{free_port()}", "DIRECTUS_TOKEN": "x"})
    listener = site.listen(ready=False)
    listener.wait_for_line("reconnecting: Cannot reach http://127.0.0.1", count=1)
    listener.send_signal(signal.SIGTERM)
    assert listener.wait() == 0


def test_an_unknown_alias_ends_the_command(site: Site) -> None:
    listener = site.listen("--connection", "nowhere", ready=False)
    assert listener.wait() == 1
    assert "no connection 'nowhere' in DIRECTUS_REALTIME. Configured: default." in listener.output


# Losing the database, losing Redis


def test_a_lost_database_connection_is_survived(
    make_site: Callable[..., Site],
    postgres_url: str,
    directus_env: dict[str, str],
    directus: DirectusAdmin,
) -> None:
    site = make_site(directus_env, postgres_url)
    site.subscribe()
    site.listen()
    for number in range(5):
        terminate_connections(postgres_url)
        directus.create_items("articles", [{"title": f"{number}-{n}"} for n in range(20)])
    # A receiver that writes to a file runs again where the commit was cut off.
    wait_for(lambda: len({entry["id"] for entry in site.received()}) == 100, what="100 events")


def terminate_connections(url: str) -> None:
    """Cut every connection to a database but the one that cuts."""
    name = url.rpartition("/")[2]
    with psycopg.connect(POSTGRES_URL, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND application_name = ''",
            [name],
        )


def test_a_lost_redis_is_survived(
    make_site: Callable[..., Site],
    redis_server: RedisServer,
    directus_env: dict[str, str],
    directus: DirectusAdmin,
) -> None:
    site = make_site({**directus_env, "REDIS_URL": redis_server.url})
    site.subscribe()
    listener = site.listen()
    redis_server.stop()
    directus.create_items("articles", [{"title": "a"}, {"title": "b"}])
    assert len(site.wait_for_received(2)) == 2
    listener.wait_for_line("Group messages cannot be sent and are dropped")
    redis_server.start()
    group = site.print_group("directus.articles")

    def is_back() -> bool:
        directus.create_item("articles", {"title": "back"})
        return bool(messages(group))

    wait_for(is_back)
    listener.wait_for_line("Group messages are sent again")
