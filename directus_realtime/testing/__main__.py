"""Run the fake Directus as a process: ``python -m directus_realtime.testing``."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import Sequence
from functools import partial

try:
    from directus_realtime.testing.fake import FakeCollection, FakeDirectus
except ModuleNotFoundError as error:
    if error.name != "aiohttp":
        raise
    sys.exit("The fake Directus needs aiohttp: pip install 'django-directus-realtime[testing]'")

from directus_realtime.testing.demo_articles import (
    AUTHORS,
    COLLECTIONS,
    first_articles,
    next_article_change,
)
from directus_realtime.utils.aio import cancel_all, every
from directus_realtime.utils.system_clock import SystemClock

DEFAULT_PORT = 8055  # Directus's own
TOKEN_VARIABLE = "DIRECTUS_TOKEN"  # noqa: S105 - the name of a variable
CHANGE_INTERVAL = 1.5  # seconds between two changes of the demo


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM, and return the exit code."""
    options = _parser().parse_args(argv)
    token = os.environ.get(options.token_env, "")
    if not token:
        sys.stderr.write(f"Set the environment variable {options.token_env} to a token first.\n")
        return 2
    try:
        asyncio.run(serve(options.port, token, demo=options.demo))
    except OSError as error:
        sys.stderr.write(f"Cannot listen on port {options.port}: {error.strerror}\n")
        return 1
    return 0


async def serve(port: int, token: str, *, demo: bool) -> None:
    """Run a fake until SIGINT or SIGTERM, with articles that change by themselves in a demo."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    collections = _demo_collections() if demo else None
    async with FakeDirectus(collections, token, port=port) as fake:
        sys.stdout.write(f"Fake Directus on {fake.url}\n")
        sys.stdout.flush()
        edit = partial(_edit, fake, random.Random())
        editor = asyncio.create_task(every(CHANGE_INTERVAL, edit, SystemClock())) if demo else None
        await stopped.wait()
        await cancel_all([editor])


def _demo_collections() -> list[FakeCollection]:
    authors = [{"name": name} for name in AUTHORS]
    items = {"authors": authors, "articles": first_articles(range(1, len(AUTHORS) + 1))}
    return [
        FakeCollection(name, fields=fields, items=items[name])
        for name, fields in COLLECTIONS.items()
    ]


async def _edit(fake: FakeDirectus, chance: random.Random) -> None:
    authors = [author["id"] for author in fake.items("authors")]
    change = next_article_change(fake.items("articles"), authors, chance)
    if change.key is None:
        await fake.create(change.collection, change.data or {})
    elif change.data is None:
        await fake.delete(change.collection, change.key)
    else:
        await fake.update(change.collection, change.key, change.data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m directus_realtime.testing",
        description="A fake Directus for demonstrations and tests.",
    )
    add = parser.add_argument
    add("--port", type=int, default=DEFAULT_PORT, help="port on 127.0.0.1 (%(default)s)")
    variable = "environment variable that holds the token (%(default)s)"
    add("--token-env", default=TOKEN_VARIABLE, metavar="NAME", help=variable)
    add("--demo", action="store_true", help="with content that changes by itself")
    return parser


if __name__ == "__main__":
    sys.exit(main())
