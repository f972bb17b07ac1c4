"""Queries and milliseconds of the admin's pages, with a large inbox and many subscriptions.

Run it: ``python -m tests.benchmarks.admin_pages [--rows 1000000] [--subscriptions 1000]``, on
SQLite and on PostgreSQL. The time is that of the server, from the request to the whole page, the
median of five; the first request of each page is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import tests.benchmarks.setup  # noqa: F401 - sets Django up
from tests.benchmarks.admin_rows import fill_inbox, fill_subscriptions
from tests.conftest import own_postgres

TIMES = 5
MOST_QUERIES, MOST_TIME = 15, 200  # and milliseconds


def pages() -> Iterator[tuple[str, str]]:
    """What is measured: a name and a path."""
    from django.urls import reverse

    from directus_realtime.models import DirectusSubscription, InboxEvent

    inbox = reverse("admin:directus_realtime_inboxevent_changelist")
    events = InboxEvent.objects.order_by("pk")
    middle = events.values_list("pk", flat=True).last() or 0
    dead = events.filter(state="dead").last()
    assert dead is not None
    subscriptions = reverse("admin:directus_realtime_directussubscription_changelist")
    subscription = DirectusSubscription.objects.order_by("pk").first()
    live = reverse("admin:directus_realtime_live_changelist")
    yield "subscriptions", subscriptions
    yield "subscriptions, last page", f"{subscriptions}?p=10"
    if subscription is not None:
        yield (
            "subscription, change",
            reverse("admin:directus_realtime_directussubscription_change", args=[subscription.pk]),
        )
    yield "inbox", inbox
    yield "inbox, page in the middle", f"{inbox}?p=before-{middle // 2}"
    yield "inbox, last page", f"{inbox}?p=after-0"
    yield "inbox, dead letters", f"{inbox}?state__exact=dead"
    yield "inbox, dead letters of one", f"{inbox}?state__exact=dead&subscription__exact=s-0"
    yield "inbox, done", f"{inbox}?state__exact=done"
    yield "inbox, a collection", f"{inbox}?collection__exact=c-7"
    yield "inbox, a collection without", f"{inbox}?collection__exact=none"
    yield "inbox, a rare origin", f"{inbox}?origin__exact=replay"
    yield "inbox, search for a key", f"{inbox}?q=123456"
    yield "inbox, search for an event", f"{inbox}?q={dead.event_id}"
    yield "event", reverse("admin:directus_realtime_inboxevent_change", args=[dead.pk])
    yield (
        "event, retry all like it",
        reverse("admin:directus_realtime_inboxevent_retry_alike", args=[dead.pk]),
    )
    yield "live", live
    yield "live, state", reverse("admin:directus_realtime_live_state")
    yield "live, state and plots", reverse("admin:directus_realtime_live_state") + "?plots=1"
    yield "live, new events", reverse("admin:directus_realtime_live_events") + f"?after={middle}"
    yield "connection", reverse("admin:directus_realtime_connectionstatus_changelist")
    yield "index", reverse("admin:index")


def measure(client: Any, path: str) -> tuple[int, float]:
    """Queries and milliseconds of a page."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as found:
        response = client.get(path)
    if response.status_code != 200:
        raise SystemExit(f"{path} answers with {response.status_code}.")
    times = []
    for _ in range(TIMES):
        started = time.perf_counter()
        client.get(path)
        times.append((time.perf_counter() - started) * 1000)
    return len(found), statistics.median(times)


def run(rows: int, subscriptions: int) -> None:
    """Fill the database of this process, and print the pages."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    call_command("migrate", verbosity=0)
    fill_subscriptions(subscriptions)
    fill_inbox(rows)
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    for name, path in pages():
        queries, milliseconds = measure(client, path)
        much = " too much" if queries > MOST_QUERIES or milliseconds > MOST_TIME else ""
        line = f"{connection.vendor:12}{name:32}{queries:8}{milliseconds:8.0f}{much}"
        print(line, flush=True)


def main() -> None:
    """Run in a process for each database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--subscriptions", type=int, default=1_000)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        run(options.rows, options.subscriptions)
        return
    print(f"{options.rows:,} events, {options.subscriptions:,} subscriptions")
    print(f"{'':12}{'':32}{'queries':>8}{'ms':>8}", flush=True)
    command = [sys.executable, "-m", "tests.benchmarks.admin_pages", "--here"]
    command += ["--rows", str(options.rows), "--subscriptions", str(options.subscriptions)]
    with tempfile.TemporaryDirectory() as folder, own_postgres() as postgres:
        for url in (f"sqlite:///{folder}/pages.sqlite3", postgres):
            subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=True)


if __name__ == "__main__":
    main()
