"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from directus_realtime.settings import (
    MOST_SECONDS,
    ConnectionSettings,
    aliases,
    connection_settings,
)


def add_connection_argument(parser: CommandParser, verb: str) -> None:
    """``--connection``, which may be given more than once.

    Args:
        parser: The command's.
        verb: What the command does with it, for the help.
    """
    parser.add_argument(
        "--connection",
        action="append",
        metavar="ALIAS",
        help=f"{verb} this connection only; may be given more than once (default: all).",
    )


def chosen_connections(chosen: Sequence[str] | None) -> list[ConnectionSettings]:
    """The settings of the connections that were chosen, or of all.

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
    """A host and a port from the command line; an IPv6 address is in brackets."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9123.")
    return host, port


def valid_seconds(text: str) -> float:
    """A number of seconds from the command line; one that is too large, as large as may be."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds.")
    return min(seconds, MOST_SECONDS)
