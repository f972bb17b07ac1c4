"""Counts of this process since its start.

Counting is always on: it costs some dict operations for each event (0.5 µs; a labelled counter of
``prometheus_client``, which is optional, takes 6.6 µs). One process has one set of numbers, hence
the module's own :data:`counts`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

Labels = tuple[str, ...]

#: Series of one metric; further ones are counted together as :data:`OTHERS`.
SERIES_LIMIT = 500
OTHERS = "(others)"
#: Upper bounds, in seconds.
RECEIVER_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
DELIVERY_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0)
#: Kinds of errors of a connection.
FRAME, EVENT, CLIENT = ERROR_KINDS = ("frame", "event", "client")


class Counter:
    """Number that only grows, for each combination of labels.

    Args:
        name: Name of the metric, without prefix.
        text: Description of the metric.
        labels: Names of the labels.
    """

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Increase the number.

        Args:
            labels: Values of the labels.
            amount: Amount to add.
        """
        values = self._values
        if labels not in values:
            labels = _within_limit(labels, len(values))
            values.setdefault(labels, 0)
        values[labels] += amount

    def items(self) -> list[tuple[Labels, float]]:
        """Return the numbers, by labels."""
        return list(self._values.copy().items())


class Histogram:
    """Distribution of values, for each value of a label.

    Args:
        name: Name of the metric, without prefix.
        text: Description of the metric.
        label: Name of the label.
        bounds: Upper bounds of the buckets, in ascending order.
    """

    def __init__(self, name: str, text: str, label: str, bounds: Iterable[float]) -> None:
        self.name, self.text, self.labels = name, text, (label,)
        self.bounds = tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Add a value."""
        counts = self._counts.get(labels)
        if counts is None:
            labels = _within_limit(labels, len(self._counts))
            self._sums.setdefault(labels, 0)
            counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
        counts[bisect_left(self.bounds, value)] += 1
        self._sums[labels] += value

    def items(self) -> list[tuple[Labels, list[int], float]]:
        """Return the number of values in each bucket and their sum, by labels."""
        found = self._counts.copy().items()
        return [(labels, list(counts), self._sums[labels]) for labels, counts in found]


def _within_limit(labels: Labels, known: int) -> Labels:
    return labels if known < SERIES_LIMIT else (OTHERS,) * len(labels)


class Counts:
    """Counters and histograms, and the state of the process.

    Attributes:
        connected: Whether a connection is authenticated, by alias.
        active: Fencing tokens of the connections, by alias; 0 while standing by.
    """

    def __init__(self) -> None:
        self.events = Counter(
            "events",
            "Events that were stored in the inbox.",
            *("connection", "collection", "action", "origin"),
        )
        self.receiver_seconds = Histogram(
            "receiver_seconds", "How long receivers of signals took.", "receiver", RECEIVER_BUCKETS
        )
        self.receiver_failures = Counter(
            "receiver_failures", "How often receivers of signals failed.", "receiver"
        )
        self.delivery_seconds = Histogram(
            "delivery_seconds",
            "From the arrival of an event until every receiver has succeeded.",
            "connection",
            DELIVERY_BUCKETS,
        )
        self.retries = Counter(
            "retries",
            "Events of which a receiver failed, and which are tried again.",
            "connection",
        )
        self.dead_letters = Counter(
            "dead_letters", "Events of which a receiver failed for the last time.", "connection"
        )
        self.dropped_messages = Counter(
            "group_messages_dropped", "Messages to Channels groups that could not be sent."
        )
        self.connects = Counter(
            "connects",
            "How often a connection to Directus was made; all but the first are reconnects.",
            "connection",
        )
        self.losses = Counter(
            "connection_losses", "How often a connection to Directus was lost.", "connection"
        )
        self.gaps = Counter(
            "gaps",
            "Spans of time in which changes were missed, recovered or not.",
            *("connection", "recovered"),
        )
        self.gap_seconds = Counter("gap_seconds", "Length of the gaps.", "connection", "recovered")
        self.door_knocks = Counter(
            "door_knocks", "Knocks at the door that reached the listener.", "connection"
        )
        self.errors = Counter(
            "errors",
            "Frames that were not understood, events that Directus could not send, and other "
            "errors of the client.",
            *("connection", "kind"),
        )
        self.connected: dict[str, bool] = {}
        self.active: dict[str, int] = {}
        self._unstored: Callable[[], int] | None = None

    def begin(self, aliases: Iterable[str]) -> None:
        """Start at 0 for connections, so that the first count is an increase."""
        self.dropped_messages.add((), 0)
        for alias in aliases:
            self.connected.setdefault(alias, False)
            self.active.setdefault(alias, 0)
            for counter in self._of_connections():
                counter.add((alias,), 0)
            for recovered in (True, False):
                self.add_gap(alias, 0, is_recovered=recovered, count=0)
            for kind in ERROR_KINDS:
                self.errors.add((alias, kind), 0)

    def _of_connections(self) -> tuple[Counter, ...]:
        return self.retries, self.dead_letters, self.connects, self.losses, self.door_knocks

    def add_gap(self, alias: str, seconds: float, *, is_recovered: bool, count: int = 1) -> None:
        """Count a gap.

        Args:
            alias: Alias of the connection.
            seconds: Time from the last contact with the server until the end of the catch-up.
            is_recovered: Whether all changes were found.
            count: Number of gaps.
        """
        labels = alias, "true" if is_recovered else "false"
        self.gaps.add(labels, count)
        self.gap_seconds.add(labels, seconds)

    def watch_unstored(self, count: Callable[[], int] | None) -> None:
        """Set the function that returns the number of received events that are not stored yet."""
        self._unstored = count

    @property
    def unstored(self) -> int:
        """Number of received events that are not stored yet."""
        return self._unstored() if self._unstored else 0


#: Counts of this process.
counts = Counts()
