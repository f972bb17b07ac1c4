"""The counts as metrics of Prometheus.

Needs ``prometheus_client``, the extra ``metrics``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from directus_realtime import __version__
from directus_realtime.health_facts import ConnectionHealth, HealthLevel
from directus_realtime.listener.metrics.counts import Counter, Counts, Histogram
from directus_realtime.listener.metrics.metrics_server import HealthSample

_PREFIX = "directus_realtime_"
_CONNECTION = ("connection",)


class ListenerCollector(Collector):
    """Makes metrics of the counts whenever somebody reads them.

    Args:
        counts: Of this process.
        sample: Gives the latest look at the database, where there is one.
    """

    def __init__(self, counts: Counts, sample: Callable[[], HealthSample | None]) -> None:
        self._counts = counts
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        """Every metric, those without any series, too."""
        info = InfoMetricFamily(_PREFIX + "build", "Version of the package.")
        info.add_metric([], {"version": __version__})
        yield info
        yield from self._events()
        yield from self._connections()
        yield from self._listener()
        yield from _sampled(self._sample())

    def _events(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counter(
            "events",
            "Events that were stored in the inbox.",
            ("connection", "collection", "action", "origin"),
            counts.events,
        )
        yield _histogram(
            "receiver_seconds",
            "How long receivers of signals took.",
            ("receiver",),
            counts.receiver_seconds,
        )
        yield _counter(
            "receiver_failures",
            "How often receivers of signals failed.",
            ("receiver",),
            counts.receiver_failures,
        )
        yield _histogram(
            "delivery_seconds",
            "From the coming in of an event until every receiver was through with it.",
            _CONNECTION,
            counts.delivery_seconds,
        )
        yield _counter(
            "retries",
            "Events of which a receiver failed, and which are tried again.",
            _CONNECTION,
            counts.retries,
        )
        yield _counter(
            "dead_letters",
            "Events of which a receiver failed for the last time.",
            _CONNECTION,
            counts.dead_letters,
        )
        yield _counter(
            "group_messages_dropped",
            "Messages to Channels groups that could not be sent.",
            (),
            counts.dropped_messages,
        )
        yield _gauge(
            "unstored_events",
            "Events that are received and wait in memory to be stored.",
            (),
            [((), counts.unstored)],
        )

    def _connections(self) -> Iterator[Metric]:
        counts = self._counts
        yield _gauge(
            "connected",
            "1 while the connection to Directus is authenticated.",
            _CONNECTION,
            [((alias,), up) for alias, up in counts.connected.copy().items()],
        )
        yield _counter(
            "connects",
            "How often a connection to Directus was made; all but the first are reconnects.",
            _CONNECTION,
            counts.connects,
        )
        yield _counter(
            "connection_losses",
            "How often a connection to Directus was lost.",
            _CONNECTION,
            counts.losses,
        )
        yield _counter(
            "gaps",
            "Spans of time in which events may have been missed, once they were looked into.",
            ("connection", "recovered"),
            counts.gaps,
        )
        yield _counter(
            "gap_seconds",
            "How long they were.",
            ("connection", "recovered"),
            counts.gap_seconds,
        )
        yield _counter(
            "errors",
            "Frames that were not understood, events that Directus could not send, and other "
            "errors of the client.",
            ("connection", "kind"),
            counts.errors,
        )

    def _listener(self) -> Iterator[Metric]:
        active = self._counts.active.copy()
        yield _gauge(
            "active",
            "1 where this process is the active listener of a connection, 0 where it stands by.",
            _CONNECTION,
            [((alias,), token > 0) for alias, token in active.items()],
        )
        yield _gauge(
            "fencing_number",
            "Of the lease of this process; 0 where it stands by.",
            _CONNECTION,
            [((alias,), token) for alias, token in active.items()],
        )


def _sampled(sample: HealthSample | None) -> Iterator[Metric]:
    """Metrics of the database; without any series where it did not answer lately."""
    connections = sample.connections if sample else []
    yield from _sampled_health(connections)
    yield from _sampled_inbox(connections)
    yield from _sampled_log(connections)


def _sampled_health(connections: Sequence[ConnectionHealth]) -> Iterator[Metric]:
    yield _gauge(
        "health",
        "1 for the level of a connection's health, as directus_status shows it; 0 for the others.",
        ("connection", "level"),
        [
            ((each.alias, level.value), each.level == level)
            for each in connections
            for level in HealthLevel
        ],
    )
    yield _gauge(
        "socket_rings",
        "1 while the WebSocket announces changes; without it, they are found by polling.",
        _CONNECTION,
        [
            ((each.alias,), each.state == "connected" and not each.socket_problem)
            for each in connections
        ],
    )
    yield _gauge(
        "unresolved_gap",
        "1 while the last gap is neither recovered nor acknowledged.",
        _CONNECTION,
        [((each.alias,), bool(each.gap and each.gap.is_unresolved)) for each in connections],
    )


def _sampled_inbox(connections: Sequence[ConnectionHealth]) -> Iterator[Metric]:
    yield _gauge(
        "inbox_events",
        "Events in the inbox that are not through.",
        ("connection", "state"),
        [
            ((each.alias, state), count)
            for each in connections
            for state, count in each.inbox.counts.items()
        ],
    )
    yield _gauge(
        "lag_seconds",
        "How long the oldest event that could be delivered has waited.",
        _CONNECTION,
        [((each.alias,), each.inbox.lag) for each in connections],
    )


def _sampled_log(connections: Sequence[ConnectionHealth]) -> Iterator[Metric]:
    logs = [(each, each.catch_up) for each in connections if each.catch_up is not None]
    yield _gauge(
        "catch_up_rows_done",
        "Rows of the activity log that the catch-up at work has looked at; 0 where none is.",
        _CONNECTION,
        [((each.alias,), log.rows_done) for each, log in logs],
    )
    yield _gauge(
        "catch_up_rows",
        "Rows of the activity log that it has to look at; 0 where none is at work.",
        _CONNECTION,
        [((each.alias,), log.rows_total) for each, log in logs],
    )
    yield _gauge(
        "caught_up_timestamp_seconds",
        "When the activity log was last read to its end.",
        _CONNECTION,
        [
            ((each.alias,), log.caught_up_at.timestamp())
            for each, log in logs
            if log.caught_up_at and each.subscribed  # else the log is not read, and need not be
        ],
    )
    yield _gauge(
        "hole_ids",
        "Ids of the activity log that are not visible yet, below the last one that was read.",
        _CONNECTION,
        [((each.alias,), each.holes.ids) for each in connections],
    )
    yield _gauge(
        "dropped_ids",
        "Ids of the activity log that never became visible and were given up, since ever.",
        _CONNECTION,
        [((each.alias,), each.dropped) for each in connections],
    )
    yield _gauge(
        "parked_changes",
        "Logged changes whose item was not found.",
        ("connection", "state"),
        [
            ((each.alias, state), count)
            for each in connections
            for state, count in (("parked", each.parked), ("unexplained", each.unexplained))
        ],
    )


def _counter(name: str, text: str, labels: Sequence[str], counter: Counter) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels)
    for values, number in counter.items():
        family.add_metric(values, number)
    return family


def _gauge(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[Sequence[str], float]],
) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for each, number in values:
        family.add_metric(each, number)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(_PREFIX + name, text, labels=labels)
    names = [*map(floatToGoString, histogram.bounds), "+Inf"]
    for values, numbers, total in histogram.items():
        buckets = list(zip(names, itertools.accumulate(numbers), strict=True))
        family.add_metric(values, buckets, total)
    return family
