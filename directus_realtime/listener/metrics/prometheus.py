"""The counts, and a sample of the database, as metrics of Prometheus.

Needs ``prometheus_client``, the extra ``metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

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
from directus_realtime.listener.metrics.counts import Counter, Counts, Histogram, Labels

_PREFIX = "directus_realtime_"


def _caught_up_at(health: ConnectionHealth) -> float | None:
    if health.catch_up is None or health.catch_up.read_at is None or not health.subscribed:
        return None  # the log is not read, and need not be
    return health.catch_up.read_at.timestamp()


#: Gauges of a sample: name, description, a label besides the connection, and the function that
#: returns a number, one for each value of the label, or ``None`` for no series.
_SAMPLED: Sequence[
    tuple[str, str, str, Callable[[ConnectionHealth], Mapping[str, float] | float | None]]
] = (
    (
        "health",
        "1 for the level of a connection's health, as directus_status shows it; 0 for the others.",
        "level",
        lambda health: {level.value: health.level == level for level in HealthLevel},
    ),
    (
        "socket_rings",
        "1 while the WebSocket announces changes; without it, they are found by polling.",
        "",
        lambda health: health.state == "connected" and not health.socket_problem,
    ),
    (
        "door_rings",
        "1 while the door announces changes; 0 also where the connection has none.",
        "",
        lambda health: "door" in health.doorbells,
    ),
    (
        "unresolved_gap",
        "1 while the last gap is neither recovered nor acknowledged.",
        "",
        lambda health: bool(health.gap and health.gap.is_unresolved),
    ),
    (
        "inbox_events",
        "Unfinished events in the inbox.",
        "state",
        lambda health: health.inbox.counts,
    ),
    (
        "lag_seconds",
        "How long the oldest event that could be delivered has waited.",
        "",
        lambda health: health.inbox.lag,
    ),
    (
        "catch_up_rows_done",
        "Rows of the activity log that the present catch-up has read; 0 where there is none.",
        "",
        lambda health: health.catch_up.rows_done if health.catch_up else None,
    ),
    (
        "catch_up_rows",
        "Rows of the activity log of the present catch-up; 0 where there is none.",
        "",
        lambda health: health.catch_up.rows_total if health.catch_up else None,
    ),
    (
        "caught_up_timestamp_seconds",
        "When the activity log was last read to its end.",
        "",
        _caught_up_at,
    ),
    (
        "hole_ids",
        "Ids of the activity log that are not visible yet, below the last one that was read.",
        "",
        lambda health: health.holes.ids,
    ),
    (
        "dropped_ids",
        "Ids of the activity log that never became visible and were given up.",
        "",
        lambda health: health.dropped,
    ),
    (
        "parked_changes",
        "Logged changes whose item was not found.",
        "state",
        lambda health: {"parked": health.parked, "unexplained": health.unexplained},
    ),
)


class ListenerCollector(Collector):
    """Collects the metrics of a listener whenever they are read.

    Args:
        counts: Counts of this process.
        sample: Function that returns the latest health of the connections; empty where there is
            no recent one.
    """

    def __init__(self, counts: Counts, sample: Callable[[], Sequence[ConnectionHealth]]) -> None:
        self._counts = counts
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, those without any series included."""
        info = InfoMetricFamily(_PREFIX + "build", "Version of the package.")
        info.add_metric([], {"version": __version__})
        yield info
        for metric in vars(self._counts).values():
            if isinstance(metric, Counter):
                yield _counter(metric)
            elif isinstance(metric, Histogram):
                yield _histogram(metric)
        yield from self._process_gauges()
        connections = self._sample()
        for name, text, label, value_of in _SAMPLED:
            values = {health.alias: value_of(health) for health in connections}
            yield _gauge(name, text, ["connection", *filter(None, [label])], _series(values))

    def _process_gauges(self) -> Iterator[Metric]:
        counts = self._counts
        yield _gauge(
            "unstored_events",
            "Events that are received and wait in memory to be stored.",
            [],
            [((), counts.unstored)],
        )
        active = counts.active.copy()
        for name, text, values in (
            (
                "connected",
                "1 while the connection to Directus is authenticated.",
                counts.connected.copy(),
            ),
            (
                "active",
                "1 where this process is the active listener of a connection, 0 where it stands "
                "by.",
                {alias: token > 0 for alias, token in active.items()},
            ),
            ("fencing_number", "Fencing token of this process; 0 where it stands by.", active),
        ):
            yield _gauge(name, text, ["connection"], _series(values))


def _series(
    values: Mapping[str, Mapping[str, float] | float | None],
) -> Iterator[tuple[Labels, float]]:
    for alias, value in values.items():
        if isinstance(value, Mapping):
            yield from (((alias, label), number) for label, number in value.items())
        elif value is not None:
            yield (alias,), value


def _gauge(
    name: str, text: str, labels: Sequence[str], series: Iterable[tuple[Labels, float]]
) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for values, number in series:
        family.add_metric(values, number)
    return family


def _counter(counter: Counter) -> Metric:
    family = CounterMetricFamily(_PREFIX + counter.name, counter.text, labels=counter.labels)
    for values, number in counter.items():
        family.add_metric(values, number)
    return family


def _histogram(histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(
        _PREFIX + histogram.name, histogram.text, labels=histogram.labels
    )
    names = [*map(floatToGoString, histogram.bounds), "+Inf"]
    for values, numbers, total in histogram.items():
        buckets = list(zip(names, accumulate(numbers), strict=True))
        family.add_metric(values, buckets, total)
    return family
