"""Shared arguments and output of the commands."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.core.management.color import Style
from django.core.serializers.json import DjangoJSONEncoder

from directus_realtime.database import check_tables
from directus_realtime.settings import (
    MOST_SECONDS,
    ConnectionSettings,
    aliases,
    connection_settings,
)

_LEVELS = {0: logging.WARNING, 1: logging.INFO}


def counted(number: float, one: str, several: str) -> str:
    """Return a number with its unit: ``1 day``, ``1.5 days``."""
    return f"{number:.15g} {one if number == 1 else several}"


def as_json(found: Any) -> str:
    """Return indented JSON."""
    return json.dumps(found, indent=2, cls=DjangoJSONEncoder)


def require_tables() -> None:
    """Check that the database is migrated.

    Raises:
        CommandError: It is not.
    """
    try:
        check_tables()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None


@contextlib.contextmanager
def print_logs(stdout: OutputWrapper, style: Style, verbosity: int) -> Iterator[None]:
    """Print the package's log records while the block runs.

    Nothing is printed where the project has configured a handler for them.

    Args:
        stdout: Output of the command.
        style: Style of the command; warnings and errors are coloured on a terminal.
        verbosity: 0 for WARNING, 1 for INFO, 2 for DEBUG.
    """
    logger = logging.getLogger("directus_realtime")
    if logger.hasHandlers():
        yield
        return
    handler = _CommandHandler(stdout, style)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(_LEVELS.get(verbosity, logging.DEBUG))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _CommandHandler(logging.Handler):
    def __init__(self, stdout: OutputWrapper, style: Style) -> None:
        super().__init__()
        self._stdout = stdout
        self._style = style
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if record.levelno >= logging.ERROR:
                line = self._style.ERROR(line)
            elif record.levelno >= logging.WARNING:
                line = self._style.WARNING(line)
            self._stdout.write(line)
            self._stdout.flush()
        except Exception:
            self.handleError(record)


def add_connection_argument(parser: CommandParser, verb: str) -> None:
    """Add ``--connection``, which may be given more than once.

    Args:
        parser: Parser of the command.
        verb: Verb of the command, for the help.
    """
    parser.add_argument(
        "--connection",
        action="append",
        metavar="ALIAS",
        help=f"{verb} this connection only; may be given more than once (default: all).",
    )


def chosen_connections(chosen: Sequence[str] | None) -> list[ConnectionSettings]:
    """Return the settings of the chosen connections, or of all.

    Raises:
        CommandError: One is not configured, or none is.
    """
    try:
        connections = [connection_settings(alias) for alias in dict.fromkeys(chosen or aliases())]
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    if not connections:
        raise CommandError("There is no connection in DIRECTUS_REALTIME.")
    return connections


def valid_address(text: str) -> tuple[str, int]:
    """Parse a host and a port; an IPv6 address is in brackets."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9123.")
    return host, port


def valid_seconds(text: str) -> float:
    """Parse a number of seconds, and limit it to what dates can represent."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds.")
    return min(seconds, MOST_SECONDS)
