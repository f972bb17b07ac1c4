"""What this process has counted since it was started.

Counting is always on: it costs some dict operations for each event. It knows nothing of
Prometheus, and asks no database. One process, one set of numbers, hence the module's own
:data:`counts`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

Labels = tuple[str, ...]

#: Series of one metric; what comes after them is counted together as :data:`OTHERS`.
SERIES_LIMIT = 500
OTHERS = "(others)"
#: Upper bounds, in seconds.
RECEIVER_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
DELIVERY_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0)
#: What can come to grief on a connection.
FRAME, EVENT, CLIENT = ERROR_KINDS = ("frame", "event", "client")


class Counter:
    """A number for each combination of labels that only grows."""

    def __init__(self) -> None:
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Count."""
        values = self._values
        if labels not in values:
            labels = _within_limit(labels, len(values))
            values.setdefault(labels, 0)
        values[labels] += amount

    def items(self) -> list[tuple[Labels, float]]:
        """The numbers, by labels."""
        return list(self._values.copy().items())


class Histogram:
    """How often values fell below some bounds, for each combination of labels.

    Args:
        bounds: In ascending order.
    """

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value."""
        counts = self._counts.get(labels)
        if counts is None:
            labels = _within_limit(labels, len(self._counts))
            self._sums.setdefault(labels, 0)
            counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
        counts[bisect_left(self.bounds, value)] += 1
        self._sums[labels] += value

    def items(self) -> list[tuple[Labels, list[int], float]]:
        """By labels: how many values fell between two bounds each, and their sum."""
        found = self._counts.copy().items()
        return [(labels, list(counts), self._sums[labels]) for labels, counts in found]


def _within_limit(labels: Labels, known: int) -> Labels:
    return labels if known < SERIES_LIMIT else (OTHERS,) * len(labels)


class Counts:
    """Everything that is counted.

    Attributes:
        events: Events that were stored, by connection, collection, action and origin.
        receiver_seconds: How long receivers took, by receiver.
        receiver_failures: How often receivers failed, by receiver.
        delivery_seconds: From an event's coming in until it was through, by connection.
        retries: Events that are to be tried again, by connection.
        dead_letters: Events whose tries are used up, by connection.
        connects: How often a connection was made, by connection.
        losses: How often it was lost, by connection.
        gaps: Spans in which events may have been missed, by connection and whether all of
            them were found.
        gap_seconds: How long they were, likewise.
        errors: Frames, events and whatever else came to grief, by connection and kind.
        dropped_messages: Group messages that could not be sent.
        connected: Whether a connection is up, by connection.
        active: The fencing tokens of the connections that this process listens to; it stands
            by for those with 0.
    """

    def __init__(self) -> None:
        self.events = Counter()
        self.receiver_seconds = Histogram(RECEIVER_BUCKETS)
        self.receiver_failures = Counter()
        self.delivery_seconds = Histogram(DELIVERY_BUCKETS)
        self.retries = Counter()
        self.dead_letters = Counter()
        self.connects = Counter()
        self.losses = Counter()
        self.gaps = Counter()
        self.gap_seconds = Counter()
        self.errors = Counter()
        self.dropped_messages = Counter()
        self.connected: dict[str, bool] = {}
        self.active: dict[str, int] = {}
        self._unstored: Callable[[], int] | None = None

    def begin(self, aliases: Iterable[str]) -> None:
        """Start at 0 for connections, so that the first of anything is an increase."""
        self.dropped_messages.add((), 0)
        for alias in aliases:
            self.connected.setdefault(alias, False)
            self.active.setdefault(alias, 0)
            for counter in (self.retries, self.dead_letters, self.connects, self.losses):
                counter.add((alias,), 0)
            for recovered in (True, False):
                self.add_gap(alias, 0, is_recovered=recovered, count=0)
            for kind in ERROR_KINDS:
                self.errors.add((alias, kind), 0)

    def add_gap(self, alias: str, seconds: float, *, is_recovered: bool, count: int = 1) -> None:
        """Count a gap.

        Args:
            alias: Of the connection.
            seconds: From the last sign of the server until all was caught up.
            is_recovered: Whether everything was found.
            count: Of gaps.
        """
        labels = alias, "true" if is_recovered else "false"
        self.gaps.add(labels, count)
        self.gap_seconds.add(labels, seconds)

    def watch_unstored(self, count: Callable[[], int] | None) -> None:
        """Say who knows how many events are received and not stored."""
        self._unstored = count

    @property
    def unstored(self) -> int:
        """Events that are received and not stored."""
        return self._unstored() if self._unstored else 0


#: Of this process.
counts = Counts()
