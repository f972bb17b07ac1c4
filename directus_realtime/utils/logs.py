"""Structured log records, and a limit for those that repeat."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any

from cachetools import TTLCache

from directus_realtime.utils.site_code import contained
from directus_realtime.utils.system_clock import SystemClock

#: Seconds during which a repeated record is logged at DEBUG only.
INTERVAL = 60.0
#: Records that are remembered for that.
_LIMIT = 100


class EventLogger:
    """A logger whose records carry a stable event name and fields, as ``extra``.

    Args:
        logger: The logger of :mod:`logging`, or its name.
        clock: The clock that measures :data:`INTERVAL`.
        fields: Fields of every record, for example ``connection``.
    """

    def __init__(
        self, logger: logging.Logger | str, *, clock: SystemClock | None = None, **fields: Any
    ) -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._fields = fields
        self._clock = clock or SystemClock()
        self._recent: TTLCache[tuple[str, str], None] = TTLCache(
            _LIMIT, INTERVAL, timer=self._clock.monotonic
        )
        self._lock = threading.Lock()  # receivers run in several threads

    def bind(self, **fields: Any) -> EventLogger:
        """Return a logger of the same name with further fields and a separate limit."""
        return EventLogger(self._logger, clock=self._clock, **{**self._fields, **fields})

    def debug(self, event: str, message: str, *args: Any, **fields: Any) -> None:
        """Log at DEBUG.

        Args:
            event: Stable name of the event, for programs.
            message: Sentence for people, with ``%s`` for each argument.
            args: Values of the sentence.
            fields: Fields of this record; ``exc_info`` adds a traceback.
        """
        self._log(logging.DEBUG, event, message, args, fields)

    def info(self, event: str, message: str, *args: Any, **fields: Any) -> None:
        """Log at INFO; see :meth:`debug`."""
        self._log(logging.INFO, event, message, args, fields)

    def warning(self, event: str, message: str, *args: Any, **fields: Any) -> None:
        """Log at WARNING; see :meth:`debug`."""
        self._log(logging.WARNING, event, message, args, fields)

    def error(self, event: str, message: str, *args: Any, **fields: Any) -> None:
        """Log at ERROR; see :meth:`debug`."""
        self._log(logging.ERROR, event, message, args, fields)

    def exception(self, event: str, message: str, *args: Any, **fields: Any) -> None:
        """Log at ERROR with the traceback of the error that is being handled."""
        self._log(logging.ERROR, event, message, args, {"exc_info": True, **fields})

    def repeated(self, cause: str, event: str, message: str, *args: Any, **fields: Any) -> None:
        """Log at WARNING, and the same cause again within a minute at DEBUG.

        Args:
            cause: Text that is equal for repetitions, for example the error.
            event: Stable name of the event, for programs.
            message: Sentence for people, with ``%s`` for each argument.
            args: Values of the sentence.
            fields: Fields of this record; ``exc_info`` adds a traceback.
        """
        level = logging.WARNING if self.is_new(event, cause) else logging.DEBUG
        self._log(level, event, message, args, fields)

    def is_new(self, event: str, cause: str) -> bool:
        """Return whether an event had another cause, or none, within the last minute."""
        key = event, cause
        with self._lock:
            if key in self._recent:
                return False
            self._recent[key] = None
            return True

    def _log(
        self, level: int, event: str, message: str, args: tuple[Any, ...], fields: dict[str, Any]
    ) -> None:
        if self._logger.isEnabledFor(level):
            exc_info = fields.pop("exc_info", None)
            extra = {"event": event, **self._fields, **fields}
            try:
                with contained():
                    self._logger.log(
                        level, message, *args, exc_info=exc_info, extra=extra, stacklevel=3
                    )
            except Exception:  # of a handler or a filter of the site
                _report_handler(event)


def _report_handler(event: str) -> None:
    """Print why a record was not logged, as handlers of :mod:`logging` do for their errors."""
    if logging.raiseExceptions and sys.stderr is not None:
        with suppress(Exception):
            sys.stderr.write(f"--- Logging error, record {event} ---\n")
            traceback.print_exc(file=sys.stderr)
