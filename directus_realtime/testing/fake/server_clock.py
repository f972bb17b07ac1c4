"""The clock of a fake Directus."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime


class ServerClock:
    """The real time, moved as far as a test wants.

    Attributes:
        ahead: How far the server's clock is ahead of the real one.
    """

    def __init__(self) -> None:
        self.ahead = dt.timedelta()

    def now(self) -> dt.datetime:
        """Return the server's present time, in UTC."""
        return dt.datetime.now(dt.UTC) + self.ahead

    def timestamp(self, shift: dt.timedelta = dt.timedelta()) -> str:
        """Return the present time, shifted, as Directus writes it."""
        return as_written(self.now() + shift)

    def http_date(self) -> str:
        """Return the present time as the header ``Date`` has it."""
        return format_datetime(self.now(), usegmt=True)


def as_written(moment: dt.datetime) -> str:
    """Return a moment as Directus writes it, in UTC with milliseconds."""
    text = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
