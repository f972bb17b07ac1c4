"""Run the fake Directus as a process: ``python -m directus_realtime.testing``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence

try:
    from directus_realtime.testing.demo import Stream
    from directus_realtime.testing.demo.fake import demo_content
    from directus_realtime.testing.fake import FakeDirectus
    from example_project.real_directus.directus_admin import DirectusAdmin
except ModuleNotFoundError as error:
    if error.name != "aiohttp":
        raise
    sys.exit("The fake Directus needs aiohttp: pip install 'django-directus-realtime[testing]'")

DEFAULT_PORT = 8055  # Directus's own
TOKEN_VARIABLE = "DIRECTUS_TOKEN"  # noqa: S105 - the name of a variable


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal comes, and return the exit code."""
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
    """Run a fake until SIGINT or SIGTERM.

    Args:
        port: The port on 127.0.0.1; 0 takes a free one.
        token: The administrator's token.
        demo: Whether there is content, and a stream of changes.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    fake = FakeDirectus(token=token, port=port, **(demo_content() if demo else {}))
    async with fake:
        sys.stdout.write(f"Fake Directus on {fake.url}\n")
        sys.stdout.flush()
        async with _edited(fake) if demo else contextlib.nullcontext():
            await stopped.wait()


@contextlib.asynccontextmanager
async def _edited(fake: FakeDirectus) -> AsyncIterator[None]:
    """Let things happen, in a thread because it is done over REST."""
    done = threading.Event()
    with DirectusAdmin(fake.url, fake.token) as admin:
        editing = asyncio.create_task(asyncio.to_thread(Stream(admin).work, done))
        try:
            yield
        finally:
            done.set()
            await editing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m directus_realtime.testing",
        description="A fake Directus for demonstrations and tests.",
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port on 127.0.0.1 (%(default)s)"
    )
    parser.add_argument(
        "--token-env",
        default=TOKEN_VARIABLE,
        metavar="NAME",
        help="environment variable that holds the token (%(default)s)",
    )
    parser.add_argument("--demo", action="store_true", help="with content that changes by itself")
    return parser


if __name__ == "__main__":
    sys.exit(main())
