"""``python -m directus_realtime --version``: the installed versions, for a bug report."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from directus_realtime import __version__

#: Packages of a bug report, besides this one and Python.
_RELATED = ("django", "channels", "channels-redis", "websockets", "httpx", "psycopg")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the versions, or the help, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m directus_realtime",
        description="The commands are Django's: python manage.py directus_listen, …",
    )
    parser.add_argument("--version", action="version", version=versions())
    parser.parse_args(argv)
    parser.print_help()
    return 0


def versions() -> str:
    """Return the versions of this package and its dependencies, in one line."""
    found = [f"Python {platform.python_version()}"]
    for name in _RELATED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return f"django-directus-realtime {__version__} ({', '.join(found)})"


if __name__ == "__main__":
    sys.exit(main())
