"""10,000 idle browsers on one process: memory, processor time, and one change to all.

Run it: ``make bench-browsers`` (``ARGS="--browsers 1000 --seconds 35"``). The browsers are a
process of their own on the same machine; they answer pings. Directus is the fake, since nothing
of it is measured. For each of uvicorn and daphne it takes about two minutes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tests.benchmarks.setup  # noqa: F401 - sets up Django
from directus_realtime.testing import FakeCollection, ThreadedFakeDirectus, run_in_thread
from tests.benchmarks.crowd import Crowd, crowd
from tests.benchmarks.processes import cpu_seconds, memory
from tests.conftest import RedisServer, free_port
from tests.helpers.process import Process
from tests.helpers.site import Site
from tests.helpers.web import start_web

APPLICATION = "tests.benchmarks.fanout_asgi:application"
BROWSERS = 10_000
SECONDS = 60.0  # two heartbeats
TIMEOUT = 60.0
CHANGES = 5


@contextmanager
def listening_site() -> Iterator[tuple[ThreadedFakeDirectus, Site]]:
    """A site with an offer of articles, its listener, and Redis."""
    articles = FakeCollection("articles", fields={"title": "string"})
    with run_in_thread(collections=[articles]) as fake, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = RedisServer(folder)
        redis.start()
        access = {"DIRECTUS_URL": fake.url, "DIRECTUS_TOKEN": fake.token, "REDIS_URL": redis.url}
        site = Site(folder, f"sqlite:///{folder}/site.sqlite3", access)
        site.subscribe("articles", browser_access="public", fields=["id", "title"])
        try:
            site.listen()
            yield fake, site
        finally:
            site.close()
            redis.stop()


def change(fake: ThreadedFakeDirectus, crowd: Crowd, browsers: int) -> None:
    """Make some changes, each when the one before has arrived."""
    for number in range(CHANGES):
        fake.create("articles", {"title": f"@{time.time_ns()}"})
        crowd.wait((number + 1) * browsers, TIMEOUT)


def measure(fake: ThreadedFakeDirectus, web: Process, port: int, browsers: int, idle: float) -> str:
    """What so many browsers cost a web process; a row of the table, without its beginning."""
    with crowd(port, "/directus/", 1) as first:
        change(fake, first, 1)  # everything is imported
        empty = memory(web.pid)
        with crowd(port, "/directus/", browsers) as there:
            each = (memory(web.pid) - empty) / browsers / 1024
            there.report()
            used, began = cpu_seconds(web.pid), time.monotonic()
            time.sleep(idle)  # the span is what is measured
            share = (cpu_seconds(web.pid) - used) / (time.monotonic() - began)
            beats = there.report()
            change(fake, there, browsers)
            found = there.report()
    return (
        f"{browsers:,} | {there.seconds:.1f} s | {each:.0f} KiB | {share:.1%} "
        f"({beats['pings'] / idle:.0f} pings/s, {beats['lost']} lost) "
        f"| {found.get('p50', 0):.0f} / {found.get('p99', 0):.0f} "
        f"({found['count'] / CHANGES / browsers:.0%})"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--browsers", type=int, default=BROWSERS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of being idle")
    parser.add_argument("--servers", nargs="+", default=["uvicorn", "daphne"])
    options = parser.parse_args(arguments)
    print(
        "| server | browsers | all subscribed after | memory each | CPU when idle "
        "| one change, p50 / p99 ms (arrived) |\n|---|--:|--:|--:|--:|--:|",
        flush=True,
    )
    with listening_site() as (fake, site):
        for server in options.servers:
            port = free_port()
            web = start_web(site, APPLICATION, server, port)
            figures = measure(fake, web, port, options.browsers, options.seconds)
            print(f"| {server} | {figures} |", flush=True)
            web.kill()


if __name__ == "__main__":
    main()
