"""The log of the package as lines for the person who runs a command."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

_LEVELS = {0: logging.WARNING, 1: logging.INFO}


def counted(number: float, one: str, several: str) -> str:
    """A number with what it counts: ``1 day``, ``1.5 days``."""
    return f"{number:.15g} {one if number == 1 else several}"


@contextlib.contextmanager
def print_logs(stdout: OutputWrapper, style: Style, verbosity: int) -> Iterator[None]:
    """Print the package's log records while the block runs.

    Where the project has configured a handler for them itself, that one is left to do it.

    Args:
        stdout: The command's.
        style: The command's; warnings and errors are coloured on a terminal.
        verbosity: 0 prints warnings, 1 what a person wants to know, 2 also each event.
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
