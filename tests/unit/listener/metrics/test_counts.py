from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from directus_realtime.listener.metrics import counts as module
from directus_realtime.listener.metrics.counts import OTHERS, Counter, Counts, Histogram
from directus_realtime.listener.metrics.prometheus import ListenerCollector


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERIES_LIMIT", 2)


def text_of(counts: Counts) -> str:
    registry = CollectorRegistry()
    registry.register(ListenerCollector(counts, lambda: []))
    return generate_latest(registry).decode()


def test_a_counter_counts_by_labels() -> None:
    counter = Counter("found", "", "first", "second")
    counter.add(("a", "x"))
    counter.add(("a", "x"), 2.5)
    counter.add(("b", "x"))
    assert counter.items() == [(("a", "x"), 3.5), (("b", "x"), 1)]


def test_a_counter_that_starts_at_0_is_there() -> None:
    counter = Counter("found", "", "first", "second")
    counter.add((), 0)
    assert counter.items() == [((), 0)]


def test_what_is_over_the_limit_is_counted_together(small_limit: None) -> None:
    counter = Counter("found", "", "first", "second")
    for name in "abcdc":
        counter.add((name, "x"))
    assert counter.items() == [(("a", "x"), 1), (("b", "x"), 1), ((OTHERS, OTHERS), 3)]


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram("seconds", "", "name", (1.0, 5.0))
    for value in (0.5, 1.0, 1.5, 5.0, 6.0):
        histogram.observe(("a",), value)
    assert histogram.items() == [(("a",), [2, 2, 1], 14.0)]


def test_a_histogram_over_the_limit(small_limit: None) -> None:
    histogram = Histogram("seconds", "", "name", (1.0,))
    for name in "abcd":
        histogram.observe((name,), 2)
    assert histogram.items()[-1] == ((OTHERS,), [0, 2], 4)
    assert len(histogram.items()) == 3


def test_buckets_are_cumulative_where_they_are_read() -> None:
    counts = Counts()
    for value in (0.002, 0.002, 3.0):
        counts.receiver_seconds.observe(("shop.index",), value)
    text = text_of(counts)
    name = 'directus_realtime_receiver_seconds_bucket{le="%s",receiver="shop.index"} %s'
    for bound, number in (("0.001", 0.0), ("0.005", 2.0), ("1.0", 2.0), ("5.0", 3.0)):
        assert name % (bound, number) in text
    assert name % ("+Inf", 3.0) in text
    assert 'directus_realtime_receiver_seconds_sum{receiver="shop.index"} 3.004' in text


def test_everything_of_a_connection_starts_at_0() -> None:
    counts = Counts()
    counts.begin(["default"])
    text = text_of(counts)
    for series in (
        'connected{connection="default"}',
        'active{connection="default"}',
        'connection_losses_total{connection="default"}',
        'dead_letters_total{connection="default"}',
        'gaps_total{connection="default",recovered="false"}',
        'errors_total{connection="default",kind="frame"}',
        "group_messages_dropped_total",
    ):
        assert f"directus_realtime_{series} 0.0" in text


def test_to_begin_again_keeps_what_was_counted() -> None:
    counts = Counts()
    counts.begin(["default"])
    counts.add_gap("default", 12.5, is_recovered=False)
    counts.begin(["default"])
    assert (("default", "false"), 12.5) in counts.gap_seconds.items()
    assert (("default", "false"), 1) in counts.gaps.items()


def test_without_a_sample_nothing_is_said_of_the_inbox() -> None:
    text = text_of(Counts())
    assert "# TYPE directus_realtime_lag_seconds gauge" in text
    assert "\ndirectus_realtime_lag_seconds" not in text
