"""``python -m directus_realtime --version``: what is installed, for a report of a mistake."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from directus_realtime import __version__

#: What a report of a mistake should name, besides this package and Python.
_RELATED = ("django", "channels", "channels-redis", "websockets", "httpx", "psycopg")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the versions, or what can be run, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m directus_realtime",
        description="The commands are Django's: python manage.py directus_listen, …",
    )
    parser.add_argument("--version", action="version", version=versions())
    parser.parse_args(argv)
    parser.print_help()
    return 0


def versions() -> str:
    """The version of this package, and those of what it runs on, in one line."""
    found = [f"Python {platform.python_version()}"]
    for name in _RELATED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return f"django-directus-realtime {__version__} ({', '.join(found)})"


if __name__ == "__main__":
    sys.exit(main())
