"""The Directus server's clock, as its answers tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: ``Date`` names whole seconds.
_RESOLUTION = timedelta(seconds=1)
#: A clock that is this far off tells nothing, and sums with its time may not be possible.
_BEYOND_REASON = timedelta(days=365 * 100)


class ServerClock:
    """Narrows down how far the server's clock is ahead of ours.

    Each answer was made between the sending of its request and its arrival. A slow answer
    says little, and one that took no time says it to the second; together they say what
    is true of all of them.
    """

    def __init__(self) -> None:
        self._least: timedelta | None = None
        self._most = timedelta()

    @property
    def ahead(self) -> timedelta:
        """How far the server's clock is ahead of ours; nothing where no answer has told yet."""
        return timedelta() if self._least is None else (self._least + self._most) / 2

    def now(self) -> datetime:
        """The present time of the server's clock; aware."""
        return datetime.now(UTC) + self.ahead

    def note(self, date: str, sent_at: datetime, received_at: datetime) -> None:
        """Take what an answer says.

        Args:
            date: The header ``Date``; one that cannot be read says nothing.
            sent_at: When the request was sent, of our clock.
            received_at: When the answer was there, of our clock.
        """
        try:
            told = parsedate_to_datetime(date)
            if told.tzinfo is None or abs(told - received_at) > _BEYOND_REASON:
                return
        except (ValueError, OverflowError):
            return
        least, most = told - received_at, told + _RESOLUTION - sent_at
        if self._least is None or least > self._most or most < self._least:
            # The first answer, or one of the clocks was set.
            self._least, self._most = least, most
        else:
            self._least, self._most = max(least, self._least), min(most, self._most)
