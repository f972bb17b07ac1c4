"""Events in a second from Directus to a receiver and a group, ours beside two other ways.

Run it: ``python -m tests.benchmarks.ingest [--events 20000]``. It needs Redis and PostgreSQL.
Each way has a process, a database and a server of its own; the server has events of 821 bytes
as fast as they are taken, for ours in its activity log, for the others on the socket. With
``--memory 1000000`` it is the resident memory of the listener on the way that is printed; the
server then never is far ahead, or the backlog would be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tests.benchmarks.setup  # noqa: F401 - sets Django up
from tests.conftest import RedisServer, own_postgres

LAYERS = {"naive": "channels_redis.core.RedisChannelLayer"}
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
WINDOW = 2000  # events that the server is ahead when memory is measured
NAMES = {
    "naive": "naive",
    "ours": "directus_listen",
    "metrics": "… --metrics",
    "handmade": "hand-written, raw SQL",
}


@contextlib.contextmanager
def running(module: str, *arguments: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A module in a process that is ended with the context."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **env, "PYTHONDEVMODE": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit("A process of the benchmark ended before its time.")
    return line


def run(way: str, events: int, database_url: str, redis_url: str) -> dict[str, float]:
    """Run one way; its seconds, CPU seconds, and the group messages that arrived."""
    env = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "BENCH_LAYER": LAYERS.get(way, PUBSUB),
    }
    migrate = [sys.executable, "-m", "django", "migrate", "-v", "0"]
    subprocess.run(migrate, env={**os.environ, **env}, check=True)
    ways = "tests.benchmarks.ingest_ways"
    window = [str(WINDOW)] if way == "memory" else []
    with (
        running("tests.benchmarks.ingest_server", str(events), *window, env={}) as server,
        running(ways, "member", env=env) as member,
    ):
        url = f"http://127.0.0.1:{line_of(server)}"
        line_of(member)
        with running(ways, way, url, str(events), env=env) as process:
            while not (line := line_of(process)).startswith("{"):
                print(line, flush=True)
        output, _ = member.communicate()
    return {**json.loads(line), "messages": float(output)}


def compare(events: int, redis_url: str, folder: Path) -> None:
    """Print the table."""
    print(f"{'':12}{'':24}{'events/s':>10}{'CPU µs/event':>14}{'messages':>10}")
    for database in ("sqlite", "postgres"):
        rates = {}
        for way in NAMES:
            count = events // 10 if way == "naive" else events
            with contextlib.ExitStack() as stack:
                url = f"sqlite:///{folder}/{way}.sqlite3"
                if database == "postgres":
                    url = stack.enter_context(own_postgres())
                result = run(way, count, url, redis_url)
            rates[way] = count / result["seconds"]
            cpu, messages = result["cpu"] / count * 1e6, result["messages"] / count
            print(
                f"{database:12}{NAMES[way]:24}{rates[way]:10,.0f}{cpu:14.0f}{messages:10.0%}",
                flush=True,
            )
        print(
            f"{database:12}directus_listen is {rates['ours'] / rates['naive']:.1f} times naive, "
            f"{rates['ours'] / rates['handmade']:.0%} of hand-written"
        )


def main() -> None:
    """Compare, or watch the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--memory", type=int, default=0, metavar="EVENTS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        redis = RedisServer(Path(name))
        redis.start()
        try:
            if options.memory:
                url = f"sqlite:///{name}/memory.sqlite3"
                run("memory", options.memory, url, redis.url)
            else:
                compare(options.events, redis.url, Path(name))
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
