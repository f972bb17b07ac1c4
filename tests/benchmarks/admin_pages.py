"""Queries and milliseconds of the admin's pages, on SQLite and PostgreSQL.

Run it: ``python -m tests.benchmarks.admin_pages [--database sqlite] [--rounds 20]``. There are
1,000 subscriptions on two connections with their counts of the last hour, and a listener. The
time is that of the server for a whole request, without the network, the median of the rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from time import perf_counter

SUBSCRIPTIONS = 1000
COLLECTIONS = 50
#: Minutes of the last hour in which a subscription had events.
BUSY_MINUTES = 20
DEAD_LETTERS = 500
MOST_QUERIES, MOST_MILLISECONDS = 15, 200


@dataclass(frozen=True)
class Page:
    """A page to measure."""

    name: str
    url: str


def fill() -> None:
    """Put the rows into an empty database."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from directus_realtime.events import Event
    from directus_realtime.models import (
        ConnectionStatus,
        DirectusSubscription,
        EventCount,
        InboxEvent,
    )

    User.objects.create_superuser("admin")
    now = timezone.now()
    ConnectionStatus.objects.create(
        alias="default",
        state="connected",
        changed_at=now,
        heartbeat_at=now + timedelta(hours=1),  # it stays alive while the pages are measured
    )
    DirectusSubscription.objects.bulk_create(
        DirectusSubscription(
            name=f"subscription-{n:04}",
            collection=f"collection_{n % COLLECTIONS}",
            connection="default" if n % 2 else "blog",
            filter={"status": {"_eq": "published"}},
            fields=["id", "title", "author.name"],
            state="refused" if n % 10 == 0 else "subscribed",
            last_error="You don't have permission to access this." if n % 10 == 0 else "",
            event_count=n,
            last_event_at=now,
        )
        for n in range(SUBSCRIPTIONS)
    )
    minute = now.replace(second=0, microsecond=0)
    EventCount.objects.bulk_create(
        (
            EventCount(
                subscription=f"subscription-{n:04}",
                connection="default",
                minute=minute - timedelta(minutes=3 * past),
                events=n + past,
            )
            for n in range(SUBSCRIPTIONS)
            for past in range(BUSY_MINUTES)
        ),
        batch_size=1000,
    )
    dead = [
        InboxEvent.from_event(
            Event(
                connection="default",
                subscription=f"subscription-{n % 200:04}",
                collection="collection_1",
                action="update",
                key=n,
                data={"title": "x"},
            )
        )
        for n in range(DEAD_LETTERS)
    ]
    for row in dead:
        row.state = "dead"
    InboxEvent.objects.bulk_create(dead)


def subscription_pages() -> Iterator[Page]:
    """The pages of the subscriptions."""
    from django.urls import reverse

    from directus_realtime.models import DirectusSubscription

    prefix = "admin:directus_realtime_directussubscription"
    keys = list(DirectusSubscription.objects.values_list("pk", flat=True)[:100])
    listed, added = reverse(f"{prefix}_changelist"), reverse(f"{prefix}_add")
    yield Page("subscriptions, first page", listed)
    yield Page("subscriptions, last page", f"{listed}?p=10")
    yield Page("subscriptions, refused", f"{listed}?state__exact=refused")
    yield Page("subscriptions, searched", f"{listed}?q=subscription-05")
    ids = ",".join(map(str, keys))
    yield Page("subscriptions, refreshing 100", f"{reverse(f'{prefix}_live')}?ids={ids}")
    yield Page("a subscription", reverse(f"{prefix}_change", args=[keys[0]]))
    yield Page("a new subscription", added)


def measure(rounds: int) -> bool:
    """Print a line for each page; whether none is over the limits."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.force_login(User.objects.get())
    is_good = True
    for page in subscription_pages():
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page.url).status_code == 200, page.url
        times = []
        for _ in range(rounds):
            begun = perf_counter()
            client.get(page.url)
            times.append((perf_counter() - begun) * 1000)
        is_over = len(queries) > MOST_QUERIES or median(times) > MOST_MILLISECONDS
        is_good = is_good and not is_over
        note = "  over the limit" if is_over else ""
        print(
            f"{connection.vendor:12}{page.name:32}{len(queries):8}{median(times):9.0f}"
            f"{max(times):9.0f}{note}",
            flush=True,
        )
    return is_good


@contextmanager
def database(name: str) -> Iterator[str]:
    """The URL of an empty database."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/admin.sqlite3"
    else:
        from tests.conftest import own_postgres

        with own_postgres() as url:
            yield url


def main() -> None:
    """Measure each database in a process of its own, as its settings are read once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import tests.benchmarks.setup  # noqa: F401 - sets Django up

    if options.here:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        fill()
        sys.exit(not measure(options.rounds))
    print(f"{'':12}{'':32}{'queries':>8}{'median':>9}{'slowest':>9}  (ms)", flush=True)
    status = 0
    for name in options.database or ["sqlite", "postgresql"]:
        with database(name) as url:
            command = [sys.executable, "-m", "tests.benchmarks.admin_pages", "--here"]
            command += ["--rounds", str(options.rounds)]
            done = subprocess.run(command, env={**os.environ, "DATABASE_URL": url})
            status = status or done.returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
