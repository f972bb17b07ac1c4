"""Queries and milliseconds of the admin's pages, on SQLite and PostgreSQL.

Run it: ``python -m tests.benchmarks.admin_pages [--database sqlite] [--rounds 20]``. There are
1,000 subscriptions on two connections with their counts of the last hour, 1,000,000 events in the
inbox (``--rows``), and a listener. The time is that of the server for a whole request, without the
network, the median of the rounds; the CPU is that of this process, and so without PostgreSQL's.
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
from time import perf_counter, process_time

SUBSCRIPTIONS = 1000
COLLECTIONS = 50
#: Minutes of the last hour in which a subscription had events.
BUSY_MINUTES = 20
MOST_QUERIES, MOST_MILLISECONDS = 15, 200


@dataclass(frozen=True)
class Page:
    """A page to measure."""

    name: str
    url: str


def fill(rows: int) -> None:
    """Put the rows into an empty database; ``rows`` of them into the inbox."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from directus_realtime.models import ConnectionStatus, DirectusSubscription, EventCount
    from tests.benchmarks.inbox_rows import fill_inbox

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
    fill_inbox(rows)


def subscription_pages() -> Iterator[Page]:
    """The pages of the subscriptions."""
    from django.urls import reverse

    from directus_realtime.models import DirectusSubscription

    prefix = "admin:directus_realtime_directussubscription"
    keys = list(DirectusSubscription.objects.values_list("pk", flat=True)[:50])
    listed, added = reverse(f"{prefix}_changelist"), reverse(f"{prefix}_add")
    yield Page("subscriptions, first page", listed)
    yield Page("subscriptions, last page", f"{listed}?p=20")
    yield Page("subscriptions, refused", f"{listed}?state__exact=refused")
    yield Page("subscriptions, searched", f"{listed}?q=subscription-05")
    ids = ",".join(map(str, keys))
    yield Page("subscriptions, refreshing 50", f"{reverse(f'{prefix}_live')}?ids={ids}")
    yield Page("a subscription", reverse(f"{prefix}_change", args=[keys[0]]))
    yield Page("a new subscription", added)


def inbox_pages() -> Iterator[Page]:
    """The pages of the inbox, and the live page."""
    from django.urls import reverse

    from directus_realtime.models import InboxEvent

    newest = InboxEvent.objects.order_by("-pk")[0]
    dead = InboxEvent.objects.filter(state="dead").order_by("-pk")[0]
    inbox = reverse("admin:directus_realtime_inboxevent_changelist")
    lists = {
        "inbox": "",
        "inbox, in the middle": f"p=before-{newest.pk // 2}",
        "inbox, last page": "p=after-0",
        "inbox, dead letters": "state__exact=dead",
        "inbox, dead letters of one": f"state__exact=dead&subscription__exact={dead.subscription}",
        "inbox, done": "state__exact=done",
        "inbox, a collection": "collection__exact=collection_7",
        "inbox, a collection without": "collection__exact=none",
        "inbox, an origin without": "origin__exact=replay",
        "inbox, search for a key": "q=123456",
        "inbox, search for an event": f"q={dead.event_id}",
    }
    for name, query in lists.items():
        yield Page(name, f"{inbox}?{query}")
    prefix = "admin:directus_realtime_inboxevent"
    yield Page("an event", reverse(f"{prefix}_change", args=[dead.pk]))
    yield Page("an event, retry all like it", reverse(f"{prefix}_retry_alike", args=[dead.pk]))
    live = "admin:directus_realtime_live"
    yield Page("live", reverse(f"{live}_changelist"))
    yield Page("live, state", reverse(f"{live}_state"))
    yield Page("live, state and plots", f"{reverse(f'{live}_state')}?plots=1")
    yield Page("live, new events", f"{reverse(f'{live}_events')}?after={newest.pk}")
    yield Page("connections", reverse("admin:directus_realtime_connectionstatus_changelist"))
    yield Page("index", reverse("admin:index"))


def measure(rounds: int) -> bool:
    """Print a line for each page; whether none is over the limits."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.force_login(User.objects.get())
    is_good = True
    for page in [*subscription_pages(), *inbox_pages()]:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page.url).status_code == 200, page.url
        count = len(queries)  # the next request forgets them
        times = []
        used = process_time()
        for _ in range(rounds):
            begun = perf_counter()
            client.get(page.url)
            times.append((perf_counter() - begun) * 1000)
        used = (process_time() - used) * 1000 / rounds
        is_over = count > MOST_QUERIES or median(times) > MOST_MILLISECONDS
        is_good = is_good and not is_over
        note = "  over the limit" if is_over else ""
        print(
            f"{connection.vendor:12}{page.name:32}{count:8}{median(times):9.0f}"
            f"{max(times):9.0f}{used:9.0f}{note}",
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
    parser.add_argument("--rows", type=int, default=1_000_000, help="Events in the inbox.")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import tests.benchmarks.setup  # noqa: F401 - sets Django up

    if options.here:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        fill(options.rows)
        sys.exit(not measure(options.rounds))
    print(f"{'':12}{'':32}{'queries':>8}{'median':>9}{'slowest':>9}{'CPU':>9}  (ms)", flush=True)
    status = 0
    for name in options.database or ["sqlite", "postgresql"]:
        with database(name) as url:
            command = [sys.executable, "-m", "tests.benchmarks.admin_pages", "--here"]
            command += ["--rounds", str(options.rounds), "--rows", str(options.rows)]
            done = subprocess.run(command, env={**os.environ, "DATABASE_URL": url})
            status = status or done.returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
